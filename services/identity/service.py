"""Wires the process of identity: one worker over EVENTS and CONTROL, and its door."""

from __future__ import annotations

from services.chassis import subjects
from services.chassis.application import Application
from services.identity.adapters import grpc_api
from services.identity.adapters.decider import Decider
from services.identity.adapters.past_events import PastEvents
from services.identity.adapters.simulations import Simulations
from services.identity.core import IdentityCore, warm
from services.identity.engine.changes import MERGE, SPLIT, UNMERGE
from services.identity.engine.store import ATOMS, PROFILES
from services.identity.handlers import Answers
from services.identity.settings import IdentitySettings


def application(settings: IdentitySettings) -> Application:
    """The only writer of PROFILES; one process for all partitions of a tenant."""
    warm()
    streams = {subjects.EVENTS, subjects.CONTROL, subjects.PROFILES, subjects.PARKED}
    app = Application(settings, "identity", streams=streams)
    core = IdentityCore(
        settings.tenant, settings.partitions, settings.rules(), settings.timeline_rows_max
    )
    answers = Answers(core, settings)
    api = grpc_api.IdentityApi(answers, settings)
    app.work(core)
    app.serve(api, grpc_api.add_to_server, grpc_api.SERVICE)

    async def connect(started: Application) -> None:
        api.worker = started.worker
        api.decider = Decider(started.jetstream, answers, settings)
        api.past = PastEvents(started.jetstream)
        api.simulations = Simulations(core)

    app.on_start(connect)
    add = app.figures.add
    add("muster_resolved_rows_total", "Rows given a profile.", lambda: core.row_count)
    add("muster_decided_rows_total", "Rows that needed a decision.", lambda: core.visit_count)
    add("muster_merges_total", "Profiles absorbed.", lambda: core.chronicle.counts.get(MERGE, 0))
    add(
        "muster_splits_total",
        "Profiles that late evidence split.",
        lambda: core.chronicle.counts.get(SPLIT, 0),
    )
    add(
        "muster_unmerges_total",
        "Moves for links that were taken back.",
        lambda: core.chronicle.counts.get(UNMERGE, 0),
    )
    add("muster_profile_numbers", "Numbers given.", lambda: core.store.count(PROFILES))
    add("muster_identifiers", "Identifiers known.", lambda: core.store.count(ATOMS))
    add(
        "muster_left_out_by_limit",
        "Identifiers kept out of joins by a limit.",
        lambda: core.visits.left_out["limit"],
    )
    add(
        "muster_left_out_by_size",
        "Identifiers kept out of joins by the size brake.",
        lambda: core.visits.left_out["size"],
    )
    return app
