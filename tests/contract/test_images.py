"""The images: what the Dockerfile copies is enough for a service, and no more than it needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.sources import ROOT, SERVICES

DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split()


def stages() -> dict[str, list[str]]:
    """Instructions by stage; continued lines joined, comments left out."""
    text = "\n".join(r for r in DOCKERFILE.splitlines() if not r.startswith("#"))
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.replace("\\\n", " ").splitlines():
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            name = match[2]
            found[name] = [f"FROM {match[1]}"]
        elif line.strip() and name:
            found[name].append(line.strip())
    return found


def copied(stage: str) -> list[tuple[list[str], str]]:
    """(sources, target) of what a stage copies from the repository, its parents' first."""
    rows = stages()[stage]
    parent = rows[0].removeprefix("FROM ")
    found = copied(parent) if parent in stages() else []
    for row in rows:
        if row.startswith("COPY") and "--from" not in row:
            *sources, target = [w for w in row.split()[1:] if not w.startswith("--")]
            found.append((sources, target))
    return found


def test_the_base_is_pinned_and_nothing_is_fetched_unchecked() -> None:
    assert re.search(r"^ARG PYTHON=python:3\.\d+\.\d+-slim", DOCKERFILE, re.MULTILINE)
    rows = [row for stage in stages().values() for row in stage]
    assert not [r for r in rows if r.startswith("ADD") or ":latest" in r or "curl" in r]
    assert [r for r in rows if "pip install" in r and "--require-hashes" not in r] == []


@pytest.mark.parametrize("stage", ["cli", "service"])
def test_an_image_runs_as_nobody_in_particular(stage: str) -> None:
    rows = stages()[stage]
    assert rows[-1] == "USER 65532:65532"
    parent = stages()["runtime"]
    assert "STOPSIGNAL SIGTERM" in parent
    assert 'ENTRYPOINT ["/opt/muster/start"]' in parent


def test_every_copied_place_exists_and_is_sent_to_the_builder() -> None:
    allowed = [row.removeprefix("!") for row in IGNORED if row.startswith("!")]
    for stage in stages():
        for sources, _ in copied(stage):
            for source in (s.replace("${SERVICE}", "ingest") for s in sources):
                assert (ROOT / source).exists(), source
                assert any(source == a or source.startswith(a + "/") for a in allowed), source


def image_of(service: str, folder: Path) -> Path:
    """The files of a service's image, as the Dockerfile copies them, below `folder`."""
    skip = shutil.ignore_patterns("__pycache__")
    for sources, target in copied("service"):
        for source in (s.replace("${SERVICE}", service) for s in sources):
            if target.startswith("/"):
                place = folder / target.strip("/") / Path(source).name
            else:
                place = folder / "app" / target.replace("${SERVICE}", service)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=skip)
            else:
                shutil.copy2(ROOT / source, place)
    shutil.copytree(ROOT / "gen", folder / "app" / "gen", ignore=skip)
    return folder / "app"


def environment(app: Path, service: str, kernels: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{app}:{app / 'gen'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": str(kernels),
        "MODULE": f"services.{service}",
    }


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_stands_on_the_chassis_alone(service: str, tmp_path: Path) -> None:
    """Every module of the service is imported from nothing but the files of its image."""
    app = image_of(service, tmp_path)
    others = {p.name for p in (app / "services").iterdir()} - {"__init__.py", "chassis", service}
    assert others == set()
    script = (
        "import importlib, os, pkgutil\n"
        "root = importlib.import_module(os.environ['MODULE'])\n"
        "for found in pkgutil.walk_packages(root.__path__, root.__name__ + '.'):\n"
        "    if not found.name.endswith('__main__') and '.migrations' not in found.name:\n"
        "        importlib.import_module(found.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=app,
        env=environment(app, service, tmp_path / "kernels"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_start_script_takes_kernels_along_and_becomes_the_service(tmp_path: Path) -> None:
    """Run as deployed: the cache of the image is read-only, the pod's is empty."""
    image, pod = tmp_path / "image", tmp_path / "pod"
    (image / "sub").mkdir(parents=True)
    (image / "sub" / "kernel.nbi").write_text("compiled")
    pod.mkdir()
    (tmp_path / "probe.py").write_text("import os, sys\nprint(os.getpid(), sys.argv[1:])\n")
    script = tmp_path / "start"
    original = (ROOT / "deploy" / "start").read_text()
    script.write_text(original.replace("/opt/muster/kernels", str(image)))
    process = subprocess.Popen(
        ["/bin/sh", str(script), "worker"],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MODULE": "probe",
            "NUMBA_CACHE_DIR": str(pod),
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    # The same process: signals reach the service.
    assert output.split() == [str(process.pid), "['worker']"]
    assert (pod / "sub" / "kernel.nbi").read_text() == "compiled"
