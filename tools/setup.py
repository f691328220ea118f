"""Makes .venv from locked requirements, builds contracts and kernels; a second run does nothing.

Run by tools/setup.sh with a Python that is new enough, for runtime|files|test|bench. Packages come
from wherever pip of this machine is configured to look; each is checked against its hash.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
SETS = {
    "runtime": ["runtime"],
    "files": ["runtime", "files"],
    "test": ["runtime", "test"],
    "bench": ["runtime", "test", "bench"],
}
FREE_MB_MIN = 1_500
"""Room for packages, their unpacking, and the state of a demo."""


def say(text: str, end: str = "\n") -> None:
    print(text, end=end, flush=True)


def stop(text: str) -> None:
    sys.exit(f"Muster: {text}")


def requirements(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def marker(name: str) -> Path:
    return VENV / f".installed-{name}"


def is_installed(name: str) -> bool:
    """Whether this very list was installed to its end."""
    there = marker(name)
    return there.exists() and there.read_bytes() == requirements(name).read_bytes()


def works(python: Path) -> bool:
    """Whether an interpreter runs, is new enough and has pip."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    try:
        done = subprocess.run([python, "-c", probe], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def folder_mb(folder: Path) -> float:
    files = [Path(at, name) for at, _, names in os.walk(folder) for name in names]
    return sum(file.lstat().st_blocks * 512 for file in files) / 1e6


def make_venv() -> None:
    if works(PYTHON):
        return
    version = ".".join(map(str, sys.version_info[:3]))
    say(f"  a virtual environment in .venv with Python {version}")
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, OSError) as error:
        shutil.rmtree(VENV, ignore_errors=True)
        stop(
            f"the virtual environment could not be made: {error}\n"
            "  On Debian and Ubuntu: apt install python3-venv"
        )


def install(name: str) -> None:
    """Installs one locked list; prints each package as it comes when someone looks on."""
    wanted = re.findall(r"^([A-Za-z0-9_.-]+)==", requirements(name).read_text(), re.MULTILINE)
    say(f"  {len(wanted)} locked packages for {name}, each checked against its hash")
    started = time.monotonic()
    how = (
        "--require-hashes --no-deps --only-binary=:all: --no-compile --no-input --progress-bar=off"
    )
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", *how.split()]
    process = subprocess.Popen(
        [*command, "-r", str(requirements(name))],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    lines, came_mb = [], {"Downloading": 0.0, "Using cached": 0.0}
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if size := re.search(r"(Downloading|Using cached) \S+ \(([\d.]+) ?([kM]?B)", line):
            came_mb[size[1]] += float(size[2]) * {"B": 1e-6, "kB": 1e-3, "MB": 1.0}[size[3]]
        if sys.stdout.isatty() and (package := re.match(r"Collecting (\S+?)==", line)):
            say(f"\r\033[K  {sum(came_mb.values()):6.1f} MB  {package[1]}", end="")
    if sys.stdout.isatty():
        say("\r\033[K", end="")
    if process.wait() != 0:
        stop(
            "pip could not install the packages; its last lines are below. Check the network and "
            "the disk, then run the same command again.\n" + "".join(lines[-15:])
        )
    took = time.monotonic() - started
    cached = f" ({came_mb['Using cached']:.0f} MB more from pip's cache)" * any(came_mb.values())
    came = (
        f"{came_mb['Downloading']:.0f} MB downloaded{cached}" if any(came_mb.values()) else "done"
    )
    say(f"  {came} in {took:.0f} s; ", end="")
    say(f".venv takes {folder_mb(VENV):.0f} MB on disk")
    shutil.copyfile(requirements(name), marker(name))


def check_space() -> None:
    free_mb = shutil.disk_usage(ROOT).free / 1e6
    if free_mb < FREE_MB_MIN:
        stop(
            f"only {free_mb:.0f} MB are free in {ROOT}; it needs {FREE_MB_MIN} MB. Make room first."
        )


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "runtime"
    if name not in SETS:
        stop(f"there is no set of requirements named {name!r}: use {', '.join(SETS)}")
    state = ROOT / ".state"
    state.mkdir(exist_ok=True)
    with (state / "setup.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [part for part in SETS[name] if not is_installed(part)]
        if missing or not works(PYTHON):
            say("Muster sets itself up (once):")
            check_space()
            make_venv()
            for part in [p for p in SETS[name] if not is_installed(p)]:
                install(part)
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'gen'}"}
        # Bytecode is written here, whatever the shell says: without it every start of a process
        # would compile numba, numpy and the rest anew.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for tool in ("generate.py", "warm.py"):
            subprocess.run([PYTHON, ROOT / "tools" / tool], check=True, env=environment)


if __name__ == "__main__":
    main()
