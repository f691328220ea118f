"""The index of the log by type: runs are sorted and whole, however it grew."""

from __future__ import annotations

import numpy as np
import pytest

from services.segments.engine.columns import log_index
from services.segments.engine.columns.choosing import Chosen, in_time
from services.segments.engine.columns.log_index import ELSEWHERE, LogIndex
from services.segments.engine.store.events import _PROPERTY, _ROW, EventRows

SEED = 20261122
ROWS, TYPES, KEY = 4_000, 3, 7


def _log(rng: np.random.Generator) -> EventRows:
    """A log nearly in order of time, whose rows have none, one or two elements of a property."""
    elements = rng.integers(0, 3, ROWS)
    columns = {name: np.zeros(ROWS, kind) for name, kind in _ROW.items()}
    columns |= {name: np.zeros(int(elements.sum()), kind) for name, kind in _PROPERTY.items()}
    columns["occur"] = np.arange(ROWS) // 2 - np.where(rng.random(ROWS) < 0.1, 500, 0)
    columns["accept"] = np.arange(ROWS)
    columns["type"] = rng.integers(0, TYPES, ROWS).astype(np.int32)
    columns["slot"] = rng.integers(0, 50, ROWS).astype(np.int32)
    columns["prop_end"] = np.cumsum(elements)
    columns["key"][:] = KEY
    columns["kind"][:] = 3
    columns["exponent"][:] = 2
    columns["value"] = np.arange(elements.sum())
    return EventRows(**columns)


@pytest.mark.parametrize("steps", [1, 5, 60])
def test_runs_hold_every_row_of_a_type_in_order_of_time(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_index, "PIECE_ROWS", 300)
    monkeypatch.setattr(log_index, "RUN_ROWS_MAX", 700)
    log, index = _log(np.random.default_rng(SEED)), LogIndex()
    index.asked[1] = {KEY}
    for end in np.linspace(ROWS // steps, ROWS, steps).astype(int).tolist():
        list(index.grow(log, end, TYPES))
    for kind in range(TYPES):
        rows = np.flatnonzero(log.type == kind)
        rows = rows[np.lexsort((rows, log.occur[rows]))]
        runs = index.runs[kind]
        assert len(runs) > 1
        chosen = [Chosen(kind, run, 0, run.row.size, np.zeros(0, np.uint8)) for run in runs]
        for found, column in zip(in_time(chosen), (None, log.occur, log.slot), strict=True):
            assert (found == (rows if column is None else column[rows])).all()
        for run in runs:
            assert run.last == run.row.max()
            assert run.accepted_us == log.accept[run.row].max()


def test_cells_say_the_one_value_of_a_row_and_point_elsewhere_for_several() -> None:
    log, index = _log(np.random.default_rng(SEED)), LogIndex()
    index.asked[2] = {KEY}
    list(index.grow(log, ROWS, TYPES))
    forms = set()
    for run in index.runs[2]:
        for row, value, form in zip(run.row, *run.cells[KEY], strict=True):
            start = log.prop_end[row - 1] if row else 0
            elements = log.value[start : log.prop_end[row]]
            forms.add(int(form))
            if elements.size == 1:
                assert (value, form) == (elements[0], 3 | 2 << 3)
            else:
                assert form == (ELSEWHERE if elements.size else 0)
    assert forms == {0, 3 | 2 << 3, ELSEWHERE}


def test_slices_hold_the_event_times_asked_for() -> None:
    log, index = _log(np.random.default_rng(SEED)), LogIndex()
    list(index.grow(log, ROWS, TYPES))
    found = sum(one.end - one.first for one in index.slices(range(TYPES), 100, 900))
    assert found == np.count_nonzero((log.occur >= 100) & (log.occur <= 900))
