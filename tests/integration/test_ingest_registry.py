"""Publishers with keys, scopes, trust, quotas; schemas, quarantine, and live rules kept whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import segment.analytics as segment_sdk
from nats.aio.client import Client

from muster.ingest.v1 import registry_pb2 as wire
from muster.ingest.v1.facts_pb2 import Verdict
from muster.ingest.v1.registry_pb2_grpc import RegistryServiceStub
from muster.ingest.v1.service_pb2 import SubmitEventsRequest, SubmitEventsResponse
from muster.ingest.v1.service_pb2_grpc import IngestServiceStub
from muster.segments.v1.facts_pb2 import SegmentDefined
from muster.types.v1.common_pb2 import Parked
from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis import clock, subjects
from services.chassis.children import free_port
from services.chassis.pull import Pull
from tests.integration.test_ingest_http import Http
from tests.support.servers import Service, Stack

CODES = grpc.StatusCode


@dataclass
class Doors:
    stack: Stack
    worker: Service
    ingest: IngestServiceStub
    registry: Any
    http: Http
    client: Client

    async def publisher(self, name: str, **fields: Any) -> str:
        """Registers a publisher; its new key."""
        answer = await self.registry.SetPublisher(
            wire.SetPublisherRequest(
                tenant="demo", publisher=wire.Publisher(name=name, **fields), new_key=True
            )
        )
        return str(answer.key)

    async def describe(self, name: str, *rules: tuple[str, int], **fields: Any) -> Any:
        properties = [wire.PropertyRule(key=key, type=kind) for key, kind in rules]
        force = fields.pop("force", False)
        return await self.registry.SetEventType(
            wire.SetEventTypeRequest(
                tenant="demo",
                event_type=wire.EventType(type=name, properties=properties, **fields),
                force=force,
            )
        )

    async def submit(
        self, *events: Event, publisher: str = "shop", key: str = "", wait: bool = True
    ) -> SubmitEventsResponse:
        request = SubmitEventsRequest(tenant="demo", publisher=publisher, events=events)
        if wait:
            request.verdict_deadline.FromSeconds(10)
        metadata = [("authorization", f"Bearer {key}")] if key else []
        return await self.ingest.SubmitEvents(request, timeout=20, metadata=metadata)


@pytest.fixture
async def doors(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    port = free_port()
    monkeypatch.setenv("MUSTER_HTTP_PORT", str(port))
    process = stack.start("ingest", "doors")
    monkeypatch.delenv("MUSTER_HTTP_PORT")
    worker = stack.start("ingest", "worker")
    await asyncio.gather(process.ready(), worker.ready())
    async with grpc.aio.insecure_channel(process.address) as channel:
        http = Http(f"http://127.0.0.1:{port}", stack.client)
        registry = RegistryServiceStub(channel)
        yield Doors(stack, worker, IngestServiceStub(channel), registry, http, stack.client)


def event(name: str, kind: str = "page_viewed", **properties: Any) -> Event:
    now = clock.wall_us()
    made = Event(event_id=name, type=kind, occur_time_us=now, send_time_us=now)
    made.identifiers.add(kind="user_id", value=f"u-{name}")
    for key, value in properties.items():
        field = {str: "text", int: "whole", bool: "flag", float: "number"}[type(value)]
        made.properties.add(key=key.replace("__", "."), **{field: value})
    return made


async def refused(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value


async def test_a_registered_publisher_needs_its_key_and_its_scope(doors: Doors) -> None:
    key = await doors.publisher("shop", scopes=[wire.SCOPE_EVENTS])
    assert len(key) > 20
    assert (await refused(doors.submit(event("a")))).code() is CODES.UNAUTHENTICATED
    assert (await refused(doors.submit(event("a"), key="x"))).code() is CODES.UNAUTHENTICATED
    assert (await doors.submit(event("a"), key=key)).items[0].verdict == Verdict.VERDICT_ACCEPTED
    call = {"userId": "u", "event": "x"}
    assert (await doors.http.post("track", call, key="shop"))[0] == 401
    assert (await doors.http.post("track", call, key=key))[0] == 200
    status, answer, _ = await doors.http.post("import", {"batch": [call]}, key=key)
    assert (status, answer["code"]) == (403, "not_allowed")
    answer = await doors.registry.ListPublishers(wire.ListPublishersRequest(tenant="demo"))
    assert [(p.name, len(p.key_hashes)) for p in answer.publishers] == [("shop", 0)]
    await doors.registry.SetPublisher(
        wire.SetPublisherRequest(
            tenant="demo", publisher=wire.Publisher(name="shop"), revoke_keys=True, new_key=True
        )
    )
    assert (await doors.http.post("track", call, key=key))[0] == 401


async def test_what_a_publisher_without_rights_sent_past_the_doors_is_parked(doors: Doors) -> None:
    await doors.publisher("crm", retired=True)
    await doors.publisher("web", untrusted=True)
    await asyncio.sleep(0.5)
    jetstream = doors.client.jetstream()
    body = EventBatch(events=[event("late")]).SerializeToString()
    await jetstream.publish(subjects.intake("demo", "crm"), body)
    body = EventBatch(events=[event("web")]).SerializeToString()
    await jetstream.publish(subjects.intake("demo", "web"), body)
    body = EventBatch(events=[event("free")]).SerializeToString()
    await jetstream.publish(subjects.intake("demo", "app"), body)
    rows = await doors.http.rows(2)
    assert [(row["id"], row["flags"]) for row in rows] == [("web", 2), ("free", 0)]
    assert [p.code for p in await parked(doors.client, 1)] == ["publisher_retired"]


async def parked(client: Client, count: int) -> list[Parked]:
    pull = Pull(client, subjects.PARKED, [subjects.parked("demo", "ingest")], 0, {})
    found: list[Parked] = []
    deadline = clock.monotonic() + 20
    while len(found) < count and clock.monotonic() < deadline:
        found += [Parked.FromString(p.body) for p in await pull.take(1 << 20, 0.2) if p.body]
    await pull.close()
    return found


async def test_a_quota_is_refused_with_the_time_to_wait(doors: Doors) -> None:
    key = await doors.publisher("shop", events_per_second=10)
    answers = [await doors.http.post("track", call_(n), key=key) for n in range(40)]
    taken = [status for status, _, _ in answers if status == 200]
    refusals = [headers for status, _, headers in answers if status == 429]
    assert len(taken) + len(refusals) == 40
    assert 20 <= len(taken) <= 36
    assert all(int(headers["retry-after"]) >= 1 for headers in refusals)
    error = await refused(doors.submit(*(event(f"e{n}") for n in range(5)), key=key))
    assert error.code() is CODES.RESOURCE_EXHAUSTED
    assert (await doors.submit(event("other"), publisher="other")).items[0].verdict


def call_(number: int) -> dict[str, Any]:
    return {"userId": f"u{number}", "event": "x"}


async def test_schemas_refuse_and_quarantine_until_described(doors: Doors) -> None:
    number = wire.PROPERTY_TYPE_NUMBER
    await doors.describe("ride_taken", ("km", number), ("city", wire.PROPERTY_TYPE_TEXT))
    await doors.registry.SetVocabulary(
        wire.SetVocabularyRequest(
            tenant="demo",
            vocabulary=wire.Vocabulary(undescribed=wire.UNDESCRIBED_QUARANTINE),
        )
    )
    answer = await doors.submit(
        event("1", "ride_taken", km=3, city="Brno"),
        event("2", "ride_taken", km="3.5"),
        event("3", "ride_taken", km="far"),
        event("4", "ride_taken", km=True),
        event("5", "scooter_left"),
        event("6", "page_viewed", url="/"),
        event("7", "search_performed"),
    )
    assert [item.code for item in answer.items] == [
        *("", "", "property_of_wrong_type", "property_of_wrong_type"),
        *("event_type_not_described", "", "property_missing"),
    ]
    assert answer.items[2].detail.startswith("km: ")
    # Past the doors: kept, and taken once the type is described.
    body = EventBatch(events=[event("8", "scooter_left")]).SerializeToString()
    subject = subjects.intake("demo", "direct")
    await doors.client.jetstream().publish(subject, body)
    kept = await parked(doors.client, 1)
    assert [p.code for p in kept] == ["event_type_not_described"]
    await doors.describe("scooter_left")
    await asyncio.sleep(0.5)
    await doors.client.jetstream().publish(subject, kept[0].body)
    assert [row["id"] for row in await doors.http.rows(4)] == ["1", "2", "6", "8"]


async def test_the_worker_remembers_the_registry_across_kill(doors: Doors) -> None:
    await doors.publisher("web", untrusted=True)
    await asyncio.sleep(0.3)
    doors.worker.kill9()
    again = doors.stack.start("ingest", "worker")
    await again.ready()
    body = EventBatch(events=[event("web")]).SerializeToString()
    await doors.client.jetstream().publish(subjects.intake("demo", "web"), body)
    assert [row["flags"] for row in await doors.http.rows(1)] == [2]


async def test_a_schema_that_would_break_a_live_rule_is_refused_and_names_it(doors: Doors) -> None:
    definition = SegmentDefined(segment_id="big-spenders", segment_number=1, version=1)
    leaf = definition.condition.event
    leaf.events.types.append("ride_taken")
    leaf.events.where.test.property = "city"
    leaf.events.where.test.test.values.add(text="Brno")
    leaf.aggregate.kind = 2
    leaf.aggregate.property = "km"
    await doors.client.jetstream().publish(
        subjects.control("demo", "segment"), definition.SerializeToString()
    )
    await asyncio.sleep(0.3)
    error = await refused(doors.describe("ride_taken", ("km", wire.PROPERTY_TYPE_TEXT)))
    assert error.code() is CODES.FAILED_PRECONDITION
    assert "segment big-spenders takes km as number" in (error.details() or "")
    error = await refused(
        doors.describe("ride_taken", ("km", wire.PROPERTY_TYPE_NUMBER), closed=True)
    )
    assert "big-spenders looks at city" in (error.details() or "")
    quarantine = wire.Vocabulary(undescribed=wire.UNDESCRIBED_QUARANTINE)
    error = await refused(
        doors.registry.SetVocabulary(
            wire.SetVocabularyRequest(tenant="demo", vocabulary=quarantine)
        )
    )
    assert "big-spenders looks at ride_taken" in (error.details() or "")
    answer = await doors.describe("ride_taken", ("km", wire.PROPERTY_TYPE_TEXT), force=True)
    assert len(answer.broken) == 1
    listed = await doors.registry.ListEventTypes(wire.ListEventTypesRequest(tenant="demo"))
    assert [(t.event_type.type, list(t.segments)) for t in listed.event_types] == [
        ("ride_taken", ["big-spenders"])
    ]
    looked_at = {p.property: list(p.segments) for p in listed.event_types[0].properties}
    assert looked_at == {"city": ["big-spenders"], "km": ["big-spenders"]}
    definition.retired = True
    await doors.client.jetstream().publish(
        subjects.control("demo", "segment"), definition.SerializeToString()
    )
    await asyncio.sleep(0.3)
    assert not (await doors.describe("ride_taken", closed=True)).broken


async def test_segments_own_client_waits_as_told_and_loses_nothing(doors: Doors) -> None:
    """Its batches of ten meet a quota of ten a second: refused with Retry-After, then taken."""
    key = await doors.publisher("shop", events_per_second=10)
    errors: list[Any] = []
    client = segment_sdk.Client(
        key,
        host=doors.http.url,
        upload_size=10,
        upload_interval=0.01,
        on_error=lambda error, _: errors.append(error),
    )
    for number in range(60):
        client.track(f"u{number}", "Song Played", message_id=f"s{number}")
    await asyncio.to_thread(client.shutdown)
    rows = await doors.http.rows(60)
    assert errors == []
    assert sorted(row["id"] for row in rows) == sorted(f"s{n}" for n in range(60))
