"""The page of semantics marks what is not built (○), and exactly that is refused as such."""

from __future__ import annotations

import re
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain.faults import ConditionFaults
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import read_condition
from services.segments.engine.language.speaking import ENGINE_SPEAKS
from tests.contract.sources import ROOT
from tools.golden_rules import EVERY_LEAF

PAGE = (ROOT / "docs" / "semantics.md").read_text()
NOT_BUILT = "○"
NOT_YET = "not evaluated yet"
GROUPS = {"all", "any", "none"}


def leaves(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Every leaf of a tree in protobuf's JSON, `everyone` left out."""
    (name, inner), *_ = tree.items()
    if name == "not":
        return leaves(inner)
    if name in {*GROUPS, "atLeast"}:
        return [leaf for child in inner["of"] for leaf in leaves(child)]
    return [] if name == "everyone" else [tree]


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


LEAVES = leaves(EVERY_LEAF)


def faults(tree: dict[str, Any]) -> list[str]:
    """What the engine finds wrong in a rule of one leaf; every segment is known, and lists when
    there are any."""

    def list_refusal(_: str) -> str | None:
        return None if "InList" in ENGINE_SPEAKS else f"lists are {NOT_YET}"

    condition = ParseDict(tree, pb.Condition())
    try:
        read_condition(condition, "UTC", lambda _: None, EngineLimits(), list_refusal)
    except ConditionFaults as refused:
        return [text for _, text in refused.faults]
    return []


def table(heading: str) -> dict[str, bool]:
    """First cell of each row of the table after a heading -> whether it is marked as built."""
    after = PAGE.split(heading, 1)[1]
    found = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert found
    lines = [[c.strip() for c in row.strip("|").split("|")] for row in found[0].splitlines()[2:]]
    return {cells[0].strip("`"): cells[-1] != NOT_BUILT for cells in lines}


def listed(heading: str) -> dict[str, bool]:
    """Words between backticks of a paragraph -> whether they stand before the mark."""
    paragraph = re.search(rf"^{heading}:.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert paragraph
    built, _, later = paragraph[0].partition(NOT_BUILT)
    words = dict.fromkeys(re.findall(r"`(\w+)`", built), True)
    later = later.split(".")[0]
    return words | dict.fromkeys(re.findall(r"`(\w+)`", later), False)


def test_every_leaf_of_the_contract_stands_on_the_page() -> None:
    wanted = {f.name for f in pb.Condition.DESCRIPTOR.fields} - {*GROUPS, "not", "at_least"}
    assert set(table("## The condition language")) == wanted - {"everyone"}


@pytest.mark.parametrize("name", sorted(table("## The condition language")))
def test_a_leaf_is_refused_exactly_when_it_is_marked(name: str) -> None:
    built = table("## The condition language")[name]
    found = [faults(leaf) for leaf in LEAVES if snake(next(iter(leaf))) == name]
    assert found
    if built:
        assert [] in found, f"{name} is said to be built, but each example is refused: {found}"
    else:
        assert all(any(NOT_YET in text for text in one) for one in found)


OPERATORS = {
    leaf["attribute"]["test"]["op"].removeprefix("OPERATOR_").lower(): leaf
    for leaf in LEAVES
    if "attribute" in leaf
}


def test_every_operator_stands_on_the_page() -> None:
    assert set(listed("Operators")) == set(OPERATORS)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_an_operator_is_refused_exactly_when_it_is_marked(operator: str) -> None:
    found = faults(OPERATORS[operator])
    assert (found == []) == listed("Operators")[operator], found


AGGREGATES = {
    leaf["event"]["aggregate"]["kind"].removeprefix("AGGREGATE_KIND_").lower(): leaf
    for leaf in LEAVES
    if "event" in leaf and "aggregate" in leaf["event"]
}


def test_every_aggregate_stands_on_the_page() -> None:
    assert set(listed("Aggregates")) == set(AGGREGATES)


@pytest.mark.parametrize("aggregate", sorted(AGGREGATES))
def test_an_aggregate_is_refused_exactly_when_it_is_marked(aggregate: str) -> None:
    found = faults(AGGREGATES[aggregate])
    assert (found == []) == listed("Aggregates")[aggregate], found


CALENDAR = {"lastCalendarUnits": "last n months, years", "thisPeriod": "today, this week"}


@pytest.mark.parametrize("window", sorted(CALENDAR))
def test_a_calendar_window_is_refused_exactly_when_it_is_marked(window: str) -> None:
    (leaf,) = [x for x in LEAVES if "event" in x and window in x["event"]["window"]]
    (built,) = [
        built for name, built in table("### Windows").items() if name.startswith(CALENDAR[window])
    ]
    assert (faults(leaf) == []) == built


@pytest.mark.parametrize("window", ["last", "slice", "absolute", "ever"])
def test_windows_of_elapsed_time_are_built(window: str) -> None:
    found = [x for x in LEAVES if "event" in x and window in x["event"].get("window", {})]
    assert found
    assert [] in [faults(x) for x in found]
