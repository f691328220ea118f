"""What people ask and decide about identity, over gRPC on real processes, killed on the way."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from muster.identity.v1 import facts_pb2 as identity
from muster.identity.v1 import service_pb2 as api
from muster.identity.v1.service_pb2_grpc import IdentityServiceStub
from muster.types.v1.common_pb2 import ProfileRef
from muster.types.v1.event_pb2 import Identifier
from services.chassis import clock
from tests.integration.test_identity_service import (
    PARTITIONS,
    TENANT,
    Running,
    by_identifier,
    replays_alike,
)
from tests.support.servers import Stack
from tests.unit.identity.events import Happened

ADA, BOB = ("user_id", "ada"), ("user_id", "bob")
LAPTOP, PHONE = ("cookie", "laptop"), ("cookie", "phone")
MAIL = ("email", "ada@example.org")


@dataclass
class Asking:
    """A running identity and its stub."""

    running: Running
    stub: Any

    async def ask(self, method: str, **fields: Any) -> Any:
        request = getattr(api, f"{method}Request")(tenant=TENANT, **fields)
        return await getattr(self.stub, method)(request)

    async def profile(self, identifier: tuple[str, str]) -> str:
        answer = await self.ask(
            "ResolveProfile", profile=by_identifier(*identifier), at_least=self.running.token
        )
        return answer.profile_id

    async def refused(self, code: grpc.StatusCode, method: str, **fields: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await self.ask(method, **fields)
        assert refusal.value.code() == code, refusal.value.details()
        return refusal.value.details() or ""


def named(identifier: tuple[str, str]) -> Identifier:
    return Identifier(kind=identifier[0], value=identifier[1])


def held(profile: Any) -> set[tuple[str, str]]:
    return {(one.kind, one.value) for one in profile.identifiers}


@pytest.fixture
async def asking(stack: Stack) -> AsyncIterator[Asking]:
    stack.partitions = PARTITIONS
    worker, process = stack.start("ingest", "worker"), stack.start("identity")
    await asyncio.gather(worker.ready(), process.ready())
    async with grpc.aio.insecure_channel(process.address) as channel:
        yield Asking(Running(stack, process), IdentityServiceStub(channel))


def devices(now: int) -> list[Happened]:
    """Ada on her laptop and her phone; on the phone Bob logged in once, by mistake as Ada."""
    return [
        Happened("visit", now - 60, (LAPTOP,), "page_viewed", {"url": "/boots"}),
        Happened("other", now - 50, (PHONE,), "page_viewed", {"url": "/hats"}),
        Happened("login", now - 40, (ADA, LAPTOP), "logged_in"),
        Happened("mail", now - 30, (ADA, MAIL), "profile_updated", {"city": "Ulm"}),
        Happened("mistake", now - 20, (ADA, PHONE), "logged_in"),
        Happened("late hat", now - 10, (PHONE,), "page_viewed", {"url": "/hats/7"}),
    ]


async def test_a_link_is_looked_at_taken_back_and_asserted_again(asking: Asking) -> None:
    events = devices(clock.wall_us())
    # One message each, so that the phone has had a profile of its own.
    for event in events:
        await asking.running.publish([event])
    ada = await asking.profile(ADA)
    assert await asking.profile(PHONE) == ada
    graph = await asking.ask("GetProfileGraph", profile=by_identifier(*ADA))
    assert [link.cause_id for link in graph.links] == ["login", "mail", "mistake"]

    look = await asking.ask("PreviewUnlink", profile=ProfileRef(profile_id=ada), cause_id="mistake")
    assert [held(part) for part in look.profiles] == [{ADA, MAIL, LAPTOP}, {PHONE}]
    assert await asking.profile(PHONE) == ada, "a look changes nothing"
    wish = {
        "profile": ProfileRef(profile_id=ada),
        "cause_id": "mistake",
        "actor": "support@example.org",
        "reason": "the phone is Bob's",
        "request_id": "r-1",
    }
    done = await asking.ask("UnlinkIdentifiers", **wish)
    assert [held(part) for part in done.profiles] == [{ADA, MAIL, LAPTOP}, {PHONE}]
    assert {p.profile_id for p in done.profiles} == {p.profile_id for p in look.profiles}
    again = await asking.ask("UnlinkIdentifiers", **wish)
    assert {p.profile_id for p in again.profiles} <= {p.profile_id for p in done.profiles}
    phone = await asking.profile(PHONE)

    # Both have their own past again, and the same event joins no more.
    past = await asking.ask("ListProfileEvents", profile=by_identifier(*PHONE))
    assert [event.event_id for event in past.events] == ["late hat", "other"]
    assert past.events[0].properties["url"].text == "/hats/7"
    first = await asking.ask("ListProfileEvents", profile=by_identifier(*ADA), page_size=3)
    rest = await asking.ask(
        "ListProfileEvents", profile=by_identifier(*ADA), page_token=first.next_page_token
    )
    ids = [event.event_id for event in (*first.events, *rest.events)]
    assert ids == ["mistake", "mail", "login", "visit"] and not rest.next_page_token
    await asking.running.publish([Happened("again", clock.wall_us(), (ADA, PHONE), "logged_in")])
    assert await asking.profile(PHONE) == phone
    changes = await asking.ask("ListProfileChanges", profile=by_identifier(*PHONE))
    assert (changes.changes[0].cause, changes.changes[0].actor, changes.changes[0].cause_id) == (
        identity.MOVE_CAUSE_UNMERGE,
        "support@example.org",
        "r-1",
    )
    left = (await asking.ask("GetIdentityReport")).refused_joins
    assert left["unlinked"] == 1 and left["limit"] == 0

    both = [named(ADA), named(PHONE)]
    preview = await asking.ask("PreviewLink", identifiers=both)
    assert [one.left_out for one in preview.identifiers] == ["", "unlinked"]
    linked = await asking.ask(
        "LinkIdentifiers", identifiers=both, actor="support@example.org", reason="it was hers"
    )
    assert linked.profile_ids == [ada] and await asking.profile(PHONE) == ada
    await replays_alike(asking.running, (await asking.running.followed(7)).row_owners())


async def test_what_cannot_be_decided_is_refused_with_what_to_do(asking: Asking) -> None:
    for event in devices(clock.wall_us()):
        await asking.running.publish([event])
    ada = ProfileRef(profile_id=await asking.profile(ADA))
    by = {"actor": "support@example.org", "reason": "asked"}
    refused, code = asking.refused, grpc.StatusCode
    await refused(code.INVALID_ARGUMENT, "UnlinkIdentifiers", profile=ada, **by)
    await refused(code.INVALID_ARGUMENT, "UnlinkIdentifiers", profile=ada, cause_id="login")
    why = await refused(code.NOT_FOUND, "UnlinkIdentifiers", profile=ada, cause_id="none", **by)
    assert "GetProfileGraph" in why
    await refused(
        code.NOT_FOUND, "PreviewUnlink", profile=ada, identifier=named(("cookie", "elsewhere"))
    )
    why = await refused(
        code.INVALID_ARGUMENT, "PreviewLink", identifiers=[named(ADA), named(("email", "no"))]
    )
    assert "identifiers[1]" in why
    await refused(code.INVALID_ARGUMENT, "LinkIdentifiers", identifiers=[named(ADA)], **by)
    # Two events said the same pair: one alone cannot be taken back by its cause.
    await asking.running.publish(
        [Happened("twice", clock.wall_us(), (ADA, MAIL, LAPTOP), "logged_in")]
    )
    await asking.profile(ADA)
    await refused(
        code.FAILED_PRECONDITION, "UnlinkIdentifiers", profile=ada, cause_id="twice", **by
    )


async def test_rules_are_tried_before_they_change_and_then_change_everybody(asking: Asking) -> None:
    now = clock.wall_us()
    events = [
        *devices(now),
        Happened("bob", now - 5, (BOB, LAPTOP), "logged_in"),
        Happened("kiosk", now - 4, (BOB, ("card", "0815")), "logged_in"),
    ]
    for event in events:
        await asking.running.publish([event])
    before = await asking.profile(ADA)
    assert await asking.profile(BOB) != before
    present = (await asking.ask("GetIdentityRules")).rules
    assert (present.version, dict(present.limits)) == (1, {"user_id": 1})
    wished = identity.IdentityRules()
    wished.CopyFrom(present)
    wished.limits["user_id"] = 2
    by = {"actor": "owner@example.org", "reason": "families share accounts"}
    why = await asking.refused(
        grpc.StatusCode.NOT_FOUND, "ChangeIdentityRules", rules=wished, simulation_id="none", **by
    )
    assert "start it again" in why
    job = (await asking.ask("SimulateIdentityRules", rules=wished)).simulation_id
    found = await done(asking, job)
    assert (found.profiles_now, found.profiles_then, found.joined, found.split) == (2, 1, 2, 0)
    assert await asking.profile(BOB) != before, "a simulation changes nothing"
    other = identity.IdentityRules()
    other.CopyFrom(wished)
    other.limits["user_id"] = 3
    await asking.refused(
        grpc.StatusCode.FAILED_PRECONDITION,
        "ChangeIdentityRules",
        rules=other,
        simulation_id=job,
        **by,
    )
    taken = await asking.ask("ChangeIdentityRules", rules=wished, simulation_id=job, **by)
    assert taken.rules.version == 2 and taken.rules.limits["user_id"] == 2
    assert await asking.profile(BOB) == await asking.profile(ADA)
    await asking.refused(
        grpc.StatusCode.ABORTED, "ChangeIdentityRules", rules=wished, simulation_id=job, **by
    )
    await replays_alike(asking.running, (await asking.running.followed(8)).row_owners())
    wished.version = 2
    await gone_with_the_process(asking, job, wished)


async def gone_with_the_process(asking: Asking, job: str, wished: identity.IdentityRules) -> None:
    """What was remembered of a simulation is no more, and that is said by its name."""
    await asking.running.restart()
    await asking.running.identity.ready()
    async with grpc.aio.insecure_channel(asking.running.identity.address) as channel:
        again = Asking(asking.running, IdentityServiceStub(channel))
        for _ in range(200):
            with contextlib.suppress(grpc.aio.AioRpcError):
                found = await again.ask("GetIdentitySimulation", simulation_id=job)
                break
            await asyncio.sleep(0.1)
        assert found.state == api.SIMULATION_STATE_GONE and job in found.error
        why = await again.refused(
            grpc.StatusCode.FAILED_PRECONDITION,
            "ChangeIdentityRules",
            rules=wished,
            simulation_id=job,
            actor="owner@example.org",
            reason="families share accounts",
        )
        assert job in why


async def done(asking: Asking, job: str) -> Any:
    for _ in range(300):
        found = await asking.ask("GetIdentitySimulation", simulation_id=job)
        assert found.state != api.SIMULATION_STATE_FAILED, found.error
        if found.state == api.SIMULATION_STATE_DONE:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("the simulation did not end")
