"""Decisions per second of the frequency service, and the latency of single calls.

Real processes: nats-server, PostgreSQL with fsync, `python -m services.frequency`, and this client
over gRPC. Profiles are chosen at random among --profiles, so that caps come to bind as it goes; the
share of what was allowed is printed. The last line is one JSON object.

    python benchmarks/frequency_reserve.py [--seconds 5] [--profiles 200000] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import grpc
import nats
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muster.frequency.v1 import facts_pb2, service_pb2, service_pb2_grpc
from services.chassis import topology
from services.chassis.children import free_port
from services.chassis.embedded import EmbeddedNats, EmbeddedPostgres

TENANT = "demo"
BATCH = 1_000
CALLS = 4
RATE = 1_000
LOG_BYTES_MAX = 256 << 20


def one_limit() -> service_pb2.Strategy:
    """At most three in a rolling day."""
    strategy = service_pb2.Strategy(strategy_id="one", defer_on_limit=True)
    strategy.limits.add(max=3).rolling.seconds = 86_400
    return strategy


def three_limits() -> service_pb2.Strategy:
    """Rolling day, calendar week and mails of a calendar day, within hours, in a zone."""
    strategy = service_pb2.Strategy(
        strategy_id="three", defer_on_limit=True, defer_on_hours=True, zone="Europe/Kyiv"
    )
    strategy.limits.add(max=3).rolling.seconds = 86_400
    strategy.limits.add(max=7).calendar.unit = service_pb2.CALENDAR_PERIOD_UNIT_WEEK
    mails = strategy.limits.add(max=2, channels=["email"])
    mails.calendar.unit = service_pb2.CALENDAR_PERIOD_UNIT_DAY
    # All but one minute of the day, so that the run does not depend on when it is started.
    strategy.hours.MergeFrom(service_pb2.Hours(**{"from": "00:01", "to": "24:00"}))
    return strategy


class Service:
    """The service as a process, and what its neighbours on the machine use meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.nats = EmbeddedNats(folder / "nats").start()
        self.postgres = EmbeddedPostgres(folder / "postgres").start()
        self.port = free_port()
        self.environment = {
            **os.environ,
            "MUSTER_TENANT": TENANT,
            "MUSTER_NATS_URL": self.nats.url,
            "MUSTER_POSTGRES_URL": self.postgres.url,
            "MUSTER_GRPC_PORT": str(self.port),
            "MUSTER_LOG_BYTES_MAX": str(LOG_BYTES_MAX),
        }
        self.log = (folder / "frequency.log").open("wb")

    async def start(self) -> None:
        client = await nats.connect(self.nats.url)
        await topology.apply(client, LOG_BYTES_MAX)
        await client.close()
        command = [sys.executable, "-m", "services.frequency"]
        subprocess.run([*command, "migrate"], env=self.environment, check=True)  # noqa: ASYNC221
        self.process = subprocess.Popen(  # noqa: ASYNC220
            command, env=self.environment, stdout=self.log, stderr=self.log
        )
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for _ in range(300):
                try:
                    request = health_pb2.HealthCheckRequest(service="readiness")
                    if (await health.Check(request)).status == 1:
                        return
                except grpc.aio.AioRpcError:
                    pass
                await asyncio.sleep(0.1)
        raise SystemExit("the service did not become ready")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.postgres.stop()
        self.nats.stop()

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far: of this client, the service, PostgreSQL, and everything."""
        postgres = psutil.Process(self.postgres.child.pid)
        family = [postgres, *postgres.children(recursive=True)]
        everything = psutil.cpu_times()
        return {
            "client": sum(psutil.Process().cpu_times()[:2]),
            "service": sum(psutil.Process(self.process.pid).cpu_times()[:2]),
            "postgres": sum(sum(p.cpu_times()[:2]) for p in family),
            "all": everything.user + everything.system,
        }


def requests(strategy_id: str, count: int, chance: random.Random, profiles: int) -> list[bytes]:
    """Calls of BATCH wishes each, a third of them by SMS, ready to be sent."""
    made = []
    for call in range(count):
        request = service_pb2.ReserveMessagesRequest(tenant=TENANT, strategy_id=strategy_id)
        for place in range(BATCH):
            request.wishes.add(
                message_key=f"{strategy_id}-{call}-{place}",
                profile_id=f"p_{chance.randrange(profiles):013d}",
                message_type="promo",
                channel="sms" if place % 3 == 0 else "email",
            )
        made.append(request.SerializeToString())
    return made


async def throughput(
    service: Service, strategy_id: str, seconds: float, chance: random.Random, profiles: int
) -> float:
    """Decisions per second of CALLS calls at a time; prints what they were and what they cost."""
    bodies = requests(strategy_id, int(seconds * 120) + 20, chance, profiles)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        call = channel.unary_unary(
            "/muster.frequency.v1.FrequencyService/ReserveMessages",
            request_serializer=None,
            response_deserializer=None,
        )
        answers: list[bytes] = []
        for body in (bodies.pop() for _ in range(20)):
            await call(body)
        before, started = service.cpu(), time.perf_counter()

        async def caller() -> None:
            while bodies and time.perf_counter() - started < seconds:
                answers.append(await call(bodies.pop()))

        await asyncio.gather(*(caller() for _ in range(CALLS)))
        took, after = time.perf_counter() - started, service.cpu()
    count = len(answers) * BATCH
    decisions: Counter[str] = Counter()
    for answer in answers:
        for receipt in service_pb2.ReserveMessagesResponse.FromString(answer).receipts:
            decisions[facts_pb2.Decision.Name(receipt.decision)[9:].lower()] += 1
    used = {name: after[name] - before[name] for name in before}
    ours = used["client"] + used["service"] + used["postgres"]
    micro = {n: round(1e6 * used[n] / count, 1) for n in ("client", "service", "postgres")}
    print(
        f"{strategy_id} limit(s): {count / took:,.0f} decisions/s, {dict(decisions)}, "
        f"microseconds each {micro}, CPU used by others {(used['all'] - ours) / took:.0%}"
    )
    return count / took


async def latency(service: Service, seconds: float, chance: random.Random) -> dict[str, float]:
    """Single calls on a fixed schedule; milliseconds from when each was due."""
    taken: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        stub = service_pb2_grpc.FrequencyServiceStub(channel)

        async def one(number: int, due: float) -> None:
            request = service_pb2.ReserveMessagesRequest(tenant=TENANT, strategy_id="one")
            request.wishes.add(
                message_key=f"single-{number}",
                profile_id=f"s_{chance.randrange(100_000)}",
                message_type="promo",
                channel="email",
            )
            await stub.ReserveMessages(request)
            taken.append(1e3 * (time.perf_counter() - due))

        started = time.perf_counter()
        running = set()
        for number in range(int(seconds * RATE)):
            due = started + number / RATE
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(one(number, due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
    taken = sorted(taken[len(taken) // 10 :])
    found = {f"p{p}": taken[int(len(taken) * p / 100)] for p in (50, 99)}
    print(f"single calls at {RATE}/s: p50 {found['p50']:.2f} ms, p99 {found['p99']:.2f} ms")
    return found


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--profiles", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    arguments = parser.parse_args()
    print("seed", arguments.seed)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        try:
            await service.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
                stub = service_pb2_grpc.FrequencyServiceStub(channel)
                for strategy in (one_limit(), three_limits()):
                    request = service_pb2.DefineStrategyRequest(tenant=TENANT, strategy=strategy)
                    await stub.DefineStrategy(request)
            given = (arguments.seconds, chance, arguments.profiles)
            one = await throughput(service, "one", *given)
            three = await throughput(service, "three", *given)
            single = await latency(service, arguments.seconds, chance)
        finally:
            service.stop()
    found = {
        "decisions_per_s_one_limit": round(one),
        "decisions_per_s_three_limits": round(three),
        "p50_ms_at_1000_per_s": round(single["p50"], 2),
        "p99_ms_at_1000_per_s": round(single["p99"], 2),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
