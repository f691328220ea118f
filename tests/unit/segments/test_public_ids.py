"""Late evidence may give a profile another public id; the old one keeps resolving."""

from __future__ import annotations

import numpy as np

from services.segments.engine.engine import Engine

OLD, NEW = 0x1111, 0x2222


def created(public_id: int) -> dict[str, np.ndarray]:
    return {
        "profile": np.array([4], np.uint32),
        "public_id": np.array([public_id], np.uint64),
        "atom": np.array([9], np.uint32),
        "create_time_us": np.array([1_000], np.int64),
    }


def test_both_ids_resolve_and_the_newest_is_shown_also_after_a_restart() -> None:
    engine = Engine(0, 2)
    for public_id in (OLD, NEW):
        engine.create_profiles(created(public_id))
        engine.advance(2_000)
    again = Engine(0, 2)
    again.load({name: memoryview(bytes(value)) for name, value in engine.dump().items()})
    for one in (engine, again):
        assert one.public_id(4) == NEW
        assert one.number_of(OLD) == one.number_of(NEW) == 4
