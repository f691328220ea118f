"""Events as a publisher makes them: any type by `event`, Muster's vocabulary by name.

Identifiers are keywords of their own (user_id, email, phone, cookie, web_push_token,
mobile_push_token) or `identifiers`; everything else is a property. Objects and lists are flattened
as the contract has them.
"""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

KINDS = ("user_id", "email", "phone", "cookie", "web_push_token", "mobile_push_token")


@dataclass(slots=True)
class Event:
    """What a customer did. Times: UTC microseconds; send_time_us stays the same in every retry."""

    type: str
    identifiers: list[tuple[str, str]]
    properties: Mapping[str, Any] = field(default_factory=dict)
    occur_time_us: int = 0
    event_id: str = ""
    send_time_us: int = 0

    def __post_init__(self) -> None:
        now_us = time.time_ns() // 1_000
        self.event_id = self.event_id or uuid.uuid4().hex
        self.occur_time_us = self.occur_time_us or now_us
        self.send_time_us = self.send_time_us or now_us
        if not self.type:
            raise ValueError("type: name what happened, such as page_viewed")
        if not self.identifiers:
            raise ValueError("identifiers: name the person by at least one, such as user_id")


def event(
    event_type: str,
    *,
    identifiers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    event_id: str = "",
    occur_time: dt.datetime | None = None,
    **rest: Any,
) -> Event:
    """An event of any type. occur_time needs a zone; now when left out."""
    pairs = list(identifiers.items() if isinstance(identifiers, Mapping) else identifiers)
    pairs += [(kind, str(rest.pop(kind))) for kind in KINDS if rest.get(kind) is not None]
    properties = {key: value for key, value in rest.items() if value is not None}
    return Event(event_type, pairs, properties, _microseconds(occur_time), event_id)


def _microseconds(moment: dt.datetime | None) -> int:
    if moment is None:
        return 0
    if moment.tzinfo is None:
        raise ValueError("occur_time: needs a zone, such as datetime.now(UTC)")
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


Amount = Decimal | int | str
"""Money: exact. A text is taken as a decimal number."""


def profile_updated(**attributes: Any) -> Event:
    """Attributes of a person, beside the identifiers."""
    return event("profile_updated", **attributes)


def page_viewed(*, url: str, title: str | None = None, **rest: Any) -> Event:
    return event("page_viewed", url=url, title=title, **rest)


def screen_viewed(*, name: str, **rest: Any) -> Event:
    return event("screen_viewed", name=name, **rest)


def app_opened(*, platform: str, **rest: Any) -> Event:
    return event("app_opened", platform=platform, **rest)


def search_performed(*, query: str, **rest: Any) -> Event:
    return event("search_performed", query=query, **rest)


def category_viewed(*, category: str, **rest: Any) -> Event:
    return event("category_viewed", category=category, **rest)


def product_viewed(*, product_id: str, price: Amount | None = None, **rest: Any) -> Event:
    return event("product_viewed", product_id=product_id, price=_exact(price), **rest)


def product_added(*, product_id: str, price: Amount | None = None, **rest: Any) -> Event:
    """Into the cart."""
    return event("product_added", product_id=product_id, price=_exact(price), **rest)


def product_removed(*, product_id: str, **rest: Any) -> Event:
    """Out of the cart."""
    return event("product_removed", product_id=product_id, **rest)


def wishlist_added(*, product_id: str, **rest: Any) -> Event:
    return event("wishlist_added", product_id=product_id, **rest)


def order_created(*, order_id: str, total: Amount, currency: str, **rest: Any) -> Event:
    """lines: a list of {product_id, quantity, price, ...}."""
    return event("order_created", order_id=order_id, total=_exact(total), currency=currency, **rest)


def order_completed(*, order_id: str, total: Amount, currency: str, **rest: Any) -> Event:
    """Placed and paid at once."""
    return event(
        "order_completed", order_id=order_id, total=_exact(total), currency=currency, **rest
    )


def order_paid(*, order_id: str, **rest: Any) -> Event:
    return event("order_paid", order_id=order_id, **rest)


def order_delivered(*, order_id: str, **rest: Any) -> Event:
    return event("order_delivered", order_id=order_id, **rest)


def order_cancelled(*, order_id: str, **rest: Any) -> Event:
    return event("order_cancelled", order_id=order_id, **rest)


def order_refunded(*, order_id: str, total: Amount | None = None, **rest: Any) -> Event:
    """total: what was paid back; all of it when left out."""
    return event("order_refunded", order_id=order_id, total=_exact(total), **rest)


def message(what: str, *, channel: str, **rest: Any) -> Event:
    """Activity of a message: what is sent, delivered, opened, clicked, bounced, complained,
    unsubscribed or failed."""
    if what not in _MESSAGE:
        raise ValueError(f"what: one of {', '.join(sorted(_MESSAGE))}")
    return event(f"message_{what}", channel=channel, **rest)


def push_subscribed(*, platform: str, **rest: Any) -> Event:
    """With web_push_token or mobile_push_token."""
    return event("push_subscribed", platform=platform, **rest)


_MESSAGE = frozenset(
    ("sent", "delivered", "opened", "clicked", "bounced", "complained", "unsubscribed", "failed")
)


def _exact(amount: Amount | None) -> Decimal | int | None:
    if isinstance(amount, (bool, float)):
        raise ValueError("an amount of money is a Decimal, an int or a text such as '19.99'")
    return Decimal(amount) if isinstance(amount, str) else amount
