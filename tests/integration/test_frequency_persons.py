"""Messages of one person count together, whichever id they were asked for by: merges, unmerges,
ids that late evidence changes, in any order in which partitions say them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from nats.aio.client import Client

from muster.frequency.v1 import service_pb2
from muster.identity.v1 import facts_pb2 as identity
from services.chassis import subjects
from services.chassis.database import Database
from services.chassis.public_ids import text_of
from services.frequency.adapters.moves import Said, said_in
from services.frequency.adapters.persons import Persons, slot_of
from services.frequency.adapters.store import Answer, PostgresAllowances, Wish
from services.frequency.adapters.strategies import Strategies
from services.frequency.domain.allowance import Decision
from services.frequency.domain.strategy import Kind
from services.frequency.service import PLANNER, SCHEMA
from tests.integration.followers import TENANT, database_url, followers
from tests.integration.test_frequency_service import Caller, caller, rolling
from tests.support.servers import Stack

__all__ = ["caller", "database_url", "followers"]
CAP = 3
ROUNDS, PARTITIONS = 40, 3


@dataclass
class Identity:
    """What identity says of numbers, and what a plain model makes of it: who an id stands for.

    into: id -> the id it went into. Partition of a number: number modulo PARTITIONS.
    """

    chance: random.Random
    ids: dict[int, int] = field(default_factory=dict)
    into: dict[int, int] = field(default_factory=dict)
    said: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    order: int = 0
    numbers: int = 0
    fresh: int = 1 << 40

    def person(self, public_id: int) -> int:
        while public_id in self.into:
            public_id = self.into[public_id]
        return public_id

    def add(self, public_id: int | None = None) -> int:
        self.numbers += 1
        self.fresh += 1
        self.ids[self.numbers] = public_id or self.fresh
        return self.numbers

    def _say(self, partitions: set[int], **entry: object) -> None:
        step = identity.ProfileStep(entries=[identity.ProfileEntry(**entry)])
        for partition in partitions:
            self.said[partition % PARTITIONS].append(step.SerializeToString())

    def _move(self, source: int, target: int, *, merge: bool) -> None:
        self.order += 1
        moved = identity.AtomsMoved(
            order=self.order,
            from_profile=source,
            to_profile=target,
            from_public_id=self.ids[source],
            to_public_id=self.ids[target],
            merge=merge,
        )
        self._say({source % PARTITIONS, target % PARTITIONS}, moved=moved)

    def merge(self) -> None:
        source, target = self.chance.sample(sorted(self.ids), 2)
        self._move(source, target, merge=True)
        self.into[self.ids.pop(source)] = self.ids[target]

    def split(self) -> None:
        """One that had gone into another stands for itself again, with all that went into it."""
        gone = sorted(one for one in self.into)
        if not gone:
            return
        public_id = self.chance.choice(gone)
        source = next(n for n, one in self.ids.items() if one == self.person(public_id))
        target = self.add(public_id)
        self._move(source, target, merge=False)
        del self.into[public_id]

    def rename(self) -> None:
        """Late evidence gives a number another id: one never seen, or one that went into it."""
        number = self.chance.choice(sorted(self.ids))
        former = self.ids[number]
        theirs = [one for one in self.into if self.person(one) == former]
        self.fresh += 1
        public_id = self.chance.choice([self.fresh, *theirs])
        self.order += 1
        created = identity.ProfilesCreated(
            profile=[number],
            public_id=[public_id],
            former_public_id=[former],
            order=self.order,
        )
        self._say({number}, created=created)
        self.ids[number] = public_id
        self.into.pop(public_id, None)
        self.into[former] = public_id


@pytest.fixture
async def allowances(followers: Stack, database_url: str) -> AsyncIterator[PostgresAllowances]:
    database = Database(database_url, SCHEMA, 4, PLANNER)
    await database.open()
    strategies = Strategies(database, TENANT, 100)
    await strategies.define(rolling("calm", CAP, 3_600), "")
    yield PostgresAllowances(database, strategies, Persons(TENANT))
    await database.close()


async def apply(allowances: PostgresAllowances, said: list[Said]) -> None:
    async with allowances.database.transaction() as connection:
        await allowances.persons.apply(connection, said)


async def misplaced(allowances: PostgresAllowances, model: Identity) -> list[tuple[str, str]]:
    """Messages that do not lie where those of their person are looked for."""
    rows = await allowances.database.fetch(
        "select profile_id, slot from reservation where slot is not null"
    )
    persons = {
        text_of(one): text_of(model.person(one)) for one in (*model.into, *model.ids.values())
    }
    return [
        (row["profile_id"], persons[row["profile_id"]])
        for row in rows
        if row["slot"] != slot_of(TENANT, "calm", persons[row["profile_id"]])
    ]


async def test_random_merges_splits_and_renames_count_as_a_plain_model_does(
    allowances: PostgresAllowances,
) -> None:
    seed = random.SystemRandom().randrange(1 << 20)
    print("seed", seed)
    chance = random.Random(seed)
    model = Identity(chance)
    for _ in range(8):
        model.add()
    kind = await allowances.strategies.kind(Kind("promo", "email"))
    counted: list[int] = []
    decisions = dict.fromkeys(Decision, 0)
    for round_number in range(ROUNDS):
        for _ in range(chance.randrange(1, 4)):
            if len(model.ids) < 4:
                model.add()
            chance.choice([model.merge, model.split, model.rename])()
        # Partitions are read one behind the other, here and there a message twice.
        queues = [list(queue) for queue in model.said]
        for queue in model.said:
            queue.clear()
        while any(queues):
            queue = chance.choice([queue for queue in queues if queue])
            said = list(said_in(queue[0]))
            await apply(allowances, said if chance.random() < 0.8 else said * 2)
            queue.pop(0)
        ids = sorted({*model.into, *model.ids.values()})
        for place, asked in enumerate(chance.sample(ids, min(4, len(ids)))):
            wish = Wish(f"{round_number}-{place}", text_of(asked), "calm", kind)
            (answer,) = await allowances.reserve([wish])
            assert isinstance(answer, Answer)
            mine = sum(model.person(one) == model.person(asked) for one in counted)
            assert answer.decision == (Decision.ALLOWED if mine < CAP else Decision.DENIED)
            decisions[answer.decision] += 1
            if answer.decision == Decision.ALLOWED:
                counted.append(asked)
        assert await misplaced(allowances, model) == []
    print(decisions, "messages moved", allowances.persons.messages_moved)
    assert decisions[Decision.ALLOWED] > 10 < decisions[Decision.DENIED]
    assert allowances.persons.messages_moved


async def test_many_ask_while_people_become_one_and_no_cap_is_passed(
    allowances: PostgresAllowances,
) -> None:
    """Once two are one, nobody is asked as if they were two: with callers at the same moment."""
    kind = await allowances.strategies.kind(Kind("promo", "email"))
    pairs = [(f"a{n}", f"b{n}") for n in range(20)]

    async def ask(name: str, profile_id: str) -> tuple[str, Decision]:
        (answer,) = await allowances.reserve([Wish(name, profile_id, "calm", kind)])
        assert isinstance(answer, Answer)
        return profile_id, answer.decision

    async def merge() -> None:
        for place, (one, other) in enumerate(pairs):
            await apply(allowances, [Said(other, one, place + 1)])

    asking = [ask(f"{p}-{n}", p) for n in range(2) for pair in pairs for p in pair]
    answers, _ = await asyncio.gather(asyncio.gather(*asking), merge())
    before = {
        one: sum(p == one and d == Decision.ALLOWED for p, d in answers) for one, _ in answers
    }
    for one, other in pairs:
        had = before[one] + before[other]
        for n in range(3):
            _, decision = await ask(f"{one}-after-{n}", (one, other)[n % 2])
            assert decision == (Decision.ALLOWED if had < CAP else Decision.DENIED)
            had += decision == Decision.ALLOWED


async def test_a_merge_in_the_log_counts_messages_together_until_it_is_taken_back(
    caller: Caller, log: Client
) -> None:
    await caller.define(rolling("calm", 2, 3_600), "r")
    ada, web = text_of(77), text_of(88)
    receipts = await caller.reserve("calm", ("m1", ada), ("m2", web))
    assert [r.decision for r in receipts] == [Decision.ALLOWED] * 2
    request = service_pb2.PreviewMergeRequest(tenant=TENANT, profile_ids=[ada, web])
    (cap,) = (await caller.stub.PreviewMerge(request)).caps
    assert (cap.rule, cap.max, list(cap.counted), cap.joined_counted) == ("limit:0", 2, [1, 1], 2)
    assert (list(cap.reached), cap.joined_reached) == ([False, False], True)
    moved = identity.AtomsMoved(
        order=1, from_profile=1, to_profile=0, merge=True, from_public_id=88, to_public_id=77
    )
    back = identity.AtomsMoved(
        order=2, from_profile=0, to_profile=2, from_public_id=77, to_public_id=88
    )

    async def say(move: identity.AtomsMoved) -> None:
        step = identity.ProfileStep(entries=[identity.ProfileEntry(moved=move)])
        subject = subjects.profiles(TENANT, 0)
        await log.jetstream().publish(subject, step.SerializeToString())

    async def decided(*profile_ids: str) -> list[int]:
        answers = await caller.reserve("calm", *((f"{p}-{n()}", p) for p in profile_ids))
        return [answer.decision for answer in answers]

    numbers = iter(range(1_000))

    def n() -> int:
        return next(numbers)

    await say(moved)
    async with asyncio.timeout(10):
        while not all((await caller.stub.PreviewMerge(request)).caps[0].reached):
            await asyncio.sleep(0.02)
    (cap,) = (await caller.stub.PreviewMerge(request)).caps
    assert cap.joined_counted == 2, "they are one person: it counts once"
    assert await decided(ada, web) == [Decision.DENIED] * 2
    # A retry by the other id of the same person is the same message.
    again = await caller.reserve("calm", ("m2", ada))
    assert again[0] == receipts[1]
    await say(back)
    async with asyncio.timeout(10):
        while any((await caller.stub.PreviewMerge(request)).caps[0].reached):
            await asyncio.sleep(0.02)
    assert await decided(ada, web, ada, web) == [Decision.ALLOWED] * 2 + [Decision.DENIED] * 2
