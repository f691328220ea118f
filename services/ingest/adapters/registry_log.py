"""The doors' registry, followed from CONTROL, and the one way to add to it.

Definitions of segments are followed too: they say which rules a change of schema would break.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from nats.aio.client import Client

from muster.ingest.v1.registry_pb2 import RegistryChanged
from muster.segments.v1.facts_pb2 import SegmentDefined
from services.chassis import subjects
from services.chassis.control_log import ControlLog
from services.ingest.adapters.lineage import uses_of
from services.ingest.adapters.registry_wire import change_in
from services.ingest.domain.registry import Registry, Use, evolve
from services.ingest.settings import IngestSettings

ATTEMPTS_MAX = 20
REQUESTS_REMEMBERED_MAX = 1_000

Decide = Callable[[], RegistryChanged]


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the registry that is on the log."""

    record: RegistryChanged
    sequence: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A definition of a segment that is on the log."""

    definition: SegmentDefined
    sequence: int


class Changes(ControlLog[RegistryChanged, Change]):
    """The registry's subject, folded into a registry."""

    def __init__(self, client: Client, tenant: str, registry: Registry) -> None:
        subject = subjects.control(tenant, "registry")
        super().__init__(client, subject, RegistryChanged, Change, ATTEMPTS_MAX)
        self._registry = registry
        self._by_request: OrderedDict[str, Change] = OrderedDict()

    def take(self, standing: Change) -> None:
        change = change_in(standing.record)
        if change is not None:
            evolve(self._registry, change)
        if standing.record.request_id:
            self._by_request[standing.record.request_id] = standing
            while len(self._by_request) > REQUESTS_REMEMBERED_MAX:
                self._by_request.popitem(last=False)

    def requested(self, request_id: str) -> Change | None:
        """What a request id has brought about, if it is remembered."""
        return self._by_request.get(request_id) if request_id else None


class Rules(ControlLog[SegmentDefined, Rule]):
    """What live rules look at, by segment; read only."""

    def __init__(self, client: Client, tenant: str) -> None:
        subject = subjects.control(tenant, "segment")
        super().__init__(client, subject, SegmentDefined, Rule, ATTEMPTS_MAX)
        self.uses: dict[str, list[Use]] = {}

    def take(self, standing: Rule) -> None:
        self.uses[standing.definition.segment_id] = uses_of(standing.definition)


class RegistryLog:
    """The registry of one tenant as this door knows it; `open` comes before the first call."""

    def __init__(self, settings: IngestSettings, registry: Registry) -> None:
        self.registry = registry
        self._tenant = settings.tenant
        self._logs: tuple[Changes, Rules] | None = None

    def open(self, client: Client) -> None:
        """Gives what needs the connection."""
        self._logs = (
            Changes(client, self._tenant, self.registry),
            Rules(client, self._tenant),
        )

    @property
    def caught_up(self) -> bool:
        return self._logs is not None and all(log.caught_up for log in self._logs)

    def uses(self) -> list[Use]:
        """Every look of a live rule at events."""
        rules = self._opened()[1]
        return [use for uses in rules.uses.values() for use in uses]

    async def follow(self) -> None:
        """Reads CONTROL until cancelled; Stop when it cannot."""
        await asyncio.gather(*(log.follow() for log in self._opened()))

    async def write(self, request_id: str, decide: Decide) -> tuple[RegistryChanged, int]:
        """Adds what `decide` says, as registry and rules stood when it looked: record and sequence.

        decide: reads the registry, raises a refusal, or returns the record; asked again whenever
        another door was first. A repeated request id is answered with what it brought about.
        NotReady when it is not known whether the record was stored.
        """
        changes, rules = self._opened()

        async def decided() -> RegistryChanged | Change:
            known = changes.requested(request_id)
            if known is not None:
                return known
            await rules.refresh()
            return decide()

        standing = await changes.write(decided)
        return standing.record, standing.sequence

    def _opened(self) -> tuple[Changes, Rules]:
        assert self._logs is not None
        return self._logs
