"""A segment goes out as the file it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.segments_stack import Stack, stack_of
from tests.integration.test_cli_segments_life import muster

FIRST = "segment: quiet\ncondition: {stopped: {type: bought, for: 20 seconds}}\n"
SECOND = """
segment: quiet
name: Bought once, silent now
zone: Europe/Kyiv
tags: [sales]
triggers: {reasons: [event, time], cool_down: 1 hour, reentry: false}
condition: {stopped: {type: bought, for: 30 seconds, at_least: 2}}
"""
SHOWN = """\
segment: quiet
name: Bought once, silent now
zone: Europe/Kyiv
tags: [sales]
triggers:
  reasons: [event, time]
  cool_down: 1 hour
  reentry: false
condition:
  all:
  - event:
      type: bought
      count: {gte: 2}
  - not:
      event: {type: bought, window: last 30 seconds}
"""


@pytest.fixture
async def one(tmp_path: Path):
    async for stack in stack_of(tmp_path, 1):
        yield stack


async def test_what_is_shown_applies_as_unchanged(one: Stack, tmp_path: Path) -> None:
    await one.log.say(one.log.people(range(1)))
    file = tmp_path / "rule.yaml"
    for text in (FIRST, SECOND):
        file.write_text(text)
        await muster(one, "segments", "apply", "-f", str(file))
    shown = await muster(one, "segments", "show", "quiet")
    assert shown == SHOWN
    file.write_text(shown)
    again = await muster(one, "segments", "apply", "-f", str(file), "--dry-run")
    assert again.strip().endswith("1 unchanged")
    before = await muster(one, "segments", "show", "quiet", "--version", "1")
    assert "last 20 seconds" in before and "name" not in before
    file.write_text(before)
    undo = await muster(one, "segments", "apply", "-f", str(file), "--dry-run")
    assert "~ quiet: change, v2 -> v3" in undo
    wrong = await muster(one, "segments", "show", "quiet", "--version", "9", code=1)
    assert "quiet has no version 9" in wrong
    assert "nobody" in await muster(one, "segments", "show", "nobody", code=1)
