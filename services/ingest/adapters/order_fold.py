"""Folds what was said of one order to what it counts for: `domain/orders.py` in kernels.

Lines are kept sorted by their product's text, so two of them are compared in one walk.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.ingest.adapters import order_tables as of_
from services.ingest.adapters.amount_kernel import added, less
from services.ingest.domain.orders import Step

_BEFORE = of_.BEFORE
_META = of_.META
_AT_US = of_.AT_US
_PLACED_US = of_.PLACED_US
_TOTAL = of_.TOTAL
_LINES_END = of_.LINES_END
_HAS_TOTAL = of_.HAS_TOTAL
_HAS_LINES = of_.HAS_LINES
_PLACES_IT = of_.PLACES_IT
_STEP_BITS = of_.STEP_BITS
_NTH_SHIFT = of_.NTH_SHIFT
_CURRENCY_SHIFT = of_.CURRENCY_SHIFT
_UPDATED = int(Step.UPDATED)
_PAID = int(Step.PAID)
_DELIVERED = int(Step.DELIVERED)
_CANCELLED = int(Step.CANCELLED)
_REFUNDED = int(Step.REFUNDED)
_NO_STATE = -1
_PLACED = of_.COUNT_PLACED
_ORDERS = of_.COUNT_ORDERS
_VALUE_OF = of_.COUNT_VALUE
_CURRENCY = of_.COUNT_CURRENCY
_STATE_OF = of_.COUNT_STATE
_LINES = of_.COUNT_LINES


@njit(nogil=True, cache=True)
def sorts_before(words: Any, ends: Any, left: Any, right: Any) -> Any:
    """Whether the text of one word sorts before another's."""
    at = np.int64(ends[left - 1]) if left > 0 else np.int64(0)
    other = np.int64(ends[right - 1]) if right > 0 else np.int64(0)
    at_end = np.int64(ends[left])
    other_end = np.int64(ends[right])
    while at < at_end and other < other_end:
        if words[at] != words[other]:
            return words[at] < words[other]
        at += 1
        other += 1
    return at == at_end and other < other_end


@njit(nogil=True, cache=True)
def in_time(said: Any, newest: Any, chain: Any) -> Any:
    """The events of an order by their time, into `chain`; how many there are."""
    count = (said[newest, _META] >> _NTH_SHIFT) & 0xFF
    at = newest
    for place in range(count - 1, -1, -1):
        chain[place] = at
        at = said[at, _BEFORE]
    for place in range(1, count):
        one = chain[place]
        at_us = said[one, _AT_US]
        step = said[one, _META] & _STEP_BITS
        to = place
        while to > 0:
            other = chain[to - 1]
            if said[other, _AT_US] < at_us or (
                said[other, _AT_US] == at_us and said[other, _META] & _STEP_BITS <= step
            ):
                break
            chain[to] = other
            to -= 1
        chain[to] = one
    return count


@njit(nogil=True, cache=True)
def fold(t: Any, count: Any, without: Any, out: Any, kept: Any) -> None:
    """What the order counts for by the first `count` of t.chain, one of them left out.

    out (COUNT_WIDTH, int64), kept (LINES_MAX, LINE_WIDTH): its lines.
    """
    said, chain = t.said, t.chain
    state = _NO_STATE
    total = np.int64(0)
    total_part = np.int64(0)
    currency = np.int64(-1)
    lines_of = np.int64(-1)
    all_back = False
    placed_us = np.int64(0)
    placing_us = np.int64(0)
    first_us = np.int64(0)
    for k in range(count):
        one = chain[k]
        if one == without:
            continue
        meta = said[one, _META]
        step = meta & _STEP_BITS
        if first_us == 0:
            first_us = said[one, _AT_US]
        if placed_us == 0:
            placed_us = said[one, _PLACED_US]
        if placing_us == 0 and meta & _PLACES_IT:
            placing_us = said[one, _AT_US]
        if step == _REFUNDED:
            all_back |= not (meta & (_HAS_TOTAL | _HAS_LINES))
            continue
        if step == _CANCELLED:
            state = _CANCELLED
            continue
        if meta & _HAS_TOTAL:
            total = said[one, _TOTAL]
            total_part = said[one, _TOTAL + 1]
            spoken = ((meta >> _CURRENCY_SHIFT) & 0xFFFFFFFF) - 1
            currency = spoken if spoken >= 0 else currency
        if meta & _HAS_LINES:
            lines_of = one
        state = state if step == _UPDATED else step
    back, back_part = _refunded(said, chain, count, without, currency)
    left, left_part = less(total, total_part, back, back_part)
    if all_back or left < 0:
        left = left_part = np.int64(0)
    is_back = back > 0 or (back == 0 and back_part > 0)
    void = all_back or (is_back and left == 0 and left_part == 0)
    paid = state in (_PAID, _DELIVERED)
    counts = paid and not void
    if paid and void:
        state = _REFUNDED
    if placed_us == 0:
        placed_us = placing_us if placing_us > 0 else first_us
    out[_PLACED] = placed_us
    out[_ORDERS] = 1 if counts else 0
    out[_VALUE_OF] = left if counts else 0
    out[_VALUE_OF + 1] = left_part if counts else 0
    out[_CURRENCY] = currency
    out[_STATE_OF] = state
    out[_LINES] = 0
    if counts and lines_of >= 0:
        out[_LINES] = _kept_lines(t, count, without, lines_of, kept)


@njit(nogil=True, cache=True)
def _refunded(said: Any, chain: Any, count: Any, without: Any, currency: Any) -> Any:
    """Refunds in the order's currency or without one; all of them when the order has none."""
    back = np.int64(0)
    back_part = np.int64(0)
    for k in range(count):
        one = chain[k]
        meta = said[one, _META]
        if one == without or meta & _STEP_BITS != _REFUNDED or not meta & _HAS_TOTAL:
            continue
        spoken = ((meta >> _CURRENCY_SHIFT) & 0xFFFFFFFF) - 1
        if currency < 0 or spoken < 0 or spoken == currency:
            back, back_part = added(back, back_part, said[one, _TOTAL], said[one, _TOTAL + 1])
    return back, back_part


@njit(nogil=True, cache=True)
def _kept_lines(t: Any, count: Any, without: Any, lines_of: Any, kept: Any) -> Any:
    """Lines of an event less those that refunds name, where something is left; how many.

    t.back is all zero before and afterwards.
    """
    said, chain, lines, back = t.said, t.chain, t.lines, t.back
    for k in range(count):
        one = chain[k]
        if one != without and said[one, _META] & _STEP_BITS == _REFUNDED:
            for at in range(said[one - 1, _LINES_END] if one > 0 else 0, said[one, _LINES_END]):
                word = lines[at, 0]
                whole, part = added(back[word, 0], back[word, 1], lines[at, 1], lines[at, 2])
                back[word, 0] = whole
                back[word, 1] = part
    found = 0
    for at in range(
        said[lines_of - 1, _LINES_END] if lines_of > 0 else 0, said[lines_of, _LINES_END]
    ):
        word = lines[at, 0]
        whole, part = less(lines[at, 1], lines[at, 2], back[word, 0], back[word, 1])
        if whole > 0 or (whole == 0 and part > 0):
            kept[found, 0] = word
            kept[found, 1] = whole
            kept[found, 2] = part
            found += 1
    for k in range(count):
        one = chain[k]
        if one != without and said[one, _META] & _STEP_BITS == _REFUNDED:
            for at in range(said[one - 1, _LINES_END] if one > 0 else 0, said[one, _LINES_END]):
                back[lines[at, 0], 0] = 0
                back[lines[at, 0], 1] = 0
    return found


@njit(nogil=True, cache=True)
def changed_lines(
    after: Any, after_count: Any, before: Any, before_count: Any, t: Any, changed: Any
) -> Any:
    """The second lines taken from the first (both sorted), into `changed`; how many differ."""
    i = 0
    j = 0
    found = 0
    while i < after_count or j < before_count:
        both = i < after_count and j < before_count and after[i, 0] == before[j, 0]
        whole = np.int64(0)
        part = np.int64(0)
        if (
            both
            or j == before_count
            or (i < after_count and sorts_before(t.words, t.word_end, after[i, 0], before[j, 0]))
        ):
            word = after[i, 0]
            whole = after[i, 1]
            part = after[i, 2]
            i += 1
        else:
            word = before[j, 0]
            both = True
        if both:
            whole, part = less(whole, part, before[j, 1], before[j, 2])
            j += 1
        if whole != 0 or part != 0:
            changed[found, 0] = word
            changed[found, 1] = whole
            changed[found, 2] = part
            found += 1
    return found
