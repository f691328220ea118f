"""Wires the two processes of segments: the engine with its door, and the relay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.chassis import clock, subjects
from services.chassis.application import Application
from services.segments.settings import SegmentsSettings

if TYPE_CHECKING:
    from services.chassis.control_log import ControlLog
    from services.segments.adapters.asks import Partition
    from services.segments.adapters.grpc_api import SegmentsApi
    from services.segments.core import SegmentsCore

SERVICE_NAME = "muster.segments.v1.SegmentsService"


def engine_application(settings: SegmentsSettings) -> Application:
    """One partition's memberships, and the door for questions about all of them."""
    # Here, not above: the relay starts faster and stays smaller without the engine and its kernels.
    from muster.segments.v1 import lists_pb2_grpc as lists_rpc
    from muster.segments.v1 import service_pb2_grpc as rpc
    from muster.segments.v1 import variants_pb2_grpc as variants_rpc
    from services.segments.adapters.asks import OtherPartition, OwnPartition, answer_others
    from services.segments.adapters.audit_log import AuditLog
    from services.segments.adapters.definitions import Definitions
    from services.segments.adapters.grpc_api import SegmentsApi
    from services.segments.adapters.grpc_api_lists import LISTS_SERVICE, ListsApi
    from services.segments.adapters.grpc_api_variants import VARIANTS_SERVICE, VariantsApi
    from services.segments.adapters.lists_log import ListsLog
    from services.segments.adapters.variant_sets import VariantSets
    from services.segments.adapters.watch import Watches
    from services.segments.core import SegmentsCore
    from services.segments.engine.warm import warm
    from services.segments.handlers import PartitionAnswers

    warm()
    streams = {subjects.PROFILES, subjects.TRANSITIONS, subjects.CONTROL, subjects.PARKED}
    if settings.partitions > 1:
        streams.add(subjects.HISTORY)
    app = Application(settings, "segments", streams=streams)
    core = SegmentsCore(settings.tenant, settings.partition, settings.partitions)
    answers = PartitionAnswers(core, settings)
    own = OwnPartition(answers)
    api = SegmentsApi(answers, settings)
    app.work(core)
    app.serve(api, rpc.add_SegmentsServiceServicer_to_server, SERVICE_NAME)
    app.serve(
        VariantsApi(api), variants_rpc.add_VariantsServiceServicer_to_server, VARIANTS_SERVICE
    )
    lists_api = ListsApi(api)
    app.serve(lists_api, lists_rpc.add_ListsServiceServicer_to_server, LISTS_SERVICE)
    _serve_questions(app, api)
    if settings.partitions > 1:
        answer_others(app.broker, settings, own)

    async def connect(started: Application) -> None:
        answers.worker = started.worker
        definitions = Definitions(started.nats, settings)
        partitions: list[Partition] = [
            own if place == settings.partition else OtherPartition(started.nats, settings, place)
            for place in range(settings.partitions)
        ]
        variants = VariantSets(started.nats, settings)
        watches = Watches(started.nats, definitions, settings)
        lists, audit = ListsLog(started.nats, settings), AuditLog(started.nats, settings)
        api.connect(definitions, variants, watches, partitions, lists, audit)
        lists_api.connect(lists)
        if settings.partition == 0:
            _take_cuts(started, core, partitions, settings)
        _follow(started, definitions=definitions, variants=variants, lists=lists, audit=audit)

    app.on_start(connect)
    _report_lag(app, settings)
    _report_engine(app, core, api)
    return app


def _serve_questions(app: Application, api: SegmentsApi) -> None:
    from muster.segments.v1 import explore_pb2_grpc as explore_rpc
    from muster.segments.v1 import joins_pb2_grpc as joins_rpc
    from services.segments.adapters.grpc_api_explore import EXPLORE_SERVICE, ExploreApi
    from services.segments.adapters.grpc_api_joins import JOINS_SERVICE, JoinsApi

    app.serve(ExploreApi(api), explore_rpc.add_ExploreServiceServicer_to_server, EXPLORE_SERVICE)
    app.serve(JoinsApi(api), joins_rpc.add_JoinsServiceServicer_to_server, JOINS_SERVICE)


def _report_engine(app: Application, core: SegmentsCore, api: SegmentsApi) -> None:
    add = app.figures.add
    add("muster_transitions_total", "Memberships that changed.", lambda: core.transitions)
    add("muster_segments", "Segments lived by.", lambda: len(core.live))
    add("muster_profiles", "Profiles of the partition.", lambda: core.engine.profiles)
    add("muster_watches", "Watches that are open.", lambda: api.watches.open)


def _take_cuts(
    app: Application, core: SegmentsCore, partitions: list[Partition], settings: SegmentsSettings
) -> None:
    """RFM cuts after each local midnight: one process does it for all."""
    from services.segments.adapters.cuts_log import CutsLog, CutsTaker

    cuts = CutsLog(app.nats, settings)
    _follow(app, cuts=cuts)
    app.spawn(CutsTaker(core, cuts, partitions, settings.cuts_every_ms).run, "cuts taker")


def _follow(app: Application, **logs: ControlLog[Any, Any]) -> None:
    """Reads subjects of CONTROL for as long as the process lives; ready once they are read."""
    for name, log in logs.items():
        app.spawn(log.follow, name)
        app.ready_when(name, lambda log=log: log.caught_up)  # type: ignore[misc]


def relay_application(settings: SegmentsSettings) -> Application:
    """One partition's triggers."""
    from services.segments.relay_core import RelayCore

    streams = {subjects.TRANSITIONS, subjects.CONTROL, subjects.TRIGGERS, subjects.PARKED}
    app = Application(settings, "relay", streams=streams)
    core = RelayCore(settings.tenant, settings.partition)
    app.work(core)
    _report_lag(app, settings)
    add = app.figures.add
    add("muster_relayed_rows_total", "Transitions judged.", lambda: core.rows)
    add("muster_triggers_total", "Triggers let out.", lambda: core.triggers)
    add("muster_held_rows", "Rows that wait for their definition.", lambda: core.held_rows)
    return app


def _report_lag(app: Application, settings: SegmentsSettings) -> None:
    """Ready means near the head of the log: little behind in time, or nothing more to read."""

    def lag_us() -> int:
        worker = app.worker
        if worker is None or not worker.live or worker.caught_up:
            return 0
        return max(0, clock.wall_us() - worker.time_us)

    app.ready_when("near the head", lambda: lag_us() <= settings.ready_lag_ms * 1_000)
    app.figures.add("muster_lag_seconds", "Behind what waits to be read.", lambda: lag_us() / 1e6)
