"""The supervisor restarts what stopped, knows who is ready, and leaves no process behind."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from services.chassis.children import Child, ChildFailed, free_port
from services.chassis.embedded import EmbeddedNats
from services.chassis.supervisor import Supervisor

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}"}

SERVER = """
import sys
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2_grpc
server = grpc.server(futures.ThreadPoolExecutor(1))
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port("127.0.0.1:" + sys.argv[1])
server.start()
servicer.set("readiness", 1)
server.wait_for_termination()
"""


SLEEPER = "import time; time.sleep(60)"


async def until(holds: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.02)


async def test_a_killed_service_and_its_server_come_back(tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []
    supervisor = Supervisor(tmp_path, heard=lambda *what: heard.append(what))
    nats = EmbeddedNats(tmp_path / "nats").start()
    supervisor.server(nats.child)
    port = free_port()
    argv = (sys.executable, "-c", SERVER, str(port))
    child = supervisor.service("echo", argv, ENVIRONMENT, health=f"127.0.0.1:{port}")
    supervisor.start()
    ready: list[str] = []
    await supervisor.ready(10, ready.append)
    assert ready == ["echo"]
    first, broker = child.pid, nats.child.pid
    supervisor.kill9("echo")
    supervisor.kill9("nats")
    await until(lambda: child.is_alive() and child.pid != first)
    await until(lambda: nats.child.pid != broker and nats.answers())
    await supervisor.ready(10)
    assert {("echo", "ended -9"), ("echo", "restarted"), ("nats", "restarted")} <= set(heard)
    pids = [child.pid, nats.child.pid]
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < 2
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_a_service_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    deaf = "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)"
    supervisor = Supervisor(tmp_path)
    argv = (sys.executable, "-c", f"{deaf}; time.sleep(60)")
    child = supervisor.service("deaf", argv, ENVIRONMENT)
    supervisor.start()
    await until(lambda: "deaf" in child.last_words())
    began = time.monotonic()
    await supervisor.stop()
    assert time.monotonic() - began < 2
    assert child.exit_code == -signal.SIGKILL


async def test_a_service_that_cannot_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    argv = (sys.executable, "-c", "raise SystemExit('MUSTER_TENANT is wrong')")
    supervisor.service("broken", argv, ENVIRONMENT, health="127.0.0.1:1")
    supervisor.start()
    with pytest.raises(ChildFailed, match=r"(?s)broken ended 6 times.*MUSTER_TENANT is wrong"):
        await supervisor.ready(30)
    await supervisor.stop()


async def test_a_stranger_on_the_port_is_not_taken_for_our_service(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    port = free_port()
    argv = (sys.executable, "-c", SERVER, str(port))
    stranger = Child("stranger", argv, env=ENVIRONMENT)
    stranger.start()
    await until(lambda: stranger.listens(port))
    silent = (sys.executable, "-c", "import time; time.sleep(60)")
    supervisor.service("ours", silent, ENVIRONMENT, health=f"127.0.0.1:{port}")
    supervisor.start()
    assert not await supervisor.is_ready("ours")
    await supervisor.stop()
    stranger.kill9()


ROLES = """
import sys, time
if len(sys.argv) > 1:
    sys.stdout.write("role " + sys.argv[1] + "\\n")
    sys.stdout.flush()
    time.sleep(60)
else:
    from services.chassis.supervisor import run_roles
    sys.exit(run_roles("many_roles", ["doors", "worker"]))
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_roles_run_together_and_end_together(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "many_roles.py").write_text(ROLES)
    env = {**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"}
    argv = [sys.executable, "-m", "many_roles"]
    parent = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    said = {parent.stdout.readline(), parent.stdout.readline()}
    assert said == {b"role doors\n", b"role worker\n"}
    children = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(how)
    code = parent.wait(5)
    assert code == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    _, left = psutil.wait_procs(children, timeout=2)
    assert left == []


def test_a_child_may_speak_on_our_own_output() -> None:
    child = Child("loud", [sys.executable, "-c", "raise SystemExit(3)"], env=ENVIRONMENT)
    child.start()
    child.join(5)
    assert child.exit_code == 3


async def test_nobody_listening_any_more_ends_neither_the_watch_nor_the_order_of_its_end(
    tmp_path: Path,
) -> None:
    def gone(name: str, what: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    supervisor = Supervisor(tmp_path, heard=gone)
    child = supervisor.service("sleeper", (sys.executable, "-c", SLEEPER), ENVIRONMENT)
    supervisor.start()
    for _ in range(2):
        await until(child.is_alive)
        before = child.pid
        supervisor.kill9("sleeper")
        await until(lambda before=before: child.is_alive() and child.pid != before)
    await supervisor.stop()
    assert not child.is_alive()


async def test_a_watch_that_broke_is_said_and_its_children_still_end(tmp_path: Path) -> None:
    def broken(name: str, what: str) -> None:
        raise LookupError(name)

    supervisor = Supervisor(tmp_path, heard=broken)
    child = supervisor.service("sleeper", (sys.executable, "-c", SLEEPER), ENVIRONMENT)
    supervisor.start()
    await until(child.is_alive)
    other = supervisor.service("other", (sys.executable, "-c", SLEEPER), ENVIRONMENT)
    supervisor.start()
    supervisor.kill9("other")
    with pytest.raises(LookupError):
        await asyncio.wait_for(supervisor.failed(), 5)
    await supervisor.stop()
    assert not child.is_alive()
    assert not other.is_alive()
