"""Golden messages made of rows: batches, columns, receipts and what identity makes of them."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict

from muster.identity.v1 import facts_pb2 as identity
from muster.ingest.v1 import catalogue_pb2 as catalogue
from muster.ingest.v1 import facts_pb2 as ingest
from muster.ingest.v1 import registry_pb2 as registry
from muster.types.v1 import columns_pb2 as columns
from muster.types.v1 import event_pb2 as event

NOW = "2026-03-14T09:26:53.589793Z"
NOW_US = 1_773_480_413_589_793
DAY_US = 86_400_000_000


def event_batch() -> event.EventBatch:
    """An order with line items, a page view, and a profile update: every kind of property."""
    order = event.Event(
        event_id="order-10428",
        type="order_completed",
        occur_time_us=NOW_US - 1_500_000,
        send_time_us=NOW_US - 1_000_000,
        identifiers=[
            event.Identifier(kind="user_id", value="ada-17"),
            event.Identifier(kind="email", value="ada@example.com"),
        ],
        properties=[
            event.Property(key="total", decimal=event.Decimal(units=99_999_5, exponent=3)),
            event.Property(key="currency", text="EUR"),
            event.Property(key="lines.sku", item=0, text="boots-42"),
            event.Property(key="lines.quantity", item=0, whole=1),
            event.Property(key="lines.sku", item=1, text="laces"),
            event.Property(key="lines.quantity", item=1, whole=2),
            event.Property(key="gift", flag=False),
            event.Property(key="deliver_by", time_us=NOW_US + 2 * DAY_US),
            event.Property(key="weight_kg", number=0.1),
            event.Property(key="address.city", text="Köln"),
        ],
    )
    view = event.Event(
        event_id="view-7",
        type="page_viewed",
        occur_time_us=NOW_US - 900_000,
        identifiers=[event.Identifier(kind="cookie", value="c-9f2e")],
        properties=[event.Property(key="url", text="/boots?ref=mail")],
    )
    update = event.Event(
        event_id="profile-3",
        type="profile_updated",
        occur_time_us=NOW_US - 800_000,
        identifiers=[event.Identifier(kind="user_id", value="ada-17")],
        properties=[event.Property(key="balance", whole=-(2**53) - 1)],
    )
    return event.EventBatch(events=[order, view, update])


def pool(*texts: str) -> tuple[bytes, list[int]]:
    """Texts end to end, and their running ends."""
    ends, total = [], 0
    for text in texts:
        total += len(text.encode())
        ends.append(total)
    return "".join(texts).encode(), ends


def event_columns() -> columns.EventColumns:
    """Two rows, a purchase and a page view, as segments reads them: profile and atom are there."""
    name, name_end = pool("order_completed", "page_viewed", "user_id", "email", "total", "sku")
    text, text_end = pool("boots-42", "laces")
    id_text, id_text_end = pool("ada-17", "ada@example.com", "c-9f2e")
    event_id, event_id_end = pool("order-10428", "view-7")
    sealed, sealed_end = pool("\x01sealed\x02")
    return columns.EventColumns(
        rows=2,
        name=name,
        name_end=name_end,
        text=text,
        text_end=text_end,
        event_print=[0x0123456789ABCDEF, 0xFEDCBA9876543210, 1, 2**64 - 1],
        type=[0, 1],
        occur_time_us=[NOW_US - 1_500_000, NOW_US - 900_000],
        send_time_us=[NOW_US - 1_000_000, 0],
        accept_time_us=[NOW_US, NOW_US],
        id_end=[2, 3],
        id_kind=[2, 3, 2],
        id_print=[11, 12, 13, 14, 15, 16],
        id_text=id_text,
        id_text_end=id_text_end,
        prop_end=[3, 4],
        prop_key=[4, 5, 5, 5],
        prop_item=[0, 0, 1, 0],
        prop_kind=bytes([3, 1, 1, 1]),
        prop_value=[999_995, 0, 1, 0],
        prop_exponent=bytes([3, 0, 0, 0]),
        event_id=event_id,
        event_id_end=event_id_end,
        row_flags=bytes([0, 1]),
        row_source=bytes([1, 0]),
        source_name=b"web",
        source_name_end=[3],
        profile=[4, 6],
        atom=[9, 12],
        sealed_prop=[3],
        sealed_key_id=[77],
        sealed_text=sealed,
        sealed_text_end=sealed_end,
    )


def receipt_batch() -> ingest.ReceiptBatch:
    """One message of INTAKE with a repeat and a refusal among three items."""
    return ParseDict(
        {
            "receipts": [
                {
                    "intakeSequence": "4711",
                    "intakeSubject": "muster.intake.v1.demo.shop",
                    "events": 3,
                    "accepted": 1,
                    "acceptTime": NOW,
                    "exceptions": [
                        {
                            "index": 1,
                            "eventId": "view-7",
                            "verdict": "VERDICT_DUPLICATE",
                        },
                        {
                            "index": 2,
                            "eventId": "view-8",
                            "verdict": "VERDICT_REJECTED",
                            "code": "event_time_in_future",
                            "detail": "occur_time_us is more than 10 minutes ahead of ours.",
                        },
                    ],
                }
            ]
        },
        ingest.ReceiptBatch(),
    )


def attributes_set() -> identity.AttributesSet:
    """A name, a removed attribute and a balance."""
    name, name_end = pool("first_name", "nickname", "balance")
    text, text_end = pool("Ada")
    return identity.AttributesSet(
        profile=[4, 4, 4],
        atom=[9, 9, 9],
        name=name,
        name_end=name_end,
        text=text,
        text_end=text_end,
        key=[0, 1, 2],
        item=[0, 0, 0],
        kind=bytes([1, 0, 3]),
        value=[0, 0, -1999],
        exponent=bytes([0, 0, 2]),
        occur_time_us=[NOW_US] * 3,
        accept_time_us=[NOW_US + 5] * 3,
        event_print=[21, 22, 21, 22, 21, 22],
    )


def profile_step(definition: bytes) -> identity.ProfileStep:
    """Every kind of entry, in an order that could have happened. definition: a SegmentDefined."""
    kind, kind_end = pool("user_id", "cookie")
    text, text_end = pool("ada-17", "c-9f2e")
    created = identity.ProfilesCreated(
        profile=[4, 6],
        public_id=[0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F],
        atom=[9, 12],
        create_time_us=[NOW_US, NOW_US],
        former_public_id=[0, 0x165667B19E3779F9],
        order=3,
    )
    linked = identity.IdentifiersLinked(
        atom=[9, 12],
        profile=[4, 6],
        id_print=[11, 12, 15, 16],
        kind=kind,
        kind_end=kind_end,
        text=text,
        text_end=text_end,
        link_time_us=[NOW_US, NOW_US],
    )
    moved = identity.AtomsMoved(
        move_id=1,
        from_profile=6,
        to_profile=4,
        atom=[12],
        merge=True,
        cause_event_id=b"login-1",
        cause_print_high=31,
        cause_print_low=32,
        move_time_us=NOW_US + 7,
        across_partitions=True,
        cause=identity.MOVE_CAUSE_MERGE,
        newest_attributes=["city"],
        from_public_id=2**63 + 5,
        to_public_id=2**64 - 9,
        order=4,
    )
    control = identity.ControlRecord(
        control_sequence=2,
        subject="muster.control.v1.demo.segment",
        body=definition,
    )
    control.take_time.FromJsonString(NOW)
    entry = identity.ProfileEntry
    return identity.ProfileStep(
        entries=[
            entry(control=control),
            entry(created=created),
            entry(linked=linked),
            entry(events=event_columns()),
            entry(attributes=attributes_set()),
            entry(moved=moved),
        ]
    )


def printed(kind: str, value: str, print_high: int) -> identity.PrintedIdentifier:
    return identity.PrintedIdentifier(
        kind=kind, value=value, print_high=print_high, print_low=print_high + 1
    )


def identity_decided() -> dict[str, identity.IdentityDecided]:
    """A link taken back, one asserted, and other rules: name of the golden file -> message."""
    ada, cookie = printed("user_id", "ada-17", 11), printed("cookie", "c-9f2e", 15)
    common: dict[str, Any] = {
        "request_id": "req-1",
        "actor": "support@example.com",
        "reason": "the cookie is a colleague's",
        "decide_time_us": NOW_US,
        "print_high": 41,
        "print_low": 42,
    }
    decided = identity.IdentityDecided
    pair = identity.IdentifierPair(first=ada, second=cookie)
    rules = identity.IdentityRules(
        version=2,
        limits={"user_id": 1, "email": 3},
        shared_others_max=50,
        profile_identifiers_max=150,
        blocked=[printed("email", "test@example.com", 51)],
        attributes={
            "city": identity.ATTRIBUTE_RULE_NEWEST,
            "plan": identity.ATTRIBUTE_RULE_SOURCE,
            "first_visit": identity.ATTRIBUTE_RULE_FIRST,
        },
        patterns=[
            identity.BlockedPattern(kind="email", pattern="test@*"),
            identity.BlockedPattern(kind="phone", one_character=True),
        ],
        sources=["crm", "web"],
    )
    return {
        "IdentityDecided-forbidden": decided(
            **common, forbidden=identity.LinksForbidden(pairs=[pair])
        ),
        "IdentityDecided-asserted": decided(
            **common, asserted=identity.LinkAsserted(identifiers=[ada, cookie])
        ),
        "IdentityDecided-rules": decided(**common, rules=rules),
    }


def history_moved() -> identity.HistoryMoved:
    """The past of an absorbed profile, on its way to the survivor's partition."""
    return identity.HistoryMoved(
        move_id=1,
        from_profile=6,
        to_profile=4,
        events=[event_columns()],
        attributes=[attributes_set()],
        last=True,
        lists=[
            identity.ListMarks(
                list_id="club",
                added=[12],
                removed=[13],
                change_atom=[12],
                change_before=[2],
                change_time_us=[NOW_US],
            )
        ],
        words=[identity.SaidWords(topic="stop:email", atom=12, yes_us=NOW_US, no_us=NOW_US)],
    )


def registry_changed() -> dict[str, registry.RegistryChanged]:
    """A publisher with a key and a quota, an event type with a schema, and strictness."""
    changes = {
        "publisher": {
            "name": "web",
            "keyHashes": ["pZGm1Av0IEBKARczz7exkNYsZb8LzaMrV7J32a2fFG4="],
            "scopes": ["SCOPE_EVENTS", "SCOPE_IMPORT"],
            "untrusted": True,
            "eventsPerSecond": 500,
            "bytesPerSecond": "1000000",
        },
        "eventType": {
            "type": "ride_taken",
            "description": "A ride that has ended.",
            "closed": True,
            "properties": [
                {"key": "km", "type": "PROPERTY_TYPE_NUMBER", "required": True},
                {"key": "city", "type": "PROPERTY_TYPE_TEXT", "description": "where it ended"},
            ],
        },
        "vocabulary": {"undescribed": "UNDESCRIBED_QUARANTINE", "checkStandard": True},
    }
    said = {"actor": "ada", "requestId": "r-1", "changeTime": NOW}
    made = {
        f"RegistryChanged-{name}": ParseDict({name: change, **said}, registry.RegistryChanged())
        for name, change in changes.items()
    }
    gone = {"publisher": {"name": "web"}, "eventType": {"type": "ride_taken"}}
    for name, change in gone.items():
        tree = {name: {**change, "retired": True}, **said}
        made[f"RegistryChanged-{name}-retired"] = ParseDict(tree, registry.RegistryChanged())
    return made


def catalogue_items_set() -> catalogue.CatalogueItemsSet:
    """A phone that is sold out, of a price, in two sizes; and an item that is gone."""
    return ParseDict(
        {
            "items": [
                {
                    "itemId": "phone-7",
                    "properties": [
                        {"key": "stock", "whole": "0"},
                        {"key": "price", "decimal": {"units": "59900", "exponent": 2}},
                        {"key": "sizes", "item": 0, "text": "128 GB"},
                        {"key": "sizes", "item": 1, "text": "256 GB"},
                        {"key": "available", "flag": False},
                        {"key": "since", "timeUs": str(NOW_US)},
                    ],
                    "occurTime": NOW,
                    "whole": True,
                },
                {"itemId": "phone-6", "occurTime": NOW, "removed": True},
            ]
        },
        catalogue.CatalogueItemsSet(),
    )
