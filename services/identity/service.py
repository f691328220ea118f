"""Wires the process of identity: one worker over EVENTS and CONTROL, and its door."""

from __future__ import annotations

from services.chassis import subjects
from services.chassis.application import Application
from services.identity.adapters import grpc_api
from services.identity.core import IdentityCore, warm
from services.identity.engine.store import ATOMS, PROFILES
from services.identity.handlers import Answers
from services.identity.settings import IdentitySettings


def application(settings: IdentitySettings) -> Application:
    """The only writer of PROFILES; one process for all partitions of a tenant."""
    warm()
    streams = {subjects.EVENTS, subjects.CONTROL, subjects.PROFILES, subjects.PARKED}
    app = Application(settings, "identity", streams=streams)
    core = IdentityCore(settings.tenant, settings.partitions, settings.rules())
    api = grpc_api.IdentityApi(Answers(core, settings), settings)
    app.work(core)
    app.serve(api, grpc_api.add_to_server, grpc_api.SERVICE)

    async def connect(started: Application) -> None:
        api.worker = started.worker

    app.on_start(connect)
    add = app.figures.add
    add("muster_resolved_rows_total", "Rows given a profile.", lambda: core.row_count)
    add("muster_decided_rows_total", "Rows that needed a decision.", lambda: core.visit_count)
    add("muster_merges_total", "Profiles absorbed.", lambda: core.merges.count)
    add("muster_splits_total", "Moves that left their source alive.", lambda: core.split_count)
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
