"""Compiles every numba kernel once and writes the bytecode of what the services import.

Run by tools/setup.py after the contracts were built, unless nothing has changed since: otherwise
the first start of each service would compile for itself, all at the same time.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import pickle
import pkgutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
STAMP = ROOT / ".venv" / ".warmed"
CLI = ("cli.commands.demo", "cli.demo.player")
"""What the command line imports late."""


def mark() -> str:
    """Changes with Python and with every source of the services: numba goes by their times."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted((ROOT / "services").rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


def modules(package: str) -> Iterator[ModuleType]:
    """Every module of a package but its entry point and its migrations."""
    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def sweep() -> None:
    """Removes compiled kernels that cannot be read any more: numba ends with an error where the
    types of one have moved to another module."""
    services = importlib.import_module("services")
    for index in Path(next(iter(services.__path__))).rglob("*.nbi"):
        try:
            with index.open("rb") as file:  # Written by numba, here.
                pickle.load(file)  # noqa: S301
                pickle.loads(file.read())  # noqa: S301
        except (ImportError, AttributeError):
            index.unlink()


def warm(package: str) -> None:
    """Calls every warm() of a package that needs no arguments."""
    for module in modules(package):
        compiles = vars(module).get("warm")
        own = inspect.isfunction(compiles) and compiles.__module__ == module.__name__
        if own and compiles is not None and not inspect.signature(compiles).parameters:
            compiles()


def main() -> None:
    """Without arguments: everything, each service in a process of its own, so that cores share."""
    if len(sys.argv) > 1:
        warm(sys.argv[1])
        return
    now = mark()
    if STAMP.exists() and STAMP.read_text() == now:
        return
    print("  compiling kernels (once) ...", flush=True)
    began = time.monotonic()
    sweep()
    warm("services.chassis")
    for name in CLI:
        importlib.import_module(name)
    packages = sorted(f"services.{p.parent.name}" for p in ROOT.glob("services/*/__main__.py"))
    running = [subprocess.Popen([sys.executable, __file__, package]) for package in packages]
    failed = [p for p, process in zip(packages, running, strict=True) if process.wait() != 0]
    if failed:
        sys.exit(f"Muster: kernels of {', '.join(failed)} did not compile: see the lines above")
    print(f"  done in {time.monotonic() - began:.0f} s", flush=True)
    STAMP.write_text(now)


if __name__ == "__main__":
    main()
