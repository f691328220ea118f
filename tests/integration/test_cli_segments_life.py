"""Segments as code: files applied to a running stack, and what the commands say of it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.integration.segments_stack import ROOT, Stack, stack_of

BUYERS = """
segment: buyers
name: Buyers
condition: {event: {type: bought, window: last 20 seconds}}
---
segment: regulars
tags: [sales]
condition: {all: [{segment: buyers}, {channel: email}]}
triggers: {variant_set: spring}
"""
VARIANTS = """
variants: spring
rules: [{segment: buyers, variant: thanks}]
default: hello
"""


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


async def muster(stack: Stack, *words: str, code: int = 0) -> str:
    """What a command prints; its exit code must be as said."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MUSTER_")}
    env = {
        **kept,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'gen'}",
        "MUSTER_SEGMENTS": f"127.0.0.1:{stack.processes.ports['engine-0']}",
        "MUSTER_STACK_FILE": str(stack.processes.folder / "none.json"),
        "COLUMNS": "120",
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *words, env=env, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(child.communicate(), 60)
    assert child.returncode == code, said.decode()
    return said.decode()


async def test_applying_a_folder_twice_does_nothing_the_second_time(
    one: Stack, tmp_path: Path
) -> None:
    await one.log.say(one.log.people(range(3)))
    await one.events([(1, "bought", 1), (2, "viewed", 1)])
    folder = tmp_path / "rules"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.yaml").write_text(BUYERS)
    (folder / "deep" / "b.yml").write_text(VARIANTS)
    apply = ("segments", "apply", "-f", str(folder))
    dry = await muster(one, *apply, "--dry-run")
    assert "+ buyers: create, 1 of 3 profiles" in dry
    assert "3 to create" in dry
    assert "no segments yet" in await muster(one, "segments", "list")
    said = await muster(one, *apply, "--author", "ada", "--note", "as code")
    assert "buyers v1: 1 members" in said
    assert "regulars v1: 1 members" in said
    assert "variants spring v1" in said
    again = await muster(one, *apply)
    assert again.strip().endswith("3 unchanged")
    # A rule is changed, a name is changed, a document goes.
    changed = BUYERS.replace("type: bought", "type: viewed").replace("[sales]", "[sales, mail]")
    (folder / "a.yaml").write_text(changed)
    dry = await muster(one, *apply, "--dry-run", "--prune")
    assert "~ buyers: change, v1 -> v2; 1 enter, 1 leave, 0 stay" in dry
    assert "+ did viewed" in dry
    assert "- did bought" in dry
    assert "regulars: 1 enter, 1 leave" in dry
    assert "~ regulars: describe, name and tags only" in dry
    assert "2 to change, 1 unchanged" in dry
    await muster(one, *apply, "--author", "bob")
    history = await muster(one, "segments", "versions", "buyers")
    assert "by bob" in history
    assert "by ada: as code" in history
    assert "did viewed" in await muster(one, "segments", "diff", "buyers")
    # What no file names stays, unless it is asked to go: then each before what it speaks of.
    (folder / "deep" / "b.yml").unlink()
    (folder / "a.yaml").write_text(changed.split("---", maxsplit=1)[0])
    assert (await muster(one, *apply)).strip().endswith("1 unchanged")
    pruned = await muster(one, *apply, "--prune")
    assert pruned.splitlines()[-2:] == ["regulars is retired", "variants spring are retired"]
    listed = await muster(one, "segments", "list")
    assert "buyers" in listed
    assert "regulars" not in listed


async def test_lists_are_applied_too_and_keep_their_people(one: Stack, tmp_path: Path) -> None:
    await one.log.say(one.log.people(range(3)))
    await one.events([(1, "bought", 1)])
    file = tmp_path / "rules.yaml"
    club = "list: club\nname: The club\nfollows: buyers\n"
    rule = "segment: calls\ncondition: {any: [{list: club}, {list: vip}]}\n"
    buyers = BUYERS.split("---", maxsplit=1)[0]
    file.write_text("---\n".join([rule, club, "list: vip\ntags: [care]\n", buyers]))
    apply = ("segments", "apply", "-f", str(file))
    dry = await muster(one, *apply, "--dry-run")
    assert "+ list club: create, follows buyers" in dry
    assert "+ list vip: create, kept by hand" in dry
    assert "4 to create" in dry
    said = await muster(one, *apply, "--author", "ada")
    assert "club v1: 1 members" in said
    assert "calls v1: 1 members" in said
    assert (await muster(one, *apply)).strip().endswith("4 unchanged")
    await muster(one, "lists", "add", "vip", "email=p2@example.com")
    file.write_text(file.read_text().replace("follows: buyers\n", "").replace("care", "calls"))
    dry = await muster(one, *apply, "--dry-run", "--prune")
    assert "~ list club: change, v1 -> v2; who is in it stays in" in dry
    assert "- follows: buyers" in dry
    assert "+ follows: nothing" in dry
    assert "~ list vip: describe, name and tags only" in dry
    assert "2 to change, 2 unchanged" in dry
    said = await muster(one, *apply)
    assert "club v2: 1 members" in said
    assert "vip v1: 1 members" in said
    assert (await muster(one, *apply)).strip().endswith("4 unchanged")
    file.write_text("list: vip\nmembers: [p_1]\n")
    refused = await muster(one, *apply, code=1)
    assert "members: who is in a list comes by `muster lists add`" in refused
    file.write_text("list: vip\ntriggers: {variant_set: nowhere, migrates_from: nobody}\n")
    refused = await muster(one, *apply, code=1)
    assert "triggers.variant_set: there is no variant set 'nowhere'" in refused
    assert "triggers.migrates_from: 'nobody' is no other segment" in refused


async def test_commands_find_trace_copy_and_retire(one: Stack, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(BUYERS + "---" + VARIANTS)
    await one.log.say(one.log.people(range(2)))
    await muster(one, "segments", "apply", "-f", str(file))
    assert "regulars" in await muster(one, "segments", "search", "--tag", "sales")
    assert "buyers" in await muster(one, "segments", "search", "--uses", "event_type=bought")
    traced = await muster(one, "segments", "lineage", "buyers")
    assert "used by regulars" in traced
    assert "used by variants spring" in traced
    assert "copied v1" in await muster(one, "segments", "copy", "buyers", "copied")
    divided = await muster(one, "segments", "variants")
    assert "hello" in divided
    of = await muster(one, "segments", "variants", "spring", "--profile", "email=p1@example.com")
    assert "hello (no rule holds)" in of
    refused = await muster(one, "segments", "retire", "buyers", code=1)
    assert "regulars, variant set spring" in refused
    forced = await muster(one, "segments", "retire", "buyers", "--force")
    assert forced.splitlines() == [
        "regulars is retired",
        "buyers is retired",
        "variants spring lost a rule",
    ]


async def test_commands_freeze_split_and_export(one: Stack, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(BUYERS.split("---", maxsplit=1)[0])
    await one.log.say(one.log.people(range(20)))
    await muster(one, "segments", "apply", "-f", str(file))
    await one.events([(n, "bought", 1) for n in range(20)])
    assert "frozen v1: 20 members" in await muster(one, "segments", "freeze", "buyers", "frozen")
    said = await muster(one, "segments", "split", "buyers", "a=90", "b=10")
    assert "a v1: 18 members" in said
    assert "b v1: 2 members" in said
    assert "note: 20 members can be reached" in said
    wrong = await muster(one, "segments", "split", "buyers", "c=9.99", "d=90.01", code=1)
    assert "at most one decimal" in wrong
    columns = ("--column", "profile_id", "--column", "segment.b")
    exported = (await muster(one, "segments", "export", "frozen", *columns)).splitlines()
    assert exported[0] == "profile_id,segment.b"
    assert len(exported) == 21
    assert sum(line.endswith(",yes") for line in exported) == 2


async def test_what_is_wrong_with_files_is_said_before_anything_is_done(
    one: Stack, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.yaml").write_text(BUYERS)
    (tmp_path / "x" / "b.yaml").write_text(BUYERS)
    said = await muster(one, "segments", "apply", "-f", str(tmp_path / "x"), code=1)
    assert "buyers is defined in" in said
    circle = "segment: {}\ncondition: {{segment: {}}}\n"
    (tmp_path / "c.yaml").write_text(circle.format("a", "b") + "---\n" + circle.format("b", "a"))
    said = await muster(one, "segments", "apply", "-f", str(tmp_path / "c.yaml"), code=1)
    assert "speak of each other in a circle" in said
    assert "no segments yet" in await muster(one, "segments", "list")
