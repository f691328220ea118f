"""What the reader of a rule knows on its way: where it stands, and every fault found so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.segments.domain import times
from services.segments.engine.base.limits import EngineLimits

UTC = "UTC"


class Reading:
    """One tree being read.

    zone: the rule's, empty when it names none. knows_segment, knows_list: None, or why an id is
    refused. faults: (path, what is wrong and what to do).
    """

    def __init__(
        self,
        zone: str,
        knows_segment: Callable[[str], str | None],
        limits: EngineLimits,
        knows_list: Callable[[str], str | None] | None = None,
    ) -> None:
        self.zone = zone
        self.knows_segment = knows_segment
        self.knows_list = knows_list or knows_segment
        self.limits = limits
        self.faults: list[tuple[str, str]] = []
        self.path: list[str] = []

    @contextmanager
    def at(self, *steps: str) -> Iterator[None]:
        """Paths of faults inside go one step deeper."""
        self.path.extend(steps)
        try:
            yield
        finally:
            del self.path[len(self.path) - len(steps) :]

    def fault(self, message: str, field: str = "") -> None:
        steps = [*self.path, field] if field else self.path
        self.faults.append((".".join(steps), message))

    def zone_of(self, given: str, field: str = "zone") -> str:
        """The zone a part of the rule names, else the rule's, else UTC; a fault for no zone."""
        name = given or self.zone or UTC
        try:
            times.zone_of(name)
        except ValueError as error:
            self.fault(str(error), field)
            return UTC
        return name
