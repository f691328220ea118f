"""A story that does not hold says where and who disagrees; one that means nothing says why."""

from __future__ import annotations

import pytest

from cli.reading import TreeFaults
from cli.simulation.cases import read_case
from cli.simulation.runs import run_case

BEGIN = """
story: Anna buys, Boris looks.
start: 2026-03-01T00:00:00Z
people: {anna: {email: anna@example.com}, boris: {email: boris@example.com}}
segments: {buyers: {event: order_completed}}
lists: {vip: {}}
steps:
  - {at: 2026-03-01T10:00:00Z, event: order_completed, by: anna}
  - {event: page_viewed, by: boris}
"""


def _wrong(steps: str) -> str:
    return "\n".join(run_case(read_case(BEGIN + steps)).wrong)


def test_everyone_who_can_answer_is_named_with_who_is_too_many_and_who_is_missing() -> None:
    said = _wrong("  - {members: {buyers: [boris]}}")
    for reader in ("incremental", "from scratch", "transitions", "naive", "sql"):
        line = next(line for line in said.splitlines() if f" {reader} (" in line)
        assert line.startswith("steps[2]: buyers as of 2026-03-01T10:00:00Z")
        assert line.endswith("must not hold anna and misses boris")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("{profiles: [[anna, boris]]}", "anna and boris must be one profile"),
        ("{at: +1 day, as_of: 2026-03-01T09:00:00Z, members: {buyers: [anna]}}", "misses anna"),
        ("{transitions: {buyers: []}}", "buyers: anna entered at 2026-03-01T10:00:00Z (event)"),
        ("{add: {nowhere: [anna]}}", "nowhere is refused: there is no list 'nowhere'"),
        ("{members: {nobody: []}}", "there is no segment 'nobody'"),
    ],
)
def test_what_does_not_hold_is_said(step: str, said: str) -> None:
    assert said in _wrong(f"  - {step}")


def test_two_names_of_one_profile_are_not_two() -> None:
    joined = "  - {event: signed_in, by: [anna, boris]}\n  - {profiles: [[anna], [boris]]}"
    assert "boris and anna must be two profiles" in _wrong(joined)


@pytest.mark.parametrize(
    ("step", "path", "said"),
    [
        ("{members: {buyers: [clara]}}", "steps[2].members.buyers[0]", "not among the people"),
        ("{as_of: 2026-04-01T00:00:00Z, members: {buyers: []}}", "steps[2].as_of", "lies ahead"),
        ("{link: [anna]}", "steps[2].link", "two names or more"),
        ("{catalogue: {iphone: 3}}", "steps[2].catalogue.iphone", "must be a mapping"),
        ("{add: {vip: [anna]}, by: boris}", "steps[2].by", "has no 'by'"),
        ("{lists: {fans: {who: anna}}}", "steps[2].lists.fans.who", "has no 'who'"),
    ],
)
def test_a_step_that_means_nothing_is_a_fault_with_its_path(
    step: str, path: str, said: str
) -> None:
    with pytest.raises(TreeFaults) as refused:
        read_case(f"{BEGIN}  - {step}")
    assert [(where, said in text) for where, text in refused.value.faults] == [(path, True)]
