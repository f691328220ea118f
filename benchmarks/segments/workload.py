"""A year of a shop: profiles with attributes, events of ten types with eight properties.

Skewed profiles, disorder (log-normal jitter of 80 ms, 2 % of the events more than an hour late),
instants in microseconds, amounts in exact cents. Rows come in order of arrival, as bytes of
EventColumns.
"""

from __future__ import annotations

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.types.v1 import columns_pb2
from services.chassis.columns import ColumnCodec, pool_of
from services.segments.engine.engine import Engine

EVENTS = ColumnCodec(columns_pb2.EventColumns)
CREATED = ColumnCodec(identity.ProfilesCreated)
LINKED = ColumnCodec(identity.IdentifiersLinked)
ATTRIBUTES = ColumnCodec(identity.AttributesSet)

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
DAY_US = 24 * HOUR_US
BEGIN_US = 1_760_000_000 * SECOND_US
TYPES = [
    "message_delivered", "message_opened", "message_clicked", "page_viewed", "product_viewed",
    "category_viewed", "cart_changed", "order_completed", "app_opened", "push_subscribed",
]  # fmt: skip
SHARES = [0.225, 0.18, 0.04, 0.2, 0.15, 0.08, 0.04, 0.05, 0.03, 0.005]
OPENED, CLICKED, PRODUCT, CATEGORY, ORDER, APP = 1, 2, 4, 5, 7, 8
KEYS = ["amount", "category", "campaign", "kind", "platform", "sku", "channel", "quantity"]
CATEGORIES, CAMPAIGNS, SKUS = 500, 2_000, 4_000
KINDS, PLATFORMS, CHANNELS = ["promo", "triggered"], ["web", "ios", "android"], ["email", "push"]
CITIES = [f"city-{n}" for n in range(50)]
LOAD_ROWS = 50_000


class Shop:
    """The columns, whole; times are microseconds, texts are numbers of `texts`."""

    def __init__(self, profiles: int, events: int, days: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.profiles, self.events, self.seed = profiles, events, seed
        shares = np.array(SHARES) / sum(SHARES)
        self.type = rng.choice(len(TYPES), events, p=shares).astype(np.uint8)
        rank = (rng.random(events) ** 2.5 * profiles).astype(np.int64)
        self.profile = rng.permutation(profiles)[rank].astype(np.uint32)
        occur = np.sort(rng.integers(0, int(days * DAY_US), events)) + BEGIN_US
        delay = (np.exp(rng.normal(np.log(80_000), 0.8, events))).astype(np.int64)
        late = rng.random(events) < 0.02
        delay[late] = HOUR_US + rng.integers(0, 24 * HOUR_US, int(late.sum()))
        accept = occur + delay
        order = np.argsort(accept, kind="stable")
        self.occur, self.accept = occur[order], accept[order]
        self.amount = (np.exp(rng.normal(4, 1, events)) * 100).astype(np.int32)
        self.category = (CATEGORIES * rng.random(events) ** 2).astype(np.int16)
        self.campaign = rng.integers(0, CAMPAIGNS, events).astype(np.int16)
        self.kind = (self.campaign % 10 >= 7).astype(np.int16)
        self.platform = rng.integers(0, len(PLATFORMS), events).astype(np.int16)
        self.sku = rng.integers(0, SKUS, events).astype(np.int16)
        self.quantity = rng.integers(1, 5, events).astype(np.int8)
        self.gender = (rng.random(profiles) < 0.55).astype(np.uint8)
        self.city = rng.integers(0, len(CITIES), profiles).astype(np.uint8)
        self.birthday = rng.integers(0, 365 * 50, profiles).astype(np.int32)
        self.has_email = rng.random(profiles) < 0.8
        self.texts = [
            *(f"category-{n}" for n in range(CATEGORIES)),
            *(f"campaign-{n}" for n in range(CAMPAIGNS)),
            *KINDS, *PLATFORMS, *(f"sku-{n}" for n in range(SKUS)), *CHANNELS,
        ]  # fmt: skip
        self.name, self.name_end = pool_of(TYPES + KEYS)

    def values(self, start: int, end: int) -> np.ndarray:
        """int64[n, 8]: the properties of rows, texts as numbers of `texts`."""
        rows = slice(start, end)
        kinds, platforms = CATEGORIES + CAMPAIGNS, CATEGORIES + CAMPAIGNS + len(KINDS)
        skus = platforms + len(PLATFORMS)
        return np.stack(
            [
                self.amount[rows], self.category[rows], CATEGORIES + self.campaign[rows],
                kinds + self.kind[rows], platforms + self.platform[rows], skus + self.sku[rows],
                skus + SKUS + self.kind[rows], self.quantity[rows],
            ],
            axis=1,
        ).astype(np.int64)  # fmt: skip

    def body(self, start: int, end: int) -> bytes:
        """Rows [start, end) as bytes of EventColumns; eight properties each."""
        n = end - start
        value = self.values(start, end)
        used, local = np.unique(value[:, 1:7], return_inverse=True)
        value[:, 1:7] = local.reshape(n, 6)
        text, text_end = pool_of([self.texts[number] for number in used.tolist()])
        number = np.arange(start, end, dtype=np.uint64)
        ids = np.char.add("e", number.astype("U12")).astype("S13").tolist()
        return EVENTS.encode(
            {
                "rows": n, "name": self.name, "name_end": self.name_end, "text": text,
                "text_end": text_end, "event_print": np.repeat(number, 2),
                "type": self.type[start:end], "occur_time_us": self.occur[start:end],
                "send_time_us": self.occur[start:end], "accept_time_us": self.accept[start:end],
                "prop_end": np.arange(8, 8 * n + 8, 8, dtype=np.uint32),
                "prop_key": np.tile(np.arange(10, 18, dtype=np.uint32), n),
                "prop_kind": np.tile(np.array([3, 1, 1, 1, 1, 1, 1, 2], np.uint8), n),
                "prop_value": value.ravel(),
                "prop_exponent": np.tile(np.array([2, 0, 0, 0, 0, 0, 0, 0], np.uint8), n),
                "event_id": b"".join(ids), "event_id_end": np.cumsum([len(one) for one in ids]),
                "row_flags": np.zeros(n, np.uint8), "profile": self.profile[start:end],
                "atom": self.profile[start:end],
            }
        )  # fmt: skip

    def birthdays(self) -> list[str]:
        """ISO dates by number of days since 1960."""
        first = np.datetime64("1960-01-01")
        return (first + np.arange(365 * 50)).astype("datetime64[D]").astype(str).tolist()


def begin(shop: Shop, until: int) -> Engine:
    """An engine with all profiles, their identifiers and attributes, and the first rows."""
    engine = Engine(0, 1)
    n = shop.profiles
    number = np.arange(n, dtype=np.uint32)
    before = np.full(n, BEGIN_US - DAY_US)
    created = {
        "profile": number, "public_id": number.astype(np.uint64) + np.uint64(10**12),
        "atom": number, "create_time_us": before,
    }  # fmt: skip
    engine.create_profiles(CREATED.decode(CREATED.encode(created)))
    known = number[shop.has_email]
    kinds, kind_end = pool_of(["email"] * known.size)
    engine.link_identifiers(
        LINKED.decode(
            LINKED.encode(
                {
                    "atom": known, "profile": known, "kind": kinds, "kind_end": kind_end,
                    "id_print": np.repeat(known.astype(np.uint64) + np.uint64(1), 2),
                    "link_time_us": before[: known.size],
                }
            )
        )
    )  # fmt: skip
    names, name_end = pool_of(["gender", "city", "birthday"])
    texts, text_end = pool_of(["m", "f", *CITIES, *shop.birthdays()])
    value = np.stack([shop.gender, 2 + shop.city, 2 + len(CITIES) + shop.birthday], axis=1)
    for start in range(0, n, LOAD_ROWS):
        some = number[start : start + LOAD_ROWS]
        m = some.size * 3
        engine.set_attributes(
            ATTRIBUTES.decode(
                ATTRIBUTES.encode(
                    {
                        "profile": np.repeat(some, 3), "atom": np.repeat(some, 3), "name": names,
                        "name_end": name_end, "text": texts, "text_end": text_end,
                        "key": np.tile(np.array([0, 1, 2]), some.size), "item": np.zeros(m),
                        "kind": np.ones(m), "value": value[start : start + LOAD_ROWS].ravel(),
                        "exponent": np.zeros(m), "occur_time_us": np.full(m, BEGIN_US - DAY_US),
                        "accept_time_us": np.full(m, BEGIN_US - DAY_US),
                        "event_print": np.zeros(2 * m),
                    }
                )
            )
        )  # fmt: skip
    engine.advance(BEGIN_US - DAY_US)
    add(engine, shop, 0, until)
    return engine


def add(engine: Engine, shop: Shop, start: int, end: int) -> None:
    """Rows [start, end) into an engine, in steps; what it says is dropped."""
    for first in range(start, end, LOAD_ROWS):
        last = min(first + LOAD_ROWS, end)
        engine.add_events(EVENTS.decode(shop.body(first, last)))
        engine.advance(int(shop.accept[last - 1]))
