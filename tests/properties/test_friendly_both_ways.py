"""Friendly YAML both ways: what is written of any rule is read as that rule.

MUSTER_SEED is the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random

import pytest
from google.protobuf.json_format import ParseDict

from cli.conditions import read_condition
from cli.reading import read_document
from cli.writing import document_of, write_condition
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.domain.sentences import sentence_of
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import Reader
from tests.support.leaves import Leaves
from tools.golden_rules import EVERY_LEAF

SECOND = 1_000_000
DURATIONS = [1, 999, 1_500 * SECOND, 3_600 * SECOND + 1, 86_400 * SECOND, 14 * 86_400 * SECOND]
INSTANTS = [0, -1, 1_767_225_600 * SECOND, 1_767_225_600 * SECOND + 123_456]
RULES = 40
SEEDS = 10
FIRST_SEED = int(os.environ.get("MUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 30)


def normal(condition: pb.Condition) -> tuple[rule.Node, list[tuple[str, str]]]:
    """The engine's reading of a rule, and its faults."""
    reader = Reader("Europe/Kyiv", lambda _: None, EngineLimits())
    return reader.node(condition), reader.faults


def again(condition: pb.Condition) -> pb.Condition:
    """Through friendly text and back."""
    text = document_of(write_condition(condition))
    return read_condition(read_document(text))


def tree(rng: random.Random, depth: int) -> pb.Condition:
    leaves = Leaves(rng, DURATIONS, INSTANTS)
    leaves.segments, leaves.lists = ["big-spenders"], ["vip"]
    made = pb.Condition()
    kind = rng.choice(["leaf", "leaf", "all", "any", "none", "not", "at_least"])
    if not depth or kind == "leaf":
        return leaves.draw()
    if kind == "not":
        getattr(made, "not").CopyFrom(tree(rng, depth - 1))
        return made
    getattr(made, kind).of.extend(tree(rng, depth - 1) for _ in range(rng.randint(1, 3)))
    if kind == "at_least":
        made.at_least.n = rng.randint(1, len(made.at_least.of))
    return made


@pytest.mark.parametrize("seed", [FIRST_SEED + place for place in range(SEEDS)])
def test_what_is_written_of_a_rule_is_read_as_that_rule(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    meant = 0
    for _ in range(RULES):
        condition = tree(rng, 2)
        node, faults = normal(condition)
        if faults:
            continue
        meant += 1
        back = again(condition)
        assert normal(back) == (node, []), condition
        assert again(back) == back, condition
        assert sentence_of(node)
    assert meant > RULES // 2


def test_the_whole_vocabulary_can_be_written() -> None:
    condition = ParseDict(EVERY_LEAF, pb.Condition())
    assert normal(again(condition)) == normal(condition)
