"""Hot kernels: what is said of orders, and what it changes, on packed tables; no object per event.

`domain/orders.py` has the rules in words, `order_tables.py` the tables. An event about an order is
put behind those of the same order; then all of them are folded, with and without it, and the
difference is written as events on the wire, so that it is checked and becomes columns as any other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.ingest.adapters import amount_kernel as amount
from services.ingest.adapters import order_tables as of_
from services.ingest.adapters import rows as at_
from services.ingest.adapters.amount_kernel import added, has_amount, less
from services.ingest.adapters.borrowed import borrowed
from services.ingest.adapters.order_fold import changed_lines, fold, in_time, sorts_before
from services.ingest.adapters.order_tables import lent, slot_of
from services.ingest.adapters.order_wire import (
    ROW_BYTES_MAX,
    difference_event,
    identifier_into,
)
from services.ingest.domain import orders as limits

U = np.uint64

_ID_START = at_.ID_START
_ID_END = at_.ID_END
_OCCUR_US = at_.OCCUR_US
_IDENTIFIERS_END = at_.IDENTIFIERS_END
_PROPERTIES_END = at_.PROPERTIES_END
_MESSAGE = at_.MESSAGE
_KIND_START = at_.KIND_START
_KIND_END = at_.KIND_END
_VALUE_START = at_.VALUE_START
_VALUE_END = at_.VALUE_END
_ITEM = at_.ITEM

_CLASS = amount.CLASS
_STATE = amount.STATE
_AMOUNT = amount.AMOUNT
_SAID = amount.SAID
_SAYS_TOTAL = amount.TOTAL
_SAYS_CURRENCY = amount.CURRENCY
_SAYS_PLACED = amount.PLACED
_SAYS_PRODUCT = amount.PRODUCT
_SAYS_QUANTITY = amount.QUANTITY

_ORDERS_USED = of_.ORDERS
_SAID_USED = of_.SAID
_LINES_USED = of_.LINES
_WHO_USED = of_.WHO
_TOLD_PER_ROW_MAX = of_.TOLD_PER_ROW_MAX
_ORDER = of_.ORDER
_BEFORE = of_.BEFORE
_META = of_.META
_AT_US = of_.AT_US
_PLACED_US = of_.PLACED_US
_TOTAL = of_.TOTAL
_LINES_END = of_.LINES_END
_HAS_TOTAL = of_.HAS_TOTAL
_HAS_LINES = of_.HAS_LINES
_NTH_SHIFT = of_.NTH_SHIFT
_CURRENCY_SHIFT = of_.CURRENCY_SHIFT
_TOLD_SHIFT = of_.TOLD_SHIFT

_NO_STATE = -1
_SAID_MAX = limits.SAID_MAX
_LINES_MAX = limits.LINES_MAX

_COUNT_WIDTH = of_.COUNT_WIDTH
_PLACED = of_.COUNT_PLACED
_ORDERS = of_.COUNT_ORDERS
_VALUE_OF = of_.COUNT_VALUE
_CURRENCY = of_.COUNT_CURRENCY
_STATE_OF = of_.COUNT_STATE
_LINES = of_.COUNT_LINES


@njit(nogil=True, cache=True)
def _place_in(places: Any, count: Any, item: Any, hint: Any) -> Any:
    """Where `item` stands among the first `count`, or -1. Items mostly come in order."""
    if hint < count and places[hint, 3] == item:
        return hint
    for place in range(count):
        if places[place, 3] == item:
            return place
    return -1


@njit(nogil=True, cache=True)
def _lines_into(properties: Any, read: Any, first: Any, last: Any, t: Any, sizes: Any) -> None:
    """Appends an event's lines, one a product, by the product's text."""
    places = t.places
    count = 0
    hint = 0
    for p in range(first, last):
        if read[p, _CLASS] != _SAYS_PRODUCT or count == _LINES_MAX:
            continue
        place = _place_in(places, count, properties[p, _ITEM], hint)
        if place < 0:
            place = count
            count += 1
        places[place, 0] = read[p, _AMOUNT]
        places[place, 1] = 1
        places[place, 2] = 0
        places[place, 3] = properties[p, _ITEM]
        hint = place + 1
    hint = 0
    for p in range(first, last):
        if read[p, _CLASS] != _SAYS_QUANTITY or count == 0:
            continue
        place = _place_in(places, count, properties[p, _ITEM], hint)
        if place >= 0:
            whole = read[p, _AMOUNT]
            part = read[p, _AMOUNT + 1]
            if read[p, _STATE] != _SAID or (whole == 0 and part == 0):
                whole = np.int64(1)
                part = np.int64(0)
            places[place, 1] = whole
            places[place, 2] = part
            hint = place + 1
    _append_lines(places, count, t.words, t.word_end, t.lines, sizes)


@njit(nogil=True, cache=True)
def known(keys: Any, names: Any, slots: Any, held: Any, found: Any) -> None:
    """found (bool, per name): it names no order, or one that is remembered."""
    slots = borrowed(slots)
    held = borrowed(held)
    for k in range(names.shape[0]):
        found[k] = True
        if names[k, 1] > names[k, 0]:
            found[k] = slots[slot_of(slots, held, keys[k, 0], keys[k, 1])] >= 0


@njit(nogil=True, cache=True)
def _append_lines(
    places: Any, count: Any, words: Any, word_end: Any, lines: Any, sizes: Any
) -> None:
    """Puts lines behind the others, sorted and each product once."""
    begin = sizes[_LINES_USED]
    end = begin
    for k in range(count):
        word = places[k, 0]
        at = end
        while at > begin and sorts_before(words, word_end, word, lines[at - 1, 0]):
            at -= 1
        if at > begin and lines[at - 1, 0] == word:
            whole, part = added(lines[at - 1, 1], lines[at - 1, 2], places[k, 1], places[k, 2])
            lines[at - 1, 1] = whole
            lines[at - 1, 2] = part
            continue
        for moved in range(end, at, -1):
            for column in range(3):
                lines[moved, column] = lines[moved - 1, column]
        for column in range(3):
            lines[at, column] = places[k, column]
        end += 1
    sizes[_LINES_USED] = end


@njit(nogil=True, cache=True)
def _remember(
    events: Any,
    properties: Any,
    read: Any,
    row: Any,
    what: Any,
    order: Any,
    t: Any,
    sizes: Any,
) -> Any:
    """Appends what an event says of an order; its place among what was said.

    what: its step, with PLACES_IT.
    """
    first = events[row - 1, _PROPERTIES_END] if row > 0 else 0
    last = events[row, _PROPERTIES_END]
    meta = np.int64(what)
    whole = np.int64(0)
    part = np.int64(0)
    currency = np.int64(-1)
    placed_us = np.int64(0)
    has_lines = False
    for p in range(first, last):
        which = read[p, _CLASS]
        if which == _SAYS_TOTAL:
            meta &= ~np.int64(_HAS_TOTAL)
            if read[p, _STATE] == _SAID:
                meta |= _HAS_TOTAL
                whole = read[p, _AMOUNT]
                part = read[p, _AMOUNT + 1]
        elif which == _SAYS_CURRENCY:
            currency = read[p, _AMOUNT] if read[p, _STATE] == _SAID else np.int64(-1)
        elif which == _SAYS_PLACED:
            placed_us = read[p, _AMOUNT] if read[p, _STATE] == _SAID else np.int64(0)
            if placed_us < 0 or placed_us > events[row, _OCCUR_US]:
                placed_us = np.int64(0)
        elif which == _SAYS_PRODUCT:
            has_lines = True
    if has_lines:
        _lines_into(properties, read, first, last, t, sizes)
        meta |= _HAS_LINES
    before = np.int64(t.head[order])
    nth = 1
    told = np.int64(0)
    if before >= 0:
        nth += (t.said[before, _META] >> _NTH_SHIFT) & 0xFF
        told = t.said[before, _META] >> _TOLD_SHIFT
    new = sizes[_SAID_USED]
    meta |= np.int64(nth) << _NTH_SHIFT
    meta |= (currency + 1) << _CURRENCY_SHIFT
    meta |= told << _TOLD_SHIFT
    t.said[new, _ORDER] = order
    t.said[new, _BEFORE] = before
    t.said[new, _META] = meta
    t.said[new, _AT_US] = events[row, _OCCUR_US]
    t.said[new, _PLACED_US] = placed_us
    t.said[new, _TOTAL] = whole
    t.said[new, _TOTAL + 1] = part
    t.said[new, _LINES_END] = sizes[_LINES_USED]
    t.head[order] = new
    sizes[_SAID_USED] = new + 1
    return new


@njit(nogil=True, cache=True)
def _count(t: Any, new: Any) -> None:
    """What the order counts for without its newest event (counts 0) and with it (counts 1)."""
    count = in_time(t.said, new, t.chain)
    if count == 1:
        t.counts[0] = 0
        t.counts[0, _CURRENCY] = -1
        t.counts[0, _STATE_OF] = _NO_STATE
    else:
        fold(t, count, new, t.counts[0], t.folded[0])
    fold(t, count, np.int64(-1), t.counts[1], t.folded[1])


@njit(nogil=True, cache=True)
def _change(t: Any, turn: Any) -> Any:
    """What to say, into counts 2 and folded 2; how many lines. turn 0: all that counted is taken
    back; 1: all that counts now is added; 2: the difference."""
    before, after, change = t.counts[0], t.counts[1], t.counts[2]
    back = before[_LINES] if turn != 1 else np.int64(0)
    ahead = after[_LINES] if turn != 0 else np.int64(0)
    source = before if turn == 0 else after
    for place in range(_COUNT_WIDTH):
        change[place] = source[place]
    if turn == 0:
        change[_STATE_OF] = _NO_STATE
        change[_ORDERS] = change[_VALUE_OF] = change[_VALUE_OF + 1] = 0
    if turn != 1:
        change[_ORDERS] -= before[_ORDERS]
        whole, part = less(
            change[_VALUE_OF], change[_VALUE_OF + 1], before[_VALUE_OF], before[_VALUE_OF + 1]
        )
        change[_VALUE_OF] = whole
        change[_VALUE_OF + 1] = part
    return changed_lines(t.folded[1], ahead, t.folded[0], back, t, t.folded[2])


@njit(nogil=True, cache=True)
def take(
    data: Any,
    events: Any,
    identifiers: Any,
    dropped: Any,
    properties: Any,
    read: Any,
    message_us: Any,
    picked: Any,
    what: Any,
    names: Any,
    keys: Any,
    start: Any,
    late_us: Any,
    t: Any,
    sizes: Any,
    out: Any,
    told: Any,
) -> Any:
    """A hot kernel: takes the picked rows from `start` on, and writes what they change.

    picked (int64): rows about orders; what (int64): step of each, with PLACES_IT; names, keys: by
    `name_orders`; read: by `read` and `number_words`. t: `order_tables.Tables` with room for all
    of it; sizes: what is used.
    out (uint8): EventBatch bytes, one event a difference; told (n, 3, int64): per event its end in
    out, its cause's message, and whether it is late. Returns (rows taken, events told, bytes):
    fewer rows than there are when `out` or `told` has no room left: call again.
    """
    data = borrowed(data)
    events = borrowed(events)
    identifiers = borrowed(identifiers)
    dropped = borrowed(dropped)
    properties = borrowed(properties)
    read = borrowed(read)
    t = lent(t)
    sizes = borrowed(sizes)
    out = borrowed(out)
    at = np.int64(0)
    told_count = np.int64(0)
    taken = start
    for k in range(start, picked.size):
        if out.size - at < ROW_BYTES_MAX or told.shape[0] - told_count < _TOLD_PER_ROW_MAX:
            break
        taken = k + 1
        row = picked[k]
        if names[k, 0] == names[k, 1]:
            continue
        one = keys[k, 0]
        two = keys[k, 1]
        slot = slot_of(t.slots, t.keys, one, two)
        order = np.int64(t.slots[slot])
        if order < 0:
            order = sizes[_ORDERS_USED]
            sizes[_ORDERS_USED] = order + 1
            t.slots[slot] = order
            t.keys[order, 0] = one
            t.keys[order, 1] = two
            t.head[order] = -1
            _people_into(data, events, identifiers, dropped, row, t, sizes)
            t.who_end[order] = sizes[_WHO_USED]
        elif (t.said[t.head[order], _META] >> _NTH_SHIFT) & 0xFF == _SAID_MAX:
            continue
        new = _remember(events, properties, read, row, what[k], order, t, sizes)
        _count(t, new)
        at_us = message_us[events[row, _MESSAGE]]
        late = at_us - events[row, _OCCUR_US] > late_us
        moved = t.counts[0, _PLACED] != t.counts[1, _PLACED]
        moved |= t.counts[0, _CURRENCY] != t.counts[1, _CURRENCY]
        for turn in range(0 if moved else 2, 2 if moved else 3):
            lines = _change(t, turn)
            line = np.int64(0)
            while t.counts[2, _ORDERS] != 0 or has_amount(t.counts[2], _VALUE_OF) or line < lines:
                t.said[new, _META] += np.int64(1) << _TOLD_SHIFT
                at, line = difference_event(
                    out,
                    at,
                    t,
                    order,
                    t.said[new, _META] >> _TOLD_SHIFT,
                    line,
                    lines,
                    data,
                    names[k, 0],
                    names[k, 1],
                    events[row, _ID_START],
                    events[row, _ID_END],
                    at_us,
                )
                told[told_count, 0] = at
                told[told_count, 1] = events[row, _MESSAGE]
                told[told_count, 2] = late
                told_count += 1
                # What does not fit one event follows: the rest of the lines only.
                t.counts[2, _ORDERS] = 0
                t.counts[2, _VALUE_OF] = 0
                t.counts[2, _VALUE_OF + 1] = 0
    return taken, told_count, at


@njit(nogil=True, cache=True)
def _people_into(
    data: Any, events: Any, identifiers: Any, dropped: Any, row: Any, t: Any, sizes: Any
) -> None:
    """Keeps the identifiers of the first event of an order, as an event has them on the wire."""
    at = sizes[_WHO_USED]
    first = events[row - 1, _IDENTIFIERS_END] if row > 0 else 0
    for k in range(first, events[row, _IDENTIFIERS_END]):
        if not dropped[k]:
            at = identifier_into(
                t.who,
                at,
                data,
                identifiers[k, _KIND_START],
                identifiers[k, _KIND_END],
                identifiers[k, _VALUE_START],
                identifiers[k, _VALUE_END],
            )
    sizes[_WHO_USED] = at
