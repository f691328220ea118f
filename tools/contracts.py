"""Writes what clients in any language test against: the descriptor set and the golden messages.

    contracts.py              descriptor set into contracts/build/, golden messages that lack
    contracts.py --replace    golden messages that changed are written anew (before the baseline)
    contracts.py breaking     what the contracts break of the baseline, by `buf breaking`
    contracts.py baseline     takes the present contracts as the baseline

A golden message is a pair: `<Name>.bin`, the bytes as published, and `<Name>.json`, the same
message in protobuf's JSON. Bytes once published decode for ever; so a golden that differs is
refused, not replaced, unless asked.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "gen")]

CONTRACTS = ROOT / "contracts"
GOLDEN = CONTRACTS / "golden"
BUILD = CONTRACTS / "build"
BASELINE = CONTRACTS / "baseline.binpb"
DESCRIPTORS = ROOT / "gen" / "muster.binpb"


def buf(*arguments: str) -> int:
    """Exit code of buf (from the wheel beside this interpreter), run at the repository's root."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("buf")), *arguments], cwd=ROOT, check=False
    ).returncode


def write_descriptor_set() -> Path:
    """contracts/build/muster.binpb: every contract with its comments, as protoc wrote it."""
    if not DESCRIPTORS.exists():
        sys.exit("gen/muster.binpb is missing: run `make generate` first.")
    BUILD.mkdir(parents=True, exist_ok=True)
    target = BUILD / "muster.binpb"
    target.write_bytes(DESCRIPTORS.read_bytes())
    return target


def write_golden(replace: bool) -> list[str]:
    """Names of the golden messages that are not as the examples say and were left alone."""
    from google.protobuf import json_format

    from tools.golden import examples

    GOLDEN.mkdir(parents=True, exist_ok=True)
    differing = []
    for name, message in examples().items():
        binary, text = GOLDEN / f"{name}.bin", GOLDEN / f"{name}.json"
        body = message.SerializeToString(deterministic=True)
        if binary.exists() and binary.read_bytes() != body and not replace:
            differing.append(name)
            continue
        binary.write_bytes(body)
        text.write_text(
            json_format.MessageToJson(message, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        )
    return differing


def breaking() -> int:
    """What the contracts break of the baseline; 0 while there is no baseline."""
    if not BASELINE.exists():
        print("no baseline yet: contracts/baseline.binpb begins when the segments are complete")
        return 0
    return buf("breaking", "--against", str(BASELINE))


def main(arguments: list[str]) -> int:
    if arguments == ["breaking"]:
        return breaking()
    if arguments == ["baseline"]:
        return buf("build", "-o", str(BASELINE))
    if arguments not in ([], ["--replace"]):
        print(__doc__)
        return 2
    print(f"wrote {write_descriptor_set().relative_to(ROOT)}")
    differing = write_golden(replace=bool(arguments))
    for name in differing:
        print(f"contracts/golden/{name}.bin is published and differs: keep it and add {name}-2,")
        print("or, before the baseline, run `tools/contracts.py --replace`.")
    if not differing:
        print(f"golden messages in {GOLDEN.relative_to(ROOT)} are complete")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
