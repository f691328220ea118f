"""What an event costs in ingest's core, by stage, against reading it field by field with upb.

Events have two identifiers and eight properties (about 280 bytes); steps of 50, 500 and 1,500 rows.
Times are CPU of this thread; every repeat times all stages and the baseline on the same bytes, so
their ratio holds on a busy machine. Identifiers come from 200,000 people: the memory of telephone
numbers is warmed first, as in a service that has run for a while. The last line is JSON.

    python -m benchmarks.ingest_decode [repeats]
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from muster.types.v1.event_pb2 import Event, EventBatch
from services.chassis.core import Message
from services.chassis.prints import print_key
from services.ingest.adapters import rows as at_
from services.ingest.adapters.checks import Checker, Envelope
from services.ingest.adapters.decoder import KernelDecoder
from services.ingest.adapters.event_columns import ColumnWriter
from services.ingest.adapters.intake import open_batch
from services.ingest.adapters.reference import UpbDecoder
from services.ingest.adapters.seen import Seen
from services.ingest.core import IngestCore, normaliser_of, warm
from services.ingest.domain.faults import IDENTIFIERS_MAX
from services.ingest.settings import IngestSettings

SEED = 7
PEOPLE = 200_000
NOW_US = 1_750_000_000_000_000
BATCH_EVENTS = 500
SIZES = (50, 500, 1_500)
SETTINGS = IngestSettings()


def event(chance: random.Random, number: int) -> Event:
    """A shop's event, as in the prototype's measurements (perf-pipeline)."""
    person = chance.randrange(PEOPLE)
    made = Event(
        event_id=f"{chance.getrandbits(128):032x}",
        type=chance.choice(("page_view", "product_view", "add_to_cart", "order", "email_open")),
        occur_time_us=NOW_US + number - chance.randrange(60_000_000),
        send_time_us=NOW_US + number,
    )
    made.identifiers.add(kind="user_id", value=f"c{person:07d}")
    if chance.random() < 0.8:
        name = f"user{person}@example.com"
        made.identifiers.add(kind="email", value=name.upper() if chance.random() < 0.04 else name)
    else:
        made.identifiers.add(kind="phone", value=f"+4366{person:08d}")
    add = made.properties.add
    price = add(key="amount").decimal
    price.units, price.exponent = chance.randrange(100_000), 2
    add(key="category", whole=chance.randrange(40))
    add(key="campaign", whole=chance.randrange(400))
    add(key="message_type", text=chance.choice(("none", "promo", "trigger")))
    add(key="platform", text=chance.choice(("email", "web", "ios", "android")))
    add(key="sku", text=f"SKU-{chance.randrange(10_000):05d}")
    add(key="in_stock", flag=chance.random() < 0.5)
    add(key="url", text=f"https://shop.example.com/products/{chance.randrange(20_000)}")
    return made


def steps(size: int, count: int) -> Iterator[list[bytes]]:
    """Bodies of `count` steps of `size` rows; every event new."""
    chance = random.Random(SEED * 10_000 + size)
    for step in range(count):
        events = [event(chance, step * size + k) for k in range(size)]
        yield [
            EventBatch(events=events[at : at + BATCH_EVENTS]).SerializeToString()
            for at in range(0, size, BATCH_EVENTS)
        ]


class Stages:
    """Each stage of a step on its own, timed."""

    def __init__(self) -> None:
        key = print_key(SETTINGS.print_key)
        self.decoder = KernelDecoder()
        self.reference = UpbDecoder()
        self.checker = Checker(normaliser_of(SETTINGS), key)
        self.seen = Seen(SETTINGS.dedupe_prints_max, SETTINGS.import_prints_max)
        self.writer = ColumnWriter(key.low)
        self.core = IngestCore(SETTINGS)
        self.times: dict[str, list[float]] = {}
        self.sequence = 0

    def timed(self, stage: str, rows: int, work: Callable[[], Any]) -> Any:
        began = time.thread_time_ns()
        answer = work()
        self.times.setdefault(stage, []).append((time.thread_time_ns() - began) / 1_000 / rows)
        return answer

    def step(self, bodies: list[bytes], size: int) -> None:
        self.timed("upb validation", size, lambda: [open_batch(body) for body in bodies])
        rows = self.timed("walk", size, lambda: self.decoder.decode(bodies))
        envelopes = [Envelope(NOW_US) for _ in bodies]
        checked = self.timed("checks", size, lambda: self.checker.check(rows, envelopes))
        assert not checked.faulty
        chosen, nobody = np.arange(size), np.zeros(size, np.bool_)
        send_us = rows.events[:, at_.SEND_US]
        self.timed("dedupe", size, lambda: self.seen.admit(checked.prints, send_us, nobody, chosen))
        self.timed("columns", size, lambda: self.writer.bodies(checked, chosen))
        messages = []
        for body in bodies:
            self.sequence += 1
            messages.append(Message(0, "muster.intake.v1.demo.shop", self.sequence, NOW_US, body))
        facts = self.timed("whole step", size, lambda: self.core.step(messages, NOW_US))
        assert facts.bodies.keys() == {0}
        self.timed("upb loop (baseline)", size, lambda: self.reference.decode(bodies))


def warmed() -> Stages:
    """Stages that have seen everybody's telephone number."""
    stages = Stages()
    numbers = [f"+4366{person:08d}" for person in range(PEOPLE)]
    for first in range(0, PEOPLE, BATCH_EVENTS):
        batch = EventBatch()
        for at in range(first, first + BATCH_EVENTS, IDENTIFIERS_MAX):
            one = batch.events.add(event_id=f"warm-{at}", type="warm", occur_time_us=NOW_US)
            for number in numbers[at : at + IDENTIFIERS_MAX]:
                one.identifiers.add(kind="phone", value=number)
        body = batch.SerializeToString()
        stages.checker.check(stages.decoder.decode([body]), [Envelope(NOW_US)])
        stages.core.step([Message(0, "", 1, NOW_US, body)], NOW_US)
    return stages


def main(repeats: int) -> None:
    began = time.perf_counter()
    warm()
    seconds = time.perf_counter() - began
    print(f"kernels compiled or read from their cache in {seconds:.1f} s")
    stages = warmed()
    gc.collect()
    gc.freeze()  # as every process of ours does at its start
    result: dict[str, Any] = {"seed": SEED, "unit": "us_per_event"}
    for size in SIZES:
        stages.times.clear()
        for bodies in steps(size, max(repeats * 500 // size, 5)):
            stages.step(bodies, size)
        medians = {stage: statistics.median(found) for stage, found in stages.times.items()}
        print(f"\n{size} rows a step, CPU µs an event (median of {len(stages.times['walk'])})")
        for stage, median in medians.items():
            print(f"  {stage:22}{median:8.3f}")
        ratio = medians["upb loop (baseline)"] / medians["walk"]
        print(f"  the walk is {ratio:.0f} times as fast as the loop over upb's objects")
        result[str(size)] = {stage: round(median, 3) for stage, median in medians.items()}
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
