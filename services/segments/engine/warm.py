"""Compiles every kernel, or loads it from the cache, by living through a small history."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.ingest.v1 import catalogue_pb2
from muster.segments.v1 import facts_pb2 as facts
from muster.segments.v1 import lists_pb2
from muster.types.v1 import common_pb2, condition_pb2
from services.segments.domain import conditions as rule
from services.segments.domain import windows
from services.segments.domain.values import TEXT, Op, Scalar, Test
from services.segments.engine.asked.scoring import everybody
from services.segments.engine.base.tables import Table
from services.segments.engine.engine import Engine
from services.segments.engine.live.cursors import account, due_again
from services.segments.engine.live.flips import in_order, new_flips
from services.segments.engine.live.streams import insert
from services.segments.engine.pasts import Past, judge
from services.segments.engine.pasts.crowd import cuts, some
from services.segments.engine.pasts.scratch import at_once

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US


def _pool(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    raw = [text.encode() for text in texts]
    ends = np.cumsum([len(one) for one in raw]).astype(np.uint32)
    return np.frombuffer(b"".join(raw), np.uint8), ends


def _events(rows: int, at: int) -> dict[str, Any]:
    """Columns as ColumnCodec(EventColumns).decode gives them, read-only like those."""
    name, name_end = _pool(["order", "view", "amount", "city"])
    text, text_end = _pool(["Kyiv", "Lviv road"])
    number = np.arange(rows)
    columns = {
        "name": name,
        "name_end": name_end,
        "text": text,
        "text_end": text_end,
        "event_print": np.arange(2 * rows, dtype=np.uint64),
        "type": (number % 2).astype(np.uint32),
        "occur_time_us": at - (number[::-1] % 3) * SECOND_US,
        "accept_time_us": np.full(rows, at, np.int64),
        "prop_end": (2 * number + 2).astype(np.uint32),
        "prop_key": np.tile(np.array([2, 3], np.uint32), rows),
        "prop_item": np.zeros(0, np.uint32),
        "prop_kind": np.tile(np.array([2, 1], np.uint8), rows),
        "prop_value": np.stack([number, number % 2], axis=1).ravel().astype(np.int64),
        "prop_exponent": np.zeros(2 * rows, np.uint8),
        "event_id": np.zeros(rows, np.uint8),
        "event_id_end": (number + 1).astype(np.uint32),
        "row_flags": np.zeros(rows, np.uint8),
        "profile": (number % 4).astype(np.uint32),
        "atom": (number % 4).astype(np.uint32),
    }
    return _decoded(columns)


def _decoded(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns that may only be read, as a decoder gives them: kernels tell them apart."""
    for column in columns.values():
        column.flags.writeable = False
    return columns


def _rules() -> list[condition_pb2.Condition]:
    rules = []
    order = condition_pb2.Condition()
    order.event.events.types.append("order")
    order.event.window.last.seconds = 60
    order.event.aggregate.kind = condition_pb2.AGGREGATE_KIND_SUM
    order.event.aggregate.property = "amount"
    order.event.comparison.op = condition_pb2.OPERATOR_GTE
    order.event.comparison.values.append(common_pb2.Value(whole=3))
    rules.append(order)
    view = condition_pb2.Condition()
    view.event.events.types.append("view")
    test = view.event.events.where.all.of.add().test
    test.property = "city"
    test.test.op = condition_pb2.OPERATOR_CONTAINS
    test.test.values.append(common_pb2.Value(text="road"))
    getattr(view.event.window.slice, "from").seconds = 90
    view.event.window.slice.to.seconds = 5
    rules.append(view)
    city = condition_pb2.Condition()
    city.attribute.attribute = "city"
    city.attribute.test.op = condition_pb2.OPERATOR_EQ
    city.attribute.test.values.append(common_pb2.Value(text="Kyiv"))
    wide = condition_pb2.Condition()
    wide.at_least.n = 2
    for text in ("a", "b", "c", "d", "e", "f", "g"):
        one = wide.at_least.of.add()
        one.event.events.types.append("view")
        part = one.event.events.where.any_item
        part.path = "city"
        inner = part.where.add().test
        inner.test.op = condition_pb2.OPERATOR_EQ
        inner.test.values.append(common_pb2.Value(text=text))
    largest = condition_pb2.Condition()
    largest.CopyFrom(order)
    largest.event.aggregate.kind = condition_pb2.AGGREGATE_KIND_MAX
    held = condition_pb2.Condition()
    held.attribute_held.attribute = "city"
    held.attribute_held.test.CopyFrom(city.attribute.test)
    held.attribute_held.at_least.seconds = 30
    often = condition_pb2.Condition()
    often.regularly.events.types.append("order")
    often.regularly.period.seconds = 10
    often.regularly.at_least_periods = often.regularly.of_periods = often.regularly.min_count = 1
    return [*rules, city, wide, largest, held, often]


def _asked() -> list[condition_pb2.Condition]:
    """Questions: over a live stream, over the log, and about identifiers."""
    average = condition_pb2.Condition()
    average.event.events.types.extend(["view", "order"])
    average.event.window.this_period.unit = condition_pb2.CALENDAR_UNIT_MONTH
    average.event.aggregate.kind = condition_pb2.AGGREGATE_KIND_AVG
    average.event.aggregate.property = "amount"
    average.event.comparison.op = condition_pb2.OPERATOR_GTE
    average.event.comparison.values.append(common_pb2.Value(whole=3))
    known = condition_pb2.Condition()
    known.everyone.known_only = True
    total, some, _, wide, *_ = _rules()
    many = condition_pb2.Condition()
    many.event.events.types.append("order")
    many.event.comparison.op = condition_pb2.OPERATOR_GTE
    many.event.comparison.values.append(common_pb2.Value(whole=1_000))
    left = condition_pb2.Condition()
    left.not_followed.start.types.append("view")
    left.not_followed.by.types.append("order")
    left.not_followed.within.seconds = 1
    texts = condition_pb2.Condition()
    texts.CopyFrom(total)
    texts.event.aggregate.property = "city"
    return [total, texts, some, wide, average, known, many, left, _scores()]


def _scores() -> condition_pb2.Condition:
    scores = condition_pb2.Condition()
    leaf = scores.rfm
    leaf.orders.types.append("order")
    leaf.amount_property = "amount"
    leaf.recency_min = leaf.frequency_min = 1
    leaf.money_min = 2
    leaf.recency_max = leaf.frequency_max = leaf.money_max = 5
    leaf.recency_edges_days.extend((1, 2, 3, 4))
    leaf.frequency_edges.extend((1, 2, 3, 4))
    for units in (1, 2, 3, 4):
        leaf.money_edges.add(units=units)
    return scores


def warm() -> None:
    """Leaves every kernel compiled; takes a second from the cache, about a minute without it."""
    engine = Engine(0, 1)
    at = 1_000 * DAY_US
    created = {
        "profile": np.arange(4, dtype=np.uint32), "atom": np.arange(4, dtype=np.uint32),
        "public_id": np.arange(4, dtype=np.uint64) + np.uint64(1),
        "create_time_us": np.full(4, at, np.int64),
    }  # fmt: skip
    engine.create_profiles(_decoded(created))
    kind, kind_end = _pool(["email"])
    linked = {
        "atom": np.array([1], np.uint32), "profile": np.array([1], np.uint32), "kind": kind,
        "kind_end": kind_end, "id_print": np.array([5, 6], np.uint64),
        "link_time_us": np.array([at], np.int64),
    }  # fmt: skip
    engine.link_identifiers(_decoded(linked))
    for number, condition in enumerate(_rules(), 1):
        defined = facts.SegmentDefined(segment_id=f"s{number}", segment_number=number, version=1)
        defined.condition.CopyFrom(condition)
        engine.define(defined, at)
    name, name_end = _pool(["city"])
    text, text_end = _pool(["Kyiv"])
    one = np.ones(1, np.uint32)
    engine.set_attributes(
        {
            "profile": one, "atom": one, "name": name, "name_end": name_end, "text": text,
            "text_end": text_end, "key": one * 0, "item": one[:0], "kind": np.ones(1, np.uint8),
            "value": np.zeros(1, np.int64), "exponent": np.zeros(0, np.uint8),
            "occur_time_us": np.array([at]), "accept_time_us": np.array([at]),
            "event_print": np.zeros(2, np.uint64),
        }
    )  # fmt: skip
    engine.add_events(_events(100, at + SECOND_US))
    engine.advance(at + SECOND_US)
    engine.move_atoms(
        identity.AtomsMoved(
            move_id=1, from_profile=2, to_profile=3, atom=[2], merge=True,
            move_time_us=at + 2 * SECOND_US,
        )
    )  # fmt: skip
    engine.advance(at + 200 * SECOND_US)
    for condition in _asked():
        engine.count(engine.compile(condition))
    engine.explain("s1", 1)
    engine.resolve(5, 6)
    _rare_kernels(engine, at)
    _pasts(engine)
    _lists_and_items(engine)
    _words(engine)
    part = engine.part
    for stream in part.streams.streams:
        part.streams._merge(stream, 2, 1)
    copy = Engine(0, 1)
    copy.load({name: memoryview(bytes(b)) for name, b in engine.dump().items()})


def _lists_and_items(engine: Engine) -> None:
    """Somebody is put into a list and taken out, and the items of a catalogue change."""
    at = engine.time_us + SECOND_US
    listed = facts.SegmentDefined(segment_id="listed", segment_number=97, version=1)
    listed.list.follows_segment_id = "s1"
    viewed = facts.SegmentDefined(segment_id="viewed", segment_number=98, version=1)
    leaf = viewed.condition.catalogue
    leaf.events.types.append("view")
    leaf.item_property = "city"
    leaf.item_has.test.property = "stock"
    leaf.item_has.test.test.op = condition_pb2.OPERATOR_EXISTS
    for defined in (listed, viewed):
        engine.define(defined, at)
    engine.advance(at)
    engine.change_list(lists_pb2.ListChanged(list_id="listed", added=[0, 1]), at)
    engine.change_list(lists_pb2.ListChanged(list_id="listed", removed=[1]), at)
    for item_id in ("Kyiv", "17"):
        item = catalogue_pb2.CatalogueItem(item_id=item_id)
        item.properties.add(key="stock", whole=1)
        engine.set_catalogue(catalogue_pb2.CatalogueItemsSet(items=[item]), at)
    engine.advance(at)


def _words(engine: Engine) -> None:
    """Somebody says no to messages."""
    at = engine.time_us + SECOND_US
    columns = {name: column.copy() for name, column in _events(1, at).items()}
    columns["name"], columns["name_end"] = _pool(["message_unsubscribed", "-", "-", "channel"])
    columns["text"], columns["text_end"] = _pool(["email", "email"])
    engine.add_events(_decoded(columns))
    engine.advance(at)


def _pasts(engine: Engine) -> None:
    """Leaves judged from whole pasts, of many profiles and of one."""
    part, ever = engine.part, windows.Window()
    orders, views = rule.Selector(("order",)), rule.Selector(("view",))
    kyiv = rule.Comparison(Op.EQ, Fraction(0), test=Test(Op.EQ, (Scalar(TEXT, "Kyiv"),)))
    half = rule.Comparison(Op.GTE, Fraction(1, 2))
    leaves = (
        rule.FirstEvent(orders, ever),
        rule.Sequence((views, orders), None, ever, "city"),
        rule.NotFollowed(views, orders, SECOND_US, ever, ""),
        rule.Regularly(orders, 1, 2, SECOND_US, 1),
        rule.EventsAre(orders, ever, rule.Aggregate(rule.Kind.RATIO, denominator=views), half),
        rule.EventsAre(views, ever, rule.Aggregate(rule.Kind.MOST_FREQUENT, "city"), kyiv),
        rule.AttributeIs("city", Test(Op.IN_LAST, duration_us=SECOND_US)),
        rule.AttributeHeld("city", Test(Op.EQ, (Scalar(TEXT, "Kyiv"),)), SECOND_US, None),
    )
    rows = np.arange(part.people.rows)
    for leaf in leaves:
        at_once(part, leaf, some(part, rows, np.full(rows.size, part.now)), False)
        judge(leaf, Past(part, 1), part.now)
    cuts(part, rows)
    scored = rule.Rfm(orders, "amount", ever, (1, 5), (1, 5), (1, 5), None, "UTC", False)
    everybody(part, scored, part.now)


def _rare_kernels(engine: Engine, at: int) -> None:
    """Those that a quiet history does not reach: instants far apart, tables that grow, a look-up of
    one text, pasts between partitions."""
    flips = new_flips(64)
    flips.at[:30] = np.arange(30) // 2 * (1 << 55)
    in_order(flips, 30, 1 << 20, new_flips(64))
    table = Table(16)
    for key in range(20):
        table.set(key, key)
    chosen = condition_pb2.Condition()
    chosen.event.events.types.append("view")
    test = chosen.event.events.where.test
    test.property = "city"
    test.test.op = condition_pb2.OPERATOR_EQ
    test.test.values.append(common_pb2.Value(text="Kyiv"))
    defined = facts.SegmentDefined(segment_id="looked-up", segment_number=99, version=1)
    defined.condition.CopyFrom(chosen)
    engine.define(defined, at)
    engine.advance(engine.time_us)
    engine.part.routes()
    birthday = facts.SegmentDefined(segment_id="birthday", segment_number=96, version=1)
    birthday.condition.attribute.attribute = "city"
    birthday.condition.attribute.test.op = condition_pb2.OPERATOR_ANNIVERSARY
    engine.define(birthday, at)
    engine.advance(engine.time_us)
    part, none = engine.part, np.zeros(0, np.int64)
    part.people.slot(9, 1)
    view, streams = part.cursors.view(), part.streams.view()
    first = int(view.stream[0])
    insert(first, none, streams, part.events.view, part.tests.view(), part.people.slot_row, 1)
    account(view, streams, part.events.view, first, none, 0, part.now)
    due_again(view, streams, first)
