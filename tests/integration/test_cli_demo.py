"""The demo plays to its end by itself, or ends at once when told to, and leaves nothing running."""

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


def start(state: Path) -> subprocess.Popen[str]:
    """The demo without a terminal: lines, and one kill -9 by itself."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    return subprocess.Popen(
        [str(ROOT / "muster"), "demo", "--state", str(state / "demo")],
        env={**env, "DURATION": "1", "MUSTER_STACK_FILE": str(state / "stack.json")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def running(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run a second later; what only waits to be reaped has ended."""
    _, left = psutil.wait_procs(family, timeout=1)
    return [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.timeout(240)
def test_the_demo_shows_everything_and_ends_by_itself(tmp_path: Path) -> None:
    demo = start(tmp_path)
    said, _ = demo.communicate(timeout=220)
    assert demo.returncode == 0, said
    assert "WRONG" not in said
    assert "not yet" not in said
    assert "0 lost, 0 twice" in said
    assert f"The data lies in {tmp_path / 'demo'}" in said


@pytest.mark.timeout(120)
def test_the_demo_ends_within_two_seconds_of_ctrl_c(tmp_path: Path) -> None:
    demo = start(tmp_path)
    assert demo.stdout is not None
    said = []
    for line in demo.stdout:
        said.append(line)
        if "Olena views five pages" in line:
            break
    family = psutil.Process(demo.pid).children(recursive=True)
    assert len(family) >= 9, "".join(said)
    began = time.monotonic()
    demo.send_signal(signal.SIGINT)
    rest, _ = demo.communicate(timeout=30)
    took = time.monotonic() - began
    assert running(family) == []
    assert took < 3, rest
    assert "Nothing runs any more" in rest
    assert demo.returncode == 0, "".join(said) + rest
