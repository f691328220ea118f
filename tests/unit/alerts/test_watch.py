"""A watch, told point by point: what it said and where it stood after each."""

from __future__ import annotations

import pytest

from services.alerts.domain.series import OpenPoints, faults, first_start, log_time
from services.alerts.domain.watch import (
    Bound,
    Fact,
    Judged,
    Point,
    Raised,
    Resolved,
    Series,
    State,
    Status,
    Watch,
    decide,
    decide_end,
    evolve,
    initial,
)

STEP = 60_000_000
AGAIN = [(0, "raised"), (1, "resolved"), (4, "raised")]


def watch(**fields: object) -> Watch:
    given: dict[str, object] = {"above": Bound(10), "below": Bound(2), **fields}
    return Watch("w", 1, "vip", Series.SIZE, STEP, **given)  # type: ignore[arg-type]


def told(rule: Watch, values: list[int]) -> tuple[list[tuple[int, str]], State]:
    """[(number of the point, raised or resolved)] and the state after all points."""
    state, said = initial(), []
    for place, value in enumerate(values):
        point = Point(place * STEP, (place + 1) * STEP, value)
        for fact in decide(rule, state, point):
            state = evolve(state, fact)
            if not isinstance(fact, Judged):
                said.append((place, type(fact).__name__.lower()))
    return said, state


@pytest.mark.parametrize(
    ("fields", "values", "said"),
    [
        # Bounds are strict.
        ({}, [10, 2, 5], []),
        ({}, [11], [(0, "raised")]),
        ({}, [1], [(0, "raised")]),
        ({}, [11, 12, 5], [(0, "raised"), (2, "resolved")]),
        # A bound is an exact decimal.
        ({"above": Bound(105, 1)}, [10, 11], [(1, "raised")]),
        # `for`: in a row, in one direction.
        ({"for_points": 3}, [11, 11, 5, 11, 11, 11], [(5, "raised")]),
        ({"for_points": 2}, [11, 1, 11, 1, 1], [(4, "raised")]),
        # It resolves after calm points in a row; another breach starts the count again.
        ({"resolve_points": 2}, [11, 5, 11, 5, 5], [(0, "raised"), (4, "resolved")]),
        # The other bound broken is not calm.
        ({"resolve_points": 1}, [11, 1, 5], [(0, "raised"), (2, "resolved")]),
        # Cool-down: not again before its end, but then if the breach lasts.
        ({"cool_down_us": 4 * STEP}, [11, 5, 11, 5, 11], AGAIN),
        ({"cool_down_us": 4 * STEP}, [11, 5, 11, 11, 11], AGAIN),
        ({"cool_down_us": 9 * STEP}, [11, 5, 11, 11, 5], [(0, "raised"), (1, "resolved")]),
    ],
)  # fmt: skip
def test_a_watch_says(fields: dict[str, object], values: list[int], said: list[object]) -> None:
    assert told(watch(**fields), values)[0] == said


def test_it_is_pending_while_a_breach_is_not_long_enough() -> None:
    _, state = told(watch(for_points=3), [5, 11, 11])
    assert (state.status, state.since_us) == (Status.PENDING, 2 * STEP)
    _, state = told(watch(for_points=3), [5, 11, 11, 5])
    assert (state.status, state.since_us) == (Status.QUIET, 4 * STEP)


def test_a_point_judged_twice_says_nothing_the_second_time() -> None:
    rule, point = watch(), Point(0, STEP, 11)
    state = initial()
    for fact in decide(rule, state, point):
        state = evolve(state, fact)
    assert decide(rule, state, point) == []


def test_an_alert_of_a_watch_that_ends_resolves() -> None:
    rule = watch()
    _, raised = told(rule, [5, 11])
    (fact,) = decide_end(rule, raised)
    assert (fact.raises, fact.raised_us, fact.point) == (1, 2 * STEP, Point(STEP, 2 * STEP, 11))
    _, quiet = told(rule, [5])
    assert decide_end(rule, quiet) == []


def test_the_facts_carry_the_point_and_the_bound() -> None:
    rule = watch(above=Bound(-105, 1), below=None)
    facts: list[Fact] = decide(rule, initial(), Point(0, STEP, -10))
    raised = facts[1]
    assert isinstance(raised, Raised)
    assert (str(raised.bound), raised.raises) == ("-10.5", 1)
    state = evolve(evolve(initial(), facts[0]), raised)
    calm = decide(rule, state, Point(STEP, 2 * STEP, -11))
    assert isinstance(calm[1], Resolved)
    assert calm[1].raised_us == STEP


def test_bounds_as_decimal_text() -> None:
    assert [str(Bound(*b)) for b in ((5, 0), (5, 2), (-1050, 2), (0, 1))] == [
        "5",
        "0.05",
        "-10.50",
        "0.0",
    ]


def test_the_first_point_is_the_first_whole_one_after_the_definition() -> None:
    assert first_start(STEP, 3 * STEP) == 3 * STEP
    assert first_start(STEP, 3 * STEP + 1) == 4 * STEP


def test_a_point_closes_when_the_log_has_passed_its_end_and_not_before() -> None:
    points = OpenPoints(STEP, 0)
    rule = Watch("w", 1, "vip", Series.ENTERED, STEP)
    points.add(0, 2)
    points.add(STEP, 3)
    assert list(points.close(rule, STEP - 1, 0, 100)) == []
    assert list(points.close(rule, STEP, 0, 100)) == [Point(0, STEP, 2)]
    assert not points.add(0, 1)
    assert [p.value for p in points.close(rule, 4 * STEP, 0, 100)] == [3, 0, 0]


def test_a_size_is_what_it_was_at_the_end_of_the_point() -> None:
    points = OpenPoints(STEP, 0)
    rule = Watch("w", 1, "vip", Series.SIZE, STEP)
    points.add(0, 5)
    points.add(STEP, -2)
    points.add(3 * STEP, 7)
    assert [p.value for p in points.close(rule, 4 * STEP, 110, 100)] == [105, 103, 103, 110]


def test_the_log_time_is_that_of_the_slowest_partition() -> None:
    assert log_time([5, 3], 2) == 3
    assert log_time([5], 2) == 0


def test_every_fault_of_a_watch_is_named() -> None:
    def paths(**fields: object) -> list[str]:
        given: dict[str, object] = {"step_us": STEP, "series": Series.SIZE, **fields}
        rule = Watch("w", 1, "vip", above=Bound(1), **given)  # type: ignore[arg-type]
        return [path for path, _ in faults(rule)]

    assert paths() == []
    assert paths(step_us=5_000_000) == []
    assert paths(step_us=7_000_000) == ["step"]
    assert paths(step_us=90_000_000) == ["step"]
    assert paths(step_us=500_000) == ["step"]
    assert paths(step_us=0) == ["step"]
    assert paths(below=Bound(15, 1)) == ["below"]
    assert paths(event_type="opened") == ["event_type"]
    assert paths(for_points=-1, cool_down_us=-1) == ["for_points", "cool_down"]
