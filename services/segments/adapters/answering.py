"""What all answers of a partition have in common: how new they are, and who is asked about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from muster.types.v1 import common_pb2
from muster.types.v1.event_pb2 import Identifier
from services.chassis import prints
from services.chassis.errors import InvalidRequest, NotFound, NotReady
from services.chassis.identifiers import BadIdentifier, Normaliser
from services.segments.adapters.listings import Listings
from services.segments.adapters.names import public_id_of
from services.segments.core import SegmentsCore
from services.segments.settings import SegmentsSettings


class Reached(Protocol):
    """The worker as questions see it: `chassis.application.Worker`."""

    live: bool
    on_step: list[Callable[[], None]]

    def position(self) -> common_pb2.Position: ...

    async def reflects(self, token: str, timeout_s: float) -> None: ...


class Answering:
    """The base of the parts of handlers.PartitionAnswers; `worker` is there before the first
    question."""

    def __init__(self, core: SegmentsCore, settings: SegmentsSettings) -> None:
        self.core = core
        self.engine = core.engine
        self.settings = settings
        self.worker: Reached | None = None
        self.listings = Listings(
            settings.listings_max, settings.listings_bytes_max, settings.listing_kept_ms / 1_000
        )
        self._normaliser = Normaliser(settings.phone_country)
        self._print_key = prints.print_key(settings.print_key)

    async def reach(self, at_least: str) -> None:
        """Returns once the engine is live and as new as the position in `at_least`."""
        if self.worker is None or not self.worker.live:
            raise NotReady("reading the log up to now; ask again", retry_s=0.5)
        if at_least:
            await self.worker.reflects(at_least, self.settings.at_least_wait_ms / 1_000)

    def position(self) -> common_pb2.Position:
        """The position of an answer read now."""
        assert self.worker is not None
        return self.worker.position()

    def number_of_ref(self, ref: common_pb2.ProfileRef, path: str) -> int | None:
        """The number of the profile named, in this partition or another; None when unknown."""
        if ref.WhichOneof("ref") == "profile_id":
            return self.engine.number_of(_public_id(ref.profile_id, path))
        if ref.WhichOneof("ref") == "identifier":
            return self.engine.resolve(*self._print_of(ref.identifier, path))
        raise InvalidRequest([(path, "name a person by profile_id or identifier")])

    def _print_of(self, identifier: Identifier, path: str) -> tuple[int, int]:
        try:
            normal = self._normaliser.normal(identifier.kind, identifier.value)
        except BadIdentifier as refusal:
            raise InvalidRequest([(f"{path}.identifier", str(refusal))]) from None
        return prints.print_of(identifier.kind, normal, self._print_key)

    def chosen(self, named: Sequence[str]) -> Sequence[str]:
        """The names asked about, all when none is; NotFound names those that do not live."""
        missing = sorted(set(named) - self.core.live.keys())
        if missing:
            shown = ", ".join(missing[:10])
            raise NotFound(f"no segment {shown}; ListSegments shows what there is")
        return list(dict.fromkeys(named)) or sorted(self.core.live)


def _public_id(profile_id: str, path: str) -> int:
    try:
        return public_id_of(profile_id)
    except ValueError as refusal:
        raise InvalidRequest([(f"{path}.profile_id", str(refusal))]) from None
