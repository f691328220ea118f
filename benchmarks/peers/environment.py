"""An environment of its own for the peers: .venv-peers, made on demand from a locked list.

Their dependencies disagree with ours, so nothing of theirs enters .venv. Packages come from
wherever pip of this machine is configured to look; each is checked against its hash, as in
tools/setup.py.
"""

from __future__ import annotations

import fcntl
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
    try:
        venv.create(FOLDER, with_pip=True, symlinks=True, clear=True)
        done = subprocess.run(
            [PYTHON, "-m", "pip", "install", *HOW, "-r", LOCKED],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            timeout=INSTALL_S_MAX,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoPeers(f"{error}; check the network and the disk, then run it again") from error
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise NoPeers(f"pip could not install requirements/peers.txt; its last lines:\n{last}")
    shutil.copyfile(LOCKED, MARKER)
    packages = sum(line[:1].isalnum() for line in LOCKED.read_text().splitlines())
    print(
        f"  {packages} locked packages, each checked against its hash, in "
        f"{(performance_us() - began) / 1e6:.0f} s; {folder_mb(FOLDER):.0f} MB on disk",
        flush=True,
    )
