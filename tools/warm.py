"""Compiles every numba kernel once and writes the bytecode of what the services import.

Run by tools/setup.py after the contracts were built, unless nothing has changed since: otherwise
the first start of each service would compile for itself, all at the same time.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMP = ROOT / ".venv" / ".warmed"
WARM = (
    "services.chassis.prints",
    "services.ingest.core",
    "services.identity.core",
    "services.segments.engine.engine",
)
"""Modules with a function warm()."""
IMPORTED = (
    "services.segments.service",
    "services.frequency.service",
    "services.alerts.service",
    "cli.commands.demo",
    "cli.demo.player",
)


def mark() -> str:
    """Changes with Python and with every source of the services: numba goes by their times."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted((ROOT / "services").rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT)} {path.stat().st_mtime_ns}\n".encode())
    return digest.hexdigest()


def is_there(name: str) -> bool:
    """An image holds one service: what is not there needs no kernels."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def main() -> None:
    now = mark()
    if STAMP.exists() and STAMP.read_text() == now:
        return
    print("  compiling kernels (once) ...", flush=True)
    began = time.monotonic()
    for name in IMPORTED:
        if is_there(name):
            importlib.import_module(name)
    for name in WARM:
        if is_there(name):
            getattr(importlib.import_module(name), "warm", lambda: None)()
    print(f"  done in {time.monotonic() - began:.0f} s", flush=True)
    STAMP.write_text(now)


if __name__ == "__main__":
    main()
