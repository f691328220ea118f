"""The log's configuration as deployed, taken by the real server: durable, bounded, replicated."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from services.chassis import topology
from services.chassis.children import LOOPBACK, free_port
from services.chassis.embedded import MAX_PAYLOAD_BYTES, nats_binary
from tests.contract.manifests import (
    OVERLAYS,
    Container,
    config_map,
    containers,
    find,
    needs_kubectl,
    quantity,
)

pytestmark = needs_kubectl
PASSWORD = "p-not-a-secret"
START_S = 20.0


def nats_container(overlay: str) -> Container:
    return next(c for c in containers(overlay) if c.workload == "nats")


class Node:
    """One server under an overlay's configuration, on loopback ports instead of the cluster's."""

    def __init__(self, overlay: str, folder: Path, number: int, routes: list[int]) -> None:
        self.client, self.monitor = free_port(), free_port()
        folder.mkdir()
        for name, text in config_map(overlay, "nats-config").items():
            moved = text.replace("0.0.0.0:4222", f"{LOOPBACK}:{self.client}")
            moved = moved.replace("0.0.0.0:8222", f"{LOOPBACK}:{self.monitor}")
            moved = moved.replace("0.0.0.0:6222", f"{LOOPBACK}:{routes[number]}")
            moved = moved.replace("/data", str(folder / "data"))
            (folder / name).write_text(moved.replace("/tmp/nats.pid", str(folder / "pid")))
        self.env = self.variables(overlay, number, routes)
        self.command = [nats_binary(), "--config", str(folder / "nats.conf")]
        self.folder = folder

    def variables(self, overlay: str, number: int, routes: list[int]) -> dict[str, str]:
        """The pod's environment: secrets filled in, hosts of other pods turned to loopback."""
        env = {"POD_NAME": f"nats-{number}"}
        for name, variable in nats_container(overlay).variables().items():
            value = variable.get("value", PASSWORD if "PASSWORD" in name else "")
            value = value.replace("$(NATS_ROUTE_PASSWORD)", PASSWORD)
            for other, port in enumerate(routes):
                value = value.replace(f"nats-{other}.nats-nodes:6222", f"{LOOPBACK}:{port}")
            if value:
                env[name] = value
        return env

    @contextlib.contextmanager
    def running(self) -> Iterator[Node]:
        environment = {**os.environ, **self.env}
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(self.command, env=environment, stdout=log, stderr=log)
            try:
                yield self
            finally:
                process.terminate()
                process.wait(10)

    def ask(self, path: str) -> dict[str, object]:
        """An answer of the monitoring port, tried until the server is up."""
        end = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(f"http://{LOOPBACK}:{self.monitor}{path}") as answer:
                    return dict(json.load(answer))
            except OSError:
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.05)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_server_takes_the_configuration(overlay: str, tmp_path: Path) -> None:
    node = Node(overlay, tmp_path / "node", 0, [free_port() for _ in range(3)])
    done = subprocess.run(
        [*node.command, "-t"],
        env={**os.environ, **node.env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_log_acknowledges_is_on_disk(overlay: str, tmp_path: Path) -> None:
    """Asked of the running server itself: sync always, the payload limit, the room."""
    node = Node(overlay, tmp_path / "node", 0, [free_port() for _ in range(3)])
    with node.running():
        found = node.ask("/varz")
        assert found["max_payload"] == MAX_PAYLOAD_BYTES
        config = found["jetstream"]["config"]  # type: ignore[index]
        assert config["sync_always"] is True
        assert config["max_storage"] == int(
            nats_container(overlay).literals()["JETSTREAM_FILE_BYTES"]
        )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_log_fits_into_its_volume(overlay: str) -> None:
    """Streams refuse before JetStream does, and JetStream before the disk is full."""
    log = int(config_map(overlay, "muster-settings")["MUSTER_LOG_BYTES_MAX"])
    store = int(nats_container(overlay).literals()["JETSTREAM_FILE_BYTES"])
    claim = find(overlay, "StatefulSet", "nats")["spec"]["volumeClaimTemplates"][0]
    volume = quantity(claim["spec"]["resources"]["requests"]["storage"])
    assert log <= store < volume
    assert store >= log * 1.1, "leave a tenth for indexes and Raft"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_there_are_as_many_servers_as_replicas(overlay: str) -> None:
    replicas = int(config_map(overlay, "muster-settings")["MUSTER_STREAM_REPLICAS"])
    assert find(overlay, "StatefulSet", "nats")["spec"]["replicas"] == replicas


async def test_three_servers_of_production_agree_and_ask_for_a_password(tmp_path: Path) -> None:
    """Three processes under the manifest's configuration take the topology at R3, twice."""
    routes = [free_port() for _ in range(3)]
    nodes = [Node("production", tmp_path / f"node-{n}", n, routes) for n in range(3)]
    with contextlib.ExitStack() as stack:
        for node in nodes:
            stack.enter_context(node.running())
        for node in nodes:
            node.ask("/healthz?js-enabled-only=true")
        server = f"{LOOPBACK}:{nodes[0].client}"
        with pytest.raises(NatsError, match=r"(?i)auth"):
            await nats.connect(f"nats://{server}", allow_reconnect=False, max_reconnect_attempts=0)
        client = await nats.connect(f"nats://muster:{PASSWORD}@{server}")
        end = time.monotonic() + START_S
        while True:
            try:
                changed = await topology.apply(client, 1 << 30, replicas=3)
                break
            except (JetStreamError, NatsError):
                assert time.monotonic() < end, (nodes[0].folder / "log").read_text()[-2000:]
                await asyncio.sleep(0.2)
        assert changed
        assert await topology.apply(client, 1 << 30, replicas=3) == []
        info = await client.jetstream().stream_info(topology.STREAMS[0].name)
        assert info.config.num_replicas == 3
        assert info.cluster is not None
        assert len(info.cluster.replicas or []) == 2
        await client.close()
