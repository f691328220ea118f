"""Operators whose answer changes with time alone: in_last, in_next, older_than."""

from __future__ import annotations

import pytest

from services.segments.domain.times import DAY_US, instant_of_text, zone_of
from services.segments.domain.values import (
    DATE,
    TEXT,
    TIME,
    WHOLE,
    Op,
    Scalar,
    satisfies,
    stay,
    stays,
)
from services.segments.domain.values import (
    Test as Asked,
)

DAY = DAY_US
AT = 100 * DAY


def moving(op: Op, days: int = 7, zone: str = "") -> Asked:
    return Asked(op, (), zone, duration_us=days * DAY)


def instant(time_us: int) -> Scalar:
    return Scalar(TIME, units=time_us)


# (operator, the value from T, whether it holds)
EDGES = [
    (Op.IN_LAST, 0, True),  # T is in
    (Op.IN_LAST, 1, False),
    (Op.IN_LAST, 1 - 7 * DAY, True),
    (Op.IN_LAST, -7 * DAY, False),  # T - D is out
    (Op.IN_NEXT, 0, False),  # T is out
    (Op.IN_NEXT, 1, True),
    (Op.IN_NEXT, 7 * DAY, True),  # T + D is in
    (Op.IN_NEXT, 7 * DAY + 1, False),
    (Op.OLDER_THAN, -7 * DAY, True),  # T - D is in
    (Op.OLDER_THAN, 1 - 7 * DAY, False),
    (Op.OLDER_THAN, -1_000 * DAY, True),
]


@pytest.mark.parametrize(("op", "away", "holds"), EDGES)
def test_edges_are_exact_to_the_microsecond(op: Op, away: int, holds: bool) -> None:
    assert satisfies(moving(op), [instant(AT + away)], AT) is holds


@pytest.mark.parametrize("op", [Op.IN_LAST, Op.IN_NEXT, Op.OLDER_THAN])
def test_a_stay_is_exactly_when_the_test_holds(op: Op) -> None:
    value, test = instant(AT), moving(op)
    found = stay(test, value)
    assert found is not None
    start, end = found
    for edge in {start, AT, *([] if end is None else [end])}:
        for at in (edge - 1, edge, edge + 1):
            inside = start <= at and (end is None or at < end)
            assert satisfies(test, [value], at) is inside


def test_a_date_begins_at_midnight_of_the_tests_zone() -> None:
    for value in (Scalar(DATE, "2026-05-31"), Scalar(TEXT, "2026-05-31")):
        for zone in ("UTC", "Europe/Kyiv", "America/St_Johns"):
            begins = instant_of_text("2026-05-31", zone_of(zone))
            assert begins is not None
            assert stay(moving(Op.IN_LAST, zone=zone), value) == (begins, begins + 7 * DAY)


def test_text_that_means_an_instant_moves_and_what_means_none_never_holds() -> None:
    test = moving(Op.OLDER_THAN, 1)
    assert stay(test, Scalar(TEXT, "1970-01-01T01:00:00+01:00")) == (DAY, None)
    for value in (Scalar(TEXT, "soon"), Scalar(TEXT, ""), Scalar(WHOLE, units=5)):
        assert stay(test, value) is None
        assert not satisfies(test, [value], AT)


def test_one_element_is_enough_and_none_is_not() -> None:
    test = moving(Op.IN_LAST)
    values = [Scalar(TEXT, "soon"), instant(AT - 50 * DAY), instant(AT)]
    assert satisfies(test, values, AT)
    assert stays(test, values) == [(AT - 50 * DAY, AT - 43 * DAY), (AT, AT + 7 * DAY)]
    assert not satisfies(test, [], AT)


def test_a_moving_test_is_asked_at_an_instant() -> None:
    with pytest.raises(ValueError, match="asked at an instant"):
        satisfies(moving(Op.IN_LAST), [instant(AT)])
    with pytest.raises(ValueError, match="does not move"):
        stay(Asked(Op.EXISTS), instant(AT))
