"""pathway: totals by rule and profile over a stream of rows; run by the peers' interpreter.

It has no windows that say when somebody leaves at an instant of its own, so each event is written
twice before the clock starts, once for its instant and once, taken back, for the instant it leaves:
those exits are ours, pre-dated. Rows are also spread over the rules of their type beforehand.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pathway as pw
from pathway.internals.parse_graph import G

from benchmarks.peers.job import Job, Player, Said, main, table_of

LOW = (1 << 32) - 1


def frame(job: Job) -> pd.DataFrame:
    """Rows (key, bound, value) with `__time__`, which must be even, and `__diff__`."""
    parts = []
    for rule, (kind, window, bound, sums) in enumerate(job.rules()):
        rows = np.flatnonzero(job.type == kind)
        part = {
            "key": (np.int64(rule) << 32) + job.profile[rows].astype(np.int64),
            "bound": np.full(rows.size, bound),
            "value": job.amount[rows] if sums else np.ones(rows.size, np.int64),
            "__time__": 2 * job.time_us[rows],
            "__diff__": np.ones(rows.size, np.int64),
            "id": rule * job.time_us.size + rows,
        }
        parts.append(pd.DataFrame(part))
        left = parts[-1].copy()
        left["__time__"] += 2 * window
        left["__diff__"] = -1
        parts.append(left[left["__time__"] <= 2 * job.end_us])
    return pd.concat(parts).sort_values("__time__", kind="stable").set_index("id")


def prepare(job: Job) -> Said:
    """Builds the graph; the list that its run will fill."""
    G.clear()
    said: Said = []
    rows = pw.debug.table_from_pandas(frame(job))
    totals = rows.groupby(rows.key, rows.bound).reduce(
        rows.key, rows.bound, total=pw.reducers.sum(rows.value)
    )
    members = totals.filter(pw.this.total >= pw.this.bound).select(pw.this.key)

    def on_change(key: Any, row: dict[str, int], time: int, is_addition: bool) -> None:
        both = row["key"]
        said.append((time >> 1, both & LOW, both >> 32, is_addition))

    pw.io.subscribe(members, on_change)
    return said


def play(said: Said) -> Said:
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    return said


if __name__ == "__main__":
    logging.disable(logging.INFO)
    main({"pathway": Player(prepare, play, table_of)})
