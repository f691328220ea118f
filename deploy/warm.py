"""Compiles every kernel of the image's module into NUMBA_CACHE_DIR: run once, when it is built.

Calls each `warm()` without parameters, of the chassis and of the package the variable MODULE names.
"""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
from collections.abc import Iterator
from types import ModuleType


def modules_of(package: str) -> Iterator[ModuleType]:
    """The package and everything in it but its entry point."""
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, prefix=package + "."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            yield importlib.import_module(found.name)


def main() -> None:
    for package in ("services.chassis", os.environ["MODULE"]):
        for module in modules_of(package):
            warm = getattr(module, "warm", None)
            own = callable(warm) and warm.__module__ == module.__name__
            if own and not inspect.signature(warm).parameters:
                print(f"{module.__name__}.warm()", flush=True)
                warm()


if __name__ == "__main__":
    main()
