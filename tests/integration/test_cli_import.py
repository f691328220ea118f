"""`muster import`: every row accounted for, nothing double, through kills; every kind of file."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from cli.file_rows import FileRows, Layout
from services.chassis import clock
from tests.integration.test_ingest_http import Http
from tests.support.servers import ROOT, Service, Stack

SEED = int(os.environ.get("MUSTER_SEED", "20261121"))


@dataclass
class Importing:
    stack: Stack
    doors: Service
    worker: Service
    log: Http
    folder: Path

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`muster import` as a process of its own."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
        env |= {
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_INGEST": self.doors.address,
            "MUSTER_STACK_FILE": str(self.folder / "none.json"),
        }
        line = [sys.executable, "-m", "cli", "import", *words, "--receipts", str(self.folder / "r")]
        return subprocess.Popen(
            line, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    async def run(self, *words: str, code: int = 0) -> str:
        process = self.start(*words)
        said, _ = await asyncio.to_thread(process.communicate, timeout=100)
        assert process.returncode == code, said
        return said

    def receipt(self, import_id: str) -> list[dict[str, Any]]:
        text = (self.folder / "r" / f"{import_id}.receipt.ndjson").read_text()
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
async def importing(stack: Stack, tmp_path: Path) -> Importing:
    doors, worker = stack.start("ingest", "doors"), stack.start("ingest", "worker")
    await asyncio.gather(doors.ready(), worker.ready())
    return Importing(stack, doors, worker, Http("", stack.client), tmp_path)


def broken_file(path: Path, rows: int, chance: random.Random) -> dict[int, str]:
    """A CSV of orders with one row in a hundred broken; the codes of those rows."""
    broken: dict[int, str] = {}
    with path.open("wb") as file:
        file.write(b"type,occur_time,user_id,total\n")
        for number in range(2, rows + 2):
            line = f"order_completed,2026-05-01T10:00:00Z,u{number},{number}.25\n".encode()
            if chance.random() < 0.01:
                line, broken[number] = chance.choice(
                    [
                        (b"order_completed,yesterday,u1,5\n", "not_an_event"),
                        (b"order_completed,2026-05-01,,5\n", "not_an_event"),
                        (b",2026-05-01,u1,5\n", "not_an_event"),
                        (b"order_completed,2026-05-01,\xff\xfe,5\n", "not_an_event"),
                        (b"order_completed,2026-05-01,u1,5,6,7\n", "not_an_event"),
                        (b"order_completed,2026-05-01,null,5\n", "only_blocked_identifiers"),
                        (b"an order,2026-05-01,u1,5\n", "bad_type"),
                        (b"order_completed,2999-05-01,u1,5\n", "event_time_in_future"),
                    ]
                )
            file.write(line)
    return broken


async def test_every_row_is_accounted_for_through_kills_of_everything(importing: Importing) -> None:
    print("seed", SEED)
    chance = random.Random(SEED)
    rows = 20_000
    path = importing.folder / "orders.csv"
    broken = broken_file(path, rows, chance)
    progress = importing.folder / "r" / "orders.csv.progress.json"
    for kill_at in (2_000, 9_000):
        process = importing.start(str(path))
        deadline = clock.monotonic() + 60
        while not progress.exists() or json.loads(progress.read_text())["sending"] <= kill_at:
            assert clock.monotonic() < deadline and process.poll() is None
            await asyncio.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = importing.start(str(path))
    importing.worker.kill9()
    importing.worker = importing.stack.start("ingest", "worker")
    said, _ = await asyncio.to_thread(process.communicate, timeout=100)
    assert process.returncode == 1, said
    assert "went on after row" in said
    receipt = importing.receipt("orders.csv")
    assert receipt[-1] == {
        "read": rows,
        "accepted": rows - len(broken),
        "already_in": 0,
        "rejected": len(broken),
    }
    assert {line["row"]: line["code"] for line in receipt[:-1]} == broken
    counted = await importing.log.rows(rows - len(broken))
    ids = [row["id"] for row in counted]
    assert sorted(ids) == sorted(f"orders.csv-{n}" for n in range(2, rows + 2) if n not in broken)
    assert all(row["flags"] & 1 for row in counted)
    said = await importing.run(str(path), code=1)
    assert importing.receipt("orders.csv")[-1] == {
        "read": rows,
        "accepted": 0,
        "already_in": rows - len(broken),
        "rejected": len(broken),
    }
    assert f"{rows - len(broken):,} events" in said


TIME = dt.datetime(2026, 5, 1, 10, 30, tzinfo=dt.UTC)
CONTACTS = [
    {"email": "a@x.org", "first_name": "Ada", "points": Decimal("12.50"), "since": TIME},
    {"email": "b@x.org", "first_name": "Bo", "points": Decimal(7), "since": TIME},
]


def written(folder: Path, kind: str) -> Path:
    path = folder / f"contacts.{kind}"
    table = arrow.Table.from_pylist([row | {"tags": ["vip", "new"]} for row in CONTACTS])
    if kind == "parquet":
        pyarrow.parquet.write_table(table, path)
    elif kind == "arrow":
        with pyarrow.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    elif kind == "feather":
        with path.open("wb") as out, pyarrow.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
    elif kind == "ndjson":
        lines = [
            json.dumps(
                row
                | {
                    "points": float(row["points"]),
                    "since": TIME.isoformat(),
                    "tags": ["vip", "new"],
                }
            )
            for row in CONTACTS
        ]
        path.write_text("\n".join(lines) + "\n")
    else:
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(CONTACTS[0]))
            writer.writeheader()
            writer.writerows([row | {"since": TIME.isoformat()} for row in CONTACTS])
    return path


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "arrow", "feather"])
def test_every_kind_of_file_says_the_same(kind: str, tmp_path: Path) -> None:
    layout = Layout("c", 5, "profile_updated", {"since": "occur_time"})
    rows = list(FileRows(written(tmp_path, kind), None, layout))
    assert [row.wrong for row in rows] == ["", ""]
    said = []
    for row in rows:
        event = row.event
        assert event is not None
        assert event.type == "profile_updated"
        assert event.occur_time_us == int(TIME.timestamp()) * 1_000_000
        values: dict[str, list[Any]] = {}
        for one in event.properties:
            which = one.WhichOneof("value") or ""
            value = getattr(one, which)
            if which == "decimal":
                value = Decimal(value.units).scaleb(-value.exponent)
            values.setdefault(one.key, []).append(value)
        if kind != "csv":
            assert values.pop("tags") == ["vip", "new"]
        said.append(([(i.kind, i.value) for i in event.identifiers], values))
    assert said == [
        ([("email", "a@x.org")], {"first_name": ["Ada"], "points": [Decimal("12.5")]}),
        ([("email", "b@x.org")], {"first_name": ["Bo"], "points": [7]}),
    ]


async def test_a_contact_list_is_imported_under_other_headings(importing: Importing) -> None:
    path = importing.folder / "list.csv"
    path.write_text("Customer,E-Mail,City\nc1,A@x.org,Brno\nc2,,Wien\n")
    said = await importing.run(
        *(str(path), "--type", "profile_updated", "--import-id", "spring"),
        *("--map", "Customer=user_id", "--map", "E-Mail=email"),
    )
    assert "2 events, 0 rejected" in said
    rows = await importing.log.rows(2)
    assert [row["who"] for row in rows] == [
        {"user_id": "c1", "email": "a@x.org"},
        {"user_id": "c2"},
    ]
    assert [row["said"] for row in rows] == [{"City": ["Brno"]}, {"City": ["Wien"]}]
    await importing.run(str(importing.folder / "missing.csv"), code=1)
