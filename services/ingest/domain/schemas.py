"""Decides what an event type's properties must be, and says it of Muster's own vocabulary.

A schema is about meaning, not about storage: any event may carry any property unless its schema is
closed. STANDARD is the vocabulary that the platform's recipes and reports rely on; docs/events.md
shows it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import IntEnum


class Kind(IntEnum):
    """What a property's value must be; the numbers are those of the contract."""

    ANY = 1
    TEXT = 2
    NUMBER = 3
    FLAG = 4
    TIME = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """One property of an event type."""

    key: str
    kind: Kind = Kind.ANY
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Schema:
    """An event type. closed: properties that are not named are refused."""

    type: str
    rules: tuple[Rule, ...] = ()
    closed: bool = False
    description: str = ""

    def rule(self, key: str) -> Rule | None:
        """The rule of a property, if it has one."""
        return next((rule for rule in self.rules if rule.key == key), None)


def reads_as(kind: Kind, text: str) -> bool:
    """Whether a text may stand for a value of this kind."""
    if kind is Kind.NUMBER:
        try:
            return Decimal(text.strip()).is_finite()
        except InvalidOperation:
            return False
    if kind is Kind.TIME:
        try:
            dt.datetime.fromisoformat(text.strip())
        except ValueError:
            return False
        return True
    return kind in (Kind.ANY, Kind.TEXT)


def _schema(event_type: str, description: str, **kinds: str) -> Schema:
    """kinds: property -> text, number, flag, time or any; `!` behind it says required; a name
    written with two underscores stands for a dotted one."""
    rules = []
    for key, word in kinds.items():
        kind = Kind[word.rstrip("!").upper()]
        rules.append(Rule(key.replace("__", "."), kind, word.endswith("!")))
    return Schema(event_type, tuple(rules), description=description)


_LINES = {
    "lines__product_id": "text",
    "lines__name": "text",
    "lines__category": "text",
    "lines__quantity": "number",
    "lines__price": "number",
}
_PRODUCT = {
    "product_id": "text!",
    "name": "text",
    "category": "text",
    "price": "number",
    "quantity": "number",
    "currency": "text",
}
_ORDER = {"order_id": "text!", "total": "number", "currency": "text", "store": "text", **_LINES}
_PAGE = {"url": "text", "path": "text", "title": "text", "referrer": "text", "name": "text"}
_MESSAGE = {
    "message_id": "text",
    "channel": "text!",
    "campaign": "text",
    "template": "text",
    "message_type": "text",
    "machine": "flag",
    "url": "text",
    "reservation_key": "text",
}
"""message_type: promo, triggered or transactional; machine: opened by a machine, not a person."""

_ALL = (
    _schema("profile_updated", "attributes of a person; each property is one"),
    _schema("identities_linked", "the identifiers of the event are one person's"),
    _schema("group_joined", "a person belongs to a group", group_id="text!"),
    _schema("signed_up", "a person opened an account"),
    _schema("signed_in", "a person signed in"),
    _schema("page_viewed", "a page of a website", **_PAGE),
    _schema("screen_viewed", "a screen of an app", name="text"),
    _schema("app_installed", "an app was installed", platform="text"),
    _schema("app_opened", "an app was opened", platform="text", app_version="text"),
    _schema("search_performed", "a search", query="text!"),
    _schema("category_viewed", "a category's list", category="text", list="text"),
    _schema("product_viewed", "a product's page", **_PRODUCT),
    _schema("product_clicked", "a product in a list", **_PRODUCT),
    _schema("product_added", "into the cart", cart_id="text", **_PRODUCT),
    _schema("product_removed", "out of the cart", cart_id="text", **_PRODUCT),
    _schema("cart_viewed", "the cart", cart_id="text", **_LINES),
    _schema("checkout_started", "the way to the till", cart_id="text", total="number", **_LINES),
    _schema("wishlist_added", "onto the wish list", wishlist_id="text", **_PRODUCT),
    _schema("wishlist_removed", "off the wish list", wishlist_id="text", **_PRODUCT),
    _schema("order_created", "an order was placed", placed_time="time", **_ORDER),
    _schema("order_updated", "its total or lines changed", **_ORDER),
    _schema("order_paid", "it was paid", **_ORDER),
    _schema("order_completed", "placed and paid at once", **{**_ORDER, "order_id": "text"}),
    _schema("order_delivered", "it arrived", **_ORDER),
    _schema("order_cancelled", "it is void", reason="text", **_ORDER),
    _schema("order_refunded", "money back: total, or all", reason="text", **_ORDER),
    _schema("push_subscribed", "a token came in use", platform="text"),
    _schema("push_unsubscribed", "a token is no longer used", platform="text"),
    _schema("message_sent", "a message left", **_MESSAGE),
    _schema("message_delivered", "it arrived", **_MESSAGE),
    _schema("message_opened", "it was opened", **_MESSAGE),
    _schema("message_clicked", "a link in it was followed", **_MESSAGE),
    _schema("message_bounced", "it came back", hard="flag", **_MESSAGE),
    _schema("message_complained", "it was marked as spam", **_MESSAGE),
    _schema("message_unsubscribed", "no more of these", **_MESSAGE),
    _schema("message_failed", "it could not be sent", **_MESSAGE),
)
STANDARD = {schema.type: schema for schema in _ALL}
