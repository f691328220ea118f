"""The state machine of a watch against a naive model that looks at the whole past each time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from services.alerts.domain.series import OpenPoints
from services.alerts.domain.watch import (
    Bound,
    Point,
    Raised,
    Resolved,
    Series,
    Watch,
    decide,
    evolve,
    initial,
)

STEP = 10_000_000
watches = st.builds(
    Watch,
    watch_id=st.just("w"),
    version=st.just(1),
    segment_id=st.just("s"),
    series=st.just(Series.ENTERED),
    step_us=st.just(STEP),
    above=st.sampled_from([Bound(6), Bound(65, 1), None]),
    below=st.sampled_from([Bound(3), Bound(25, 1), None]),
    for_points=st.integers(1, 3),
    resolve_points=st.integers(1, 3),
    cool_down_us=st.integers(0, 8).map(lambda n: n * STEP - n % 2),
)
values = st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8]), max_size=40)


def naive(watch: Watch, points: list[int]) -> list[tuple[int, str]]:
    """(point, what is said there), from the words of the rule, without a state."""

    def breach(value: int) -> int:
        if watch.above is not None and value * 10**watch.above.exponent > watch.above.units:
            return 1
        if watch.below is not None and value * 10**watch.below.exponent < watch.below.units:
            return -1
        return 0

    said: list[tuple[int, str]] = []
    for now in range(len(points)):
        raised = bool(said) and said[-1][1] == "raised"
        if raised:
            last = points[max(0, now - watch.resolve_points + 1) : now + 1]
            since = now - said[-1][0]
            if since >= watch.resolve_points and not any(map(breach, last)):
                said.append((now, "resolved"))
            continue
        # In a row since the last resolution, in one direction.
        begin = said[-1][0] + 1 if said else 0
        row = points[max(begin, now - watch.for_points + 1) : now + 1]
        directions = {breach(value) for value in row}
        long_enough = len(row) == watch.for_points and directions in ({1}, {-1})
        raises = [place for place, what in said if what == "raised"]
        cooled = not raises or (now - raises[-1]) * STEP >= watch.cool_down_us
        if long_enough and cooled:
            said.append((now, "raised"))
    return said


@given(watches, values)
@settings(max_examples=1_000, deadline=None)
def test_a_watch_says_what_the_rule_says(watch: Watch, points: list[int]) -> None:
    state, said = initial(), []
    for place, value in enumerate(points):
        point = Point(place * STEP, (place + 1) * STEP, value)
        facts = decide(watch, state, point)
        for fact in facts:
            state = evolve(state, fact)
        assert decide(watch, state, point) == []
        said += [(place, "raised") for f in facts if isinstance(f, Raised)]
        said += [(place, "resolved") for f in facts if isinstance(f, Resolved)]
    assert said == naive(watch, points)


rows = st.lists(st.tuples(st.integers(0, 12 * STEP), st.sampled_from([1, -1])), max_size=30)


@given(rows, st.integers(1, 2), st.sampled_from([Series.SIZE, Series.ENTERED]), st.data())
@settings(max_examples=500, deadline=None)
def test_points_do_not_depend_on_how_the_rows_were_cut_into_steps(
    moves: list[tuple[int, int]], partitions: int, series: Series, data: st.DataObject
) -> None:
    """Rows of each partition in order of time, cut and interleaved at will: the same points."""
    watch = Watch("w", 1, "s", series, STEP)
    lanes: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]
    for at_us, sign in sorted(moves):
        lanes[data.draw(st.integers(0, partitions - 1))].append((at_us, sign))
    points, times, members = OpenPoints(STEP, 0), [0] * partitions, 0
    closed = []
    while any(lanes):
        lane = data.draw(st.sampled_from([n for n, rest in enumerate(lanes) if rest]))
        count = data.draw(st.integers(1, len(lanes[lane])))
        step, lanes[lane] = lanes[lane][:count], lanes[lane][count:]
        for at_us, sign in step:
            members += sign
            amount = sign if series is Series.SIZE else max(sign, 0)
            points.add(at_us // STEP * STEP, amount)
        times[lane] = step[-1][0]
        closed += list(points.close(watch, min(times), members, 100))
    closed += list(points.close(watch, 13 * STEP, members, 100))
    expected = []
    for place in range(13):
        begin, end = place * STEP, (place + 1) * STEP
        if series is Series.SIZE:
            value = sum(sign for at_us, sign in moves if at_us < end)
        else:
            value = sum(sign > 0 for at_us, sign in moves if begin <= at_us < end)
        expected.append(Point(begin, end, value))
    assert closed == expected
