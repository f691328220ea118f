"""Who plays in the demo: two real histories, invented names, and a crowd that keeps clicking."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass, field
from decimal import Decimal as Exact
from itertools import count

from cli.events import properties_of
from cli.history import cdnow, clickstream
from cli.running import ROOT
from muster.types.v1.event_pb2 import Event

DATA = ROOT / "examples" / "data"
DAY_US = 86_400_000_000
SPENT_DAYS = 90
THRESHOLD = Exact(1000)
MARGIN_US = 600_000_000
"""Rows this near to the edge of the window may leave it while the demo runs."""

FIRST_NAMES = """
Ada Aisha Akira Alma Amadou Anahit Anna Arjun Beatriz Bohdan Carmen Chen Chiara Daria Diego Elif
Emeka Eva Farid Fatima Felix Greta Hana Hugo Ines Ivan Jamila Jonas Juana Kai Kofi Lena Leo
Lucia Mads Maja Mariam Mateo Mei Milan Mina Naoko Nadia Nils Noor Oksana Omar Paula Pavlo Priya
Rafael Rosa Ruth Samir Sofia Sven Taras Thea Tomas Vera Wen Yara Zofia Zuri
"""
NAMES = tuple(FIRST_NAMES.split())
CAST = {
    "olena": "Olena",
    "marta": "Marta",
    "yusuf": "Yusuf",
    "amira": "Amira",
    "kenji": "Kenji",
}
CATEGORIES = ("phones", "laptops", "cameras", "headphones", "watches", "games", "books", "toys")
PRODUCTS = ("iPhone 17", "Pixel 12", "ThinkPad X1", "Walkman", "Switch 3", "Kindle", "Lego Moon")
KINDS = (
    ("page_viewed", 66),
    ("product_viewed", 14),
    ("email_opened", 12),
    ("email_clicked", 3),
    ("app_opened", 4),
    ("order_completed", 1),
)


def name_of(user_id: str) -> str:
    """An invented name: the data sets have numbers only. The same number has the same name."""
    if user_id in CAST:
        return CAST[user_id]
    drawn = zlib.crc32(user_id.encode())
    number = user_id.rpartition("-")[2].rpartition("_")[2].lstrip("0")
    initial = chr(ord("A") + drawn // len(NAMES) % 26)
    return f"{NAMES[drawn % len(NAMES)]} {initial}. #{number or 0}"


@dataclass
class Past:
    """The histories and what follows from them, added up here without any service.

    almost: the customer nearest below the threshold of big-spenders, and what they spent.
    """

    events: list[Event]
    customers: set[str] = field(default_factory=set)
    big_spenders: set[str] = field(default_factory=set)
    people: list[str] = field(default_factory=list)
    almost: str = ""
    almost_spent: Exact = Exact(0)


def load_past(now_us: int) -> Past:
    """Both histories shifted to end now, in time order, with the sums the segments must show."""
    events = cdnow(DATA / "cdnow_master.txt.gz", now_us)
    events += clickstream(DATA / "shop_clickstream.csv.gz", now_us)
    events.sort(key=lambda event: event.occur_time_us)
    past = Past(events)
    since_us = now_us - SPENT_DAYS * DAY_US
    spent: dict[str, Exact] = {}
    near_edge: set[str] = set()
    everyone: dict[str, None] = {}
    for event in events:
        user = event.identifiers[0].value
        everyone[user] = None
        if event.type != "order_completed":
            continue
        past.customers.add(user)
        if abs(event.occur_time_us - since_us) < MARGIN_US:
            near_edge.add(user)
        if event.occur_time_us > since_us:
            spent[user] = spent.get(user, Exact(0)) + total_of(event)
    past.people = list(everyone)
    past.big_spenders = {user for user, total in spent.items() if total >= THRESHOLD}
    below = {u: t for u, t in spent.items() if t < THRESHOLD and u not in near_edge}
    past.almost = max(below, key=lambda user: (below[user], user))
    past.almost_spent = below[past.almost]
    return past


def total_of(event: Event) -> Exact:
    """The total of an order; 0 when it has none."""
    for item in event.properties:
        if item.key == "total" and item.WhichOneof("value") == "decimal":
            return Exact(item.decimal.units).scaleb(-item.decimal.exponent)
    return Exact(0)


class Crowd:
    """Live traffic of people of the histories, drawn from a seed; ids are dense."""

    def __init__(self, people: list[str], keep_out: set[str], seed: int) -> None:
        self._people = [user for user in people if user not in keep_out]
        self._random = random.Random(seed)
        self._kinds = [kind for kind, _ in KINDS]
        self._weights = [weight for _, weight in KINDS]
        self._numbers = count(1)

    def events(self, number: int, now_us: int, run: str) -> list[Event]:
        """The next `number` events, at most a few milliseconds old."""
        drawn = self._random
        kinds = drawn.choices(self._kinds, self._weights, k=number)
        return [
            live_event(
                kind,
                {"user_id": drawn.choice(self._people)},
                self._properties(kind),
                now_us - drawn.randrange(5_000),
                f"{run}-crowd-{next(self._numbers)}",
            )
            for kind in kinds
        ]

    def _properties(self, kind: str) -> dict[str, object]:
        drawn = self._random
        if kind == "page_viewed":
            return {"category": drawn.choice(CATEGORIES)}
        if kind == "product_viewed":
            return {"product": drawn.choice(PRODUCTS)}
        if kind == "email_opened":
            return {"campaign": drawn.choice(("spring", "news"))}
        if kind == "email_clicked":
            return {"message_kind": drawn.choice(("promo", "triggered"))}
        if kind == "app_opened":
            return {"os": drawn.choice(("ios", "android"))}
        return {"total": Exact(drawn.randrange(499, 8_000)) / 100, "currency": "USD"}


def live_event(
    kind: str,
    identifiers: dict[str, str],
    properties: dict[str, object],
    occur_us: int,
    event_id: str,
) -> Event:
    """One live event, sent for the first time when it happened."""
    event = Event(event_id=event_id, type=kind, occur_time_us=occur_us, send_time_us=occur_us)
    for name, value in identifiers.items():
        event.identifiers.add(kind=name, value=value)
    event.properties.extend(properties_of(properties))
    return event
