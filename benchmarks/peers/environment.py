"""An environment of its own for the peers: .venv-peers, made on demand from a locked list.

Their dependencies disagree with ours, so nothing of theirs enters .venv. Packages come from
wherever pip of this machine is configured to look; each is checked against its hash, as in
tools/setup.py.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import venv
from pathlib import Path

from services.chassis.clock import performance_us
from tools.setup import folder_mb

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".venv-peers"
PYTHON = FOLDER / "bin" / "python"
LOCKED = ROOT / "requirements" / "peers.txt"
MARKER = FOLDER / ".installed"
PEERS = ["bytewax", "pathway"]
FREE_MB_MIN = 3_000
"""Room for the packages and their unpacking."""
INSTALL_S_MAX = 900
HOW = [
    "--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile", "--no-input",
    "--progress-bar=off", "--disable-pip-version-check",
]  # fmt: skip


class NoPeers(Exception):
    """The environment could not be made; the text says why and what to do."""


def ready() -> bool:
    """Whether this very list was installed to its end, and its interpreter still starts."""
    if not MARKER.exists() or MARKER.read_bytes() != LOCKED.read_bytes():
        return False
    try:
        return subprocess.run([PYTHON, "-c", ""], check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def make() -> None:
    """Makes the environment unless it is there; says what it does. Raises NoPeers."""
    state = ROOT / ".state"
    state.mkdir(exist_ok=True)
    with (state / "setup-peers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready():
            _install()


def _install() -> None:
    free_mb = shutil.disk_usage(ROOT).free / 1e6
    if free_mb < FREE_MB_MIN:
        raise NoPeers(f"only {free_mb:.0f} MB are free in {ROOT}; make room for {FREE_MB_MIN} MB")
    print("the peers get an environment of their own, .venv-peers (once):", flush=True)
    began = performance_us()
    parts = re.split(r"^(?=\w)", LOCKED.read_text(), flags=re.MULTILINE)
    wanted = [part for part in parts if "==" in part]
    try:
        venv.create(FOLDER, with_pip=True, symlinks=True, clear=True)
        while said := _pip(wanted):
            wanted = _without_missing(wanted, said)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPeers(f"{error}; check the network and the disk, then run it again") from error
    shutil.copyfile(LOCKED, MARKER)
    print(
        f"  {len(wanted)} locked packages, each checked against its hash, in "
        f"{(performance_us() - began) / 1e6:.0f} s; {folder_mb(FOLDER):.0f} MB on disk",
        flush=True,
    )


def _pip(wanted: list[str]) -> str:
    """Installs these parts of the locked list; what pip said when it could not."""
    listed = FOLDER / "wanted.txt"
    listed.write_text("".join(wanted))
    done = subprocess.run(
        [PYTHON, "-m", "pip", "install", *HOW, "-r", listed],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=INSTALL_S_MAX,
    )
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}\npip failed"


def _without_missing(wanted: list[str], said: str) -> list[str]:
    """The list without the peer that has no package for this Python or machine. Raises NoPeers
    when something else is wrong."""
    last = "\n".join(said.splitlines()[-8:])
    missing = re.search(r"No matching distribution found for ([\w.-]+)", said)
    left = [one for one in wanted if not missing or not one.startswith(f"{missing[1]}==")]
    if not missing or missing[1] not in PEERS or len(left) == len(wanted):
        raise NoPeers(f"pip could not install requirements/peers.txt; its last lines:\n{last}")
    print(
        f"  {missing[1]} has no package for this Python or machine; going on without it. "
        f"Remove .venv-peers to try again:\n{last}",
        flush=True,
    )
    return left
