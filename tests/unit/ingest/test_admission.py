"""Who enters and how much: quotas by stepped time, shares of a full door, the registry kept."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from services.chassis.errors import NotAllowed, Overloaded, Unauthenticated
from services.ingest.adapters.gate import Gate
from services.ingest.adapters.registry_wire import changes_of, state_of
from services.ingest.adapters.store import NatsIntakeStore
from services.ingest.core import IngestCore
from services.ingest.domain.publishers import BURST_S, Publisher, Quota, Scope, hash_of
from services.ingest.domain.registry import (
    Registry,
    TypeRetired,
    Use,
    Vocabulary,
    broken_by,
    evolve,
)
from services.ingest.domain.schemas import STANDARD, Kind, Rule, Schema
from services.ingest.settings import IngestSettings


@pytest.mark.parametrize("seed", range(20))
def test_a_quota_never_lets_in_more_than_its_rate_and_burst(seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    rate = chance.choice([1, 10, 500])
    quota = Quota(Publisher("p", events_per_s=rate))
    now_s, taken, most = 100.0, 0, 0
    for _ in range(2_000):
        now_s += chance.expovariate(rate)
        events = chance.randrange(1, 2 * rate + 2)
        wait_s = quota.admit(events, 0, now_s)
        if wait_s:
            # Whoever waits as long as it was told enters.
            assert quota.admit(1, 0, now_s + wait_s + 1e-6) == 0
            now_s += wait_s + 1e-6
            taken += 1
        else:
            taken += events
            most = max(most, events)
    assert taken <= rate * (now_s - 100.0) + rate * BURST_S + 2 * most + 1
    assert taken >= rate * (now_s - 100.0) * 0.5


def test_keys_open_what_they_may_and_nothing_else() -> None:
    registry = Registry()
    now = [0.0]
    gate = Gate(IngestSettings(), registry, lambda: now[0])
    assert gate.publisher_of_key("free", is_import=True) == "free"
    evolve(registry, Publisher("shop", (hash_of("k1"),), frozenset({Scope.EVENTS})))
    assert gate.publisher_of_key("k1", is_import=False) == "shop"
    for key in ("", "shop", "Wrong", "k1 "):
        with pytest.raises(Unauthenticated):
            gate.publisher_of_key(key, is_import=False)
    with pytest.raises(NotAllowed):
        gate.publisher_of_key("k1", is_import=True)
    with pytest.raises(Unauthenticated):
        gate.enter("shop", "", Scope.EVENTS)
    gate.enter("shop", "k1", Scope.EVENTS)
    gate.enter("other", "", Scope.IMPORT)
    strict = Gate(IngestSettings(keys_required=True), registry, lambda: now[0])
    with pytest.raises(Unauthenticated):
        strict.enter("other", "", Scope.EVENTS)
    evolve(registry, Publisher("shop", (hash_of("k2"),)))
    with pytest.raises(Unauthenticated):
        gate.publisher_of_key("k1", is_import=False)
    evolve(registry, Publisher("shop", (hash_of("k2"),), retired=True))
    with pytest.raises(Unauthenticated):
        gate.publisher_of_key("k2", is_import=False)


async def test_whoever_floods_a_door_is_shed_first() -> None:
    """Nothing is answered, so everything that enters stays: 1 MiB is full at once."""

    def silent() -> Any:
        raise AssertionError("nothing is sent before the linger is over")

    settings = IngestSettings(waiting_bytes_max=1 << 20, linger_ms=60_000)
    store = NatsIntakeStore(settings, silent)
    waiting: list[asyncio.Future[Any]] = []

    def put(publisher: str, size: int) -> asyncio.Future[Any]:
        """A call of this size; if it enters it waits for the log."""
        task = asyncio.ensure_future(store.put(publisher, "", [bytes(size)]))
        waiting.append(task)
        return task

    async def enters(publisher: str, size: int) -> bool:
        task = put(publisher, size)
        await asyncio.sleep(0)
        return not (task.done() and isinstance(task.exception(), Overloaded))

    flood = [await enters("flood", 100_000) for _ in range(12)]
    assert flood == [True] * 10 + [False] * 2
    assert not await enters("shop", 100_000)
    assert await enters("shop", 20_000)
    assert not await enters("flood", 1_000)
    assert await enters("app", 1_000)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert store.bytes_waiting == 0


def full_registry() -> Registry:
    registry = Registry()
    for change in (
        Publisher("a", (hash_of("1"), hash_of("2")), frozenset({Scope.IMPORT}), True, 5, 6),
        Publisher("b", retired=True),
        Schema("t", (Rule("k", Kind.TIME, True, "why"), Rule("l")), True, "what"),
        Schema("u"),
        Schema("gone"),
        TypeRetired("gone"),
        Vocabulary(True, True),
    ):
        evolve(registry, change)
    return registry


def test_a_snapshot_holds_the_whole_registry() -> None:
    registry = full_registry()
    again = Registry()
    for change in changes_of(state_of(registry)):
        evolve(again, change)
    again.revision = registry.revision
    assert again == registry
    core, other = IngestCore(IngestSettings()), IngestCore(IngestSettings())
    core.registry = registry
    state = {name: memoryview(bytes(buffer)) for name, buffer in core.dump().items()}
    other.load(state)
    other.registry.revision = registry.revision
    assert other.registry == registry


def test_only_what_a_rule_needs_breaks_it() -> None:
    uses = [
        Use("s1", ("ride",), property="km", kind=Kind.NUMBER),
        Use("s2", (), "ri", "city", Kind.ANY),
        Use("s3", ("walk",), property="km", kind=Kind.TEXT),
    ]
    assert (
        broken_by(Schema("ride", (Rule("km", Kind.NUMBER), Rule("city", Kind.TEXT)), True), uses)
        == []
    )
    assert broken_by(Schema("ride", (Rule("km"),)), uses) == []
    assert len(broken_by(Schema("ride", (Rule("km", Kind.TEXT),)), uses)) == 1
    assert len(broken_by(Schema("ride", closed=True), uses)) == 2
    assert broken_by(Schema("run", (Rule("km", Kind.TEXT),)), uses) == []
    assert all(broken_by(schema, uses) == [] for schema in STANDARD.values())
