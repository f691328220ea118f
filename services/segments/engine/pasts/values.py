"""Values that an attribute had, of many profiles at once: since when one is held, and what changed.

About tests that move, and about lists as values that changed, it says nothing. Hot kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain.values import POSITIVE_OF, Op, Scalar, Test
from services.segments.engine.base.arrays import Array, Number, bare
from services.segments.engine.live.boundaries import stays
from services.segments.engine.pasts.attributes import FOR_EVER
from services.segments.engine.pasts.columns import keys_of_values
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.pasts.kernels import NO_KEY
from services.segments.engine.store.attributes import Records, record_accepts
from services.segments.engine.store.people import Slots
from services.segments.engine.store.predicates import Predicates

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

NOT_HELD = np.iinfo(np.int64).max


class Values(NamedTuple):
    """Records by (profile, time), the one that stands at each instant: since when, and whose (the
    place in the crowd)."""

    record: Array
    since: Array
    owner: Array


@njit(cache=True, nogil=True)
def _own(
    a: Records, slots: Slots, rows: Array, profiles: Array, key: int, now: Array, out: Array,
    owner: Array,
) -> Number:  # fmt: skip
    """Records of an attribute that profiles have as their own, each as of its instant; how many
    there are, though not all may fit."""
    a, slots = bare(a), bare(slots)
    n = 0
    for place in range(rows.size):
        slot = np.int64(slots.first_slot[rows[place]])
        while slot >= 0:
            r = np.int64(slots.record_head[slot])
            while r >= 0:
                if (
                    a.key[r] == key
                    and a.home[r] == profiles[place]
                    and a.occur[r] <= now[place]
                    and a.accept[r] <= now[place]
                ):
                    if n < out.size:
                        out[n] = r
                        owner[n] = place
                    n += 1
                r = np.int64(a.previous[r])
            slot = np.int64(slots.next[slot])
    return n


@njit(cache=True, nogil=True)
def _accepted(a: Records, p: Predicates, records: Array, test: int, found: Array) -> None:
    a, p = bare(a), bare(p)
    for i in range(records.size):
        found[i] = record_accepts(a, p, records[i], test)


def values_of(part: Partition, attribute: str, crowd: Crowd) -> Values:
    """What profiles' values were, each up to its instant, as the log stood then."""
    view, people = part.attributes.view, part.people
    key, profiles = part.names.number_of(attribute), crowd.rows * people.partitions
    profiles += people.partition
    room = 2 * crowd.rows.size + 16
    while True:
        record, owner = np.empty(room, np.int64), np.empty(room, np.int64)
        n = int(_own(view, people.view(), crowd.rows, profiles, key, crowd.now, record, owner))
        if n <= room:
            break
        room = n
    record, owner = record[:n], owner[:n]
    order = np.lexsort((record, view.accept[record], view.occur[record], owner))
    record, owner = record[order], owner[order]
    since = view.occur[record]
    stands = np.ones(n, bool)
    stands[:-1] = (owner[1:] != owner[:-1]) | (since[1:] != since[:-1])
    return Values(record[stands], since[stands], owner[stands])


def _satisfying(part: Partition, records: Array, test: Test) -> Array:
    """Which records' values satisfy a test that stands still."""
    positive = test.positive if test.op in POSITIVE_OF else test
    number, found = part.tests.number_of(positive), np.zeros(records.size, bool)
    asked = False
    while not asked:
        _accepted(part.attributes.view, part.tests.view(), records, number, found)
        asked = part.tests.answered()
    return found if positive is test else ~found


def held(part: Partition, leaf: rule.AttributeHeld, crowd: Crowd) -> tuple[Array, Array] | None:
    """(whether the leaf holds, next instant or 0), by place in the crowd; None for other tests."""
    test = leaf.test
    if test.moves or test.op in (Op.ALL, Op.ANNIVERSARY):
        return None
    if test.op in POSITIVE_OF and test.positive.op is Op.ALL:
        return None
    values = values_of(part, leaf.attribute, crowd)
    negated = test.op in POSITIVE_OF
    since = np.full(crowd.rows.size, FOR_EVER if negated else NOT_HELD)
    fine = _satisfying(part, values.record, test)
    # The value has held since behind the last one that did not.
    owner, n = values.owner, values.owner.size
    heads = np.flatnonzero(np.diff(owner, prepend=-1))
    if n:
        broken = np.where(fine, -1, np.arange(n))
        last = np.maximum.reduceat(broken, heads)
        ends = np.append(heads[1:], n)
        mine = owner[heads]
        behind = np.minimum(last + 1, n - 1)
        unbroken = FOR_EVER if negated else values.since[heads]
        found = np.where(last + 1 < ends, values.since[behind], NOT_HELD)
        since[mine] = np.where(last < 0, unbroken, found)
    return _for_so_long(leaf, since, crowd.now)


def _for_so_long(leaf: rule.AttributeHeld, since: Array, now: Array) -> tuple[Array, Array]:
    """Verdicts about values that have held since some instants."""
    holds = since != NOT_HELD
    begun = np.where(holds, since, 0)
    later = np.zeros(since.size, np.int64)
    for length, longer in ((leaf.at_least_us, True), (leaf.less_than_us, False)):
        if length is None:
            continue
        edge = begun + length
        ahead = (since != NOT_HELD) & (edge > now)
        later = np.where(ahead & ((later == 0) | (edge < later)), edge, later)
        holds &= (now >= edge) == longer
    return holds, later


def changed(
    part: Partition, leaf: rule.AttributeChanged, crowd: Crowd
) -> tuple[Array, Array, Array] | None:
    """(from, until, place in the crowd) of every change that the leaf looks for: when it lies in
    the window; None where a value is a list."""
    values, columns = values_of(part, leaf.attribute, crowd), part.attributes.columns
    record = values.record
    ends = columns["value_end"][record]
    starts = np.where(record > 0, columns["value_end"][record - 1], 0)
    if bool((ends - starts > 1).any()):
        return None
    one = ends > starts
    places = starts[one]
    kinds, numbers = columns["kind"][places], columns["value"][places]
    made = keys_of_values(part, kinds, numbers, columns["exponent"][places])
    if made is None:
        return None
    key = np.full(record.size, NO_KEY, np.int64)
    key[one] = made
    first = np.diff(values.owner, prepend=-1) != 0
    before = np.where(first, NO_KEY, np.concatenate(([NO_KEY], key[:-1]))[: key.size])
    found = key != before
    if leaf.after is not None:
        found &= _is(part, record, leaf.after)
    if leaf.before is not None:
        was = np.concatenate(([False], _is(part, record, leaf.before)[:-1]))[: record.size]
        found &= was & ~first
    begin, until = stays(leaf.window, values.since[found])
    return begin, until, values.owner[found]


def _is(part: Partition, records: Array, wanted: Scalar) -> Array:
    return _satisfying(part, records, Test(Op.EQ, (wanted,)))
