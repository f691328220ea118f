"""Identity's place: the one writer of PROFILES, at a steady rate, with CONTROL copied in between.

    python -m benchmarks.live.feed '{"url", "tenant", "profiles", "events", "rate", "seed"}'

Writes people and their past, then prints "ready"; for each JSON line on its input does what it
says (see `Feed.told`) and answers with one.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import nats
import numpy as np
from nats.aio.client import Client

from benchmarks.segments.workload import ATTRIBUTES, CITIES, CREATED, DAY_US, LINKED, Shop
from muster.identity.v1 import facts_pb2 as identity
from muster.types.v1 import columns_pb2
from services.chassis import clock, subjects
from services.chassis.checkpoint import HEADER, Checkpoint, Head, Origin
from services.chassis.columns import pool_of
from services.chassis.commits import publish_fenced
from services.chassis.parking import timestamp
from services.chassis.pull import Pull

PAST_DAYS = 365
FLOW_ROWS = 3_000_000
RESERVE = 1_000
"""Profiles of whom nothing is known, so that a rule can be entered."""
MESSAGE_ROWS = 2_000
MESSAGE_PROFILES = 4_000
TICK_S = 0.005
TIMEOUT_S = 30


class Feed:
    """Everything that segments reads, in one order."""

    def __init__(self, client: Client, options: dict[str, Any]) -> None:
        self.client, self.tenant = client, options["tenant"]
        self.profiles, self.past, self.rate = (options[k] for k in ("profiles", "events", "rate"))
        self.shop = Shop(self.profiles, self.past + FLOW_ROWS, PAST_DAYS, options["seed"])
        self.shop.has_email = np.append(self.shop.has_email, np.ones(RESERVE, bool))
        self.step = self.control = self.time_us = 0
        self.head = Head()
        self.start_us = 0
        self.sent = self.past
        self.waiting: list[identity.ProfileEntry] = []
        self.slowest_s = 0.0

    async def say(self, entries: list[identity.ProfileEntry], time_us: int) -> None:
        """One step of identity."""
        self.time_us = max(self.time_us, time_us)
        self.step += 1
        checkpoint = Checkpoint(
            step=self.step,
            cuts=((self.step,),),
            numbers={},
            time_us=self.time_us,
            touched=(0,),
            part=1,
            parts=1,
            number=self.head.number + 1,
            previous=self.head.sequence,
            chain="",
            version=1,
            origin=Origin(self.step, self.control),
        )
        body = identity.ProfileStep(entries=entries).SerializeToString()
        headers = {HEADER: checkpoint.encode()}
        subject = subjects.profiles(self.tenant, 0)
        began = clock.monotonic()
        sequence = await publish_fenced(
            self.client, subject, body, headers, self.head.sequence, TIMEOUT_S
        )
        self.slowest_s = max(self.slowest_s, clock.monotonic() - began)
        self.head = Head(sequence, self.head.number + 1, "")

    # -- the past -------------------------------------------------------------------------------

    async def load(self) -> None:
        """People, what is known of them, and what they did in the last year."""
        shop = self.shop
        shift = clock.wall_us() - int(shop.accept[self.past - 1])
        shop.accept += shift
        shop.occur += shift
        begin_us = int(shop.accept[0]) - DAY_US
        for entries in self._people(begin_us):
            await self.say(entries, begin_us)
        for first in range(0, self.past, MESSAGE_ROWS):
            last = min(first + MESSAGE_ROWS, self.past)
            await self.say([self._rows(first, last)], int(shop.accept[last - 1]))

    def _people(self, at_us: int) -> Iterator[list[identity.ProfileEntry]]:
        shop = self.shop
        for first in range(0, self.profiles + RESERVE, MESSAGE_PROFILES):
            last = min(first + MESSAGE_PROFILES, self.profiles + RESERVE)
            number = np.arange(first, last, dtype=np.uint32)
            created = {
                "profile": number, "public_id": number.astype(np.uint64) + np.uint64(10**12),
                "atom": number, "create_time_us": np.full(number.size, at_us),
            }  # fmt: skip
            known = number[shop.has_email[first:last]]
            kinds, kind_end = pool_of(["email"] * known.size)
            linked = {
                "atom": known, "profile": known, "kind": kinds, "kind_end": kind_end,
                "id_print": np.repeat(known.astype(np.uint64) + np.uint64(1), 2),
                "link_time_us": np.full(known.size, at_us),
            }  # fmt: skip
            yield [
                _created(CREATED.encode(created)),
                identity.ProfileEntry(
                    linked=identity.IdentifiersLinked.FromString(LINKED.encode(linked))
                ),
                *self._known(number[number < self.profiles], at_us),
            ]

    def _known(self, number: np.ndarray, at_us: int) -> Iterator[identity.ProfileEntry]:
        shop = self.shop
        if number.size:
            days, birthday = np.unique(shop.birthday[number], return_inverse=True)
            dates = (np.datetime64("1960-01-01") + days).astype("datetime64[D]").astype(str)
            texts = ["m", "f", *CITIES, *dates.tolist()]
            value = [shop.gender[number], 2 + shop.city[number], 2 + len(CITIES) + birthday]
            yield attributes_of(
                np.repeat(number, 3), ["gender", "city", "birthday"], texts,
                np.stack(value, axis=1).ravel(), at_us,
            )  # fmt: skip

    def _rows(self, first: int, last: int) -> identity.ProfileEntry:
        body = self.shop.body(first, last)
        return identity.ProfileEntry(events=columns_pb2.EventColumns.FromString(body))

    # -- the present ----------------------------------------------------------------------------

    async def copy_control(self) -> None:
        """For ever: what is written to CONTROL is said with the next step."""
        pull = Pull(self.client, subjects.CONTROL, [subjects.control_of(self.tenant)])
        while True:
            for pulled in await pull.take(1 << 20, 1.0):
                record = identity.ControlRecord(
                    control_sequence=pulled.sequence,
                    subject=pulled.subject,
                    body=pulled.body,
                    take_time=timestamp(self.time_us),
                )
                self.waiting.append(identity.ProfileEntry(control=record))

    async def flow(self) -> None:
        """For ever: what is due, every few milliseconds."""
        while True:
            began = clock.monotonic()
            now_us, entries = clock.wall_us(), self.waiting
            self.waiting = []
            last = self.sent
            if self.start_us:
                last = self.past + (now_us - self.start_us) * self.rate // 1_000_000
            if last > self.sent:
                entries.append(self._rows(self.sent, last))
                self.sent = last
            for entry in entries:
                if entry.HasField("control"):
                    self.control = entry.control.control_sequence
            await self.say(entries, now_us)
            await asyncio.sleep(max(0.0, began + TICK_S - clock.monotonic()))

    def told(self, line: dict[str, Any]) -> dict[str, Any]:
        """{"go": true}: events begin to flow. {"profile", "events", "attributes"}: this happens to
        a profile with the next step. Answers with the last step, and how long the broker took at
        most to write one since it was asked before."""
        shop = self.shop
        if "go" in line:
            self.start_us = clock.wall_us()
            rows = np.arange(FLOW_ROWS)
            delay = shop.accept[self.past :] - shop.occur[self.past :]
            shop.accept[self.past :] = self.start_us + rows * 1_000_000 // self.rate
            shop.occur[self.past :] = shop.accept[self.past :] - delay
            return {"start_us": self.start_us, "past": self.past, "rate": self.rate}
        if "profile" in line:
            self._happen(line)
        slowest_s, self.slowest_s = self.slowest_s, 0.0
        return {"step": self.step, "slowest_s": slowest_s}

    def _happen(self, line: dict[str, Any]) -> None:
        """Puts a profile's events in the place of the flow's next ones."""
        shop, profile = self.shop, self.profiles + line["profile"]
        for place, event in enumerate(line["events"], self.sent):
            for name, value in event.items():
                getattr(shop, name)[place] = value
            shop.profile[place], shop.occur[place] = profile, shop.accept[place]
        if line["attributes"]:
            number = np.full(len(line["attributes"]), profile, np.uint32)
            value = np.arange(number.size)
            names, texts = list(line["attributes"]), list(line["attributes"].values())
            self.waiting.append(attributes_of(number, names, texts, value, clock.wall_us()))


def _created(body: bytes) -> identity.ProfileEntry:
    return identity.ProfileEntry(created=identity.ProfilesCreated.FromString(body))


def attributes_of(
    number: np.ndarray, names: list[str], texts: list[str], value: np.ndarray, at_us: int
) -> identity.ProfileEntry:
    """Texts set on profiles; of each profile one value of every name."""
    rows = number.size
    name, name_end = pool_of(names)
    text, text_end = pool_of(texts)
    body = ATTRIBUTES.encode(
        {
            "profile": number, "atom": number, "name": name, "name_end": name_end, "text": text,
            "text_end": text_end, "key": np.tile(np.arange(len(names)), rows // len(names)),
            "item": np.zeros(rows), "kind": np.ones(rows), "value": value,
            "exponent": np.zeros(rows), "occur_time_us": np.full(rows, at_us),
            "accept_time_us": np.full(rows, at_us), "event_print": np.zeros(2 * rows),
        }
    )  # fmt: skip
    return identity.ProfileEntry(attributes=identity.AttributesSet.FromString(body))


async def main(options: dict[str, Any]) -> None:
    client = await nats.connect(options["url"], allow_reconnect=False)
    feed = Feed(client, options)
    await feed.load()
    tasks = [asyncio.create_task(feed.copy_control()), asyncio.create_task(feed.flow())]
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)

    loop.run_in_executor(None, read)
    while True:
        asked = asyncio.create_task(lines.get())
        await asyncio.wait([asked, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        print(json.dumps(feed.told(json.loads(asked.result()))), flush=True)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(json.loads(sys.argv[1])))
