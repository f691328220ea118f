"""Cursors of calendar windows and of averages against every event asked by itself.

Random events around days when clocks change; at every instant at which one may come or go, and a
microsecond before and after it, members by cursor and from scratch are those whose events, taken
one by one with `calendars.bounds`, add up so. Hypothesis prints the example and its blob.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from cli.simulation.naive.facts import Created, Row
from muster.segments.v1 import facts_pb2 as facts
from muster.types.v1 import common_pb2, event_pb2
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain.calendars import bounds, stay
from services.segments.domain.conditions import Aggregate, Comparison, EventsAre, Kind, Selector
from services.segments.domain.times import DAY_US
from services.segments.domain.values import Op
from services.segments.domain.windows import CalendarPeriods, CalendarSteps, Span, Unit, Window
from services.segments.engine.engine import Engine
from services.segments.engine.language.expressions import AverageLeaf, FigureLeaf, leaves_of
from tests.properties.test_segments_calendars import near, periods, steps
from tests.support import encoding

PROFILES = 2
rolling = st.builds(Window, st.integers(1, 9 * DAY_US), st.just(0))
whole = st.builds(
    lambda span: replace(
        span,
        length=min(span.length, span.back + 1),
        week_start=span.week_start if span.unit is Unit.WEEK else 1,
    ),
    periods,
)
spans = steps | whole | whole | rolling
amounts = st.sampled_from(
    ["1", "1", "2", "2", "0", "-2.5", "49.99", "49.99", "0.0000001", "4000000000000", "x"]
)
bounds_asked = st.sampled_from(["0", "1", "1", "1.5", "2", "25.495", "49.99", "0.00000005"])


@st.composite
def leaves(draw: st.DrawFn) -> EventsAre:
    kind = draw(st.sampled_from([Kind.COUNT, Kind.SUM, Kind.AVG, Kind.AVG]))
    op = draw(st.sampled_from([Op.GTE, Op.GT, Op.LT, Op.LTE, Op.EQ, Op.NE, Op.BETWEEN]))
    low = Fraction(draw(bounds_asked))
    aggregate = Aggregate(kind, "" if kind is Kind.COUNT else "amount")
    high = low + 2 if op is Op.BETWEEN else Fraction(0)
    return EventsAre(Selector(("order",)), draw(spans), aggregate, Comparison(op, low, high))


@st.composite
def rows(draw: st.DrawFn, begin_us: int) -> list[Row]:
    """Events before and after `begin`, some of them late, in order of acceptance."""
    made = []
    accept_us = begin_us - 40 * DAY_US
    for place in range(draw(st.integers(1, 14))):
        accept_us += draw(st.integers(0, 6 * DAY_US))
        behind = draw(st.sampled_from([0, 0, 0, 1]) | st.integers(0, 40 * DAY_US))
        text = draw(amounts)
        profile = draw(st.integers(0, PROFILES - 1))
        properties = {"amount": {0: text if text == "x" else Fraction(text)}}
        occur_us = accept_us - behind
        made.append(
            Row(profile, profile, f"e{place}", "order", occur_us, accept_us, properties, False)
        )
    return made


def figure(leaf: EventsAre, known: list[Row], profile: int, at_us: int) -> Fraction | None:
    """What the aggregate answers over the rows in the window, one by one."""
    low, high = bounds(leaf.window, at_us)
    inside = [
        row.properties["amount"][0]
        for row in known
        if row.profile == profile and row.accept_us <= at_us and (low or 0) <= row.occur_us <= high
    ]
    if leaf.aggregate.kind is Kind.COUNT:
        return Fraction(len(inside))
    found = [one for one in inside if isinstance(one, Fraction)]
    if leaf.aggregate.kind is Kind.SUM:
        return sum(found, Fraction(0))
    return sum(found, Fraction(0)) / len(found) if found else None


def unit_of(unit: Unit) -> pb.CalendarUnit:
    return pb.CalendarUnit.Value(f"CALENDAR_UNIT_{unit.name}")


def window_of(span: Span) -> pb.Window:
    """The span as the contract says it."""
    made = pb.Window()
    match span:
        case Window(oldest_us):
            made.last.FromMicroseconds(oldest_us or 0)
        case CalendarSteps(n, unit, clock):
            made.last_calendar_units.n, made.last_calendar_units.zone = n, clock.zone
            made.last_calendar_units.unit = unit_of(unit)
        case CalendarPeriods(unit, back, length, clock, week_start):
            period = made.this_period
            period.unit, period.back, period.length = unit_of(unit), back, length
            period.zone, period.week_start = clock.zone, week_start if unit is Unit.WEEK else 0
    return made


def definition_of(leaf: EventsAre) -> facts.SegmentDefined:
    made = facts.SegmentDefined(segment_id="asked", segment_number=1, version=1)
    event = made.condition.event
    event.events.types.append("order")
    event.window.CopyFrom(window_of(leaf.window))
    event.aggregate.kind = pb.AggregateKind.Value(f"AGGREGATE_KIND_{leaf.aggregate.kind.name}")
    event.aggregate.property = leaf.aggregate.property
    event.comparison.op = pb.Operator.Value(f"OPERATOR_{leaf.comparison.op.name}")
    values = [leaf.comparison.low, leaf.comparison.high]
    for value in values if leaf.comparison.op is Op.BETWEEN else values[:1]:
        text = event_pb2.Decimal(units=int(value * 10**8), exponent=8)
        event.comparison.values.append(common_pb2.Value(decimal=text))
    return made


def instants(leaf: EventsAre, known: list[Row], begin_us: int) -> list[int]:
    """Where an event may come or go, with a microsecond around it."""
    found = {begin_us}
    for row in known:
        for edge in (row.accept_us, *(stay(leaf.window, row.occur_us) or ())):
            if edge is not None:
                found.update((edge - 1, edge, edge + 1))
    return sorted(at for at in found if at > begin_us - 50 * DAY_US)[:80]


@given(st.data(), leaves(), near)
@settings(max_examples=400, deadline=None, print_blob=True)
def test_cursors_hold_what_each_event_says_by_itself(
    data: st.DataObject, leaf: EventsAre, begin_us: int
) -> None:
    known = data.draw(rows(begin_us))
    asked = instants(leaf, known, begin_us)
    begin, again = (data.draw(st.integers(0, len(asked))) for _ in range(2))
    engine = Engine(0, 1)
    born = [Created(p, 1_000 + p, p, begin_us - 60 * DAY_US) for p in range(PROFILES)]
    engine.create_profiles(encoding.created_columns(born))
    definition = definition_of(leaf)
    plan = engine.compile(definition.condition)
    assert plan.node == leaf
    assert all(isinstance(one, FigureLeaf | AverageLeaf) for one in leaves_of(plan.expression))
    sent = 0
    for place, at in enumerate(asked):
        while sent < len(known) and known[sent].accept_us <= at:
            engine.add_events(encoding.event_columns([known[sent]]))
            sent += 1
        if place == begin:
            engine.define(definition, at)
        engine.advance(at)
        if place == again:
            state = {name: memoryview(bytes(part)) for name, part in engine.dump().items()}
            engine = Engine(0, 1)
            engine.load(state)
        wanted = [p for p in range(PROFILES) if leaf.comparison.holds(figure(leaf, known, p, at))]
        assert engine.select(plan).tolist() == wanted, (at, "from scratch")
        if place >= begin:
            assert engine.members("asked").tolist() == wanted, (at, "by cursor")
