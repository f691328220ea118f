"""Every example of the page of conditions is read, by the YAML and by the engine's reader."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cli.condition_parts import OPERATORS
from cli.conditions import read_condition
from cli.macros import MACROS
from cli.reading import read_document
from cli.writing import document_of, write_condition
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain.sentences import sentence_of
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import Reader
from tests.contract.sources import ROOT

PAGE = (ROOT / "docs" / "conditions.md").read_text()
EXAMPLES: list[dict[str, Any]] = [
    tree
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for tree in read_document(block)
]


@pytest.mark.parametrize("tree", EXAMPLES, ids=str)
def test_an_example_means_a_rule_and_is_written_back(tree: dict[str, Any]) -> None:
    condition = read_condition(tree)
    reader = Reader("", lambda _: None, EngineLimits())
    node = reader.node(condition)
    assert reader.faults == []
    assert sentence_of(node)
    assert read_condition(read_document(document_of(write_condition(condition)))) == condition


def names_in(tree: Any) -> set[str]:
    """Every key of a tree."""
    if isinstance(tree, dict):
        return set(tree).union(*map(names_in, tree.values()))
    return set().union(*map(names_in, tree)) if isinstance(tree, list) else set()


def test_the_page_shows_every_node_operator_aggregate_and_recipe() -> None:
    nodes = {field.name for field in pb.Condition.DESCRIPTOR.fields}
    aggregates = {
        name.removeprefix("AGGREGATE_KIND_").lower() for name, of in pb.AggregateKind.items() if of
    }
    wanted = nodes | set(OPERATORS) | aggregates | set(MACROS)
    assert wanted - names_in(EXAMPLES) == set()


def test_the_page_names_the_limits() -> None:
    limits = EngineLimits()
    for number in (
        f"{limits.depth_max} levels", f"{limits.leaves_max} leaves",
        f"{limits.filters_max} filters", f"{limits.values_max:,} values",
        f"{limits.steps_max} steps", f"{limits.periods_max} periods",
        f"{limits.window_years_max} years",
    ):  # fmt: skip
        assert number in " ".join(PAGE.split())
