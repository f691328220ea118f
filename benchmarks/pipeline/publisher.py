"""Sends prepared events as fast as eight requests in flight allow, or at a rate with a linger.

    python -m benchmarks.pipeline.publisher '{"url", "subject", "file", "rate", "start_us"}'

Prints "ready", waits for a line, sends, prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import nats

from benchmarks.pipeline.events import BATCH_EVENTS, Load

IN_FLIGHT = 8
LINGER_S = 0.002


async def send_all(client: Any, subject: str, load: Load) -> dict[str, Any]:
    """Closed loop: what the pipeline's door takes."""
    waiting = iter(load.batches())
    began = time.time()

    async def one() -> None:
        for _, body in waiting:
            await acknowledged(client, subject, body)

    await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))
    return {"began": began, "ended": time.time()}


async def send_at_rate(
    client: Any, subject: str, load: Load, rate: float, start_us: int
) -> dict[str, Any]:
    """Open loop: event n is due at start + n / rate, whatever became of the others."""
    start, sent, latest = start_us / 1e6, 0, 0.0
    flying: set[asyncio.Task[None]] = set()
    total = len(load.frames)
    await asyncio.sleep(max(0.0, start - time.time()))
    while sent < total:
        due = min(total, int((time.time() - start) * rate))
        for at in range(sent, due, BATCH_EVENTS):
            body = b"".join(load.frames[at : min(due, at + BATCH_EVENTS)])
            task = asyncio.create_task(acknowledged(client, subject, body))
            flying.add(task)
            task.add_done_callback(flying.discard)
        sent = max(sent, due)
        latest = max(latest, time.time() - start - sent / rate)
        await asyncio.sleep(LINGER_S)
    await asyncio.gather(*flying)
    return {"began": start, "ended": time.time(), "latest_s": latest}


async def acknowledged(client: Any, subject: str, body: bytes) -> None:
    answer = json.loads((await client.request(subject, body, timeout=30)).data)
    if "error" in answer:
        raise RuntimeError(f"the broker refused a batch: {answer['error']}")


def read_load(path: Path) -> Load:
    """What our parent process prepared."""
    load: Load = pickle.loads(path.read_bytes())
    return load


async def main(options: dict[str, Any]) -> None:
    load = read_load(Path(options["file"]))
    client = await nats.connect(options["url"], allow_reconnect=False)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    if options.get("rate"):
        result = await send_at_rate(
            client, options["subject"], load, options["rate"], options["start_us"]
        )
    else:
        result = await send_all(client, options["subject"], load)
    print(json.dumps(result), flush=True)
    await client.close()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(json.loads(sys.argv[1])))
