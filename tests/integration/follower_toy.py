"""A small real service over the follower and the outbox, that kills itself at planted moments.

Each trigger becomes one row and one fact. Run as a process: seed, chance of death in percent, and
`alone` to follow without waiting for the lead (two such processes are two owners on purpose).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Sequence

import nats
from nats.aio.client import Client

from services.chassis import outbox, subjects
from services.chassis.database import Connection, Database
from services.chassis.errors import Stop
from services.chassis.follower import Follower, Place, lead
from services.chassis.outbox import Draft, Publisher, Staged
from services.chassis.pull import Pulled

SCHEMA = "toy"
TENANT = "demo"
TABLES = "create table effect (place bigserial primary key, body text not null);"


class Toy:
    """Follows TRIGGERS, publishes to MESSAGES; may die wherever it could matter."""

    def __init__(self, database: Database, chance: random.Random, percent: float) -> None:
        self.database = database
        self.chance = chance
        self.percent = percent
        self.follower = Follower(
            database, "toy", subjects.TRIGGERS, [subjects.triggers_of(TENANT)], self.apply, 20
        )

    def perhaps_die(self) -> None:
        if self.chance.uniform(0, 100) < self.percent:
            os.kill(os.getpid(), signal.SIGKILL)

    async def apply(
        self, connection: Connection, batch: Sequence[Pulled], _: Place
    ) -> Callable[[], None]:
        for message in batch:
            body = message.body.decode()
            await connection.execute("insert into effect (body) values ($1)", body)
        drafts = [self.draft(message.body) for message in batch]
        await outbox.stage(connection, drafts)
        self.perhaps_die()
        return self.perhaps_die

    def draft(self, body: bytes) -> Draft:
        def write(number: int) -> bytes:
            return b"%d %s" % (number, body)

        kind = f"s{len(body) % 3}"
        return Draft(subjects.messages(TENANT, kind), write, {})

    async def publish(
        self, client: Client, facts: Sequence[Staged], filtered: str, after: int
    ) -> int:
        self.perhaps_die()
        sequence = await outbox_publish(client, facts, filtered, after)
        self.perhaps_die()
        return sequence


outbox_publish = outbox.publish


async def main(nats_url: str, postgres_url: str, seed: int, percent: float, mode: str) -> None:
    client = await nats.connect(nats_url, allow_reconnect=False)
    database = Database(postgres_url, SCHEMA, 4)
    await database.open()
    toy = Toy(database, random.Random(seed), percent)
    outbox.publish = toy.publish
    everything = subjects.messages(TENANT, "x").removesuffix("x") + "*"
    publisher = Publisher(database, client, subjects.MESSAGES, everything)

    async def follow() -> None:
        await toy.follower.run(client)

    if mode == "alone":
        await asyncio.gather(follow(), publisher.run())
    await lead(database, "toy", [follow, publisher.run], meanwhile=toy.follower.look)


if __name__ == "__main__":
    try:
        asyncio.run(
            main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
        )
    except Stop as stop:
        sys.exit(int(stop.code))
