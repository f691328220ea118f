"""Reads what the overlays render, for the tests that hold manifests against the code."""

from __future__ import annotations

import importlib
import inspect
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.chassis.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = ("local", "production")
METRICS_ABOVE = 100
"""How far the port of metrics lies above that of gRPC."""
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl renders the overlays")

Resource = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Resource, ...]:
    """Every resource of an overlay, as `kubectl apply -k` would send it."""
    done = subprocess.run(
        [str(KUBECTL), "kustomize", str(ROOT / "deploy" / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def named(resource: Resource) -> str:
    return f"{resource['kind']}/{resource['metadata']['name']}"


def of_kind(overlay: str, *kinds: str) -> list[Resource]:
    return [r for r in rendered(overlay) if r["kind"] in kinds]


def find(overlay: str, kind: str, name: str) -> Resource:
    found = [r for r in of_kind(overlay, kind) if r["metadata"]["name"] == name]
    assert len(found) == 1, f"{overlay}: {kind}/{name} is there {len(found)} times"
    return found[0]


def config_map(overlay: str, prefix: str) -> dict[str, str]:
    """Data of the one ConfigMap whose name begins so (its end is a hash)."""
    maps = [
        r for r in of_kind(overlay, "ConfigMap") if r["metadata"]["name"].startswith(prefix + "-")
    ]
    assert len(maps) == 1
    return dict(maps[0]["data"])


def workloads(overlay: str) -> list[Resource]:
    return of_kind(overlay, "Deployment", "StatefulSet")


def pod_of(workload: Resource) -> dict[str, Any]:
    return dict(workload["spec"]["template"]["spec"])


def labels_of(workload: Resource) -> dict[str, str]:
    return dict(workload["spec"]["template"]["metadata"]["labels"])


@dataclass(frozen=True)
class Container:
    """A container and where it stands; init containers too."""

    overlay: str
    workload: str
    spec: dict[str, Any]

    @property
    def title(self) -> str:
        return f"{self.overlay}/{self.workload}/{self.spec['name']}"

    @property
    def service(self) -> str | None:
        """The service whose image it runs; None for the command line and foreign images."""
        image = str(self.spec["image"]).split(":")[0]
        name = image.removeprefix("muster/")
        return name if name != image and name != "cli" else None

    def literals(self) -> dict[str, str]:
        """Variables whose value stands in the manifests: settings first, then its own."""
        values: dict[str, str] = {}
        if self.spec.get("envFrom"):
            values |= config_map(self.overlay, "muster-settings")
        return values | {e["name"]: e["value"] for e in self.spec.get("env", []) if "value" in e}

    def variables(self) -> dict[str, dict[str, Any]]:
        """Variables by name; those of the settings map too."""
        values = {name: {"name": name, "value": v} for name, v in self.literals().items()}
        return values | {e["name"]: e for e in self.spec.get("env", [])}

    def probes(self) -> dict[str, dict[str, Any]]:
        names = ("startupProbe", "livenessProbe", "readinessProbe")
        return {n: self.spec[n] for n in names if n in self.spec}


def containers(overlay: str) -> Iterator[Container]:
    for workload in workloads(overlay):
        pod = pod_of(workload)
        for spec in [*pod.get("initContainers", []), *pod["containers"]]:
            yield Container(overlay, workload["metadata"]["name"], spec)


def every_container() -> list[Container]:
    return [c for overlay in OVERLAYS for c in containers(overlay)] if KUBECTL else []


def title(container: Container) -> str:
    """Names a container in the list of tests."""
    return container.title


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    if any(labels.get(k) != v for k, v in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or []:
        assert rule["operator"] == "In", "only In is used"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return True


def settings_class(service: str) -> type[Settings]:
    """The settings a service reads: its own class, else that of the chassis."""
    try:
        module = importlib.import_module(f"services.{service}.settings")
    except ModuleNotFoundError:
        return Settings
    own = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Settings) and kind is not Settings
    ]
    assert len(own) == 1, f"services.{service}.settings has {len(own)} settings classes"
    return own[0]


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: 250m is 0.25, 2Gi is 2147483648."""
    units = {"m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    for unit, factor in units.items():
        if str(text).endswith(unit):
            return float(str(text).removesuffix(unit)) * factor
    return float(text)
