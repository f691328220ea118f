"""Decides what of an order counts: the steps of its life, and the limits of what is remembered.

Semantics 3: an order counts at the instant it was placed, by its state; cancel and refund change
that order whenever they come. So whatever is said of an order, in any order of arrival, folds to
what it counts for; when that changes, the difference is said again as of the instant of placing.
Sums and windows over those differences are then right without knowing orders at all: what counted
in a window is taken back in the same window.

The fold itself is `adapters/order_kernel.py`, on columns; `tests/support/orders.py` says it once
more, an event at a time, and a property holds the two against each other:

- Events are taken by their time; within an instant as orders go (the order of `Step`), and what
  says the same step as it came.
- The last total stands, with its currency; so do the last lines. Refunds add up, in the order's
  currency or without one; a refund without total and lines takes back everything.
- It counts while paid or delivered, unless refunds have taken back its total.
- It was placed when an event says so (`placed_time`), else at the first event that places one,
  else at the first of all.
"""

from __future__ import annotations

from enum import IntEnum


class Step(IntEnum):
    """What an event says happened to an order, in the order of its life."""

    CREATED = 0
    UPDATED = 1
    PAID = 2
    DELIVERED = 3
    CANCELLED = 4
    REFUNDED = 5


STEPS = {
    "order_created": Step.CREATED,
    "order_updated": Step.UPDATED,
    "order_completed": Step.PAID,
    "order_paid": Step.PAID,
    "order_delivered": Step.DELIVERED,
    "order_cancelled": Step.CANCELLED,
    "order_refunded": Step.REFUNDED,
}
"""Event types that say something of an order, when they name one (`order_id`)."""
PLACING = frozenset({"order_created", "order_completed"})

SAID_MAX = 200
"""Events remembered of one order; what is said of it afterwards changes nothing."""
ORDER_ID_MAX = 256
CURRENCY_MAX = 16
PRODUCT_MAX = 128
"""Letters that count; a longer order id is none, a longer currency is none, a product is cut."""
LINES_MAX = 100
"""Lines of one event that count; and of one difference, further ones follow in another."""
LINE_BYTES_MAX = 8 << 10
"""Of the lines in one difference, so that it always fits an event."""
WHOLE_DIGITS_MAX = 14
FRACTION_DIGITS_MAX = 18
"""Of totals and quantities; a number beyond says nothing."""
