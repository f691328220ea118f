"""Events as rows, encoded before the clock runs: eight properties, two identifiers, disorder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muster.types.v1.event_pb2 import EventBatch

TYPES = (
    ("email_delivered", 0.225),
    ("email_opened", 0.18),
    ("email_clicked", 0.04),
    ("page_viewed", 0.2),
    ("product_viewed", 0.15),
    ("category_viewed", 0.08),
    ("product_added", 0.04),
    ("order_completed", 0.05),
    ("app_opened", 0.03),
    ("push_subscribed", 0.005),
)
CATEGORIES = 500
CAMPAIGNS = 2_000
JITTER_MEDIAN_US = 80_000
LATE_SHARE = 0.02
BATCH_EVENTS = 500


@dataclass(frozen=True)
class Load:
    """Encoded events in order of sending. frames[i] is one EventBatch.events entry on the wire."""

    frames: list[bytes]
    ids: list[str]

    def batches(self, size: int = BATCH_EVENTS) -> list[tuple[int, bytes]]:
        """(number of the first event, body) of each message of `size` events."""
        return [
            (at, b"".join(self.frames[at : at + size])) for at in range(0, len(self.frames), size)
        ]


def make_load(
    count: int, profiles: int, start_us: int, span_us: int, seed: int, prefix: str
) -> Load:
    """`count` events of `profiles` people, due evenly over `span_us` from `start_us`.

    occur_time is the due time less a log-normal jitter (median 80 ms), 2 % an hour to a day late.
    """
    dice = np.random.default_rng(seed)
    names = [name for name, _ in TYPES]
    weights = np.array([w for _, w in TYPES])
    kinds = dice.choice(len(names), count, p=weights / weights.sum())
    people = np.minimum(dice.zipf(1.3, count) * 7919 + dice.integers(0, profiles, count), 1 << 40)
    people = (people % profiles).astype(np.int64)
    due = start_us + np.arange(count) * span_us // max(count, 1)
    jitter = (dice.lognormal(0, 0.7, count) * JITTER_MEDIAN_US).astype(np.int64)
    late = dice.random(count) < LATE_SHARE
    jitter[late] = dice.integers(3_600_000_000, 80_000_000_000, int(late.sum()))
    occur = due - jitter
    amounts = dice.integers(100, 60_000, count)
    categories = dice.integers(0, CATEGORIES, count)
    campaigns = dice.integers(0, CAMPAIGNS, count)
    frames: list[bytes] = []
    ids: list[str] = []
    columns = zip(
        kinds.tolist(),
        people.tolist(),
        occur.tolist(),
        due.tolist(),
        amounts.tolist(),
        categories.tolist(),
        campaigns.tolist(),
        strict=True,
    )
    for number, (kind, person, at, send, amount, category, campaign) in enumerate(columns):
        event_id = f"{prefix}-{number}"
        batch = EventBatch()
        event = batch.events.add(
            event_id=event_id, type=names[kind], occur_time_us=at, send_time_us=send
        )
        event.identifiers.add(kind="user_id", value=f"u{person:07d}")
        event.identifiers.add(kind="email", value=f"person{person}@example.com")
        add = event.properties.add
        money = add(key="amount")
        money.decimal.units, money.decimal.exponent = amount, 2
        add(key="currency", text="USD")
        add(key="category", text=f"category-{category}")
        add(key="campaign", whole=campaign)
        add(key="kind", text="promo" if campaign % 2 else "triggered")
        add(key="platform", text=("ios", "android", "web")[person % 3])
        add(key="first", flag=bool(number & 1))
        add(key="quantity", whole=1 + number % 5)
        frames.append(batch.SerializeToString())
        ids.append(event_id)
    return Load(frames, ids)
