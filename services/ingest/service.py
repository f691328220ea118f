"""Wires the processes of ingest: the doors, and the worker behind the log."""

from __future__ import annotations

from muster.ingest.v1.registry_pb2_grpc import add_RegistryServiceServicer_to_server
from services.chassis import subjects
from services.chassis.application import Application
from services.ingest import handlers
from services.ingest.adapters import grpc_api, grpc_api_registry
from services.ingest.adapters.catalogue import CatalogueDoor
from services.ingest.adapters.http_door import HttpDoor
from services.ingest.adapters.http_server import HttpServer
from services.ingest.adapters.nats_door import answer_batches
from services.ingest.adapters.quota_exchange import QuotaExchange
from services.ingest.adapters.registry_log import RegistryLog
from services.ingest.adapters.store import NatsIntakeStore
from services.ingest.adapters.ticks import Ticker
from services.ingest.adapters.verdicts import NatsVerdicts
from services.ingest.core import IngestCore
from services.ingest.core import warm as warm_core
from services.ingest.domain.registry import Registry
from services.ingest.settings import IngestSettings


def doors_application(settings: IngestSettings) -> Application:
    """Takes events in over gRPC and NATS; stateless, and up while the worker restarts."""
    handlers.warm(settings)
    streams = {subjects.INTAKE, subjects.EVENTS, subjects.RECEIPTS, subjects.CONTROL}
    app = Application(settings, "ingest", streams=streams)
    store = NatsIntakeStore(settings, lambda: app.jetstream)
    verdicts = NatsVerdicts(settings)
    log = RegistryLog(settings, Registry())
    door = handlers.Door(settings, store, verdicts, log.registry)
    catalogue = CatalogueDoor(settings, door.gate, lambda: app.jetstream)
    app.serve(grpc_api.IngestServicer(door, catalogue), grpc_api.add_to_server, grpc_api.SERVICE)
    app.serve(
        grpc_api_registry.RegistryServicer(settings, log),
        add_RegistryServiceServicer_to_server,
        grpc_api_registry.SERVICE,
    )
    answer_batches(app.broker, settings, door)

    _serve_http(app, settings, door)
    exchange = QuotaExchange(settings.tenant, door.gate)

    async def open_verdicts(app: Application) -> None:
        await verdicts.open(app.nats)
        log.open(app.nats)

    async def drain(_: Application) -> None:
        await store.drain()

    app.on_start(open_verdicts)
    app.on_stop(drain)
    app.spawn(verdicts.follow, "verdicts")
    app.spawn(log.follow, "registry")
    app.spawn(lambda: exchange.run(app.nats), "quotas")
    app.ready_when("the registry is read", lambda: log.caught_up)
    app.ready_when("the log answers", store.is_answering)
    app.figures.add("muster_stored_events_total", "Made durable.", lambda: store.events)
    app.figures.add("muster_stored_messages_total", "On INTAKE.", lambda: store.messages)
    app.figures.add("muster_other_doors", "That share quotas.", lambda: exchange.others)
    app.figures.add("muster_waiting_bytes", "Not yet durable.", lambda: store.bytes_waiting)
    return app


def _serve_http(app: Application, settings: IngestSettings, door: handlers.Door) -> None:
    """Opens Segment's API where a port is given."""
    if not settings.http_port:
        return
    http = HttpDoor(settings, door, door.gate.publisher_of_key)
    server = HttpServer(http.application(), settings.http_host, settings.http_port)

    async def stop(_: Application) -> None:
        await server.stop()

    app.on_stop(stop)
    app.spawn(server.serve, "http")
    app.figures.add("muster_http_bytes", "Of requests in hand.", lambda: http.bytes_held)
    app.ready_when("the HTTP door listens", lambda: server.is_listening)


def worker_application(settings: IngestSettings) -> Application:
    """Validates, deduplicates and writes EVENTS; the only writer of its subjects."""
    warm_core()
    streams = {
        subjects.INTAKE,
        subjects.CONTROL,
        subjects.EVENTS,
        subjects.RECEIPTS,
        subjects.PARKED,
    }
    app = Application(settings, "ingest-worker", streams=streams)
    core = IngestCore(settings)
    app.work(core)
    tickers: list[Ticker] = []

    async def watch_clock(app: Application) -> None:
        assert app.worker is not None
        ticker = Ticker(settings, app.worker)
        app.worker.on_step.append(ticker.refuse_jump_ahead)
        tickers.append(ticker)

    async def tick() -> None:
        await tickers[0].run()

    app.on_start(watch_clock)
    app.spawn(tick, "ticks")
    figure = app.figures.add
    figure("muster_accepted_events_total", "Counted once.", lambda: core.accepted)
    figure("muster_duplicate_events_total", "Known already.", lambda: core.duplicates)
    figure("muster_refused_events_total", "Parked with a reason.", lambda: core.refused)
    figure("muster_remembered_events", "Ids held to tell repeats.", lambda: core.prints)
    figure("muster_remembered_orders", "Held to correct sums.", lambda: core.orders)
    figure("muster_decoder_disagreements_total", "A defect.", lambda: core.disagreements)
    return app
