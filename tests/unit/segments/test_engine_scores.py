"""RFM in the engine: scores by edges change by orders and at local midnights, by time alone."""

from __future__ import annotations

import random

from cli.simulation.naive.values import Value
from muster.segments.v1 import cuts_pb2
from services.segments.domain import rfm
from services.segments.domain.times import instant_of_text, zone_of
from services.segments.engine.asked.scoring import everybody, last_midnight_us, quantile_leaves
from services.segments.engine.engine import Engine
from services.segments.engine.pasts import Past
from services.segments.engine.pasts.scores import figures_of
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
    assert explained.leaves[0].found == "0 days, 3 orders, 20: scores 5-3-3"
    assert explained.leaves[0].events_total == 3
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


BEST = {
    "rfm": {
        "type": "order", "amount": "total", "money": [5, 5], "zone": KYIV,
        "window": {"last": "240h"},
    }
}  # fmt: skip


def cuts_taken(world: World, at: float) -> cuts_pb2.RfmCutsSet:
    """What the taker makes of one partition, from figures counted profile by profile."""
    part = world.engine.part
    ((key, ((_, leaf), *_)),) = quantile_leaves(part).items()
    midnight = last_midnight_us(leaf.zone, world.us(at))
    found = {
        row: figures
        for row in range(part.people.rows)
        if (figures := figures_of(leaf, Past(part, row), midnight))
    }
    made = cuts_pb2.RfmCutsSet(key=key, midnight_us=midnight, profiles=len(found))
    for place, into in enumerate((made.recency, made.frequency, made.money)):
        everybody = [(rfm.goodness(figures)[place], row) for row, figures in found.items()]
        into.extend(
            cuts_pb2.RfmCut(figure=str(figure), profile=row)
            for figure, row in rfm.cuts_of(everybody)
        )
    return made


def test_cuts_score_everybody_from_one_midnight_to_the_next() -> None:
    world = World(begin_us=NOON, profiles=6)
    world.define("best", BEST)
    for profile in range(5):
        world.event(profile, profile=profile, total=dec(str(profile + 1)))
    world.until(13 * 3_600)
    assert world.members("best") == []
    cuts = cuts_taken(world, 13 * 3_600)
    assert cuts.profiles == 5
    assert world.engine.set_cuts(cuts, world.us(13 * 3_600 + 1))
    assert [said[1:] for said in world.until(14 * 3_600)] == [(4, "best", "in", "time")]
    # Whoever comes later is scored by the same cuts; nobody leaves before the next ones.
    world.event(15 * 3_600, profile=5, total=dec("4.001"))
    world.event(15 * 3_600, profile=3, total=dec("100"))
    assert {said[1:] for said in world.until(16 * 3_600)} == {
        (3, "best", "in", "event"),
        (5, "best", "in", "event"),
    }
    world.until(40 * 3_600)
    again = Engine(0, 1)
    again.load({n: memoryview(bytes(b)) for n, b in world.engine.dump().items()})
    world.engine = again
    assert world.engine.set_cuts(cuts_taken(world, 40 * 3_600), world.us(40 * 3_600 + 1))
    assert {said[1:3] for said in world.until(41 * 3_600)} == {(4, "best"), (5, "best")}
    assert world.members("best") == [3]
    assert not world.engine.set_cuts(cuts, world.us(41 * 3_600 + 1))


def test_columns_and_single_profiles_have_the_same_figures() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    world = World(begin_us=NOON, profiles=30)
    world.define("best", BEST)
    amounts: list[Value] = [dec("0.1"), dec("999.995"), "12.50", "ten", True, dec("-3")]
    if rng.random() < 0.5:
        amounts.append("123456789012345678901234567890.5")
    for second in sorted(rng.choices(range(14 * 24 * 3_600), k=120)):
        late = rng.choice([0, 0, 3_600, 30 * 3_600])
        world.event(
            second - late, profile=rng.randrange(30), accept=second,
            total=rng.choices(amounts, k=rng.randrange(1, 3)),
        )  # fmt: skip
    world.until(14 * 24 * 3_600)
    part = world.engine.part
    ((_, ((_, leaf), *_)),) = quantile_leaves(part).items()
    for day in (3, 8, 14):
        at = last_midnight_us(KYIV, world.us(day * 24 * 3_600))
        every = everybody(part, leaf, at)
        counted = {
            row: rfm.goodness(figures)
            for row in range(30)
            if (figures := figures_of(leaf, Past(part, row), at))
        }
        assert every.profiles.tolist() == sorted(counted), seed
        for place, figure in enumerate(every.figures):
            exact = figure.exact or [dec(str(one)) / 10**figure.exponent for one in figure.units]
            assert list(exact) == [counted[row][place] for row in sorted(counted)], seed
