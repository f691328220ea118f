"""Disagreements that random trees found, shrunk to the facts that matter."""

from __future__ import annotations

import random
from typing import Any

from cli.conditions import read_condition
from cli.simulation.naive.facts import Assigned, Created, Fact, Linked, Moved, Row
from cli.simulation.naive.world import NaiveWorld
from tests.support.comparison import transitions_differ
from tests.support.engines import EngineRun
from tests.support.histories import BEGIN_US, DAY_US, History, Shape, random_history

T = BEGIN_US


def _run(*facts: Fact, partitions: int = 1) -> EngineRun:
    end_us = T + 400 * DAY_US
    history = History(0, Shape(partitions=partitions), list(facts), end_us=end_us)
    for fact in facts:
        if isinstance(fact, Moved) and fact.arrive_us is not None:
            history.pinned |= {fact.at_us, fact.arrive_us}
    return EngineRun(history, random.Random(0))


def _person(profile: int, kind: str, at_us: int) -> list[Fact]:
    return [
        Created(profile, profile + 1, profile, at_us),
        Linked(profile, profile, kind, f"{kind}-{profile}", at_us),
        Row(profile, profile, f"first-{profile}", "seen", at_us, at_us),
    ]


def _selects(run: EngineRun, rule: dict[str, Any]) -> list[int]:
    condition = read_condition(rule)
    return sorted(int(p) for e in run.engines for p in e.select(e.compile(condition)))


def test_asking_for_birthdays_leaves_nothing_behind_that_goes_stale() -> None:
    """A question kept the standing values of its attribute, and nobody kept them up."""
    born = Assigned(0, 0, "e", "born", ("1992-02-29",), T, T)
    merge = Moved(1, 0, 1, (0,), True, "m", T + DAY_US)
    run = _run(*_person(0, "cookie", T), born, *_person(1, "user_id", T), merge)
    run.step(T)
    birthday = {"attribute": {"name": "born", "anniversary": {"span_days": 366}}}
    assert _selects(run, birthday) == [0]
    run.step(T + DAY_US)
    assert _selects(run, birthday) == [1]
    assert _selects(run, {"attribute": {"name": "born", "exists": True}}) == [1]


def test_what_somebody_said_at_the_instant_of_a_move_goes_along() -> None:
    """Neither partition walked past it, so neither took the word."""
    moved_us = T + DAY_US
    said = {"channel": {0: "mobile_push"}, "platform": {0: "ios"}}
    word = Row(1, 1, "word", "push_subscribed", moved_us, moved_us, said)
    merge = Moved(1, 1, 0, (1,), True, "m", moved_us, moved_us + 1)
    run = _run(
        *_person(0, "user_id", T), *_person(1, "mobile_push_token", T), word, merge, partitions=2
    )
    for at_us in (T, moved_us, moved_us + 1):
        run.step(at_us)
    assert _selects(run, {"channel": {"name": "mobile_push", "platform": "ios"}}) == [0]


def test_the_judges_notice_one_fact_left_out() -> None:
    """What holds every reader to every other is held to this: it can fail."""
    noticed = 0
    for seed in range(12):
        history = random_history(seed)
        run = EngineRun(history, random.Random(seed))
        for at_us in run.cuts(0.4):
            run.step(at_us)
        assert not list(transitions_differ(run.told, NaiveWorld(history.facts), history.end_us))
        place = random.Random(seed).choice(
            [n for n, fact in enumerate(history.facts) if isinstance(fact, Row)]
        )
        fewer = history.facts[:place] + history.facts[place + 1 :]
        noticed += bool(list(transitions_differ(run.told, NaiveWorld(fewer), history.end_us)))
    assert noticed >= 4
