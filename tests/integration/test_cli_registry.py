"""Publishers, event types and what was parked, from the command line against real doors."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from muster.types.v1.event_pb2 import EventBatch
from services.chassis import subjects
from tests.integration.test_ingest_http import Http
from tests.integration.test_ingest_registry import event, parked
from tests.support.servers import ROOT, Stack


@dataclass
class Shell:
    environment: dict[str, str]

    async def __call__(self, *words: str, code: int = 0) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "cli", *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
async def shell(stack: Stack, tmp_path: Path) -> Shell:
    doors, worker = stack.start("ingest", "doors"), stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    return Shell(
        env
        | {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "COLUMNS": "160",
            "MUSTER_INGEST": doors.address,
            "MUSTER_NATS_URL": stack.nats.url,
            "MUSTER_STACK_FILE": str(tmp_path / "none.json"),
        }
    )


async def test_publishers_are_set_listed_and_retired(shell: Shell) -> None:
    said = await shell("publishers", "set", "web", "--key", "--scope", "events", "--untrusted")
    assert re.search(r"key, shown this once: \S{20,}", said)
    listed = await shell("publishers", "list")
    assert re.search(r"web +events +untrusted +any +any", listed)
    assert "web is retired" in await shell("publishers", "retire", "web")
    assert "retired" in await shell("publishers", "list")
    await shell("publishers", "set", "web", "--scope", "everything", code=1)
    assert "publisher.name" in await shell("publishers", "set", "No Name", code=1)


async def test_the_command_line_publishes_as_whoever_shows_a_key(
    shell: Shell, tmp_path: Path
) -> None:
    said = await shell("publishers", "set", "cli", "--key")
    key = said.rsplit(maxsplit=1)[1]
    publish = ("publish", "page_viewed", "--user", "ada", "--no-wait")
    assert "UNAUTHENTICATED" in await shell(*publish, code=1)
    shell.environment["MUSTER_KEY"] = key
    assert "stored" in await shell(*publish)
    rows = tmp_path / "rows.csv"
    rows.write_text("type,user_id\nx,ada\n")
    words = ("import", str(rows), "--receipts", str(tmp_path))
    assert "1 events, 0 rejected" in await shell(*words)
    await shell("publishers", "set", "cli", "--scope", "events")
    shell.environment["MUSTER_PUBLISHER"] = "cli"
    assert "PERMISSION_DENIED" in await shell(*words, code=1)


async def test_quarantined_events_are_sent_again_once_described(shell: Shell, stack: Stack) -> None:
    await shell("events", "policy", "quarantine")
    await asyncio.sleep(0.5)
    body = EventBatch(events=[event("1", "ride_taken", km=3), event("2", "ride_taken", km=4)])
    await stack.client.jetstream().publish(subjects.intake("demo", "app"), body.SerializeToString())
    assert len(await parked(stack.client, 1)) == 1
    assert "ride_taken is described" in await shell(
        "events", "describe", "examples/vocabulary/rides.yaml"
    )
    listed = await shell("events", "list")
    assert "km (number, required)" in listed
    assert "undescribed types: quarantine" in listed
    assert "product_viewed" in await shell("events", "list", "--standard")
    await asyncio.sleep(0.5)
    for _ in range(2):
        assert "2 events sent again" in await shell("parked", "redrive")
    await asyncio.sleep(0.5)
    rows = await Http("", stack.client).rows(2)
    assert [row["id"] for row in rows] == ["1", "2"]


async def test_a_wrong_description_is_refused_with_its_path(shell: Shell, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("event: x\nproperties: {km: kilometres}\nshut: true\n")
    said = await shell("events", "describe", str(wrong), code=1)
    assert "properties.km: must be one of" in said
    assert "'shut'" in said
    await shell("events", "policy", "maybe", code=1)
    assert "nobody described" in await shell("events", "retire", "nothing", code=1)
