"""Windows by the calendar and averages, told to the engine in a customer's words."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from services.segments.domain.times import local_us, us_of
from tests.unit.segments.world import DAY, SECOND, World, dec

KYIV = ZoneInfo("Europe/Kyiv")


def kyiv(*given: int) -> int:
    """The instant of a local time in Kyiv."""
    return local_us(datetime(*given), KYIV)  # type: ignore[arg-type]  # noqa: DTZ001


def begun(*given: int) -> World:
    return World(begin_us=kyiv(*given))


def second(world: World, at_us: int) -> float:
    return (at_us - world.begin_us) / SECOND


def test_who_viewed_today_leaves_at_midnight_in_kyiv_also_when_the_day_has_25_hours() -> None:
    world = begun(2026, 10, 25)
    world.define("today", {"event": {"type": "view", "window": "today"}}, zone="Europe/Kyiv")
    world.event(second(world, kyiv(2026, 10, 25, 1)), "view")
    world.event(second(world, kyiv(2026, 10, 25, 23, 30)), "view")
    midnight = second(world, kyiv(2026, 10, 26))
    assert midnight == 25 * 3_600
    assert world.until(midnight - 0.000001) == [(3_600, 0, "today", "in", "event")]
    assert world.until(midnight) == [(midnight, 0, "today", "out", "time")]


def test_last_month_begins_and_ends_by_time_alone() -> None:
    world = begun(2026, 3, 10)
    rule = {"event": {"type": "order", "window": "last month"}}
    world.define("march", rule, zone="Europe/Kyiv")
    world.event(60)
    april, may = (second(world, kyiv(2026, month, 1)) for month in (4, 5))
    assert april == 22 * 86_400 - 3_600  # The clocks go forward on 29 March.
    assert world.until(april - 0.000001) == []
    assert world.until(april) == [(april, 0, "march", "in", "time")]
    assert world.until(may) == [(may, 0, "march", "out", "time")]


def test_on_31_may_an_order_of_1_march_is_in_the_last_three_months_and_february_is_not() -> None:
    world = begun(2026, 2, 20)
    rule = {"event": {"type": "order", "window": "last 3 months"}}
    world.define("recent", rule, zone="Europe/Kyiv")
    world.event(second(world, kyiv(2026, 2, 28, 12)))
    world.event(second(world, kyiv(2026, 3, 1)))
    world.until(second(world, kyiv(2026, 5, 31, 15)))
    told = world.engine.explain("recent", 0)
    leaf = told.leaves[0]
    assert leaf.window_from_us is not None
    assert [one.event_id for one in leaf.events] == ["e2"]
    assert leaf.events[0].leave_us == told.flip_time_us == kyiv(2026, 6, 1)
    assert kyiv(2026, 3, 1) - 1 <= leaf.window_from_us <= kyiv(2026, 3, 1)


def test_an_explanation_of_today_names_the_midnights() -> None:
    world = begun(2026, 7, 5)
    world.define("today", {"event": {"type": "view", "window": "today"}}, zone="Europe/Kyiv")
    world.event(3_600, "view")
    world.until(7_200)
    told = world.engine.explain("today", 0)
    assert told.leaves[0].window_from_us == kyiv(2026, 7, 5)
    assert told.leaves[0].events[0].leave_us == kyiv(2026, 7, 6)
    assert (told.flip_time_us, told.flip_known) == (kyiv(2026, 7, 6), True)


def test_an_order_that_arrives_after_its_day_never_counted() -> None:
    world = begun(2026, 7, 5)
    world.define("today", {"event": {"type": "view", "window": "today"}}, zone="Europe/Kyiv")
    midnight = second(world, kyiv(2026, 7, 6))
    world.event(3_600, "view", accept=midnight)
    assert world.until(midnight + 86_400) == []


def test_a_late_order_counts_until_its_own_midnight() -> None:
    world = begun(2026, 7, 5)
    world.define("today", {"event": {"type": "view", "window": "today"}}, zone="Europe/Kyiv")
    midnight = second(world, kyiv(2026, 7, 6))
    world.event(3_600, "view", accept=midnight - 1)
    assert world.until(midnight + 86_400) == [
        (midnight - 1, 0, "today", "in", "late_event"),
        (midnight, 0, "today", "out", "time"),
    ]


def test_an_average_is_exact_and_falls_and_rises_as_orders_come_and_go() -> None:
    world = World()
    rule = {
        "event": {
            "type": "order", "window": "last 100 seconds", "avg": {"of": "amount", "gte": 0.2},
        }
    }  # fmt: skip
    world.define("spender", rule)
    world.event(10, amount=dec("0.1"))
    world.event(20, amount=dec("0.3"))  # 0.2 on average, exactly.
    world.event(30, amount=dec("0.1999999"))
    world.event(40, amount="not a number")
    assert world.until(300) == [
        (20, 0, "spender", "in", "event"),
        (30, 0, "spender", "out", "event"),
        (110, 0, "spender", "in", "time"),
        (120, 0, "spender", "out", "time"),
    ]


def test_an_average_too_large_for_products_is_computed_from_rows() -> None:
    world = World()
    rule = {
        "event": {
            "type": "order", "window": "last 1 day",
            "avg": {"of": "amount", "gt": "900000000000.000000001"},
        }
    }  # fmt: skip
    world.define("whale", rule)
    world.event(1, amount=dec("900000000000"))
    assert world.until(2) == []
    world.event(3, amount=dec("900000000000.000001"))
    assert world.until(4) == [(3, 0, "whale", "in", "event")]
    assert world.members("whale") == [0]
    assert world.until(2 * DAY // SECOND) == [(86_403, 0, "whale", "out", "time")]


def test_years_far_away_do_not_disturb_a_window() -> None:
    world = World(begin_us=us_of(datetime(2026, 1, 1, tzinfo=UTC)))
    world.define("ages", {"event": {"type": "order", "window": "last 100 years"}})
    world.event(1)
    assert world.until(2) == [(1, 0, "ages", "in", "event")]
    assert world.members("ages") == [0]
