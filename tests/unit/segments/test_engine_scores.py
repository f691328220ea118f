"""RFM in the engine: scores by edges change by orders and at local midnights, by time alone."""

from __future__ import annotations

from services.segments.domain.times import instant_of_text, zone_of
from tests.unit.segments.world import SECOND, World, dec

KYIV = "Europe/Kyiv"
NOON = instant_of_text("2026-03-10T12:00:00", zone_of(KYIV)) or 0
EDGES = {
    "recency_days": [1, 3, 5, 7],
    "frequency": [2, 3, 4, 5],
    "money": [10, 20, 30, 40],
}
FRESH = {
    "rfm": {
        "type": "order", "amount": "total", "recency": [4, 5], "edges": EDGES, "zone": KYIV,
        "window": {"last": "240h"},
    }
}  # fmt: skip


def seconds_to(local: str) -> float:
    return ((instant_of_text(local, zone_of(KYIV)) or 0) - NOON) / SECOND


def test_recency_falls_at_local_midnights_by_time_alone() -> None:
    world = World(begin_us=NOON)
    world.define("fresh", FRESH)
    world.event(60, total=dec("12.50"))
    assert world.until(3_600) == [(60, 0, "fresh", "in", "event")]
    # Bought on the 10th: one day old on the 11th (score 4), three on the 13th (score 3).
    out = seconds_to("2026-03-13T00:00:00")
    assert world.until(out - 1) == []
    assert world.members("fresh") == [0]
    assert world.until(out + 1) == [(out, 0, "fresh", "out", "time")]
    assert world.members("fresh") == []


def test_frequency_and_money_follow_orders_and_the_window() -> None:
    world = World(begin_us=NOON, profiles=2)
    rule = {"rfm": {**FRESH["rfm"], "frequency": [2, 5], "money": [3, 5]}}
    world.define("good", rule)
    world.event(10, total=dec("12"))
    assert world.until(11) == []
    world.event(20, total=dec("7.999"))
    assert world.until(21) == []
    world.event(30, total=dec("0.001"))
    assert world.until(31) == [(30, 0, "good", "in", "event")]
    assert world.members("good") == [0]
    explained = world.engine.explain("good", 0)
    assert explained.flip_time_us == NOON + round(seconds_to("2026-03-13T00:00:00") * SECOND)


def test_midnight_is_that_of_the_zone_also_when_clocks_change() -> None:
    begin = instant_of_text("2026-03-28T12:00:00", zone_of(KYIV)) or 0
    world = World(begin_us=begin)
    rule = {"rfm": {**FRESH["rfm"], "recency": [5, 5]}}
    world.define("today", rule)
    world.event(1, total=dec("1"))
    world.until(2)
    midnight = instant_of_text("2026-03-29T00:00:00", zone_of(KYIV)) or 0
    assert world.until(24 * 3_600)[-1][0] == (midnight - begin) / SECOND
