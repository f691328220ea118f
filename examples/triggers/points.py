"""Acts once on every trigger of a segment: ten points to whoever enters. Kill it at any moment.

    python examples/triggers/points.py big-spenders

The recipe: whatever a trigger brings about is written in one transaction with how far we came.

1.  A trigger has a place in the stream and a dense number: it counts the triggers of its segment
    and partition, 1, 2, 3 …, without a gap. Both are stored with the effect.
2.  After a crash we read on from the place stored. What was committed is behind it, what was not is
    before it: nothing is lost, nothing is done twice, and no acknowledgement is needed.
3.  The dense number proves it: the next is always one more. A smaller one was done already; a
    larger one means that triggers are missing (we were away for longer than the log keeps them):
    then we stop and say so, instead of going on as if nothing had happened.
4.  The place is moved only from the one we read it at. If a second copy of this program runs, one
    of the two finds it moved, and ends.

An effect outside of the database (a call to another platform) cannot be in its transaction: hand
`trigger_id` along as the idempotency key, and call before the commit. Then a crash between the two
repeats the call with the same key.

Environment: MUSTER_NATS_URL, MUSTER_TENANT (demo), POINTS_POSTGRES_URL. It needs nats-py, asyncpg,
and the Python code of muster's contracts on the path.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncpg
import nats
from nats.errors import TimeoutError as NothingThere
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from muster.segments.v1.facts_pb2 import SegmentTriggered
from muster.types.v1.common_pb2 import DIRECTION_ENTERED

POINTS = 10
TAKE = 100
WAIT_S = 1.0

TABLES = """
create table if not exists points (profile_id text primary key, points bigint not null);
create table if not exists place (segment_id text primary key, sequence bigint not null);
create table if not exists counted (
    segment_id text, partition bigint, dense_number bigint not null,
    primary key (segment_id, partition)
);
"""


class Stopped(Exception):
    """We must not go on; the message says why."""


async def act(db: asyncpg.Connection, trigger: SegmentTriggered) -> None:
    """The effect: of an entry only. It takes no care of repetitions: there are none."""
    if trigger.direction == DIRECTION_ENTERED:
        await db.execute(
            "insert into points values ($1, $2) on conflict (profile_id)"
            " do update set points = points.points + excluded.points",
            trigger.profile_id,
            POINTS,
        )


async def take(db: asyncpg.Connection, trigger: SegmentTriggered, was: int, sequence: int) -> None:
    """One trigger, its number and our place, in one transaction."""
    segment, partition = trigger.segment_id, trigger.partition
    async with db.transaction():
        moved = await db.execute(
            "update place set sequence = $3 where segment_id = $1 and sequence = $2",
            segment,
            was,
            sequence,
        )
        if moved != "UPDATE 1":
            raise Stopped("another copy of this program works on this segment")
        last = await db.fetchval(
            "select dense_number from counted where segment_id = $1 and partition = $2",
            segment,
            partition,
        )
        if last is not None and trigger.dense_number > last + 1:
            raise Stopped(f"triggers {last + 1} to {trigger.dense_number - 1} are no longer kept")
        if last is not None and trigger.dense_number <= last:
            return
        await act(db, trigger)
        await db.execute(
            "insert into counted values ($1, $2, $3) on conflict (segment_id, partition)"
            " do update set dense_number = excluded.dense_number",
            segment,
            partition,
            trigger.dense_number,
        )


async def run(segment: str) -> None:
    """For ever: takes the triggers of a segment from where the last run came to."""
    tenant = os.environ.get("MUSTER_TENANT", "demo")
    db = await asyncpg.connect(os.environ["POINTS_POSTGRES_URL"])
    async with db.transaction():
        # Two copies that begin at once must not make the tables at once.
        await db.execute("select pg_advisory_xact_lock(hashtext('points'))")
        await db.execute(TABLES)
    await db.execute("insert into place values ($1, 0) on conflict do nothing", segment)
    place = await db.fetchval("select sequence from place where segment_id = $1", segment)
    client = await nats.connect(os.environ["MUSTER_NATS_URL"])
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=place + 1,
        ack_policy=AckPolicy.NONE,
    )
    subject = f"muster.triggers.v1.{tenant}.{segment}"
    subscription = await client.jetstream().pull_subscribe(subject, config=config)
    while True:
        try:
            messages = await subscription.fetch(TAKE, timeout=WAIT_S)
        except NothingThere:
            continue
        for message in messages:
            sequence = message.metadata.sequence.stream
            await take(db, SegmentTriggered.FromString(message.data), place, sequence)
            place = sequence


if __name__ == "__main__":
    try:
        asyncio.run(run(sys.argv[1]))
    except Stopped as why:
        sys.exit(f"stopped: {why}")
