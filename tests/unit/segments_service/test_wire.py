"""SegmentStep in parts, and names of things outside."""

from __future__ import annotations

import random

import numpy as np
import pytest

from muster.segments.v1 import facts_pb2 as segments
from services.chassis.columns import pool_of
from services.segments.adapters import names, wire


def _transitions(rows: int, seed: int) -> wire.Columns:
    rng = np.random.default_rng(seed)
    return {
        "at_us": np.sort(rng.integers(0, 1 << 50, rows)),
        "profile": rng.integers(0, 1 << 32, rows, np.uint32),
        "segment": rng.integers(1, 100, rows, np.uint32),
        "version": rng.integers(1, 9, rows, np.uint32),
        "entered": rng.integers(0, 2, rows, np.uint8),
        "reason": rng.integers(1, 12, rows, np.uint8),
        "ordinal": rng.integers(1, 1000, rows, np.uint32),
        "cause_print": rng.integers(0, 1 << 64, 2 * rows, np.uint64),
        "public_id": rng.integers(0, 1 << 64, rows, np.uint64),
        "row_flags": rng.integers(0, 2, rows, np.uint8),
    }


def _activity(rows: int, texts: list[str], seed: int) -> wire.Columns:
    rng = np.random.default_rng(seed)
    name, name_end = pool_of(texts)
    return {
        "segment": rng.integers(1, 100, rows, np.uint32),
        "type": rng.integers(0, len(texts), rows, np.uint32),
        "minute_us": rng.integers(0, 1 << 50, rows),
        "count": rng.integers(1, 50, rows, np.uint32),
        "name": name,
        "name_end": name_end,
    }


def _said(bodies: list[bytes]) -> tuple[list[tuple], list[tuple], list[tuple]]:
    """What the messages say together, read with the plain contract."""
    rows, counted, sizes = [], [], []
    for body in bodies:
        step = segments.SegmentStep.FromString(body)
        t, a = step.transitions, step.activity
        rows += zip(
            t.at_us,
            t.profile,
            t.segment,
            t.version,
            t.entered,
            t.reason,
            t.ordinal,
            t.cause_print[::2],
            t.cause_print[1::2],
            t.public_id,
            t.row_flags,
            strict=True,
        )
        ends = [0, *a.name_end]
        texts = [a.name[ends[i] : ends[i + 1]].decode() for i in range(len(a.name_end))]
        counted += [
            (s, texts[n], m, c)
            for s, n, m, c in zip(a.segment, a.type, a.minute_us, a.count, strict=True)
        ]
        sizes += [(s.segment_number, s.segment_id, s.version, s.members) for s in step.sizes]
    return rows, counted, sizes


@pytest.mark.parametrize("bytes_max", [6_000, 20_000, 512 << 10])
def test_parts_stay_within_the_limit_and_say_the_same(bytes_max: int) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    transitions = _transitions(2_000, seed)
    activity = _activity(1_500, [f"event_of_type_{i:04}" for i in range(300)], seed)
    sizes = [(n, f"segment-{n}", 1, n * 7) for n in range(1, 200)]
    bodies = wire.step_bodies(transitions, activity, sizes, bytes_max)
    assert all(len(body) <= bytes_max for body in bodies)
    assert (len(bodies) == 1) == (bytes_max == 512 << 10)
    whole = _said(wire.step_bodies(transitions, activity, sizes, 64 << 20))
    assert _said(bodies) == whole
    assert whole[0][0][0] == transitions["at_us"][0]
    assert len(whole[0]) == 2_000
    assert len(whole[1]) == 1_500
    assert whole[2] == sizes


def test_nothing_happened_is_no_message() -> None:
    assert wire.step_bodies({}, {}, []) == []


def test_columns_come_back_as_they_went() -> None:
    transitions = _transitions(10, 7)
    (body,) = wire.step_bodies(transitions, {}, [])
    back = wire.transitions_of(body)
    assert all(np.array_equal(back[name], column) for name, column in transitions.items())


def test_a_public_id_reads_back_and_a_bad_one_is_refused() -> None:
    for public_id in (0, 1, 0x0123456789ABCDEF, (1 << 64) - 1):
        text = names.profile_id_text(public_id)
        assert len(text) == 15
        assert names.public_id_of(text) == public_id
    for bad in (
        "",
        "p_",
        "p_1c7qk3v9x0a2",
        "x_1c7qk3v9x0a2m",
        "p_1c7qk3v9x0a2u",
        "p_zzzzzzzzzzzzz",
    ):
        with pytest.raises(ValueError, match="not a profile id"):
            names.public_id_of(bad)
