"""The catalogue in the engine: who is concerned when an item changes, and what rules say of it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from muster.ingest.v1 import catalogue_pb2 as facts
from services.segments.engine.engine import Engine
from tests.unit.segments.world import SECOND, World, dec

IN_STOCK = {
    "catalogue": {
        "type": "viewed",
        "item": "item_id",
        "has": {"stock": {"gt": 0}},
        "window": {"last": "1h"},
    }
}


class Shop(World):
    """A world with a catalogue."""

    def item(
        self, at: float, item_id: str, occur: float | None = None, removed: bool = False,
        whole: bool = False, **properties: Any,
    ) -> int:  # fmt: skip
        one = facts.CatalogueItem(item_id=item_id, removed=removed, whole=whole)
        one.occur_time.FromMicroseconds(self.us(at if occur is None else occur))
        for name, value in properties.items():
            for place, given in enumerate(value if isinstance(value, list) else [value]):
                made = one.properties.add(key=name.replace("__", "."), item=place)
                if given is not None:
                    setattr(made, "whole" if isinstance(given, int) else "text", given)
        return self.engine.set_catalogue(facts.CatalogueItemsSet(items=[one]), self.us(at))

    def copied(self) -> None:
        """Goes on from a snapshot."""
        made = Engine(0, 1)
        made.load({n: memoryview(bytes(value)) for n, value in self.engine.dump().items()})
        self.engine = made


def test_viewers_of_an_item_leave_when_its_stock_falls_to_nothing() -> None:
    shop = Shop(profiles=3)
    shop.define("can-buy", IN_STOCK)
    shop.item(1, "phone-7", stock=3)
    shop.event(2, "viewed", profile=0, item_id="phone-7")
    shop.event(3, "viewed", profile=1, item_id="phone-7")
    shop.event(3, "viewed", profile=2, item_id="phone-6")
    assert shop.until(4) == [(2, 0, "can-buy", "in", "event"), (3, 1, "can-buy", "in", "event")]
    assert shop.item(5, "phone-7", stock=0) == 2
    assert shop.until(6) == [
        (5, 0, "can-buy", "out", "attribute"),
        (5, 1, "can-buy", "out", "attribute"),
    ]
    shop.item(7, "phone-6", stock=1)
    shop.item(8, "phone-6", colour="red")
    assert shop.until(9) == [(7, 2, "can-buy", "in", "attribute")]
    assert shop.members("can-buy") == [2]
    assert shop.until(4_000) == [(3_603, 2, "can-buy", "out", "time")]


def test_a_number_and_a_numeric_text_name_one_item() -> None:
    shop = Shop(profiles=4)
    shop.define("can-buy", IN_STOCK)
    for profile, name in enumerate([dec("17"), "17.0", "017", "1.7e1"]):
        shop.event(1, "viewed", profile=profile, item_id=name)
    shop.until(2)
    assert shop.item(3, "17", stock=1) == 4
    shop.until(4)
    assert shop.members("can-buy") == [0, 1, 2, 3]


def test_an_item_is_as_was_said_last_of_its_own_time() -> None:
    shop = Shop()
    shop.define("can-buy", IN_STOCK)
    shop.event(1, "viewed", item_id="a")
    shop.item(2, "a", stock=1, colour="red")
    shop.until(3)
    assert shop.members("can-buy") == [0]
    shop.item(4, "a", occur=1, stock=0)
    shop.until(5)
    assert shop.members("can-buy") == [0]
    shop.item(6, "a", removed=True)
    shop.until(7)
    assert shop.members("can-buy") == []
    shop.item(8, "a", occur=5, stock=9)
    shop.copied()
    shop.item(9, "a", occur=5, stock=9)
    shop.until(10)
    assert shop.members("can-buy") == []
    shop.item(11, "a", stock=9)
    shop.until(12)
    assert shop.members("can-buy") == [0]
    shop.item(13, "a", whole=True, colour="blue")
    shop.until(14)
    assert shop.members("can-buy") == []


def test_an_order_names_several_items_and_counts_once() -> None:
    shop = Shop()
    rule = {"catalogue": {**IN_STOCK["catalogue"], "count": {"gte": 2}}}
    shop.define("two-views", rule)
    shop.event(1, "viewed", item_id=["a", "b"])
    shop.item(2, "a", stock=1)
    shop.item(2, "b", stock=1)
    shop.until(3)
    assert shop.members("two-views") == []
    shop.event(4, "viewed", item_id=["b"])
    shop.until(5)
    assert shop.members("two-views") == [0]


def test_a_merge_brings_what_the_other_viewed() -> None:
    shop = Shop(profiles=2)
    shop.define("can-buy", IN_STOCK)
    shop.item(1, "a", stock=1)
    shop.event(2, "viewed", profile=1, item_id="a")
    shop.until(3)
    shop.merge(4, source=1, target=0, atoms=[1])
    shop.until(5)
    assert shop.members("can-buy") == [0]
    shop.item(6, "a", stock=0)
    shop.until(7)
    assert shop.members("can-buy") == []


@pytest.mark.parametrize(
    ("window", "oldest", "newest"),
    [({"last": "20s"}, 20, 0), ({"from": "30s", "to": "4s"}, 30, 4)],
)
def test_any_history_is_as_if_counted_by_hand(window: Any, oldest: int, newest: int) -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    people = 16
    shop = Shop(profiles=people)
    compared = rng.choice([{"gte": 2}, {"eq": 1}, {"lt": 2}])
    rule = {"catalogue": {**IN_STOCK["catalogue"], "window": window, "count": compared}}
    shop.define("can-buy", rule)
    views: list[tuple[float, int, str]] = []
    stock: dict[str, tuple[float, int]] = {}
    second = 0.0
    for step in range(300):
        second += rng.choice([0.5, 1, 3])
        item = f"item-{rng.randrange(3)}"
        if rng.random() < 0.7:
            profile = rng.randrange(people)
            occur = second - rng.choice([0, 0, 5, 15])
            shop.event(occur, "viewed", profile=profile, accept=second, item_id=item)
            views.append((occur, profile, item))
        else:
            occur, left = second - rng.choice([0, 0, 2]), rng.randrange(2)
            shop.item(second, item, occur=occur, stock=left)
            if occur >= stock.get(item, (occur, 0))[0]:
                stock[item] = (occur, left)
        shop.until(second)
        holds = {"gte": lambda n: n >= 2, "eq": lambda n: n == 1, "lt": lambda n: n < 2}
        if step == 100:
            shop.copied()
        counted = [
            sum(
                who == profile
                and second - oldest < at <= second - newest
                and stock.get(of, (0, 0))[1] > 0
                for at, who, of in views
            )
            for profile in range(people)
        ]
        wanted = [
            profile for profile, count in enumerate(counted) if holds[next(iter(compared))](count)
        ]
        assert shop.members("can-buy") == wanted, (seed, step)


def test_a_change_is_found_among_many_events_at_once() -> None:
    shop = Shop(profiles=2_000)
    shop.define("can-buy", IN_STOCK)
    for profile in range(0, 2_000, 2):
        shop.event(1, "viewed", profile=profile, item_id="a")
    shop.event(1, "viewed", profile=1, item_id="b")
    shop.until(2)
    shop.item(3, "a", stock=1)
    assert len(shop.until(3.5)) == 1_000
    part = shop.engine.part
    assert part.catalogue.namings["item_id"].read == part.events.count
    assert shop.us(1) - shop.begin_us == SECOND
