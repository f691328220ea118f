"""Schemas on columns against a naive reading of the events, and lineage against the rule's text."""

from __future__ import annotations

import json
import os
import random
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from muster.ingest.v1.facts_pb2 import ReceiptBatch
from muster.segments.v1.facts_pb2 import SegmentDefined
from muster.types.v1.condition_pb2 import Condition
from muster.types.v1.event_pb2 import Event, EventBatch, Property
from services.chassis.core import Message
from services.ingest.adapters.lineage import uses_of
from services.ingest.core import RECEIPTS, IngestCore
from services.ingest.domain.registry import Vocabulary, evolve
from services.ingest.domain.schemas import STANDARD, Kind, Rule, Schema
from services.ingest.settings import IngestSettings
from tools.golden_rules import EVERY_LEAF

SEED = int(os.environ.get("MUSTER_SEED", "20261121"))
NOW = 1_790_000_000_000_000
KEYS = ["km", "city", "promo", "at", "lines.quantity"]
TYPES = ["ride_taken", "scooter_left", "search_performed", "unheard_of", "page_viewed"]
TEXTS = ["12", " 3.5 ", "far", "2026-05-01", "2026-05-01T10:00:00Z", "", "NaN", "1e3"]


def random_schema(chance: random.Random, name: str) -> Schema:
    keys = chance.sample(KEYS, chance.randrange(len(KEYS)))
    rules = tuple(Rule(key, chance.choice(list(Kind)), chance.random() < 0.3) for key in keys)
    return Schema(name, rules, chance.random() < 0.3)


def random_event(chance: random.Random, number: int) -> Event:
    event = Event(
        event_id=f"e{number}", type=chance.choice(TYPES), occur_time_us=NOW, send_time_us=NOW
    )
    event.identifiers.add(kind="user_id", value=f"u{number}")
    for key in chance.sample([*KEYS, "query", "other"], chance.randrange(5)):
        for item in range(chance.choice([1, 1, 2])):
            made = event.properties.add(key=key, item=item)
            field, value = chance.choice(
                [
                    ("text", chance.choice(TEXTS)),
                    ("whole", 5),
                    ("number", 0.25),
                    ("flag", True),
                    ("time_us", NOW),
                    ("", None),
                ]
            )
            if field:
                setattr(made, field, value)
    return event


def allows(kind: Kind, one: Property) -> bool:
    """Whether a value may stand under a kind; from the comments of the contract."""
    which = one.WhichOneof("value")
    if kind is Kind.ANY or which is None:
        return True
    if which == "text":
        if kind is Kind.NUMBER:
            try:
                return Decimal(one.text.strip()).is_finite()
            except InvalidOperation:
                return False
        return kind is Kind.TEXT or (kind is Kind.TIME and one.text.startswith("2026-05-01"))
    return {
        Kind.NUMBER: which in ("whole", "number", "decimal"),
        Kind.FLAG: which == "flag",
        Kind.TIME: which == "time_us",
        Kind.TEXT: False,
    }[kind]


def naive(event: Event, schemas: dict[str, Schema], vocabulary: Vocabulary) -> set[str]:
    """Every code with which an event may be refused; empty when it is taken."""
    strict = vocabulary.quarantine or vocabulary.check_standard
    schema = schemas.get(event.type) or (STANDARD.get(event.type) if strict else None)
    if schema is None:
        return {"event_type_not_described"} if vocabulary.quarantine else set()
    codes = set()
    rules = {rule.key: rule for rule in schema.rules}
    for one in event.properties:
        rule = rules.get(one.key)
        if rule is None and schema.closed and one.WhichOneof("value"):
            codes.add("property_not_described")
        elif rule is not None and not allows(rule.kind, one):
            codes.add("property_of_wrong_type")
    there = {one.key for one in event.properties if one.WhichOneof("value")}
    if any(rule.required and rule.key not in there for rule in schema.rules):
        codes.add("property_missing")
    return codes


@pytest.mark.parametrize("round_", range(60))
def test_columns_refuse_what_reading_refuses(round_: int) -> None:
    seed = SEED + round_
    print("seed", seed)
    chance = random.Random(seed)
    core = IngestCore(IngestSettings())
    schemas = {name: random_schema(chance, name) for name in TYPES[: chance.randrange(4)]}
    vocabulary = Vocabulary(chance.random() < 0.5, chance.random() < 0.5)
    for change in (*schemas.values(), vocabulary):
        evolve(core.registry, change)
    events = [random_event(chance, number) for number in range(80)]
    body = EventBatch(events=events).SerializeToString()
    facts = core.step([Message(0, "muster.intake.v1.demo.shop", 1, NOW, body)], NOW)
    said = {
        item.index: (item.code, item.detail)
        for one in facts.bodies.get(RECEIPTS, [])
        for receipt in ReceiptBatch.FromString(one).receipts
        for item in receipt.exceptions
    }
    for place, event in enumerate(events):
        wanted = naive(event, schemas, vocabulary)
        code, detail = said.get(place, ("", ""))
        assert (code in wanted) if wanted else (code == ""), (event, code, wanted)
        if code.startswith("property"):
            assert detail.split(":")[0] in {*KEYS, "query", "other"}


def named_in(tree: Any) -> tuple[set[str], set[str]]:
    """(event types, properties) that a rule's JSON names about events."""
    types, properties = set(), set()
    if isinstance(tree, dict):
        types |= set(tree.get("types", []))
        if "test" in tree and "property" in tree:
            properties.add(tree["property"])
        for key, value in tree.items():
            if key == "catalogue":
                continue
            more = named_in(value)
            types |= more[0]
            properties |= more[1]
    elif isinstance(tree, list):
        for value in tree:
            more = named_in(value)
            types |= more[0]
            properties |= more[1]
    return types, properties


def test_lineage_knows_every_type_and_property_of_every_leaf() -> None:
    condition = ParseDict(json.loads(json.dumps(EVERY_LEAF)), Condition())
    uses = uses_of(SegmentDefined(segment_id="all", condition=condition))
    types, properties = named_in(MessageToDict(condition))
    assert len(types) > 3
    found_types = {name for use in uses for name in use.types}
    assert types <= found_types
    found = {use.property for use in uses}
    assert {name for name in properties if not any(f.endswith(name) for f in found)} == set()
    assert uses_of(SegmentDefined(segment_id="all", condition=condition, retired=True)) == []
