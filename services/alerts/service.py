"""The wiring of alerts: facts of segments to points, points to notices, calls to watches."""

from __future__ import annotations

from pathlib import Path

from muster.alerts.v1.service_pb2_grpc import add_AlertsServiceServicer_to_server
from muster.types.v1.common_pb2 import Position
from services.alerts.adapters.grpc_api import AlertsServicer
from services.alerts.adapters.store import PostgresWatches
from services.alerts.handlers import Judge
from services.alerts.settings import AlertsSettings
from services.chassis import subjects
from services.chassis.application import Application, position_of
from services.chassis.database import Database
from services.chassis.follower import Follower, lead, park
from services.chassis.outbox import Publisher
from services.chassis.pull import Pulled

SERVICE = "muster.alerts.v1.AlertsService"
SCHEMA = "alerts"
MIGRATIONS = Path(__file__).parent / "adapters" / "migrations"
POOL = 8


class Alerts:
    """One process of the service; several may serve, one of them follows and publishes."""

    def __init__(self, settings: AlertsSettings) -> None:
        self.settings = settings
        tenant = settings.tenant
        self.app = Application(settings, "alerts", streams={subjects.TRANSITIONS, subjects.ALERTS})
        self.database = Database(settings.postgres_url, SCHEMA, POOL)
        self.watches = PostgresWatches(self.database, tenant, settings.watches_max)
        self.publisher: Publisher | None = None
        self.judge = Judge(
            self.watches,
            settings.partitions,
            settings.points_closed_max,
            self._park,
            self._staged,
        )
        self.follower = Follower(
            self.database,
            f"transitions {tenant}",
            subjects.TRANSITIONS,
            [subjects.transitions_of(tenant)],
            self.judge.on_transitions,
            settings.steps_max,
        )
        servicer = AlertsServicer(settings, self.watches, self._position)
        self.app.on_start(self._start)
        self.app.on_stop(self._stop)
        self.app.serve(servicer, add_AlertsServiceServicer_to_server, SERVICE)
        self.app.ready_when("database", lambda: self.database.right)
        self.app.ready_when("caught up", lambda: self.follower.caught_up)
        self.app.spawn(self._watch_schema, "schema")
        self.app.spawn(self._follow, "follow")
        add = self.app.figures.add
        add("muster_steps_applied_total", "Steps taken.", lambda: self.follower.applied)
        add("muster_points_closed_total", "Points judged.", lambda: self.judge.points_closed)

    def _position(self) -> Position:
        place = self.follower.place
        times = [head.time_us for head in place.heads.values()]
        return position_of(place.origin(), min(times, default=0))

    def _staged(self) -> None:
        if self.publisher is not None:
            self.publisher.staged.set()

    async def _park(self, message: Pulled, code: str, detail: str) -> None:
        subject = subjects.parked(self.settings.tenant, "alerts")
        fault = (code, detail)
        await park(self.app.nats, subject, "alerts", subjects.TRANSITIONS, message, fault)

    async def _start(self, app: Application) -> None:
        await self.database.open()

    async def _stop(self, app: Application) -> None:
        await self.database.close()

    async def _watch_schema(self) -> None:
        await self.database.watch_schema(MIGRATIONS)

    async def _follow(self) -> None:
        settings, tenant = self.settings, self.settings.tenant
        await self.database.wait_right(MIGRATIONS)
        await self.follower.look()
        everything = subjects.alerts(tenant, "x").removesuffix("x") + "*"
        publisher = Publisher(self.database, self.app.nats, subjects.ALERTS, everything)
        self.publisher = publisher

        async def follow() -> None:
            # Only now, as the leader, nobody else moves what is loaded.
            await self.judge.load()
            await self.follower.run(self.app.nats)

        async def sweep() -> None:
            await self.judge.sweep(settings.points_kept_days, settings.sweep_every_s)

        await lead(
            self.database,
            f"alerts leads {tenant}",
            [follow, publisher.run, sweep],
            meanwhile=self.follower.look,
        )


def run() -> None:
    Alerts(AlertsSettings()).app.run()
