"""One story per rule of the semantics, told to the engine."""

from __future__ import annotations

import pytest

from services.segments.engine.engine import ConditionFaults
from services.segments.engine.store.events import BrokenInput
from tests.unit.segments.world import DAY, HOUR, SECOND, World, dec


def test_an_event_counts_until_exactly_its_time_plus_the_window() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 20 seconds"}})
    world.event(10)
    assert world.until(10) == [(10, 0, "recent", "in", "event")]
    assert world.until(29.999999) == []
    assert world.until(30) == [(30, 0, "recent", "out", "time")]


def test_a_second_event_prolongs_without_a_word() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 20 seconds"}})
    world.event(10)
    world.event(25)
    assert world.until(100) == [(10, 0, "recent", "in", "event"), (45, 0, "recent", "out", "time")]


def test_one_leaves_and_one_comes_at_the_same_instant_is_no_change() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 20 seconds"}})
    world.event(10)
    world.event(30)
    assert world.until(40) == [(10, 0, "recent", "in", "event")]


def test_an_event_of_the_future_takes_effect_when_it_occurs() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 20 seconds"}})
    world.event(50, accept=10)
    assert world.until(49.999999) == []
    assert world.until(60) == [(50, 0, "recent", "in", "event")]


def test_a_late_event_corrects_from_its_arrival_and_leaves_by_its_own_time() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 1 hour"}})
    world.event(0, accept=1_000)
    assert world.until(2_000) == [(1_000, 0, "recent", "in", "late_event")]
    assert world.until(4_000) == [(3_600, 0, "recent", "out", "time")]


def test_an_event_that_arrives_after_its_window_never_counts() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 20 seconds"}})
    world.event(0, accept=20)
    assert world.until(100) == []


def test_a_slice_begins_and_ends_by_time_alone() -> None:
    world = World()
    world.define(
        "between",
        {"event": {"type": "order", "window": {"from": "30 seconds", "to": "10 seconds"}}},
    )
    world.event(5)
    assert world.until(100) == [
        (15, 0, "between", "in", "time"),
        (35, 0, "between", "out", "time"),
    ]


def test_money_is_exact_and_whoever_falls_below_leaves() -> None:
    world = World(2)
    world.define(
        "spender",
        {
            "event": {
                "type": "order",
                "window": "last 90 days",
                "sum": {"of": "amount", "gte": 1000},
            }
        },
    )
    world.event(0, amount=dec("999.995"))
    world.event(1, amount=dec("0.005"))
    world.event(2, amount=dec("0.1"), profile=1)
    world.event(3, amount=dec("999.899999"), profile=1)
    assert world.until(10) == [(1, 0, "spender", "in", "event")]
    assert world.until(91 * DAY / SECOND) == [(90 * DAY / SECOND, 0, "spender", "out", "time")]


@pytest.mark.parametrize("amount", ["0.0000001", "123456789012345678", "0.00000000000001"])
def test_amounts_beyond_the_columns_scale_are_summed_exactly(amount: str) -> None:
    world = World(3)
    world.define("more", {"event": {"type": "order", "sum": {"of": "amount", "gt": "0.5"}}})
    recent = {"type": "order", "window": "last 10 seconds"}
    world.define("now", {"event": recent | {"sum": {"of": "amount", "gt": "0.5"}}})
    world.event(1, amount=dec("0.5"))
    world.event(2, amount=dec(amount))
    world.event(3, amount=dec("0.5"), profile=1)
    world.event(4, amount=-dec(amount), profile=1)
    world.event(5, amount=dec("0.5"), profile=1)
    world.event(6, amount=dec("0.5"), profile=2)
    said = world.until(20)
    assert [one for one in said if one[2] == "more" and one[1] == 0] == [
        (2, 0, "more", "in", "event")
    ]
    assert world.members("more") == ([0] if dec(amount) > 1 else [0, 1])
    ends = [one for one in said if one[1] == 0 and one[3] == "out"]
    assert ends == [(12 if dec(amount) > 1 else 11, 0, "now", "out", "time")]


def test_a_sum_too_large_for_its_column_stays_exact() -> None:
    world = World()
    world.define("rich", {"event": {"type": "order", "sum": {"of": "amount", "gt": 10**13}}})
    for second in range(2_000):
        world.event(second, amount=dec("900000000000"))
    said = world.until(20_000)
    assert said == [(11, 0, "rich", "in", "event")]
    assert world.members("rich") == [0]


def test_negation_ranges_over_profiles_that_exist() -> None:
    world = World(3)
    world.define("no-mail", {"not": {"channel": "email"}})
    world.link(1, "email", profile=1)
    assert world.until(2) == [
        (0, 0, "no-mail", "in", "event"),
        (0, 1, "no-mail", "in", "event"),
        (0, 2, "no-mail", "in", "event"),
        (1, 1, "no-mail", "out", "event"),
    ]


def test_a_parent_changes_in_the_same_instant_as_its_child() -> None:
    world = World()
    world.define("child", {"event": {"type": "order", "window": "last 20 seconds"}})
    world.define("parent", {"not": {"segment": "child"}})
    world.until(1)
    world.event(5)
    assert world.until(10) == [
        (5, 0, "child", "in", "event"),
        (5, 0, "parent", "out", "event"),
    ]
    assert world.until(30) == [(25, 0, "child", "out", "time"), (25, 0, "parent", "in", "time")]


def test_a_mended_rule_moves_only_those_it_concerns_and_the_parent_follows() -> None:
    world = World(2)
    world.event(1, amount=dec("50"))
    world.event(1, amount=dec("150"), profile=1)
    world.until(2)
    world.define("spender", {"event": {"type": "order", "sum": {"of": "amount", "gte": 100}}}, 3)
    world.define("other", {"not": {"segment": "spender"}}, 3)
    assert world.until(4) == [
        (3, 0, "other", "in", "backfill"),
        (3, 1, "spender", "in", "backfill"),
    ]
    world.define("spender", {"event": {"type": "order", "sum": {"of": "amount", "gte": 10}}}, 5)
    assert world.until(6) == [
        (5, 0, "spender", "in", "rule_change"),
        (5, 0, "other", "out", "rule_change"),
    ]
    world.define("spender", None, 7)
    assert [said[1:] for said in world.until(8)] == [
        (0, "spender", "out", "rule_change"), (0, "other", "in", "rule_change"),
        (1, "spender", "out", "rule_change"), (1, "other", "in", "rule_change"),
    ]  # fmt: skip


def test_history_is_silent() -> None:
    world = World()
    world.define("buyer", {"event": "order"})
    world.event(1, imported=True)
    assert world.until(2) == [(1, 0, "buyer", "in", "import")]
    assert world.outcome is not None
    assert world.outcome.transitions["row_flags"].tolist() == [1]
    assert not world.outcome.activity


def test_ordinals_count_far() -> None:
    world = World()
    world.define("recent", {"event": {"type": "order", "window": "last 1 second"}})
    for second in range(0, 2_000, 2):
        world.event(second)
    world.until(3_000)
    assert world.outcome is not None
    assert world.outcome.transitions["ordinal"].tolist() == list(range(1, 2_001))


def test_an_attribute_is_its_newest_value_and_missing_is_false() -> None:
    world = World()
    world.define("kyiv", {"attribute": {"name": "city", "eq": "Kyiv"}})
    world.define("elsewhere", {"attribute": {"name": "city", "ne": "Kyiv"}})
    assert world.until(1) == [(0, 0, "elsewhere", "in", "event")]
    world.attribute(5, "city", "Kyiv")
    assert world.until(6) == [
        (5, 0, "kyiv", "in", "attribute"),
        (5, 0, "elsewhere", "out", "attribute"),
    ]
    world.attribute(7, "city")
    assert [said[1:4] for said in world.until(8)] == [(0, "kyiv", "out"), (0, "elsewhere", "in")]


def test_a_birthday_comes_round_at_midnight_of_the_rules_zone() -> None:
    # 1972-09-27 00:00 UTC is the thousandth day; Kyiv is three hours ahead then (Moscow time).
    world = World(begin_us=1_000 * DAY)
    world.attribute(0, "born", "1990-09-29")
    world.define(
        "tomorrow",
        {"attribute": {"name": "born", "anniversary": "tomorrow", "zone": "Europe/Kyiv"}},
    )
    said = world.until(5 * DAY / SECOND)
    assert said == [
        (21 * HOUR / SECOND, 0, "tomorrow", "in", "time"),
        (45 * HOUR / SECOND, 0, "tomorrow", "out", "time"),
    ]
    explained = world.engine.explain("tomorrow", 0)
    assert explained.flip_time_us is not None
    assert (explained.flip_time_us - world.engine.time_us) // DAY in (357, 358, 359, 360, 361)


def test_rules_that_cannot_be_are_refused_with_every_fault_and_its_path() -> None:
    world = World()
    world.define("a", {"everyone": {}})
    world.define("b", {"segment": "a"})
    with pytest.raises(ConditionFaults) as cycle:
        world.define("a", {"all": [{"segment": "b"}, {"segment": "ghost"}]})
    assert [path for path, _ in cycle.value.faults] == [
        "all[0].segment.segment_id",
        "all[1].segment.segment_id",
    ]
    rule = {"all": [{"channel": "pigeon"}, {"list": "nobody-keeps-it"}]}
    with pytest.raises(ConditionFaults) as unknown:
        world.define("c", rule)
    assert [path for path, _ in unknown.value.faults] == [
        "all[0].channel.channel",
        "all[1].list.list_id",
    ]
    assert world.until(1)[0][2] == "a"
    assert "c" not in world.engine.part.segments


def test_an_explanation_names_the_events_that_count_and_when_they_leave() -> None:
    world = World()
    world.define(
        "spender",
        {
            "event": {
                "type": "order",
                "window": "last 60 seconds",
                "sum": {"of": "amount", "gte": 5},
            }
        },
    )
    world.event(10, amount=dec("3"))
    world.event(20, amount=dec("4"))
    world.event(15, kind="view")
    world.until(30)
    explained = world.engine.explain("spender", 0)
    (leaf,) = explained.leaves
    assert (explained.member, leaf.holds, leaf.found) == (True, True, "7")
    assert [(e.event_id, e.value) for e in leaf.events] == [("e2", "4"), ("e1", "3")]
    assert leaf.events[0].leave_us == world.us(80)
    assert (leaf.window_from_us, leaf.window_to_us) == (world.us(-30), world.us(30))
    assert explained.flip_time_us == world.us(70)


def test_rows_nobody_may_send_stop_the_engine() -> None:
    world = World()
    with pytest.raises(BrokenInput, match="never created"):
        world.event(1, profile=9)
    world.until(1)
    with pytest.raises(ValueError, match="time goes forward"):
        world.until(0)


def test_a_year_of_silence_is_one_step() -> None:
    world = World(200)
    world.define("recent", {"event": {"type": "order", "window": "last 200 days"}})
    for profile in range(200):
        world.event(profile, profile=profile)
    assert len(world.until(1_000)) == 200
    assert [said[0] for said in world.until(400 * DAY / SECOND)] == [
        200 * DAY / SECOND + profile for profile in range(200)
    ]


def test_who_begins_with_an_event_is_judged_by_rules_about_those_who_have_none() -> None:
    # `idle` holds over nothing, so `busy` does not; who begins with a view is busy, never idle.
    world = World()
    world.define("idle", {"not": {"event": {"type": "view", "window": "last 10 seconds"}}})
    world.define("busy", {"not": {"segment": "idle"}})
    world.event(0, "view")
    assert world.until(20) == [
        (0, 0, "busy", "in", "event"),
        (10, 0, "idle", "in", "time"),
        (10, 0, "busy", "out", "time"),
    ]
