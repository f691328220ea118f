"""A shop tells Muster what its customers do: one visit, from the first page to a refund.

    ./muster up                                  in another terminal
    python examples/publishers/shop.py ada

Uses clients/python: `pip install ./clients/python[grpc]`, or with PYTHONPATH=clients/python.
"""

from __future__ import annotations

import os
import sys

from muster_client import Client, Event, events

ADDRESS = os.environ.get("MUSTER_INGEST", "127.0.0.1:7401")
TENANT = os.environ.get("MUSTER_TENANT", "demo")


def visit(customer: str) -> list[Event]:
    """What happened, in its order: an unknown visitor signs in, buys, and sends one thing back."""
    order = {"order_id": f"{customer}-1", "currency": "EUR"}
    lines = [
        {"product_id": "red-shoes", "quantity": 1, "price": "89.00"},
        {"product_id": "laces", "quantity": 2, "price": "4.50"},
    ]
    return [
        events.page_viewed(url="/shoes", cookie=f"browser-of-{customer}"),
        events.product_viewed(product_id="red-shoes", cookie=f"browser-of-{customer}"),
        events.profile_updated(
            user_id=customer, cookie=f"browser-of-{customer}", email=f"{customer}@example.org"
        ),
        events.product_added(product_id="red-shoes", user_id=customer),
        events.order_created(user_id=customer, total="98.00", lines=lines, **order),
        events.order_paid(user_id=customer, **order),
        events.order_refunded(user_id=customer, total="9.00", **order),
    ]


def main() -> None:
    customer = sys.argv[1] if len(sys.argv) > 1 else "ada"
    key = os.environ.get("MUSTER_KEY", "")
    with Client.over_grpc(ADDRESS, tenant=TENANT, publisher="shop", key=key) as muster:
        for event in visit(customer):
            muster.publish(event)
        muster.flush(30)
        print(f"{muster.stored} events stored, {muster.rejected} rejected")


if __name__ == "__main__":
    main()
