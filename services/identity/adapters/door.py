"""What every call of IdentityService begins with: tenant, position, person, page."""

from __future__ import annotations

from typing import Any, Protocol

from muster.types.v1 import common_pb2, event_pb2
from services.chassis.errors import InvalidRequest, NotFound, NotReady
from services.identity.engine.previews import Wanted
from services.identity.handlers import Answers
from services.identity.settings import IdentitySettings


class Reached(Protocol):
    """The worker as questions see it: `chassis.application.Worker`."""

    live: bool

    def position(self) -> common_pb2.Position: ...

    async def reflects(self, token: str, timeout_s: float) -> None: ...


class Door:
    """Shared by the servicer's groups of calls; `worker` is there before the first one."""

    def __init__(self, answers: Answers, settings: IdentitySettings) -> None:
        self.answers = answers
        self.settings = settings
        self.worker: Reached | None = None

    async def reached(self, tenant: str, at_least: str = "") -> Reached:
        """The worker, once it is live and as new as `at_least`."""
        if not tenant:
            raise InvalidRequest([("tenant", f"name the tenant, such as {self.settings.tenant}")])
        if tenant != self.settings.tenant:
            raise NotFound(f"tenant {tenant} is not served here")
        if self.worker is None or not self.worker.live:
            raise NotReady("reading the log up to now; ask again", retry_s=0.5)
        if at_least:
            await self.worker.reflects(at_least, self.settings.at_least_wait_ms / 1_000)
        return self.worker

    def number(self, profile: common_pb2.ProfileRef) -> int:
        """The dense number of a person; NotFound, InvalidRequest."""
        named = profile.WhichOneof("ref")
        if named == "profile_id":
            return self.answers.resolve_profile_id(profile.profile_id)
        if named == "identifier":
            return self.answers.resolve_identifier(
                profile.identifier.kind, profile.identifier.value
            )
        raise InvalidRequest([("profile", "name a person by profile_id or identifier")])

    def wanted(self, identifiers: Any, path: str = "identifiers", least: int = 1) -> list[Wanted]:
        """Identifiers, normalised and printed; InvalidRequest with a fault for each wrong one."""
        if not least <= len(identifiers) <= self.settings.call_identifiers_max:
            most = self.settings.call_identifiers_max
            raise InvalidRequest([(path, f"name {least} to {most} identifiers")])
        found, faults = [], []
        for place, one in enumerate(identifiers):
            try:
                found.append(self.answers.wanted(one.kind, one.value))
            except InvalidRequest as refusal:
                faults += [(f"{path}[{place}]", text) for _, text in refusal.faults]
        if faults:
            raise InvalidRequest(faults)
        return found

    def page(self, size: int, token: str, default: int, most: int) -> tuple[int, int]:
        """(entries of the page, place after which it begins; 0 for the first page)."""
        if size > most:
            raise InvalidRequest([("page_size", f"at most {most}")])
        if token and not (token.isascii() and token.isdigit() and len(token) < 19):
            raise InvalidRequest([("page_token", "hand back a next_page_token, or nothing")])
        return size or default, int(token or "0")


def identifier_of(one: tuple[str, str]) -> event_pb2.Identifier:
    return event_pb2.Identifier(kind=one[0], value=one[1])
