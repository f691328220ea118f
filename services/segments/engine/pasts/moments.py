"""Attributes that are instants, near or past, of many profiles at once. Hot kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from services.segments.domain import conditions as rule
from services.segments.domain.values import TEXT, TIME, Scalar, Test, stay
from services.segments.engine.base.arrays import Array, bare
from services.segments.engine.pasts.crowd import Crowd
from services.segments.engine.store.attributes import Records, standing
from services.segments.engine.store.people import Slots

if TYPE_CHECKING:
    from services.segments.engine.partition import Partition

OPEN = np.iinfo(np.int64).max


@njit(cache=True, nogil=True)
def _standing(
    a: Records, slots: Slots, rows: Array, profiles: Array, key: int, now: Array, found: Array
) -> None:
    a, slots = bare(a), bare(slots)
    for i in range(rows.size):
        found[i] = standing(a, slots, rows[i], profiles[i], key, now[i])


def stretches(part: Partition, leaf: rule.AttributeIs, crowd: Crowd) -> tuple[Array, Array, Array]:
    """(from, until, place in the crowd) of every element of the values that stand: when it
    satisfies the test; never: until <= from."""
    columns, people = part.attributes.columns, part.people
    records = np.empty(crowd.rows.size, np.int64)
    profiles = crowd.rows * people.partitions + people.partition
    _standing(
        part.attributes.view, people.view(), crowd.rows, profiles,
        part.names.number_of(leaf.attribute), crowd.now, records,
    )  # fmt: skip
    owners = np.flatnonzero(records >= 0)
    records = records[owners]
    ends = columns["value_end"][records]
    starts = np.where(records > 0, columns["value_end"][records - 1], 0)
    lengths = ends - starts
    owners = np.repeat(owners, lengths)
    places = np.arange(owners.size) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    kinds, values = columns["kind"][places], columns["value"][places]
    begin, until = np.zeros(places.size, np.int64), np.zeros(places.size, np.int64)
    for kind in (TIME, TEXT):
        alike = kinds == kind
        if kind == TIME:
            begin[alike], until[alike] = _shifted(leaf.test, values[alike])
        else:
            every, of = np.unique(values[alike], return_inverse=True)
            stays = [_stay(leaf.test, part.texts.text_of(number)) for number in every.tolist()]
            edges = np.array(stays, np.int64).reshape(-1, 2)[of.reshape(-1)]
            begin[alike], until[alike] = edges[:, 0], edges[:, 1]
    return begin, until, owners


def _shifted(test: Test, moments: Array) -> tuple[Array, Array]:
    """The stays of instants: each is as far from its instant as that of the first one."""
    if not moments.size:
        return moments, moments
    first = int(moments[0])
    span = stay(test, Scalar(TIME, units=first))
    assert span is not None  # An instant always has a stay.
    begin = moments + (span[0] - first)
    return begin, np.full(begin.size, OPEN) if span[1] is None else moments + (span[1] - first)


def _stay(test: Test, text: str) -> tuple[int, int]:
    span = stay(test, Scalar(TEXT, text)) if text else None
    if span is None:
        return 0, 0
    return span[0], OPEN if span[1] is None else span[1]
