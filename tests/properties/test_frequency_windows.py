"""Hours, periods and judgements against a slow oracle that only reads wall clocks."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, note, settings
from hypothesis import strategies as st

from services.frequency.adapters.permits import History, permits
from services.frequency.domain.allowance import Decision, Stand, judge, leaves_at, window_of
from services.frequency.domain.calendar import Calendar, Unit, index_at, start_of, zone_of
from services.frequency.domain.hours import Hours, next_open, open_until
from services.frequency.domain.strategy import Kind, Limit, Strategy

MINUTE, HOUR, DAY = 60_000_000, 3_600_000_000, 86_400_000_000
ZONES = [
    "UTC",
    "Europe/Kyiv",
    "America/New_York",
    "America/Havana",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
]
# Moments when the clocks of these zones changed, so that examples fall around them.
CHANGES = [
    datetime(2026, 3, 29, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, tzinfo=UTC),
    datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2024, 11, 3, 5, tzinfo=UTC),
    datetime(2010, 11, 7, 2, 31, tzinfo=UTC),
    datetime(2024, 4, 25, 22, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC),
    datetime(2026, 4, 4, 15, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def wall(at_us: int, zone: ZoneInfo) -> datetime:
    return (EPOCH + timedelta(microseconds=at_us)).astimezone(zone)


near_changes = st.builds(
    lambda change, minutes: us(change) + minutes * MINUTE,
    st.sampled_from(CHANGES),
    st.integers(-3 * 1_440, 3 * 1_440),
)
instants = near_changes | st.integers(us(datetime(1995, 1, 1, tzinfo=UTC)), 2_100_000_000_000_000)
hours = st.tuples(st.integers(0, 1_439), st.integers(0, 1_439)).filter(lambda h: h[0] != h[1])
zones = st.sampled_from(ZONES).map(zone_of)
calendars = st.builds(Calendar, st.sampled_from(list(Unit)), st.integers(1, 4), st.integers(1, 7))


def is_open(preferred: Hours, zone: ZoneInfo, at_us: int) -> bool:
    """The definition: the wall clock reads a time in [from, to)."""
    local = wall(at_us, zone)
    minute = local.hour * 60 + local.minute
    since = (minute - preferred.from_minute) % 1_440
    return since < (preferred.to_minute - preferred.from_minute) % 1_440


@given(hours, zones, instants)
@settings(max_examples=300, deadline=None)
def test_hours_agree_with_the_wall_clock_minute_by_minute(
    minutes: tuple[int, int], zone: ZoneInfo, at_us: int
) -> None:
    preferred = Hours(*minutes)
    closes = open_until(preferred, zone, at_us)
    assert (closes is not None) == is_open(preferred, zone, at_us)
    opens = next_open(preferred, zone, at_us)
    assert opens is not None
    # All zones here change at whole minutes, so walking them misses nothing.
    if closes is not None:
        assert opens == at_us
        edge = at_us - at_us % MINUTE + MINUTE
        while is_open(preferred, zone, edge):
            edge += MINUTE
        assert closes == edge
    else:
        edge = at_us - at_us % MINUTE + MINUTE
        while not is_open(preferred, zone, edge):
            edge += MINUTE
        assert opens == edge


def slow_first_instant(day: date, zone: ZoneInfo) -> int:
    """The first minute around a date at which its wall clock reads that date or a later one."""
    at_us = us(datetime(day.year, day.month, day.day, tzinfo=UTC)) - 30 * HOUR
    while wall(at_us, zone).date() < day:
        at_us += MINUTE
    return at_us


@given(calendars, zones, instants)
@settings(max_examples=60, deadline=None)
def test_periods_begin_with_the_first_instant_of_their_first_day(
    calendar: Calendar, zone: ZoneInfo, at_us: int
) -> None:
    index = index_at(calendar, zone, at_us)
    begin, end = start_of(calendar, zone, index), start_of(calendar, zone, index + 1)
    assert begin <= at_us < end
    # The first day of the period by its number alone.
    if calendar.unit is Unit.MONTH:
        day = date(index // 12, index % 12 + 1, 1)
    else:
        ordinal = index if calendar.unit is Unit.DAY else index * 7 + calendar.week_start
        day = date.fromordinal(ordinal)
    if calendar.unit is Unit.WEEK:
        assert day.isoweekday() == calendar.week_start
    assert begin == slow_first_instant(day, zone)


KINDS = [Kind("promo", "email"), Kind("promo", "sms"), Kind("news", "email")]
scopes = st.sampled_from([frozenset[str](), frozenset({"email"}), frozenset({"sms"})])
types = st.sampled_from([frozenset[str](), frozenset({"promo"})])
limits = st.builds(Limit, st.integers(0, 3), st.integers(1, 3 * DAY) | calendars, scopes, types)
rules = st.builds(
    Strategy,
    strategy_id=st.just("s"),
    version=st.just(1),
    limits=st.lists(limits, max_size=3).map(tuple),
    min_gap_us=st.sampled_from([0, 0, HOUR, DAY]),
    hours=st.none() | hours.map(lambda h: Hours(*h)),
    defer_on_limit=st.booleans(),
    defer_on_hours=st.booleans(),
    zone_name=st.sampled_from(ZONES),
    ttl_us=st.sampled_from([MINUTE, HOUR]),
)
histories = st.lists(
    st.tuples(st.integers(-4 * DAY, HOUR), st.sampled_from(KINDS), st.booleans()), max_size=8
)


def stood(history: list[tuple[int, Kind, bool]], now_us: int) -> list[Stand]:
    """Confirmed in the past, or reserved with a deadline at any time."""
    return [
        Stand(now_us + (at if pending else -abs(at)), kind, f"k{place}", pending)
        for place, (at, kind, pending) in enumerate(history)
    ]


def permits_at(strategy: Strategy, kind: Kind, history: list[Stand], at_us: int) -> bool:
    """The definition, one rule after the other; history: what stands."""
    for limit in strategy.limits:
        if not limit.covers(kind):
            continue
        if isinstance(limit.window, int):
            since = at_us - limit.window + 1
        else:
            index = index_at(limit.window, strategy.zone, at_us)
            since = start_of(limit.window, strategy.zone, index - limit.window.length + 1)
        if sum(s.at_us >= since and limit.covers(s.kind) for s in history) >= limit.max:
            return False
    if strategy.min_gap_us and any(at_us < s.at_us + strategy.min_gap_us for s in history):
        return False
    return strategy.hours is None or is_open(strategy.hours, strategy.zone, at_us)


@given(rules, histories, st.sampled_from(KINDS), instants)
@settings(max_examples=400, deadline=None)
def test_a_judgement_is_what_the_rules_say_one_by_one(
    strategy: Strategy, past: list[tuple[int, Kind, bool]], kind: Kind, now_us: int
) -> None:
    history = stood(past, now_us)
    standing = [s for s in history if not s.pending or s.at_us > now_us]
    verdict = judge(strategy, kind, history, now_us, now_us)
    note(repr(verdict))
    allowed = permits_at(strategy, kind, standing, now_us)
    assert (verdict.decision is Decision.ALLOWED) == allowed
    if allowed:
        assert verdict.deadline_us is not None
        assert now_us < verdict.deadline_us <= now_us + strategy.ttl_us
        last = verdict.deadline_us - 1
        assert strategy.hours is None or is_open(strategy.hours, strategy.zone, last)
        for limit in strategy.limits:
            if isinstance(limit.window, Calendar) and limit.covers(kind):
                zone = strategy.zone
                assert index_at(limit.window, zone, last) == index_at(limit.window, zone, now_us)
    elif verdict.next_us is not None:
        # Exact: it permits then, and at no instant before at which anything could change.
        assert permits_at(strategy, kind, standing, verdict.next_us)
        edges = {now_us, verdict.next_us - 1}
        for limit in strategy.limits:
            edges |= {leaves_at(limit, strategy.zone, s.at_us) for s in standing}
        edges |= {s.at_us + strategy.min_gap_us for s in standing}
        if strategy.hours is not None:
            for edge in list(edges):
                opens = next_open(strategy.hours, strategy.zone, max(edge, now_us))
                edges.add(opens if opens is not None else now_us)
        for edge in edges:
            if now_us <= edge < verdict.next_us:
                assert not permits_at(strategy, kind, standing, edge)
    else:
        blocked = [x for x in strategy.limits if x.covers(kind) and x.max == 0]
        assert blocked or strategy.hours is not None


@given(
    rules,
    st.lists(st.tuples(st.sampled_from(KINDS), histories), min_size=1, max_size=6),
    instants,
)
@settings(max_examples=300, deadline=None)
def test_permits_of_a_batch_are_the_judgements_one_by_one(
    strategy: Strategy, wishes: list[tuple[Kind, list[tuple[int, Kind, bool]]]], now_us: int
) -> None:
    rows = [
        (place, -s.at_us if s.pending else s.at_us, KINDS.index(s.kind))
        for place, (_, past) in enumerate(wishes)
        for s in stood(past, now_us)
    ]
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    history = History(*columns).standing(now_us)
    numbers = dict(enumerate(KINDS))
    for place, (kind, past) in enumerate(wishes):
        verdict = judge(strategy, kind, stood(past, now_us), now_us, now_us)
        free, until_us = permits(strategy, kind, history, numbers, len(wishes), now_us)
        assert bool(free[place]) == (verdict.decision is Decision.ALLOWED)
        if free[place]:
            assert until_us == verdict.deadline_us


@given(limits, zones, instants, st.integers(0, 10 * DAY))
@settings(max_examples=300, deadline=None)
def test_a_message_leaves_a_window_at_exactly_the_instant_named(
    limit: Limit, zone: ZoneInfo, sent_us: int, later_us: int
) -> None:
    leaves = leaves_at(limit, zone, sent_us)
    assert leaves > sent_us
    for at_us in (sent_us, sent_us + later_us, leaves - 1, leaves):
        from_us, _ = window_of(limit, zone, at_us)
        assert (sent_us > from_us) == (at_us < leaves)
