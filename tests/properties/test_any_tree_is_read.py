"""Whatever comes as a rule has faults with paths, or a meaning: one that can be said, put in one
shape, written as YAML and read again. Nothing else is ever raised.

MUSTER_SEED is the first seed (by chance, printed).
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cli.conditions import read_condition as read_friendly
from cli.reading import read_document
from cli.writing import document_of, write_condition
from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import normal
from services.segments.domain.sentences import sentence_of
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.expressions import express
from services.segments.engine.language.reading import Reader
from tests.support.leaves import WEIGHTS, Leaves
from tests.unit.segments.reading import known

TREES = 400
SEEDS = 5
FIRST_SEED = int(os.environ.get("MUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 30)

TEXTS = [
    "", "a", "big-spenders", "vip", "email", "web_push", "ios", "10", "2026-05-31", "Europe/Kyiv",
    "UTC", "(a", "(a|b)*", "Straße", "soon", "2026-05-31T10:00:00Z", "lines", "all",
]  # fmt: skip
WHOLES = [0, 0, 1, 1, 2, 3, 5, 7, 99, 366, 367, 86_400, 2**31 - 1]
SIGNED = [*WHOLES, -1, -86_400, 2**40]
DEPTH = 7


class Chance:
    """Fills messages by what their fields can hold."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def scalar(self, field: FieldDescriptor) -> Any:
        rng = self.rng
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                return rng.choice(TEXTS)
            case FieldDescriptor.CPPTYPE_BOOL:
                return rng.random() < 0.5
            case FieldDescriptor.CPPTYPE_ENUM:
                numbers = [value.number for value in field.enum_type.values]
                return rng.choice([*numbers, rng.choice([*numbers, 99])])
            case FieldDescriptor.CPPTYPE_INT64 | FieldDescriptor.CPPTYPE_UINT64:
                return rng.choice([*SIGNED, (1 << 63) - 1, -(1 << 63)])
            case FieldDescriptor.CPPTYPE_INT32:
                return rng.choice(SIGNED[:-1])
        return rng.choice(WHOLES)

    def fill(self, message: Message, depth: int) -> Any:
        rng, kind = self.rng, message.DESCRIPTOR
        if kind.full_name == "google.protobuf.Duration":
            seconds = [1, 60, 3_600, 86_400, 30 * 86_400, 0, -5, 10**12, (1 << 63) - 1]
            message.seconds = rng.choice([*seconds[:5] * 4, *seconds])  # type: ignore[attr-defined]
            return message
        for oneof in kind.oneofs:
            chosen = rng.choice(oneof.fields)
            if rng.random() < 0.97:
                self._set(message, chosen, depth)
        for field in kind.fields:
            if field.containing_oneof is None and rng.random() < 0.7:
                self._set(message, field, depth)
        return message

    def _set(self, message: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is None:
            values = [self.scalar(field) for _ in range(self.rng.choice([0, 1, 1, 2, 4]))]
            if field.is_repeated:
                getattr(message, field.name).extend(values)
            else:
                setattr(message, field.name, self.scalar(field))
            return
        if depth == 0:
            getattr(message, field.name) if field.is_repeated else getattr(
                message, field.name
            ).SetInParent()
            return
        if not field.is_repeated:
            inner = getattr(message, field.name)
            inner.SetInParent()
            self.fill(inner, depth - 1)
            return
        for _ in range(self.rng.choice([0, 1, 1, 2, 2, 4])):
            self.fill(getattr(message, field.name).add(), depth - 1)

    def mistake(self, message: Message) -> None:
        """Changes one field somewhere below: cleared, or filled otherwise."""
        rng = self.rng
        inner = [
            one
            for field, value in message.ListFields()
            if field.message_type is not None
            for one in (value if field.is_repeated else [value])
        ]
        if inner and rng.random() < 0.75:
            self.mistake(rng.choice(inner))
            return
        if not message.DESCRIPTOR.fields:
            return
        field = rng.choice(message.DESCRIPTOR.fields)
        if rng.random() < 0.3 or message.DESCRIPTOR.full_name.startswith("google."):
            message.ClearField(field.name)
        else:
            self._set(message, field, 1)


def judged(condition: pb.Condition) -> bool:
    """Whether a tree has a meaning; everything that can be done with one is done."""
    reader = Reader("", known, EngineLimits())
    node = reader.node(condition)
    if reader.faults:
        for path, text in reader.faults:
            assert text, (path, condition)
        assert len(set(reader.faults)) == len(reader.faults), condition
        return False
    assert sentence_of(node)
    express(node)
    assert normal.node(normal.node(node)) == normal.node(node)
    again = read_friendly(read_document(document_of(write_condition(condition))))
    second = Reader("", known, EngineLimits())
    assert (second.node(again), second.faults) == (node, []), condition
    return True


@pytest.mark.parametrize("seed", [FIRST_SEED + place for place in range(SEEDS)])
def test_any_tree_has_faults_or_a_meaning(seed: int) -> None:
    print(f"seed {seed}")
    chance = Chance(random.Random(seed))
    means = sum(
        judged(chance.fill(pb.Condition(), chance.rng.randint(1, DEPTH))) for _ in range(TREES)
    )
    assert 0 < means < TREES


def leaf_of(kind: str, rng: random.Random) -> pb.Condition:
    """A leaf as random histories use them."""
    leaves = Leaves(rng, [1, 3_600_000_000, 14 * 86_400_000_000], [0, -1, 1_767_225_600_000_000])
    leaves.segments, leaves.lists = ["big-spenders"], ["vip"]
    made: pb.Condition = getattr(leaves, kind)()
    return made


@pytest.mark.parametrize("kind", sorted(WEIGHTS))
def test_a_leaf_with_mistakes_has_faults_or_a_meaning(kind: str) -> None:
    print(f"seed {FIRST_SEED}")
    chance = Chance(random.Random(FIRST_SEED))
    for mistakes in (0, 1, 3):
        means = 0
        for _ in range(TREES // 4):
            condition = leaf_of(kind, chance.rng)
            for _ in range(mistakes):
                chance.mistake(condition)
            means += judged(condition)
        assert means > 0
