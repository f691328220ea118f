"""Pods as deployed: they can do little, have limits and time to end, and talk where they must."""

from __future__ import annotations

import re

import pytest

from tests.contract.manifests import (
    OVERLAYS,
    Container,
    every_container,
    find,
    labels_of,
    matches,
    named,
    needs_kubectl,
    of_kind,
    pod_of,
    quantity,
    settings_class,
    title,
    workloads,
)

pytestmark = needs_kubectl
CONTAINERS = every_container()
ROLES = [c for c in CONTAINERS if c.service and c.spec["name"] == "muster"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_keep_the_restricted_standard(overlay: str) -> None:
    space = find(overlay, "Namespace", "muster")["metadata"]["labels"]
    assert space["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in workloads(overlay):
        pod = pod_of(workload)
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, named(workload)
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        account = find(overlay, "ServiceAccount", pod["serviceAccountName"])
        assert account["automountServiceAccountToken"] is False
        assert all("hostPath" not in v for v in pod.get("volumes", []))


@pytest.mark.parametrize("container", CONTAINERS, ids=title)
def test_containers_can_do_little(container: Container) -> None:
    security = container.spec["securityContext"]
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("container", CONTAINERS, ids=title)
def test_containers_have_limits(container: Container) -> None:
    resources = container.spec["resources"]
    for name in ("cpu", "memory"):
        assert quantity(resources["requests"][name]) <= quantity(resources["limits"][name])
    if container.spec["name"] in {"muster", "nats", "postgres"}:
        # Memory that is not there is not promised.
        assert resources["requests"]["memory"] == resources["limits"]["memory"]


@pytest.mark.parametrize("container", CONTAINERS, ids=title)
def test_no_password_stands_in_a_manifest(container: Container) -> None:
    for variable in container.spec.get("env", []):
        if re.search("PASSWORD|SECRET|TOKEN|_KEY$", variable["name"]):
            assert "secretKeyRef" in variable.get("valueFrom", {}), variable["name"]


@pytest.mark.parametrize("container", CONTAINERS, ids=title)
def test_variables_are_used_after_they_are_set(container: Container) -> None:
    """Kubernetes replaces $(NAME) only where NAME stands before."""
    seen: set[str] = set()
    for variable in container.spec.get("env", []):
        used = set(re.findall(r"\$\((\w+)\)", variable.get("value", "")))
        assert used <= seen, f"{variable['name']} uses {used - seen} too early"
        seen.add(variable["name"])


# Life and death.


@pytest.mark.parametrize("container", ROLES, ids=title)
def test_there_is_time_to_end(container: Container) -> None:
    kinds = ("Deployment", "StatefulSet")
    workload = next(
        w for w in of_kind(container.overlay, *kinds) if w["metadata"]["name"] == container.workload
    )
    sleep = container.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
    drain_s = settings_class(str(container.service))().drain_ms / 1_000
    needed = sleep.get("seconds", 0) + drain_s + 5
    assert pod_of(workload)["terminationGracePeriodSeconds"] >= needed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_workload_has_a_budget_that_lets_nodes_drain(overlay: str) -> None:
    budgets = of_kind(overlay, "PodDisruptionBudget")
    for workload in workloads(overlay):
        own = [b for b in budgets if matches(b["spec"]["selector"], labels_of(workload))]
        assert len(own) == 1, named(workload)
        assert own[0]["spec"]["maxUnavailable"] == 1
    assert len(budgets) == len(workloads(overlay))


# Network.


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_talks_is_allowed_and_the_rest_is_not(overlay: str) -> None:
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(overlay, "NetworkPolicy")}
    assert policies["default-deny"]["podSelector"] == {}
    assert set(policies["default-deny"]["policyTypes"]) == {"Ingress", "Egress"}
    for container in [c for c in ROLES if c.overlay == overlay]:
        workload = next(
            w for w in workloads(overlay) if w["metadata"]["name"] == container.workload
        )
        labels = labels_of(workload)
        assert matches(policies["log-clients"]["podSelector"], labels), container.title
        peer = policies["log"]["ingress"][0]["from"][0]["podSelector"]
        assert matches(peer, labels)
        uses_postgres = "MUSTER_POSTGRES_URL" in container.variables()
        assert matches(policies["postgres-clients"]["podSelector"], labels) == uses_postgres
        is_called = "lifecycle" in container.spec
        assert matches(policies["calls"]["podSelector"], labels) == is_called


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_policies_open_ports_that_exist(overlay: str) -> None:
    known: set[str | int] = {53, 443, 5432, 6443, 8000}
    for workload in workloads(overlay):
        for container in pod_of(workload)["containers"]:
            for port in container["ports"]:
                known |= {port["name"], port["containerPort"]}
    for policy in of_kind(overlay, "NetworkPolicy"):
        spec = policy["spec"]
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert {p["port"] for p in rule.get("ports", [])} <= known, named(policy)
