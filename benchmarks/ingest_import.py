"""A file of many rows, one in a hundred broken, imported through kills of the importer.

    make bench-ingest-import                    a million rows; ROWS=20000 for a quick look

Real servers and processes: nats-server with fsync, the doors and the worker of ingest, `muster
import` killed with SIGKILL twice and started again. Each row is an order of its own, so ingest says
of each what it counts for. Every row must be accounted for in the receipt, and EVENTS must hold
each good row once, and count it once. Last line: JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nats
import numpy as np
import psutil

from benchmarks.pipeline.machine import Usage
from muster.types.v1.columns_pb2 import EventColumns
from services.chassis import subjects, topology
from services.chassis.children import Child, free_port
from services.chassis.columns import pool_texts
from services.chassis.embedded import EmbeddedNats
from services.chassis.pull import Pull
from services.chassis.supervisor import serves

ROOT = Path(__file__).resolve().parents[1]
ROWS = int(os.environ.get("ROWS", "1000000"))
SEED = int(os.environ.get("SEED", "20261121"))
LOG_BYTES = 8 << 30
DERIVED = 4
"""Of row_flags: made by ingest."""
BROKEN = (
    b"order_completed,yesterday,u1,o1,5\n",
    b"order_completed,2026-05-01,,o1,5\n",
    b"order_completed,2026-05-01,null,o1,5\n",
    b"order_completed,2026-05-01,u1,o1,5,6,7\n",
    b"order_completed,2026-05-01,\xff,o1,5\n",
)


def write_rows(path: Path) -> set[int]:
    """The file; the numbers of its broken rows."""
    chance = random.Random(SEED)
    broken = set()
    with path.open("wb") as out:
        out.write(b"type,occur_time,user_id,order_id,total\n")
        for number in range(2, ROWS + 2):
            if chance.random() < 0.01:
                broken.add(number)
                out.write(chance.choice(BROKEN))
            else:
                who = f"u{number % 200_000}"
                line = f"order_completed,2026-05-01T10:00:00Z,{who},o{number},{number}.25\n"
                out.write(line.encode())
    return broken


def importer(file: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "cli", "import", str(file), "--receipts", str(file.parent)]
    return subprocess.Popen(
        line, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def rows_read(file: Path) -> int:
    try:
        return int(json.loads(file.with_name(f"{file.name}.progress.json").read_text())["read"])
    except (FileNotFoundError, ValueError):
        return 0


async def ready(child: Child, port: int) -> None:
    while not await serves(f"127.0.0.1:{port}"):
        assert child.is_alive(), child.failed("ended")
        await asyncio.sleep(0.1)


async def ids_counted(url: str) -> tuple[int, int, int]:
    """(rows of EVENTS, distinct event ids, rows made by ingest of what orders count for)."""
    client = await nats.connect(url)
    pull = Pull(client, subjects.EVENTS, [subjects.events("demo")], 0, {})
    prints: list[Any] = []
    rows = derived = 0
    while pulled := await pull.take(16 << 20, 3.0):
        for one in pulled:
            columns = EventColumns.FromString(one.body)
            raw = np.frombuffer(columns.event_id, np.uint8)
            prints += pool_texts(raw, np.array(columns.event_id_end, np.uint32))
            rows += columns.rows
            derived += int(np.count_nonzero(np.frombuffer(columns.row_flags, np.uint8) & DERIVED))
    await client.close()
    return rows, len(set(prints)), derived


def _children_s() -> float:
    """CPU of children that have ended: the importer's lives."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def start_ingest(folder: Path, environment: dict[str, str]) -> list[Child]:
    """The doors and the worker; where the doors are goes into the environment."""
    children = []
    for role in ("doors", "worker"):
        port = free_port()
        line = (sys.executable, "-m", "services.ingest", role)
        env = environment | {"MUSTER_GRPC_PORT": str(port)}
        child = Child(role, line, log=folder / f"{role}.log", env=env, cwd=ROOT)
        child.start()
        await ready(child, port)
        children.append(child)
        if role == "doors":
            environment["MUSTER_INGEST"] = f"127.0.0.1:{port}"
    return children


async def imported_through_kills(file: Path, environment: dict[str, str]) -> str:
    """Runs the importer, kills it twice, and lets it end; what the last one said."""
    for share in (0.2, 0.6):
        process = importer(file, environment)
        while rows_read(file) < ROWS * share:
            assert process.poll() is None, process.communicate()[0]
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        print(f"killed after {rows_read(file):,} rows")
    process = importer(file, environment)
    said, _ = await asyncio.to_thread(process.communicate)
    return said.strip()


async def main() -> None:
    print(f"seed {SEED}, {ROWS:,} rows")
    folder = Path(tempfile.mkdtemp(prefix="import-"))
    file = folder / "orders.csv"
    broken = write_rows(file)
    with EmbeddedNats(folder / "nats") as server:
        client = await nats.connect(server.url)
        await topology.apply(client, LOG_BYTES)
        await client.close()
        environment = {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
            "MUSTER_NATS_URL": server.url,
            "MUSTER_STATE_DIR": str(folder / "state"),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES),
            "MUSTER_STACK_FILE": str(folder / "none.json"),
        }
        children = await start_ingest(folder, environment)
        pids = {child.name: child.pid for child in children}
        pids["nats-server"] = server.child.pid
        before, importers_s = Usage.now(pids), _children_s()
        began = time.perf_counter()
        print(await imported_through_kills(file, environment))
        took_s = time.perf_counter() - began
        used = Usage.now(pids).since(before)
        used_by_importer_s = _children_s() - importers_s
        used.by_process["importer"] = used_by_importer_s
        rss = {name: psutil.Process(pid).memory_info().rss >> 20 for name, pid in pids.items()}
        receipt = [json.loads(text) for text in (folder / "orders.csv.receipt.ndjson").open()]
        for child in children:  # an idle worker commits each second: EVENTS would never be silent
            child.stop(5)
        counted, distinct, derived = await ids_counted(server.url)
    done = receipt[-1]
    rejected = {line["row"] for line in receipt[:-1] if line["verdict"] == "rejected"}
    assert rejected == broken, "the receipt names other rows than the broken ones"
    assert done["read"] == ROWS == done["accepted"] + done["already_in"] + done["rejected"], done
    assert counted == distinct == 2 * derived == 2 * (ROWS - len(broken)), (counted, distinct)
    print(
        "us of CPU a row:", {name: round(s / ROWS * 1e6, 1) for name, s in used.by_process.items()}
    )
    print("MiB resident in the end:", rss)
    foreign = used.foreign / took_s
    print(f"foreign cores: {foreign:.2f}")
    print(
        json.dumps(
            {
                "rows": ROWS,
                "seconds": round(took_s, 1),
                "rows_per_s": round(ROWS / took_s),
                "rejected": len(rejected),
                "already_in": done["already_in"],
                "double_or_lost": counted - derived - (ROWS - len(broken)),
                "counted_orders": derived,
                "foreign_cores": round(foreign, 2),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main())
