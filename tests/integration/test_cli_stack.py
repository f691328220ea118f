"""`./muster up` and the commands against it: a real stack, as a user meets it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import psutil
import pytest

from services.chassis import subjects

ROOT = Path(__file__).parents[2]
READY_S = 100

Run = Callable[..., str]


def wait_for(process: subprocess.Popen[str], said: str, lines: list[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if said in line:
            return
    raise AssertionError("it ended early:\n" + "".join(lines))


def running(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run a second later; what only waits to be reaped has ended."""
    _, left = psutil.wait_procs(family, timeout=1)
    return [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture(scope="module")
def muster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a command against a stack of this module; its `up` is stopped by Ctrl-C."""
    state = tmp_path_factory.mktemp("up")
    env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    env |= {"COLUMNS": "120", "MUSTER_STACK_FILE": str(state / "stack.json")}
    up = subprocess.Popen(
        [str(ROOT / "muster"), "up", "--state", str(state / "state")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: list[str] = []
    wait_for(up, "Ctrl-C stops it.", lines)

    def run(*words: str, code: int = 0, stdin: str | None = None) -> str:
        answer = subprocess.run(
            [str(ROOT / "muster"), *words],
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert answer.returncode == code, answer.stdout + answer.stderr
        return answer.stdout

    run.said = "".join(lines)  # type: ignore[attr-defined]
    family = psutil.Process(up.pid).children(recursive=True)
    assert len(family) >= 9
    yield run
    began = time.monotonic()
    up.send_signal(signal.SIGINT)
    assert up.wait(10) == 0
    assert time.monotonic() - began < 3
    assert running(family) == [], "a process outlived `up`"


def test_up_prints_token_tenant_and_addresses(muster: Run) -> None:
    said = muster.said  # type: ignore[attr-defined]
    assert re.search(r"tenant +demo", said)
    assert re.search(r"token +\w{20,}", said)
    assert re.search(r"segments +127\.0\.0\.1:\d+", said)


def test_doctor_finds_nothing_wrong(muster: Run) -> None:
    assert "all is well" in muster("doctor")


def test_env_points_at_the_stack(muster: Run) -> None:
    assert "export MUSTER_SEGMENTS=127.0.0.1:" in muster("env")


def test_the_topology_is_as_declared_and_applying_it_again_changes_nothing(muster: Run) -> None:
    assert "every stream is as declared" in muster("topology", "plan")
    assert "every stream is as declared" in muster("topology", "apply")
    assert "every stream is as declared" in muster("topology", "verify")


def test_a_second_stack_over_the_same_folder_is_refused(muster: Run) -> None:
    folder = re.search(r"state +(\S+)", muster.said)  # type: ignore[attr-defined]
    assert folder is not None
    muster("up", "--state", folder[1], code=1)


def test_from_an_event_to_a_transition_an_explanation_and_out_again(muster: Run) -> None:
    """The README's walk: define, publish, watch, check, explain, members, retire."""
    defined = muster("segments", "define", "examples/segments/mission.yaml")
    assert "big-spenders v1: 0 members" in defined
    order = ("publish", "order_completed", "--user", "ada", "--set", "currency=USD")
    assert muster(*order, "--set", "total=600", "--event-id", "first").startswith("accepted")
    assert muster(*order, "--set", "total=600", "--event-id", "first").startswith("duplicate")
    assert "out  big-spenders" in muster("segments", "check", "user_id=ada", "big-spenders")
    assert muster(*order, "--set", "total=400.00").startswith("accepted")
    assert "in  " in muster("segments", "check", "user_id=ada", "big-spenders")
    explained = muster("segments", "explain", "big-spenders", "user_id=ada")
    assert "is in big-spenders v1" in explained
    assert "found 1000" in explained
    assert "first" in explained
    assert "flips at" in explained
    profile = muster("identity", "resolve", "user_id=ada").strip()
    assert profile in muster("segments", "members", "customers")
    preview = muster("segments", "preview", "examples/segments/browsing.yaml")
    assert "here-now: 0 of 1 profiles" in preview


def test_a_watch_hears_what_happens_and_resumes(muster: Run) -> None:
    muster("segments", "define", "examples/segments/browsing.yaml")
    token = re.search(r"--resume (\S+)", muster("segments", "watch", "--seconds", "0.5"))
    assert token is not None
    muster("publish", "page_viewed", "--id", "cookie=visitor")
    heard = muster("segments", "watch", "here-now", "--resume", token[1], "--seconds", "2")
    assert re.search(r"p_\w+ +\+here-now +event \(#1\)", heard)


def test_a_file_of_events_goes_in_through_both_doors(muster: Run) -> None:
    file = "examples/events/visit.ndjson"
    assert muster("publish", "--file", file).count("accepted") == 3
    lines = (ROOT / file).read_text()
    assert "stored     3 events" in muster(
        "publish", "--file", "-", "--through", "nats", stdin=lines
    )
    assert "cookie = laptop-of-ada" in muster("identity", "show", "user_id=ada")


def test_a_refused_event_says_why_and_the_command_fails(muster: Run) -> None:
    answer = muster("publish", "page_viewed", "--user", "null", code=1)
    assert "rejected" in answer


def test_an_import_counts_each_row_once(muster: Run, tmp_path: Path) -> None:
    rows = "".join(f"order_completed,2026-05-01,buyer-{n},10.00\n" for n in range(700))
    (tmp_path / "orders.csv").write_text("type,occur_time,user_id,total\n" + rows)
    before = profiles(muster)
    for _ in range(2):
        assert "700 events, 0 rejected" in muster("import", str(tmp_path / "orders.csv"))
    assert profiles(muster) == before + 700


def profiles(muster: Run) -> int:
    found = re.search(r"profiles +([\d,]+)", muster("identity", "report"))
    assert found is not None
    return int(found[1].replace(",", ""))


def test_a_wrong_rule_is_refused_with_every_path(muster: Run, tmp_path: Path) -> None:
    file = tmp_path / "ring.yaml"
    file.write_text("segment: ring\ncondition: {segment: nobody-defined-this}\n")
    muster("segments", "define", str(file), code=1)


def test_a_message_is_allowed_the_next_deferred(muster: Run) -> None:
    muster("frequency", "define", "examples/strategies/care.yaml")
    ask = ("frequency", "ask", "care", "p_0000000000001")
    assert muster(*ask, "--key", "one").startswith("allowed")
    assert muster(*ask, "--key", "two").startswith("deferred by limit:0")
    assert "confirmed at" in muster("frequency", "confirm", "one")
    assert re.search(r"deferred +1", muster("frequency", "report", "care"))


def test_a_watch_over_a_segment_closes_points(muster: Run) -> None:
    muster("alerts", "define", "examples/watches/rush.yaml")
    assert "rush" in muster("alerts", "list")
    end = time.monotonic() + 20
    while "no point" in (points := muster("alerts", "points", "rush")):
        assert time.monotonic() < end
        time.sleep(0.5)
    assert re.search(r"Z +\d", points)


async def test_what_nobody_can_read_is_parked_and_can_be_looked_at(muster: Run) -> None:
    assert "nothing is parked" in muster("parked", "list")
    url = re.search(r"NATS +(\S+)", muster.said)  # type: ignore[attr-defined]
    assert url is not None
    client = await nats.connect(url[1])
    await client.jetstream().publish(subjects.intake("demo", "careless"), b"\xff not a batch")
    await client.close()
    end = time.monotonic() + 20
    while "nothing is parked" in (listed := muster("parked", "list")):
        assert time.monotonic() < end
    found = re.search(r"^ *(\d+) .* ingest .*malformed_batch", listed, re.MULTILINE)
    assert found is not None, listed
    shown = muster("parked", "show", found[1])
    assert "careless" in shown
    assert "13 bytes that are no batch of events" in shown
