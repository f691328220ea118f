"""Once warm, no step, question or restart waits for a compiler."""

from __future__ import annotations

import gc
import random

import pytest
from numba.core.dispatcher import Dispatcher

from services.segments.engine.engine import Engine
from services.segments.engine.warm import warm
from tests.support.engines import EngineRun
from tests.support.histories import Shape, random_history


def compiled() -> set[tuple[str, str]]:
    """Kernels of segments with each signature that they have been compiled for in this process."""
    found = set()
    for one in gc.get_objects():
        if isinstance(one, Dispatcher) and one.py_func.__module__.startswith("services.segments"):
            name = f"{one.py_func.__module__}.{one.py_func.__name__}"
            found |= {(name, str(signature)) for signature in one.signatures}
    return found


@pytest.mark.parametrize("partitions", [1, 2])
def test_what_a_history_needs_is_compiled_before_it(partitions: int) -> None:
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")
    warm()
    before = compiled()
    shape = Shape(instants=60, profiles=12, partitions=partitions, ordered=partitions == 1)
    run = EngineRun(random_history(seed, shape), random.Random(seed))
    for at_us in run.cuts(0.4):
        run.step(at_us)
    for engine in run.engines:
        again = Engine(engine.partition, engine.partitions)
        again.load({name: memoryview(bytes(one)) for name, one in engine.dump().items()})
        assert [one.members for one in again.segments()] == [
            one.members for one in engine.segments()
        ]
    late = sorted({name for name, _ in compiled() - before})
    assert not late, f"seed {seed}: compiled after warming up: {late}"
