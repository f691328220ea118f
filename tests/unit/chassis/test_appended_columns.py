"""Columns that only grow: written once, mapped with room, told from what a disk made of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.chassis.appended import BLOCK_BYTES
from services.chassis.core import Appended, roomy
from services.chassis.errors import Stop
from services.chassis.settings import Settings
from services.chassis.snapshots import SnapshotFolder, SnapshotPlan

HEAD = {"version": 7}
COLUMN = np.arange(BLOCK_BYTES // 8 * 2 + 1_000, dtype=np.int64)
"""Two whole blocks and a part of a third."""


def saved(folder: Path, *lengths: int) -> SnapshotFolder:
    """Snapshots of the first rows of a column, one behind the other."""
    kept = SnapshotFolder(folder)
    for step, length in enumerate(lengths, 1):
        kept.write(step, HEAD, {"rows": Appended(COLUMN[:length]), "small": b"abc"})
    return kept


def test_a_snapshot_writes_only_what_is_new(tmp_path: Path) -> None:
    kept = SnapshotFolder(tmp_path)
    first = kept.write(1, HEAD, {"rows": Appended(COLUMN[:-10])})
    second = kept.write(2, HEAD, {"rows": Appended(COLUMN)})
    assert first > COLUMN[:-10].nbytes
    assert second < 4_096
    found = SnapshotFolder(tmp_path).newest(7)
    assert found is not None
    assert np.array_equal(np.frombuffer(found.buffers["rows"], np.int64), COLUMN)


def test_a_loaded_column_has_room_and_leaves_the_file_alone(tmp_path: Path) -> None:
    saved(tmp_path, 1_000)
    again = SnapshotFolder(tmp_path)
    found = again.newest(7)
    assert found is not None
    rows = roomy(found.buffers["rows"], np.int64)
    assert rows.size > 100_000
    rows[:1_100] = -1
    rows[-1] = 7
    (file,) = (tmp_path / "columns").iterdir()
    assert file.stat().st_size == 8_000
    other = SnapshotFolder(tmp_path).newest(7)
    assert other is not None
    assert np.array_equal(np.frombuffer(other.buffers["rows"], np.int64), COLUMN[:1_000])
    rows[:1_100] = COLUMN[:1_100]
    again.write(2, HEAD, {"rows": Appended(rows[:1_100])})
    third = SnapshotFolder(tmp_path).newest(7)
    assert third is not None
    assert np.array_equal(np.frombuffer(third.buffers["rows"], np.int64), COLUMN[:1_100])


def test_a_large_column_grows_after_a_load_without_moving(tmp_path: Path) -> None:
    saved(tmp_path, COLUMN.size)
    found = SnapshotFolder(tmp_path).newest(7)
    assert found is not None
    rows = roomy(found.buffers["rows"], np.int64)
    assert rows.size == 8 * COLUMN.size
    assert np.array_equal(rows[: COLUMN.size], COLUMN)
    assert not rows[COLUMN.size :].any()
    rows[COLUMN.size : 2 * COLUMN.size] = COLUMN
    again = SnapshotFolder(tmp_path)
    assert again.newest(7) is not None
    again.write(2, HEAD, {"rows": Appended(rows[: 2 * COLUMN.size])})
    longer = SnapshotFolder(tmp_path).newest(7)
    assert longer is not None
    assert np.array_equal(np.frombuffer(longer.buffers["rows"], np.int64), np.tile(COLUMN, 2))


def test_what_was_cut_off_while_appending_is_written_again(tmp_path: Path) -> None:
    saved(tmp_path, 1_000)
    (file,) = (tmp_path / "columns").iterdir()
    with file.open("r+b") as torn:
        torn.seek(8_000)
        torn.write(b"half a row")
    again = SnapshotFolder(tmp_path)
    assert again.newest(7) is not None
    again.write(2, HEAD, {"rows": Appended(COLUMN[:5_000])})
    found = SnapshotFolder(tmp_path).newest(7)
    assert found is not None
    assert np.array_equal(np.frombuffer(found.buffers["rows"], np.int64), COLUMN[:5_000])


def test_a_column_made_anew_gets_a_file_of_its_own_until_nobody_needs_the_old(
    tmp_path: Path,
) -> None:
    kept = saved(tmp_path, 1_000)
    shuffled = COLUMN[:1_000][::-1].copy()
    kept.write(2, HEAD, {"rows": Appended(shuffled, epoch=1)})
    assert len(list((tmp_path / "columns").iterdir())) == 2
    kept.write(3, HEAD, {"rows": Appended(shuffled, epoch=1)})
    assert len(list((tmp_path / "columns").iterdir())) == 1
    found = SnapshotFolder(tmp_path).newest(7)
    assert found is not None
    assert np.array_equal(np.frombuffer(found.buffers["rows"], np.int64), shuffled)


def test_a_file_that_another_owner_swept_is_written_again_whole(tmp_path: Path) -> None:
    kept = saved(tmp_path, 1_000)
    (file,) = (tmp_path / "columns").iterdir()
    file.unlink()
    kept.write(2, HEAD, {"rows": Appended(COLUMN[:2_000])})
    again = SnapshotFolder(tmp_path)
    found = again.newest(7)
    assert found is not None
    assert np.array_equal(np.frombuffer(found.buffers["rows"], np.int64), COLUMN[:2_000])
    again.verify(found)


@pytest.mark.parametrize("place", [0, BLOCK_BYTES + 5, COLUMN.nbytes - 1])
def test_a_disk_that_gives_back_other_bytes_is_found_out(tmp_path: Path, place: int) -> None:
    kept = saved(tmp_path, COLUMN.size // 2, COLUMN.size)
    found = kept.newest(7)
    assert found is not None
    kept.verify(found)
    (file,) = (tmp_path / "columns").iterdir()
    with file.open("r+b") as rotten:
        rotten.seek(place)
        byte = rotten.read(1)[0]
        rotten.seek(place)
        rotten.write(bytes([byte ^ 1]))
    with pytest.raises(Stop, match="Check the disk"):
        kept.verify(found)
    assert kept.newest(7) is None


def test_a_column_that_is_shorter_than_its_snapshot_says_is_passed_over(tmp_path: Path) -> None:
    saved(tmp_path, 1_000, 2_000)
    (file,) = (tmp_path / "columns").iterdir()
    with file.open("r+b") as cut:
        cut.truncate(8_000)
    found = SnapshotFolder(tmp_path).newest(7)
    assert found is not None
    assert np.frombuffer(found.buffers["rows"], np.int64).size == 1_000


def test_snapshots_are_due_by_steps_and_time_or_by_input() -> None:
    plan = SnapshotPlan(Settings(snapshot_steps=10, snapshot_interval_ms=1, snapshot_input_bytes=5))
    assert not plan.due(9, 5_000)
    assert not plan.due(10, 999)
    assert plan.due(10, 1_000)
    plan.took(5)
    assert plan.due(1, 0)
    plan.saved(10, 1_000)
    assert not plan.due(19, 9_000)
    assert plan.due(20, 2_000)
