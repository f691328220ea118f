"""Builds the Python code of every contract into gen/, unless it is newer than its sources.

Run by `make generate` and by ./muster on first use. Generated code is never committed.
"""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GEN = ROOT / "gen"
STAMP = GEN / ".stamp"


def sources() -> list[Path]:
    return sorted(PROTOS.rglob("*.proto"))


def is_fresh() -> bool:
    if not STAMP.exists():
        return False
    newest = max(p.stat().st_mtime for p in [*sources(), Path(__file__)])
    return STAMP.stat().st_mtime >= newest and STAMP.read_text() == names()


def names() -> str:
    return "\n".join(str(p.relative_to(PROTOS)) for p in sources())


def generate() -> None:
    from grpc_tools import protoc

    fresh = GEN.with_name(f"gen.{id(object())}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    well_known = str(resources.files("grpc_tools") / "_proto")
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={fresh}",
        f"--pyi_out={fresh}",
        f"--grpc_python_out={fresh}",
        f"--descriptor_set_out={fresh / 'muster.binpb'}",
        "--include_imports",
        "--include_source_info",
        *[str(p) for p in sources()],
    ]
    if protoc.main(arguments) != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        sys.exit("protoc refused the contracts in protos/: see the lines above.")
    for stub in fresh.rglob("*_pb2_grpc.py"):
        if "Service" not in stub.read_text():
            stub.unlink()
    for folder in [fresh / "muster", *(p for p in (fresh / "muster").rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text('"""Generated from protos/ by `make generate`."""\n')
    (fresh / ".stamp").write_text(names())
    shutil.rmtree(GEN, ignore_errors=True)
    fresh.rename(GEN)


if __name__ == "__main__":
    if not is_fresh():
        generate()
        print(f"generated {len(sources())} contracts into gen/")
