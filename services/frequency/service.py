"""The wiring of frequency: triggers to asks, calls to lanes, facts to the outbox."""

from __future__ import annotations

from pathlib import Path

from muster.frequency.v1.service_pb2_grpc import add_FrequencyServiceServicer_to_server
from muster.types.v1.common_pb2 import Position
from services.chassis import subjects
from services.chassis.application import Application, position_of
from services.chassis.database import Database
from services.chassis.follower import Follower, lead, park
from services.chassis.outbox import Publisher
from services.chassis.pull import Pulled
from services.frequency.adapters.grpc_api import FrequencyServicer
from services.frequency.adapters.lanes import Lanes
from services.frequency.adapters.persons import Persons
from services.frequency.adapters.previews import MergePreviews
from services.frequency.adapters.report import Report
from services.frequency.adapters.settlements import PostgresSettlements
from services.frequency.adapters.store import PostgresAllowances
from services.frequency.adapters.strategies import Strategies
from services.frequency.handlers import Asks, Moves
from services.frequency.settings import FrequencySettings

SERVICE = "muster.frequency.v1.FrequencyService"
SCHEMA = "frequency"
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"
PLANNER = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}
"""Decisions touch few rows of large tables; a plan made while they were small would scan them."""


class Frequency:
    """One process of the service; several may serve, one of them follows and publishes."""

    def __init__(self, settings: FrequencySettings) -> None:
        self.settings = settings
        tenant = settings.tenant
        streams = {subjects.PROFILES, subjects.TRIGGERS, subjects.MESSAGES}
        self.app = Application(settings, "frequency", streams=streams)
        # Two kinds of lanes, and what follows, publishes and answers the other calls.
        pool = 2 * settings.lanes + 8
        self.database = Database(settings.postgres_url, SCHEMA, pool, PLANNER)
        self.strategies = Strategies(self.database, tenant, settings.kinds_max)
        self.persons = Persons(tenant)
        self.allowances = PostgresAllowances(self.database, self.strategies, self.persons)
        settlements = PostgresSettlements(self.database, tenant)
        self.report = Report(self.database, self.strategies)
        self.publisher: Publisher | None = None
        self.asks = Asks(self.database, self.allowances, self._park, self._staged)
        relays = [subjects.relay(tenant, place) for place in range(settings.partitions)]
        self.follower = Follower(
            self.database,
            f"triggers {tenant}",
            subjects.TRIGGERS,
            [subjects.triggers_of(tenant), *relays],
            self.asks.on_triggers,
            settings.triggers_max,
        )
        self.moves_follower = Follower(
            self.database,
            f"profiles {tenant}",
            subjects.PROFILES,
            [subjects.profiles(tenant, place) for place in range(settings.partitions)],
            Moves(self.persons, self._park).on_profiles,
            settings.steps_max,
        )
        lanes, most, waiting = (
            settings.lanes,
            settings.lane_wishes_max,
            settings.waiting_wishes_max,
        )
        servicer = FrequencyServicer(
            settings,
            self.strategies,
            Lanes(self.allowances.reserve, lanes, most, waiting),
            Lanes(settlements.settle, lanes, most, waiting),
            self.report,
            MergePreviews(self.database, self.strategies, self.persons),
            self._position,
        )
        self.app.on_start(self._start)
        self.app.on_stop(self._stop)
        self.app.serve(servicer, add_FrequencyServiceServicer_to_server, SERVICE)
        self.app.ready_when("database", lambda: self.database.right)
        self.app.ready_when("caught up", lambda: self.follower.caught_up)
        self.app.ready_when("persons", lambda: self.moves_follower.caught_up)
        self.app.spawn(self._watch_schema, "schema")
        self.app.spawn(self._follow, "follow")
        add = self.app.figures.add
        add("muster_triggers_applied_total", "Triggers taken.", lambda: self.follower.applied)
        add("muster_persons_changed_total", "Ids that identity said of.", lambda: self.persons.said)
        add("muster_decisions_total", "Wishes decided.", lambda: self.allowances.decided)

    def _position(self) -> Position:
        place = self.follower.place
        return position_of(place.origin(), place.time_us)

    def _staged(self) -> None:
        if self.publisher is not None:
            self.publisher.staged.set()

    async def _park(self, message: Pulled, code: str, detail: str) -> None:
        subject = subjects.parked(self.settings.tenant, "frequency")
        fault = (code, detail)
        await park(self.app.nats, subject, "frequency", subjects.TRIGGERS, message, fault)

    async def _start(self, app: Application) -> None:
        await self.database.open()

    async def _stop(self, app: Application) -> None:
        await self.database.close()

    async def _look(self) -> None:
        await self.follower.look()
        await self.moves_follower.look()

    async def _watch_schema(self) -> None:
        await self.database.watch_schema(MIGRATIONS)

    async def _follow(self) -> None:
        settings, tenant = self.settings, self.settings.tenant
        await self.database.wait_right(MIGRATIONS)
        await self.strategies.refresh()
        await self.strategies.read_kinds()
        await self.follower.look()
        await self.moves_follower.look()
        everything = subjects.messages(tenant, "x").removesuffix("x") + "*"
        publisher = Publisher(self.database, self.app.nats, subjects.MESSAGES, everything)
        self.publisher = publisher

        async def follow() -> None:
            await self.follower.run(self.app.nats)

        async def follow_moves() -> None:
            await self.moves_follower.run(self.app.nats)

        async def due() -> None:
            await self.asks.on_due(settings.due_poll_ms / 1_000, settings.due_asks_max)

        async def sweep() -> None:
            await self.report.sweep(settings.memory_days_min, settings.sweep_every_s)

        await lead(
            self.database,
            f"frequency leads {tenant}",
            [follow, follow_moves, publisher.run, due, sweep],
            meanwhile=self._look,
        )


def run() -> None:
    Frequency(FrequencySettings()).app.run()
