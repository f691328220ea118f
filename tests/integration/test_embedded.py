"""The embedded servers are real, keep what they acknowledged, and die with their parent."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest

from services.chassis.children import ChildFailed, free_port
from services.chassis.embedded import EmbeddedNats, EmbeddedNatsCluster, EmbeddedPostgres
from services.chassis.embedded_postgres import runs_as
from services.chassis.launch import unprivileged_uid

ROOT = Path(__file__).parents[2]


async def publish(url: str | list[str], *bodies: bytes, replicas: int = 1) -> None:
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="S", subjects=["s"], num_replicas=replicas)
    for body in bodies:
        await stream.publish("s", body)
    await client.close()


async def count(url: str) -> int:
    client = await nats.connect(url)
    state = (await client.jetstream().stream_info("S")).state
    await client.close()
    return state.messages


async def test_what_nats_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as server:
        await publish(server.url, b"one", b"two")
        server.kill9()
        server.start()
        assert await count(server.url) == 2


def test_nats_syncs_always_and_refuses_a_second_owner_of_its_folder(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path, monitor_port=0) as server:
        settings = server.ask("$JS.API.INFO", b"")
        assert "error" not in settings
        assert "sync_interval: always" in (tmp_path / "nats.conf").read_text()
        with pytest.raises(ChildFailed, match="already runs over"):
            EmbeddedNats(tmp_path).start()


def test_a_taken_port_is_replaced_with_a_notice(tmp_path: Path) -> None:
    notices: list[str] = []
    with EmbeddedNats(tmp_path / "a") as first:
        second = EmbeddedNats(tmp_path / "b", first.port, notice=notices.append)
        assert second.port != first.port
        assert notices == [f"port {first.port} is taken: nats listens on {second.port} instead"]


RESERVED = """
import sys
from services.chassis.children import free_port
print(free_port(int(sys.argv[1])))
"""


def test_a_port_is_given_to_one_of_two_stacks_that_start_at_once() -> None:
    wanted = free_port(free_port())
    other = subprocess.run(
        [sys.executable, "-c", RESERVED, str(wanted)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(other.stdout) != wanted


async def test_without_its_token_nats_answers_nobody(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path, token="s3cret-token") as server:
        await publish(server.url, b"one")
        with pytest.raises(nats.errors.Error):
            await nats.connect(server.url.replace("s3cret-token@", ""), allow_reconnect=False)


async def test_a_paused_nats_does_not_answer_until_it_resumes(tmp_path: Path) -> None:
    with EmbeddedNats(tmp_path) as server:
        server.pause()
        assert "error" in server.ask("$JS.API.INFO", b"", timeout_s=0.2)
        server.resume()
        assert "error" not in server.ask("$JS.API.INFO", b"")


async def test_a_cluster_keeps_a_stream_when_one_of_three_dies(tmp_path: Path) -> None:
    with EmbeddedNatsCluster(tmp_path) as cluster:
        await publish(cluster.urls, b"one", replicas=3)
        cluster.servers[0].kill9()
        # The others elect leaders first; until then nobody answers.
        for _ in range(20):
            try:
                assert await count(cluster.servers[1].url) == 1
            except nats.errors.Error:
                continue
            return
        pytest.fail("two of three did not agree on leaders")


async def test_what_postgres_committed_survives_a_kill(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "pg") as server:
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("show fsync") == "on"
        await connection.execute("create table kept (n int); insert into kept values (7)")
        server.kill9()
        server.start()
        connection = await asyncpg.connect(server.url)
        assert await connection.fetchval("select n from kept") == 7
        await connection.close()


def accounts() -> list[str]:
    """How this machine lets root run PostgreSQL; an ordinary user runs it as itself."""
    if os.geteuid() != 0:
        return ["self"]
    return [a for a in ("namespace", str(unprivileged_uid())) if runs_as(a, "true")]


@pytest.mark.parametrize("account", accounts())
def test_postgres_loosens_no_permission(tmp_path: Path, account: str) -> None:
    parents = [tmp_path, *tmp_path.parents]
    before = [(p.stat().st_mode, p.stat().st_uid) for p in parents]
    with EmbeddedPostgres(tmp_path / "pg", account=account) as server:
        assert [(p.stat().st_mode, p.stat().st_uid) for p in parents] == before
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        postmaster = psutil.Process(server.child.pid)
        assert postmaster.name() == "postgres"
        if account.isdigit():
            assert postmaster.uids().effective == int(account)
    if not server.folder.is_relative_to(tmp_path):
        subprocess.run(["rm", "-r", str(server.folder)], check=True)


ORPHANS = """
import sys
from pathlib import Path
from services.chassis.embedded import EmbeddedNats, EmbeddedPostgres
folder = Path(sys.argv[1])
servers = [EmbeddedNats(folder / "nats").start(), EmbeddedPostgres(folder / "pg").start()]
print(*[server.child.pid for server in servers], flush=True)
sys.stdin.read()
"""


def test_servers_die_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHANS, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdout is not None
    servers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
    family = [p for server in servers for p in (server, *server.children(recursive=True))]
    assert len(family) > 3
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _, left = psutil.wait_procs(family, timeout=5)
    assert left == []
