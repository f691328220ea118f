"""Who was absorbed by whom, when and why: what a profile's history of merges is told from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.identity.engine.store import NONE

MERGE = np.dtype(
    [
        ("absorbed", "u4"),
        ("survivor", "u4"),
        ("public_id", "u8"),
        ("time_us", "i8"),
        ("cause_end", "i8"),
        ("next", "u4"),
        ("spare", "u4"),
    ],
    align=True,
)


class MergeLog:
    """Merges in order, with a chain per survivor."""

    def __init__(self) -> None:
        self.count = 0
        self.records = np.zeros(64, MERGE)
        self.causes = bytearray()
        self._newest: dict[int, int] = {}

    def add(self, absorbed: int, survivor: int, public_id: int, time_us: int, cause: bytes) -> None:
        """cause: the event id as given. time_us: log time."""
        if self.count == len(self.records):
            self.records = np.concatenate([self.records, np.zeros_like(self.records)])
        self.causes += cause
        self.records[self.count] = (
            absorbed,
            survivor,
            public_id,
            time_us,
            len(self.causes),
            self._newest.get(survivor, NONE),
            0,
        )
        self._newest[survivor] = self.count
        self.count += 1

    def of(self, survivor: int) -> list[tuple[int, int, str, int]]:
        """(absorbed number, its public id, cause, time_us) of a profile, newest first.

        Also the merges of those it absorbed.
        """
        found = []
        open_numbers = [survivor]
        while open_numbers:
            at = self._newest.get(open_numbers.pop(), NONE)
            while at != NONE:
                record = self.records[at]
                start = int(self.records[at - 1]["cause_end"]) if at else 0
                cause = bytes(self.causes[start : int(record["cause_end"])]).decode()
                absorbed = int(record["absorbed"])
                found.append((absorbed, int(record["public_id"]), cause, int(record["time_us"])))
                open_numbers.append(absorbed)
                at = int(record["next"])
        return sorted(found, key=lambda merge: merge[3], reverse=True)

    def dump(self) -> dict[str, Any]:
        return {"records": self.records[: self.count].copy(), "causes": bytes(self.causes)}

    def load(self, state: Mapping[str, Any]) -> None:
        self.records = np.frombuffer(state["records"], MERGE).copy()
        self.count = len(self.records)
        if not self.count:
            self.records = np.zeros(64, MERGE)
        self.causes = bytearray(state["causes"])
        survivors = self.records["survivor"][: self.count].tolist()
        self._newest = {survivor: place for place, survivor in enumerate(survivors)}
