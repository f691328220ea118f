"""Members as they were when the first page was asked for, kept for the pages after it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from services.chassis.errors import OutOfRange


@dataclass(frozen=True, slots=True)
class Listing:
    """members: dense profile numbers, sorted, uint32. until_s: monotonic seconds. columns: what
    else was kept of each member, of an export."""

    segment_id: str
    members: np.ndarray
    until_s: float
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.members.nbytes + sum(one.nbytes for one in self.columns.values())


class Listings:
    """The listings that are open, within limits of number, bytes and age; the oldest go first."""

    def __init__(self, listings_max: int, bytes_max: int, kept_s: float) -> None:
        self._max = listings_max
        self._bytes_max = bytes_max
        self._kept_s = kept_s
        self._open: OrderedDict[str, Listing] = OrderedDict()
        self.bytes = 0

    def pin(
        self,
        name: str,
        segment_id: str,
        members: np.ndarray,
        now_s: float,
        columns: dict[str, np.ndarray] | None = None,
    ) -> None:
        """Keeps `members` and columns (copies of its own) under a fresh name."""
        listing = Listing(segment_id, members, now_s + self._kept_s, columns or {})
        self._open[name] = listing
        self.bytes += listing.nbytes
        while len(self._open) > 1 and (
            len(self._open) > self._max
            or self.bytes > self._bytes_max
            or next(iter(self._open.values())).until_s <= now_s
        ):
            _, oldest = self._open.popitem(last=False)
            self.bytes -= oldest.nbytes

    def read(self, name: str, now_s: float) -> Listing:
        """The listing of that name; OutOfRange when it is no longer kept."""
        listing = self._open.get(name)
        if listing is None or listing.until_s <= now_s:
            raise OutOfRange(
                f"this listing is no longer kept ({self._kept_s:g} s, at most {self._max} at a "
                "time, none beyond a restart); list again from the first page"
            )
        return listing
