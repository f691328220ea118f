"""Decides at a door who is there and whether they may send this much: keys, scopes, quotas."""

from __future__ import annotations

from collections.abc import Callable

from services.chassis import clock, subjects
from services.chassis.errors import NotAllowed, Overloaded, Unauthenticated
from services.ingest.domain.faults import Fault
from services.ingest.domain.publishers import Publisher, Quota, Scope, hash_of
from services.ingest.domain.registry import Registry
from services.ingest.settings import IngestSettings

QUOTAS_MAX = 10_000


class Gate:
    """The registry's publishers at one door.

    Without `keys_required` a publisher nobody registered may enter under any free name (the local
    stack); over HTTP only until the first is registered. One with keys must always show one.
    """

    def __init__(
        self,
        settings: IngestSettings,
        registry: Registry,
        now_s: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._keys_required = settings.keys_required
        self._registry = registry
        self._now_s = now_s
        self._quotas: dict[str, Quota] = {}
        self.spent: dict[str, tuple[int, int]] = {}
        """(events, bytes) let in here of each publisher with a quota, since this door began."""
        self._news: set[str] = set()

    def publisher_of_key(self, key: str, is_import: bool) -> str:
        """Whose write key this is: Unauthenticated when nobody's, NotAllowed without the right."""
        name = self._registry.by_key.get(hash_of(key)) if key else None
        if name is None:
            name = self._unregistered(key)
        self._refuse(name, Scope.IMPORT if is_import else Scope.EVENTS)
        return name

    def enter(self, publisher: str, key: str, scope: Scope) -> None:
        """A caller that says who it is, with its key; the same refusals."""
        if self._registry.by_key.get(hash_of(key)) != publisher or not key:
            known = self._registry.publishers.get(publisher)
            if self._keys_required or (known is not None and known.key_hashes):
                raise Unauthenticated(
                    f"the key of publisher {publisher} is missing or wrong; send it as "
                    "`authorization: Bearer <key>`"
                )
        self._refuse(publisher, scope)

    def pay(self, publisher: str, events: int, size: int) -> None:
        """Counts against the publisher's quota; Overloaded, with the time to wait, beyond it."""
        known = self._registry.publishers.get(publisher)
        if known is None or not (known.events_per_s or known.bytes_per_s):
            return
        wait_s = self._quota(known).admit(events, size, self._now_s())
        if wait_s:
            raise Overloaded(
                f"publisher {publisher} has used up its quota of {known.events_per_s or 'any'} "
                f"events and {known.bytes_per_s or 'any'} bytes a second; nothing was stored",
                wait_s,
            )
        before = self.spent.get(publisher, (0, 0))
        self.spent[publisher] = before[0] + events, before[1] + size
        self._news.add(publisher)

    def charge(self, publisher: str, events: int, size: int) -> None:
        """Pays for what another door has let in."""
        known = self._registry.publishers.get(publisher)
        if known is not None:
            self._quota(known).charge(events, size, self._now_s())

    def take_news(self) -> dict[str, tuple[int, int]]:
        """`spent` of those who have sent something since this was last asked."""
        news = {publisher: self.spent[publisher] for publisher in self._news}
        self._news.clear()
        return news

    def _quota(self, publisher: Publisher) -> Quota:
        quota = self._quotas.get(publisher.name)
        if quota is None or quota.publisher != publisher:
            if len(self._quotas) >= QUOTAS_MAX:
                self._quotas.clear()
            quota = self._quotas[publisher.name] = Quota(publisher)
        return quota

    def _unregistered(self, key: str) -> str:
        # Where keys may exist, an unknown one is no name: it would end up in a subject.
        if not self._keys_required and not self._registry.publishers:
            try:
                return subjects.token(key)
            except subjects.BadToken:
                pass
        raise Unauthenticated(
            "the write key is missing or unknown; send it as the user name of Basic auth"
        )

    def _refuse(self, publisher: str, scope: Scope) -> None:
        known = self._registry.publishers.get(publisher)
        if known is None:
            return
        if known.retired:
            raise NotAllowed(f"{publisher}: {Fault.PUBLISHER_RETIRED.detail}")
        if scope not in known.scopes:
            raise NotAllowed(f"{publisher}: {Fault.SCOPE_MISSING.detail}")
