"""The judge is judged: the naive model against instants computed by hand, and against DuckDB."""

from __future__ import annotations

import os
import random
from fractions import Fraction

import pytest

from cli.conditions import read_condition
from cli.reading import read_document
from cli.simulation.naive import changes
from cli.simulation.naive.facts import (
    Assigned,
    Created,
    Defined,
    Fact,
    Linked,
    Moved,
    Row,
    Transition,
)
from cli.simulation.naive.reach import leaves_of
from cli.simulation.naive.values import Value
from cli.simulation.naive.world import NaiveWorld
from cli.simulation.oracle import SqlOracle, Unspoken
from tests.support.histories import BEGIN_US, MINUTE_US, random_history

HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
T = BEGIN_US + DAY_US


def _row(at_us: int, occur_us: int | None = None, amount: Value = Fraction(1), profile: int = 0):
    name = f"e{at_us}-{profile}-{amount}"
    occur_us = at_us if occur_us is None else occur_us
    return Row(profile, profile, name, "paid", occur_us, at_us, {"amount": {0: amount}})


def _world(rule: str, *facts: Fact) -> NaiveWorld:
    defined = Defined("s", 1, 1, read_condition(read_document(rule)), BEGIN_US, "Europe/Kyiv")
    people = [Created(p, p + 1, p, BEGIN_US) for p in (0, 1)]
    people += [Linked(p, p, "cookie", f"c{p}", BEGIN_US) for p in (0, 1)]
    return NaiveWorld([*people, defined, *facts])


def _said(world: NaiveWorld, profile: int = 0) -> list[tuple[int, bool]]:
    """(microseconds after T, entered) of a profile's transitions."""
    found = changes.transitions(world, BEGIN_US, T + 100 * DAY_US)
    assert all(isinstance(t, Transition) for t in found)
    return [(t.at_us - T, t.entered) for t in found if t.profile == profile]


IN_THE_LAST_HOUR = "event: {type: paid, window: last 1 hour}"
SUM = "event: {type: paid, window: last 1 hour, sum: {of: amount, gte: 0.3}}"


def test_an_event_counts_from_its_instant_and_leaves_exactly_a_window_later() -> None:
    assert _said(_world(IN_THE_LAST_HOUR, _row(T))) == [(0, True), (HOUR_US, False)]


def test_a_late_event_counts_from_its_arrival_and_leaves_by_its_own_time() -> None:
    world = _world(IN_THE_LAST_HOUR, _row(T, T - HOUR_US + 1))
    assert _said(world) == [(0, True), (1, False)]
    assert _said(_world(IN_THE_LAST_HOUR, _row(T, T - HOUR_US))) == []


def test_an_event_of_the_future_counts_when_its_time_comes() -> None:
    world = _world(IN_THE_LAST_HOUR, _row(T, T + MINUTE_US))
    assert _said(world) == [(MINUTE_US, True), (MINUTE_US + HOUR_US, False)]


def test_what_goes_and_comes_at_one_instant_is_no_transition() -> None:
    world = _world(IN_THE_LAST_HOUR, _row(T), _row(T + HOUR_US))
    assert _said(world) == [(0, True), (2 * HOUR_US, False)]


def test_sums_are_exact() -> None:
    tenths = [_row(T, amount=Fraction(1, 10)), _row(T + 1, amount="0.20")]
    assert _said(_world(SUM, *tenths)) == [(1, True), (HOUR_US, False)]
    assert _said(_world(SUM, _row(T, amount=Fraction("0.299999")), _row(T + 1, amount="x"))) == []


def test_a_slice_opens_at_its_nearer_edge_and_closes_at_its_farther() -> None:
    world = _world("event: {type: paid, window: from 2 to 1 days ago}", _row(T))
    assert _said(world) == [(DAY_US, True), (2 * DAY_US, False)]


def test_an_absolute_window_holds_its_begin_and_not_its_end() -> None:
    rule = "event: {type: paid, window: {from: 2026-03-02T00:00:00Z, to: 2026-03-02T01:00:00Z}}"
    assert _said(_world(rule, _row(T))) == [(0, True)]
    assert _said(_world(rule, _row(T + HOUR_US - 1))) == [(HOUR_US - 1, True)]
    assert _said(_world(rule, _row(T + HOUR_US))) == []
    assert _said(_world(rule, _row(T, T - 1))) == []


def test_a_merge_unites_histories_and_the_absorbed_leaves() -> None:
    rule = "event: {type: paid, window: last 1 hour, count: {gte: 2}}"
    merge = Moved(1, 1, 0, (1,), True, "m", T + 2)
    world = _world(rule, _row(T), _row(T + 1, profile=1), merge)
    assert _said(world) == [(2, True), (HOUR_US, False)]
    assert not world.exists(1, T + 2)
    back = Moved(2, 0, 1, (1,), False, "u", T + 3)
    world = _world(rule, _row(T), _row(T + 1, profile=1), merge, back)
    assert _said(world) == [(2, True), (3, False)]
    assert world.exists(1, T + 3)


def test_the_survivors_attribute_wins_else_the_absorbed_ones_counts() -> None:
    merge = Moved(1, 1, 0, (1,), True, "m", T + 5)
    sets = [
        Assigned(0, 0, "a", "city", ("Kyiv",), T, T),
        Assigned(1, 1, "b", "city", ("Lviv",), T + 1, T + 1),
        Assigned(1, 1, "c", "age", (Fraction(7),), T + 2, T + 2),
    ]
    world = _world(IN_THE_LAST_HOUR, *sets, merge)
    assert world.attribute(0, "city", T + 5) == ["Kyiv"]
    assert world.attribute(0, "age", T + 5) == [Fraction(7)]
    assert world.attribute(1, "age", T + 4) == [Fraction(7)]


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("eq: 10", "10", True),
        ("eq: 10", "10.00", True),
        ('eq: "10"', "10.0", False),
        ('eq: "10"', Fraction(10), True),
        ("eq: 10", "10 ", False),
        ("eq: true", True, True),
        ("eq: 1", True, False),
        ("ne: 1", True, True),
        ("eq: caf\u00e9", "cafe\u0301", True),
        ("eq: KYIV", "kyiv", False),
        ("eq_ci: STRASSE", "straße", True),
        ("gt: 9", "10", True),
        ('gt: "9"', "10", False),
        ("lt: 1", "", False),
        ("ne: x", "", True),
        ("exists: true", "", False),
        ("exists: true", False, True),
        ("not_in: [a, b]", "c", True),
        ("between: [1, 2]", Fraction(2), True),
        ("contains: .", "a", False),
        ("matches: '^a.c$'", "abc", True),
        ("before: 2026-03-01", "2026-02-28", True),
        ("after: 2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000001Z", True),
        ("after: 2026-03-01T00:00:00Z", "2026-03-01T01:00:00+01:00", False),
    ],
)
def test_operators_over_one_value(rule: str, value: Value, holds: bool) -> None:
    parts = rule.split(": ", 1)
    condition = f"attribute: {{name: a, {parts[0]}: {parts[1]}}}"
    world = _world(condition, Assigned(0, 0, "a", "a", (value,), T, T))
    assert world.member("s", 0, T) is holds


def test_a_birthday_is_tomorrow_from_one_local_midnight_to_the_next() -> None:
    rule = "attribute: {name: born, anniversary: tomorrow}"
    world = _world(rule, Assigned(0, 0, "a", "born", ("1990-03-05",), BEGIN_US, BEGIN_US))
    # 4 March begins in Kyiv at 22:00 UTC of 3 March.
    opens = 3 * DAY_US - 2 * HOUR_US - DAY_US
    assert _said(world) == [(opens, True), (opens + DAY_US, False)]


def test_duckdb_and_the_naive_model_agree_on_leaves() -> None:
    seed = int(os.environ.get("MUSTER_SEED", random.SystemRandom().randrange(10**9)))
    print(f"first seed {seed}")
    asked = 0
    for history in (random_history(seed + n) for n in range(15)):
        world = NaiveWorld(history.facts)
        oracle, rng = SqlOracle(world), random.Random(history.seed)
        instants = sorted({f.effect_us for f in history.facts if isinstance(f, Row)})
        for defined in history.conditions():
            for leaf, zone in leaves_of(defined):
                at_us = rng.choice(instants) + rng.choice([0, 0, 1, -1])
                existing = [p for p in sorted(world.alive) if world.exists(p, at_us)]
                try:
                    by_sql = oracle.satisfying(leaf, at_us, existing, zone)
                except Unspoken:
                    continue
                asked += 1
                by_hand = [p for p in existing if world.holds(leaf, p, at_us, zone)]
                assert by_sql == by_hand, f"seed {history.seed} at {at_us}: {leaf}"
    assert asked > 50
