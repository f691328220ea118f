"""Two stories on a whole stack: a list beside a segment, and a shelf that is empty at last."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nats
import pytest

from muster.ingest.v1.catalogue_pb2 import CatalogueItemsSet
from services.chassis import subjects

ROOT = Path(__file__).parents[2]
Run = Callable[..., str]

SEGMENTS = """\
segment: gold
condition: {attribute: {name: plan, eq: gold}}
---
segment: can-buy
condition:
  catalogue: {type: viewed, item: item_id, has: {stock: {gt: 0}}, window: {last: 1h}}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, Path]]:
    """Runs a command against a stack of this module, over two partitions."""
    folder = tmp_path_factory.mktemp("lists")
    file = folder / "stack.json"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    env |= {"COLUMNS": "120", "MUSTER_STACK_FILE": str(file)}
    words = [str(ROOT / "muster"), "up", "--state", str(folder / "state"), "--partitions", "2"]
    up = subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert up.stdout is not None
    said: list[str] = []
    for line in up.stdout:
        said.append(line)
        if "Ctrl-C stops it." in line:
            break
    else:
        raise AssertionError("it ended early:\n" + "".join(said))

    def run(*words: str, code: int = 0) -> str:
        answer = subprocess.run(
            [str(ROOT / "muster"), *words], env=env, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert answer.returncode == code, answer.stdout + answer.stderr
        return answer.stdout

    rules = folder / "segments.yaml"
    rules.write_text(SEGMENTS)
    run("segments", "define", str(rules))
    yield run, file
    up.send_signal(signal.SIGINT)
    assert up.wait(15) == 0


def until(asked: Callable[[], str], wanted: str, within_s: float = 10.0) -> float:
    """Asks until the answer holds what is wanted; seconds it took."""
    began = time.monotonic()
    while wanted not in (said := asked()):
        assert time.monotonic() - began < within_s, said
    return time.monotonic() - began


def set_stock(stack_file: Path, item_id: str, stock: int) -> None:
    """What ingest's door writes, written to CONTROL past it."""

    url = json.loads(stack_file.read_text())["nats_url"]

    async def publish() -> None:
        client = await nats.connect(url)
        made = CatalogueItemsSet()
        item = made.items.add(item_id=item_id)
        item.properties.add(key="stock", whole=stock)
        item.occur_time.FromNanoseconds(time.time_ns())
        subject = subjects.control("demo", "catalogue")
        await client.jetstream().publish(subject, made.SerializeToString())
        await client.close()

    asyncio.run(publish())


def test_a_list_follows_a_segment_and_keeps_what_people_did_by_hand(
    stack: tuple[Run, Path], tmp_path: Path
) -> None:
    muster, _ = stack
    assert "club v1: 0 members" in muster("lists", "create", "club", "--follows", "gold")
    for person in ("ada", "bob", "eve"):
        muster("publish", "profile_updated", "--user", person, "--set", "plan=none")
    muster("publish", "profile_updated", "--user", "ada", "--set", "plan=gold")
    until(lambda: muster("segments", "check", "user_id=ada", "club"), "in  ")
    assert "user_id=bob: added" in muster("lists", "add", "club", "user_id=bob")
    assert "user_id=ada: removed" in muster("lists", "remove", "club", "user_id=ada")
    assert "in  " in muster("segments", "check", "user_id=bob", "club")
    assert "out  club" in muster("segments", "check", "user_id=ada", "club")
    assert "taken out by hand" in muster("segments", "explain", "club", "user_id=ada")
    people = tmp_path / "people.csv"
    people.write_text("email,user_id\n,bob\n,eve\n,nobody\n,eve\n")
    receipt = muster("lists", "import", "club", str(people), code=1)
    assert "row 3: nobody has this user_id" in receipt
    assert "4 read, 3 matched, 1 added, 1 already in, 1 repeated, 1 rejected" in receipt
    # gold speaks of ada again: what was done by hand is over.
    muster("publish", "profile_updated", "--user", "ada", "--set", "plan=none")
    muster("publish", "profile_updated", "--user", "ada", "--set", "plan=gold")
    until(lambda: muster("segments", "check", "user_id=ada", "club"), "in  ")
    ids = muster("lists", "export", "club").split()
    assert len(ids) == 3
    assert muster("identity", "resolve", "user_id=ada").strip() in ids
    assert "follows gold" in muster("lists", "show", "club")
    assert "3 taken out" in muster("lists", "empty", "club")
    assert "club is gone" in muster("lists", "delete", "club")


def test_viewers_leave_within_a_second_when_a_stock_falls_to_nothing(
    stack: tuple[Run, Path],
) -> None:
    muster, file = stack
    set_stock(file, "phone-7", 3)
    set_stock(file, "phone-6", 3)
    for person, item in (("kim", "phone-7"), ("lee", "phone-7"), ("max", "phone-6")):
        muster("publish", "viewed", "--user", person, "--set", f"item_id={item}")
    for person in ("kim", "lee", "max"):
        until(lambda person=person: muster("segments", "check", f"user_id={person}", "can-buy"),  # type: ignore[misc]
              "in  ")  # fmt: skip
    token = re.search(r"--resume (\S+)", muster("segments", "watch", "--seconds", "0.5"))
    assert token is not None
    set_stock(file, "phone-7", 0)
    heard = muster("segments", "watch", "can-buy", "--resume", token[1], "--seconds", "1")
    assert len(re.findall(r"p_\w+ +-can-buy +attribute", heard)) == 2
    assert "out  can-buy" in muster("segments", "check", "user_id=kim", "can-buy")
    assert "in  " in muster("segments", "check", "user_id=max", "can-buy")
