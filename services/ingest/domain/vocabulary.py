"""Decides how an event of another vocabulary is called here: Segment's and GA4's names to ours.

Sources: Segment's Spec (v2 Ecommerce, Mobile, Email) and GA4's recommended events. Names compare
without case, blanks and punctuation, so `Product Viewed`, `product_viewed` and `productViewed` are
one. What no table knows keeps its own name, as a type may be written: `Song Played` is
`song_played`. The tables are the documentation; docs/events.md shows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TYPE_BYTES_MAX = 64

SEGMENT_EVENTS = {
    "Product Searched": "search_performed",
    "Products Searched": "search_performed",
    "Product List Viewed": "category_viewed",
    "Product Category Viewed": "category_viewed",
    "Product List Filtered": "category_filtered",
    "Promotion Viewed": "promotion_viewed",
    "Promotion Clicked": "promotion_clicked",
    "Product Clicked": "product_clicked",
    "Product Viewed": "product_viewed",
    "Viewed Product": "product_viewed",
    "Product Added": "product_added",
    "Added Product": "product_added",
    "Product Removed": "product_removed",
    "Removed Product": "product_removed",
    "Cart Viewed": "cart_viewed",
    "Checkout Started": "checkout_started",
    "Started Order": "checkout_started",
    "Checkout Step Viewed": "checkout_step_viewed",
    "Checkout Step Completed": "checkout_step_completed",
    "Payment Info Entered": "payment_entered",
    "Order Created": "order_created",
    "Order Placed": "order_created",
    "Order Updated": "order_updated",
    "Order Paid": "order_paid",
    "Order Completed": "order_completed",
    "Completed Order": "order_completed",
    "Order Delivered": "order_delivered",
    "Order Refunded": "order_refunded",
    "Order Cancelled": "order_cancelled",
    "Order Canceled": "order_cancelled",
    "Coupon Entered": "coupon_entered",
    "Coupon Applied": "coupon_applied",
    "Coupon Denied": "coupon_denied",
    "Coupon Removed": "coupon_removed",
    "Product Added to Wishlist": "wishlist_added",
    "Product Removed from Wishlist": "wishlist_removed",
    "Wishlist Product Added to Cart": "product_added",
    "Product Shared": "product_shared",
    "Cart Shared": "cart_shared",
    "Product Reviewed": "product_reviewed",
    "Application Installed": "app_installed",
    "Application Opened": "app_opened",
    "Application Updated": "app_updated",
    "Application Backgrounded": "app_closed",
    "Application Uninstalled": "app_uninstalled",
    "Push Notification Received": "message_delivered",
    "Push Notification Tapped": "message_clicked",
    "Push Notification Bounced": "message_bounced",
    "Email Sent": "message_sent",
    "Email Delivered": "message_delivered",
    "Email Opened": "message_opened",
    "Email Link Clicked": "message_clicked",
    "Email Bounced": "message_bounced",
    "Email Marked as Spam": "message_complained",
    "Unsubscribed": "message_unsubscribed",
    "Signed Up": "signed_up",
    "Signed In": "signed_in",
    "Signed Out": "signed_out",
}
GA4_EVENTS = {
    "page_view": "page_viewed",
    "screen_view": "screen_viewed",
    "view_item": "product_viewed",
    "view_item_list": "category_viewed",
    "select_item": "product_clicked",
    "view_promotion": "promotion_viewed",
    "select_promotion": "promotion_clicked",
    "search": "search_performed",
    "view_search_results": "search_performed",
    "add_to_cart": "product_added",
    "remove_from_cart": "product_removed",
    "view_cart": "cart_viewed",
    "add_to_wishlist": "wishlist_added",
    "begin_checkout": "checkout_started",
    "add_payment_info": "payment_entered",
    "add_shipping_info": "shipping_entered",
    "purchase": "order_completed",
    "refund": "order_refunded",
    "sign_up": "signed_up",
    "login": "signed_in",
    "share": "product_shared",
    "first_open": "app_installed",
    "app_remove": "app_uninstalled",
    "notification_receive": "message_delivered",
    "notification_open": "message_clicked",
    "notification_dismiss": "message_dismissed",
}
CHANNEL_OF_PREFIX = {
    "email": "email",
    "pushnotification": "mobile_push",
    "notification": "mobile_push",
}
"""Names that say the channel of a message: property `channel`, unless one is given."""

PROPERTIES = {
    "transaction_id": "order_id",
    "orderId": "order_id",
    "checkout_id": "cart_id",
    "productId": "product_id",
    "item_id": "product_id",
    "item_name": "name",
    "item_category": "category",
    "item_brand": "brand",
    "item_variant": "variant",
    "item_list_name": "list",
    "search_term": "query",
    "page_location": "url",
    "page_path": "path",
    "page_title": "title",
    "page_referrer": "referrer",
    "campaign_name": "campaign",
    "products": "lines",
    "items": "lines",
}
"""Property names of known events, at the top and inside of line items; others stay."""
TOTAL_OF = ("total", "value", "revenue")
"""What an order is worth: the first of these that is there becomes `total`."""
ORDERS = frozenset(
    {
        "checkout_started",
        "order_created",
        "order_updated",
        "order_paid",
        "order_completed",
        "order_delivered",
        "order_cancelled",
        "order_refunded",
    }
)

_LETTERS = re.compile(r"[^0-9a-z]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_IN_TYPE = re.compile(r"[^0-9a-z.:-]+")


def _plain(name: str) -> str:
    return _LETTERS.sub("", name.lower())


_TYPES = {_plain(name): ours for name, ours in (SEGMENT_EVENTS | GA4_EVENTS).items()}
_OURS = frozenset(_TYPES.values())


@dataclass(frozen=True, slots=True)
class Spoken:
    """An event in our words. known: from a table, so its properties were renamed too."""

    type: str
    properties: dict[str, Any]
    known: bool


def spoken(name: str, properties: Mapping[str, Any]) -> Spoken:
    """The event `name` with its properties in our vocabulary.

    A name of our own stays; a name that changed otherwise is kept as `event_name`.
    """
    plain = _plain(name)
    ours = name if name in _OURS else _TYPES.get(plain)
    if ours is None:
        made = type_of(name)
        given = dict(properties)
        if made != name:
            given.setdefault("event_name", name)
        return Spoken(made, given, False)
    given = _renamed(properties)
    for prefix, channel in CHANNEL_OF_PREFIX.items():
        if ours.startswith("message_") and plain.startswith(prefix):
            given.setdefault("channel", channel)
    if ours in ORDERS:
        for key in TOTAL_OF:
            if given.get(key) is not None:
                given.setdefault("total", given[key])
                break
    return Spoken(ours, given, True)


def type_of(name: str) -> str:
    """A name as an event type: lower case, words joined by underscores, at most 64 bytes."""
    words = _NOT_IN_TYPE.sub("_", _CAMEL.sub("_", name.strip()).lower()).strip("_")
    return words[:TYPE_BYTES_MAX] if words else ""


def _renamed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """With our names; where both are given ours wins."""
    renamed: dict[str, Any] = {}
    for key, value in properties.items():
        ours = PROPERTIES.get(key, key)
        if ours == "lines" and isinstance(value, list):
            value = [_renamed(line) if isinstance(line, Mapping) else line for line in value]
        if ours == key or ours not in properties:
            renamed[ours] = value
    return renamed
