"""`muster identity` against real processes: what it prints, and what it does only with --yes."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import yaml

from muster.frequency.v1.facts_pb2 import DECISION_ALLOWED, DECISION_DENIED, MessageDecided
from muster.segments.v1.facts_pb2 import SegmentTriggered
from muster.types.v1.common_pb2 import DIRECTION_ENTERED, REASON_EVENT
from services.chassis import clock, subjects
from services.chassis.database import migrate
from services.frequency import service as frequency
from tests.integration.followers import OneDatabase, database_url
from tests.integration.test_frequency_service import Caller, rolling
from tests.integration.test_identity_decisions import ADA, BOB, Asking, asking, devices
from tests.integration.test_identity_service import Running
from tests.integration.test_identity_three_devices import LAPTOP, Chain, chain
from tests.support.servers import ROOT
from tests.unit.identity.events import Happened

__all__ = ["asking", "chain", "database_url"]


async def muster(
    running: Running, *words: str, code: int = 0, addresses: dict[str, str] | None = None
) -> str:
    """What a command prints; its exit code must be as said. addresses: of further services."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    env = {
        **kept,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "MUSTER_IDENTITY": running.identity.address,
        "MUSTER_NATS_URL": running.stack.nats.url,
        "MUSTER_STACK_FILE": str(running.stack.folder / "none.json"),
        "COLUMNS": "160",
        **(addresses or {}),
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", "identity", *words, env=env, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == code, said.decode()
    return said.decode()


async def test_a_person_is_looked_at_and_taken_apart(asking: Asking) -> None:
    running = asking.running
    for event in devices(clock.wall_us()):
        await running.publish([event])
    ada = await asking.profile(ADA)
    shown = await muster(running, "show", "user_id=ada")
    assert ada in shown and "email = ada@example.org" in shown and "city: Ulm" in shown
    assert "reached by email" in shown and "because of mistake" in shown
    graph = await muster(running, "graph", "user_id=ada")
    assert "mistake" in graph and "user_id=ada" in graph and "cookie=phone" in graph
    past = await muster(running, "timeline", ada, "--most", "2")
    assert past.index("late hat") < past.index("url: /hats/7") and "and more" in past

    # What went out since: the trigger and the message of Ada, not those of others or of before.
    jetstream = running.stack.client.jetstream()
    for who, segment in ((ada, "keen"), ("p_0000000000000", "other")):
        trigger = SegmentTriggered(
            segment_id=segment, profile_id=who, direction=DIRECTION_ENTERED, reason=REASON_EVENT
        )
        trigger.at_time.FromMicroseconds(clock.wall_us())
        await jetstream.publish(subjects.triggers("demo", segment), trigger.SerializeToString())
    message = MessageDecided(profile_id=ada)
    message.message.message_type, message.message.channel = "promo", "email"
    message.receipt.decision = DECISION_ALLOWED
    message.receipt.decision_time.FromMicroseconds(clock.wall_us())
    await jetstream.publish(subjects.messages("demo", "caps"), message.SerializeToString())
    after = await muster(running, "aftermath", ada, "--cause", "mistake")
    assert "entered keen (event)" in after and "allowed: promo by email" in after
    assert "other" not in after
    assert "merged nobody" in await muster(running, "aftermath", ada, "--cause", "x", code=1)

    unlink = ("unlink", "user_id=ada", "--cause", "mistake")
    look = await muster(running, *unlink)
    assert "never again together: user_id=ada and cookie=phone" in look
    assert await asking.profile(("cookie", "phone")) == ada
    assert "who decides" in await muster(running, *unlink, "--yes", code=1)
    done = await muster(running, *unlink, "--yes", "--by", "support", "--why", "Bob's phone")
    assert done.count("p_") == 2
    assert await asking.profile(("cookie", "phone")) != ada
    told = await muster(running, "changes", "cookie=phone")
    assert "unmerge" in told and "support: Bob's phone" in told
    assert "name the link" in await muster(running, "unlink", "user_id=ada", code=1)

    link = await muster(running, "link", "user_id=ada", "email=new@example.org")
    assert f"stands: {ada}" in link
    assert "write kind=value" in await muster(running, "link", "ada", code=1)
    assert "unlinked" in await muster(running, "report")
    assert "nothing yet" in await muster(running, "quarantine")


async def test_rules_are_a_file_that_is_tried_and_applied(asking: Asking, tmp_path: Path) -> None:
    running = asking.running
    cookie = ("cookie", "laptop")
    now = clock.wall_us()
    for event in (Happened("a", now, (ADA, cookie)), Happened("b", now + 1, (BOB, cookie))):
        await running.publish([event])
    await asking.profile(BOB)
    rules = yaml.safe_load(await muster(running, "rules", "show"))
    assert (rules["version"], rules["limits"]) == (1, {"user_id": 1})
    file = tmp_path / "rules.yaml"
    patterns = ["email=test@*", "phone=one character"]
    file.write_text(yaml.safe_dump({**rules, "limits": {"user_id": 2}, "patterns": patterns}))
    tried = await muster(running, "rules", "simulate", str(file))
    assert "2 profiles would be 1: 2 would join others, 0 would fall apart" in tried
    assert await asking.profile(BOB) != await asking.profile(ADA)
    applied = await muster(
        running, "rules", "apply", str(file), "--by", "owner", "--why", "families"
    )
    assert "rules are at version 2" in applied
    assert await asking.profile(BOB) == await asking.profile(ADA)
    file.write_text("limits: {user_id: 0}\n")
    assert "a whole number from 1" in await muster(running, "rules", "simulate", str(file), code=1)


async def test_a_merge_is_previewed_by_all_three_services_and_caps_follow_it(
    chain: Chain, database_url: str
) -> None:
    stack = chain.running.stack
    stack.postgres = OneDatabase(database_url)  # type: ignore[assignment]
    await migrate(database_url, frequency.SCHEMA, frequency.MIGRATIONS)
    service = await stack.start("frequency").ready()
    caller = Caller(service.address)
    segments = next(one for one in stack.services if one.name == "segments-engine-0")
    addresses = {"MUSTER_SEGMENTS": segments.address, "MUSTER_FREQUENCY": service.address}
    for identifier in (ADA, LAPTOP):
        for _ in range(2):
            await chain.do(identifier)
    ids = [(await chain.profile(one)).profile_id for one in (ADA, LAPTOP)]
    await caller.define(rolling("calm", 2, 3_600), "r")
    receipts = await caller.reserve("calm", ("m1", ids[0]), ("m2", ids[1]))
    assert [one.decision for one in receipts] == [DECISION_ALLOWED] * 2
    look = ("preview-merge", "user_id=ada", ids[1])
    said = await muster(chain.running, *look, addresses=addresses)
    assert f"stands: {ids[0]}" in said and f"takes in {ids[1]}" in said
    assert re.search(r"keen +- +- +member", said), said
    assert "would enter or leave 1 of them" in said
    assert re.search(r"calm limit:0 +1 of 2 +1 of 2 +2 of 2 +reached only as one", said), said
    alone = await muster(chain.running, *look)
    assert alone.count("says nothing: no address") == 2
    await chain.do(ADA, LAPTOP, kind="logged_in")
    await chain.until(lambda: bool(chain.of(ids[0])))
    for attempt in range(200):
        (receipt,) = await caller.reserve("calm", (f"after-{attempt}", ids[1]))
        if receipt.decision == DECISION_DENIED:
            break
        await caller.release(f"after-{attempt}")
        await asyncio.sleep(0.05)
    assert receipt.counted == 2 and set(receipt.counted_keys) == {"m1", "m2"}
    # Taken apart: the look says what becomes of the segment, the caps are each one's again.
    unlink = ("unlink", "user_id=ada", "--identifier", "cookie=laptop")
    said = await muster(chain.running, *unlink, addresses=addresses)
    assert re.search(r"keen +member +- +-", said), said
    assert re.search(r"calm limit:0 +1 of 2 +1 of 2 +2 of 2 +reached only as one", said), said
    done = await muster(chain.running, *unlink, "--yes", "--by", "support", "--why", "no")
    assert done.count("p_") == 2
    for attempt in range(200):
        (receipt,) = await caller.reserve("calm", (f"again-{attempt}", ids[1]))
        if receipt.decision == DECISION_ALLOWED:
            break
        await asyncio.sleep(0.05)
    assert receipt.decision == DECISION_ALLOWED
    await caller.channel.close()
