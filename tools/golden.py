"""The golden messages: one plausible example of every fact on the log, touching every field.

Deterministic: fixed instants, ids and prints. `contracts.py` writes them; tests/contract proves
that they decode, that JSON and bytes say the same, and that they name every field of the facts.
"""

from __future__ import annotations

import struct
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from muster.alerts.v1 import facts_pb2 as alerts
from muster.frequency.v1 import facts_pb2 as frequency
from muster.segments.v1 import cuts_pb2 as cuts
from muster.segments.v1 import facts_pb2 as segments
from muster.segments.v1 import lists_pb2 as lists
from muster.types.v1 import common_pb2 as common
from muster.types.v1 import event_pb2 as event
from tools import golden_rows as rows
from tools.golden_rows import NOW, NOW_US, pool
from tools.golden_rules import ANY_VALUES, EVERY_LEAF


def examples() -> dict[str, Message]:
    """Name of the golden file -> message."""
    return {
        "EventBatch": rows.event_batch(),
        "EventBatch-import": event.EventBatch(
            import_id="crm-2026-03", events=rows.event_batch().events
        ),
        "EventBatch-tick": event.EventBatch(),
        "EventColumns": rows.event_columns(),
        "ReceiptBatch": rows.receipt_batch(),
        "ProfileStep": rows.profile_step(segment_defined().SerializeToString(deterministic=True)),
        "HistoryMoved": rows.history_moved(),
        **rows.identity_decided(),
        "SegmentDefined": segment_defined(),
        "SegmentDefined-every-leaf": segment_defined_every_leaf(),
        "SegmentStep": segment_step(),
        "SegmentTriggered": segment_triggered(),
        "VariantsDefined": variants_defined(),
        "SegmentExported": segment_exported(),
        "SegmentDefined-list": list_defined(),
        "ListChanged": list_changed(),
        "RfmCutsSet": rfm_cuts_set(),
        "CatalogueItemsSet": rows.catalogue_items_set(),
        **rows.registry_changed(),
        "MessageDecided": message_decided(),
        "AlertNotice-raised": alert_raised(),
        "AlertNotice-resolved": alert_resolved(),
        "Parked": parked(),
        "ValueList": ParseDict({"values": ANY_VALUES}, common.ValueList()),
    }


def segment_defined() -> segments.SegmentDefined:
    """Purchases worth 1,000 EUR in 90 days by people reachable by e-mail."""
    return ParseDict(
        {
            "segmentId": "big-spenders",
            "name": "Big spenders",
            "segmentNumber": 1,
            "version": 2,
            "condition": {
                "all": {
                    "of": [
                        {"channel": {"channel": "email"}},
                        {
                            "event": {
                                "events": {"types": ["order_completed"]},
                                "window": {"last": "7776000s"},
                                "aggregate": {
                                    "kind": "AGGREGATE_KIND_SUM",
                                    "property": "total",
                                    "currency": "EUR",
                                },
                                "comparison": {"op": "OPERATOR_GTE", "values": [{"whole": "1000"}]},
                            }
                        },
                    ]
                }
            },
            "triggers": {
                "reasons": ["REASON_EVENT", "REASON_TIME"],
                "coolDown": "86400s",
                "reentry": False,
                "variantSet": "spring-mail",
                "migratesFrom": "prospects",
            },
            "author": "ops",
            "defineTime": NOW,
            "tags": ["value"],
            "requestId": "5e1f",
            "zone": "Europe/Berlin",
            "note": "1,000 instead of 500",
            "revision": 1,
        },
        segments.SegmentDefined(),
    )


def variants_defined() -> segments.VariantsDefined:
    """What a spring mailing says to big spenders, to buyers, to everybody else; then taken back."""
    return ParseDict(
        {
            "variantSetId": "spring-mail",
            "version": 3,
            "name": "Spring mailing",
            "rules": [
                {"segmentId": "big-spenders", "variant": "concierge"},
                {"segmentId": "buyers", "variant": "thanks"},
            ],
            "defaultVariant": "hello",
            "author": "ops",
            "note": "spring is over",
            "defineTime": NOW,
            "requestId": "91c2",
            "retired": True,
        },
        segments.VariantsDefined(),
    )


def list_defined() -> segments.SegmentDefined:
    """A list that follows the big spenders."""
    made = segment_defined()
    made.segment_id, made.name, made.segment_number, made.version = "club", "Club", 7, 1
    made.condition.list.list_id = "club"
    made.list.follows_segment_id = "big-spenders"
    return made


def list_changed() -> lists.ListChanged:
    """Everybody out, two in; and one out, who is of another partition."""
    return lists.ListChanged(
        list_id="club", added=[4, 9], removed=[6], emptied=True, actor="ops", request_id="77aa"
    )


def rfm_cuts_set() -> cuts.RfmCutsSet:
    """What scores by quantile turned at on a day with seven buyers, told apart by number."""

    def four(*figures: str) -> list[cuts.RfmCut]:
        return [cuts.RfmCut(figure=one, profile=n) for n, one in enumerate(figures, 1)]

    return cuts.RfmCutsSet(
        key="0b7c0b7c0b7c0b7c0b7c0b7c0b7c0b7c",
        midnight_us=NOW_US,
        profiles=7,
        recency=four("-41", "-12", "-3", "-1"),
        frequency=four("1", "2", "2", "5"),
        money=four("9.5", "1000/3", "999.95", "1200"),
        ties_by_id=True,
    )


def segment_exported() -> segments.SegmentExported:
    """Who took which columns of whom, and when."""
    return ParseDict(
        {
            "segmentId": "big-spenders",
            "segmentVersion": 2,
            "author": "ops",
            "columns": ["profile_id", "attribute.city"],
            "members": "41207",
            "exportTime": NOW,
            "keyName": "warehouse",
        },
        segments.SegmentExported(),
    )


def segment_defined_every_leaf() -> segments.SegmentDefined:
    """The whole vocabulary of the condition tree in one rule, taken out of service."""
    rule: dict[str, Any] = {
        "segmentId": "every-leaf",
        "segmentNumber": 2,
        "version": 1,
        "condition": EVERY_LEAF,
        "retired": True,
        "shadowOf": "big-spenders",
    }
    return ParseDict(rule, segments.SegmentDefined())


def segment_step() -> segments.SegmentStep:
    """One enters by an event, one leaves by time alone; three page views by members."""
    name, name_end = pool("page_viewed", "order_completed")
    variant, variant_end = pool("concierge")
    return segments.SegmentStep(
        transitions=segments.TransitionColumns(
            at_us=[NOW_US - 5, NOW_US],
            profile=[4, 8],
            segment=[1, 1],
            version=[2, 2],
            entered=bytes([1, 0]),
            reason=bytes([common.REASON_EVENT, common.REASON_TIME]),
            ordinal=[1, 4],
            cause_print=[0x0123456789ABCDEF, 0xFEDCBA9876543210, 0, 0],
            public_id=[0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F],
            row_flags=bytes([0, 1]),
            variant=[1, 0],
            variant_name=variant,
            variant_name_end=variant_end,
        ),
        activity=segments.ActivityCounted(
            segment=[1, 1],
            type=[0, 1],
            minute_us=[NOW_US // 60_000_000 * 60_000_000] * 2,
            count=[3, 1],
            name=name,
            name_end=name_end,
        ),
        sizes=[
            segments.SegmentSize(
                segment_number=1, segment_id="big-spenders", version=2, members=41_207
            )
        ],
    )


def segment_triggered() -> segments.SegmentTriggered:
    """The first row of segment_step, let out by the segment's policy."""
    return ParseDict(
        {
            "triggerId": "t_5c1b7e0a9d3f4482",
            "tenant": "demo",
            "segmentId": "big-spenders",
            "segmentVersion": 2,
            "profileId": "p_kwfzm4z9jfj1a",
            "profileNumber": 4,
            "direction": "DIRECTION_ENTERED",
            "reason": "REASON_EVENT",
            "atTime": NOW,
            "denseNumber": "17",
            "ordinal": 1,
            "partition": 1,
            "fromSegmentIds": ["prospects"],
            "toSegmentIds": ["former"],
            "variant": "b",
            "cause": struct.pack(">QQ", 0x0123456789ABCDEF, 0xFEDCBA9876543210).hex(),
        },
        segments.SegmentTriggered(),
    )


def message_decided() -> frequency.MessageDecided:
    """A message asked for by a trigger and deferred to the morning."""
    return ParseDict(
        {
            "tenant": "demo",
            "profileId": "p_kwfzm4z9jfj1a",
            "triggerId": "t_5c1b7e0a9d3f4482",
            "segmentId": "big-spenders",
            "message": {
                "messageType": "promo",
                "channel": "email",
                "content": {"": "thank-you", "b": "thank-you-b"},
            },
            "receipt": {
                "messageKey": "t_5c1b7e0a9d3f4482",
                "decision": "DECISION_DEFERRED",
                "rule": "limit:0",
                "countedKeys": ["t_01", "t_02"],
                "counted": 2,
                "max": 2,
                "windowFromTime": "2026-03-07T09:26:53.589793Z",
                "windowToTime": NOW,
                "nextAllowedTime": "2026-03-15T08:00:00Z",
                "deadlineTime": "2026-03-15T08:05:00Z",
                "decisionTime": NOW,
                "strategyId": "gentle",
                "strategyVersion": 3,
            },
            "number": "9",
        },
        frequency.MessageDecided(),
    )


def alert_raised() -> alerts.AlertNotice:
    """Fewer orders by members than the bound."""
    return ParseDict(
        {
            "raised": {
                "alertId": "a_7d",
                "tenant": "demo",
                "watchId": "orders-too-low",
                "watchVersion": 1,
                "segmentId": "big-spenders",
                "breach": "BREACH_BELOW",
                "value": "3",
                "bound": "10",
                "pointFromTime": "2026-03-14T09:25:00Z",
                "pointToTime": "2026-03-14T09:26:00Z",
                "raiseTime": "2026-03-14T09:26:00Z",
                "number": "5",
            }
        },
        alerts.AlertNotice(),
    )


def alert_resolved() -> alerts.AlertNotice:
    """The same alert, five minutes later."""
    return ParseDict(
        {
            "resolved": {
                "alertId": "a_7d",
                "tenant": "demo",
                "watchId": "orders-too-low",
                "segmentId": "big-spenders",
                "value": "12",
                "pointFromTime": "2026-03-14T09:30:00Z",
                "pointToTime": "2026-03-14T09:31:00Z",
                "resolveTime": "2026-03-14T09:31:00Z",
                "raiseTime": "2026-03-14T09:26:00Z",
                "number": "6",
            }
        },
        alerts.AlertNotice(),
    )


def parked() -> common.Parked:
    """A batch that is no protobuf, kept untouched."""
    return ParseDict(
        {
            "service": "ingest",
            "code": "malformed_batch",
            "detail": "The body is not an EventBatch: check that the publisher sends protobuf.",
            "sourceStream": "INTAKE",
            "sourceSequence": "4712",
            "sourceSubject": "muster.intake.v1.demo.shop",
            "body": "/wAB",
            "parkTime": NOW,
        },
        common.Parked(),
    )
