"""Past leaves judged for everybody in one pass say what one judgement per profile says: the answer
and the next instant at which it may change; and a course turns exactly where judgements turn.

An explained profile changes at the instant named, and not a microsecond before.

MUSTER_HISTORIES is the number of histories (40), MUSTER_SEED the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest

from services.segments.domain import conditions as rule
from services.segments.engine.asked.questions import Reader
from services.segments.engine.engine import Engine
from services.segments.engine.language.expressions import PastLeaf
from services.segments.engine.partition import Partition
from services.segments.engine.pasts import Past, course, judge, turning
from services.segments.engine.pasts.holding import one_by_one, verdicts
from tests.support.engines import EngineRun
from tests.support.histories import Shape, random_history

HISTORIES = int(os.environ.get("MUSTER_HISTORIES", "40"))
TURNS_MAX = 20


def _differences(part: Partition, leaf: PastLeaf) -> list[Any]:
    """Profiles about which the two ways differ."""
    said = []
    for found in (verdicts, one_by_one):
        by_row = {}
        for stretch in found(part, leaf, Reader(part).rows):
            rows = zip(*(one.tolist() for one in stretch), strict=True)
            by_row |= {row: (holds, later) for row, holds, later in rows if holds or later}
        said.append(by_row)
    return [said] if said[0] != said[1] else []


def _follow(part: Partition, leaf: PastLeaf, row: int) -> None:
    """Judgements at the turns of a course, and just before them, say the same."""
    past, before = Past(part, row), None
    for at, holds in list(course(leaf.node, past, part.now))[:TURNS_MAX]:
        assert judge(leaf.node, past, at)[0] == holds, (leaf, row, at)
        if before is not None:
            assert judge(leaf.node, past, at - 1)[0] == before, (leaf, row, at)
        before = holds


def _kept_up(part: Partition, leaf: PastLeaf) -> bool:
    """Whether the bits of a leaf are those from scratch."""
    number, expected = part.leaf_numbers[leaf], np.zeros(part.people.rows, bool)
    for stretch in one_by_one(part, leaf, Reader(part).rows):
        expected[stretch.rows] = stretch.holds
    bits = part.bits[: part.people.rows, number >> 6] >> np.uint64(number & 63)
    return bool(((bits & np.uint64(1)).astype(bool) == expected).all())


@pytest.mark.parametrize("crowd", [1, 8])
def test_one_pass_says_what_one_judgement_per_profile_says(
    crowd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turning, "CROWD_MIN", crowd)
    first = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {first}")
    judged: dict[type, int] = {}
    for seed in range(first, first + HISTORIES):
        run = EngineRun(random_history(seed, Shape()), random.Random(seed))
        cuts = run.cuts(0.3)
        for at in cuts:
            run.step(at)
            if at != cuts[-1] and run.rng.random() < 0.9:
                continue
            for part in (engine.part for engine in run.engines):
                for leaf in [one for one in part.leaf_numbers if isinstance(one, PastLeaf)]:
                    assert not _differences(part, leaf), (seed, at, leaf)
                    assert _kept_up(part, leaf), (seed, at, leaf)
                    if at == cuts[-1]:
                        _follow(part, leaf, run.rng.randrange(part.people.rows))
                    judged[type(leaf.node)] = judged.get(type(leaf.node), 0) + 1
    print({kind.__name__: count for kind, count in judged.items()})
    if HISTORIES >= 40:
        assert {rule.Sequence, rule.NotFollowed, rule.EventsAre, rule.Regularly} <= judged.keys()


def _copied(engine: Engine) -> Engine:
    """A fresh engine that takes over what another one knows."""
    copy = Engine(engine.partition, engine.partitions)
    copy.load({name: memoryview(bytes(body)) for name, body in engine.dump().items()})
    return copy


def _asks_cuts(engine: Engine, segment_id: str) -> bool:
    """Whether a rule, or one below it, rests on cuts that other facts bring."""
    below = {segment_id} | engine.definitions.below(segment_id)
    nodes = [engine.part.segments[one].node for one in below]
    return any(
        isinstance(leaf, rule.Rfm) for node in nodes if node for _, leaf in rule.leaves(node)
    )


def test_the_next_change_that_an_explanation_names_comes_then_and_not_before() -> None:
    first = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {first}")
    named = 0
    for seed in range(first, first + max(HISTORIES // 2, 1)):
        run = EngineRun(random_history(seed, Shape()), random.Random(seed))
        cuts = run.cuts(0.3)
        for at in cuts[: run.rng.randrange(len(cuts) // 4, len(cuts))]:
            run.step(at)
        (engine,) = run.engines
        inbox = engine.walker.inbox
        if inbox.records.size or inbox.links or inbox.births or inbox.unborn:
            continue
        people = range(engine.part.people.rows)
        asked = [one.segment_id for one in engine.segments() if not one.retired]
        asked = [segment for segment in asked if not _asks_cuts(engine, segment)]
        for segment, profile in ((segment, profile) for segment in asked for profile in people):
            flip = engine.explain(segment, profile).flip_time_us
            if flip is None:
                continue
            member, copy = engine.is_member(profile, segment), _copied(engine)
            where = (seed, segment, profile, flip)
            for until, expected in ((flip - 1, member), (flip, not member)):
                copy.advance(until)
                assert copy.is_member(profile, segment) == expected, where
            named += 1
    print(f"{named} changes named")
