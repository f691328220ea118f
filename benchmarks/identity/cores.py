"""ingest's and identity's cores alone, on one core: CPU of this process, decode and encode in."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.identity.people import (
    HOUR_US,
    START_US,
    TENANT,
    Homecomings,
    People,
    known_rows,
    new_rows,
)
from muster.types.v1.event_pb2 import EventBatch
from services.chassis import subjects
from services.chassis.core import Message
from services.identity.core import IdentityCore
from services.ingest.core import IngestCore
from services.ingest.settings import IngestSettings

BATCH_EVENTS = 500


def timed(core: IdentityCore, messages: list[Message]) -> tuple[float, int]:
    """(CPU seconds, bytes said) of a step for each message."""
    said = 0
    began = time.process_time()
    for message in messages:
        facts = core.step([message], message.time_us)
        said += sum(len(body) for bodies in facts.bodies.values() for body in bodies)
    return time.process_time() - began, said


def newcomers(core: IdentityCore, people: People) -> tuple[float, float]:
    """(events/s, slowest step in ms) while every row brings two new identifiers."""
    persons = len(people.users)
    spent = said = slowest = 0.0
    for message in new_rows(people, persons, START_US):
        seconds, size = timed(core, [message])
        spent, said, slowest = spent + seconds, said + size, max(slowest, seconds)
    print(
        f"identity, new:   {persons / spent:,.0f} events/s ({spent / persons * 1e6:.2f} us/event, "
        f"{said / persons:.0f} B/event out, slowest step {slowest * 1e3:.1f} ms)"
    )
    return persons / spent, slowest * 1e3


def known(core: IdentityCore, people: People, rows: int, seconds: float) -> float:
    """CPU us per event of known people, disturbed, in steps of so many rows."""
    messages = known_rows(people, rows, START_US + HOUR_US * 24)
    spent, steps = 0.0, 0
    while spent < seconds:
        chunk = [next(messages) for _ in range(100)]
        spent += timed(core, chunk)[0]
        steps += len(chunk)
    us = spent / steps / rows * 1e6
    print(
        f"identity, known: {1e6 / us:,.0f} events/s in steps of {rows:,} rows ({us:.2f} us/event)"
    )
    return us


def homecomings(persons: int, seed: int, partitions: int) -> dict[str, float]:
    """us per event when one row in five merges two profiles; in order, and in no order."""
    figures = {}
    for shuffled in (False, True):
        core = IdentityCore(TENANT, partitions)
        spent, _ = timed(core, Homecomings(persons, seed).messages(shuffled))
        us = spent / core.row_count * 1e6
        name = "shuffled" if shuffled else "in_order"
        figures[name] = round(us, 2)
        merges = core.chronicle.counts.get(1, 0)
        print(
            f"identity, merging, {name}: {1e6 / us:,.0f} events/s ({us:.1f} us/event, "
            f"{merges:,} merges, {core.visit_count / core.row_count:.0%} decided one by one)"
        )
    return figures


def snapshot(core: IdentityCore) -> tuple[float, float]:
    """CPU seconds of a dump, and of loading it."""
    core.dump()
    # The second is what stands in the way of a step: the first also makes its room.
    began = time.process_time()
    dumped = core.dump()
    dump_s = time.process_time() - began
    plain = {k: bytes(v) for k, v in dumped.items()}
    size = sum(map(len, plain.values()))
    views = {k: memoryview(v) for k, v in plain.items()}
    began = time.process_time()
    IdentityCore(TENANT, core.partitions).load(views)
    load_s = time.process_time() - began
    print(
        f"identity, snapshot: dump {dump_s * 1e3:.0f} ms, {size / 1e6:.0f} MB; load {load_s:.2f} s"
    )
    return dump_s, load_s


def published(
    persons: np.ndarray, first: int, now_us: int, rng: np.random.Generator
) -> Iterator[bytes]:
    """Bodies of INTAKE: a page view of each person in turn, with two identifiers."""
    for start in range(0, len(persons), BATCH_EVENTS):
        batch = EventBatch()
        for place, person in enumerate(persons[start : start + BATCH_EVENTS].tolist(), start):
            event = batch.events.add(
                event_id=f"e-{first + place:012d}",
                type="page_viewed",
                occur_time_us=now_us - int(rng.integers(0, 80_000)),
                send_time_us=now_us,
            )
            event.identifiers.add(kind="user_id", value=f"u-{person:012d}")
            event.identifiers.add(kind="cookie", value=f"c-{person:012d}")
            for number in range(4):
                event.properties.add(key=f"property_{number}", text=f"/category/{person % 50}")
                event.properties.add(key=f"figure_{number}", whole=person % 1_000)
        yield batch.SerializeToString()


def through_ingest(persons: int, events: int, seed: int) -> dict[str, float]:
    """Events/s of ingest's core: every identifier new to it, then all of them known."""
    core = IngestCore(IngestSettings())
    rng = np.random.default_rng(seed)
    subject = subjects.intake(TENANT, "shop")
    figures, sequence, sent = {}, 0, 0
    for name, who in (
        ("new", np.arange(min(persons, events))),
        ("known", rng.integers(0, min(persons, events), events)),
    ):
        spent = 0.0
        for body in published(who, sent, START_US, rng):
            sequence += 1
            message = Message(0, subject, sequence, START_US, body)
            began = time.process_time()
            core.step([message], START_US)
            spent += time.process_time() - began
        sent += len(who)
        figures[name] = len(who) / spent
        print(f"ingest, {name}: {figures[name]:,.0f} events/s ({spent / len(who) * 1e6:.2f} us)")
    if core.accepted != sent:
        raise AssertionError(f"{sent - core.accepted} events were not accepted")
    gc.collect()
    return figures
