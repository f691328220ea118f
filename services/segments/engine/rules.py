"""The rules in force as tables for the kernel that judges them.

A rule over at most six inputs is a truth table in one word; others are steps over a stack. A rule
comes after those it refers to (its rank), so one pass settles a group.
"""

from __future__ import annotations

import numpy as np

from services.segments.engine.arrays import Array
from services.segments.engine.expressions import (
    AtLeast,
    Expression,
    LeafSpec,
    Push,
    True_,
    references_of,
    run,
)
from services.segments.engine.memberships import (
    ALIVE,
    AT_LEAST,
    BY_STEPS,
    BY_TABLE,
    NOT,
    NOTHING,
    PUSH,
    TRUE,
    Rules,
    Scratch,
)
from services.segments.engine.partition import Partition, Segment

TABLE_INPUTS_MAX = 6


def ranks(segments: list[Segment]) -> list[int]:
    """Places in an order in which a rule comes after those it refers to, then by number."""
    by_id = {segment.segment_id: segment for segment in segments}
    level: dict[str, int] = {}

    def level_of(segment_id: str) -> int:
        if segment_id not in level:
            below = references_of(by_id[segment_id].expression)
            level[segment_id] = 1 + max((level_of(of) for of in below), default=-1)
        return level[segment_id]

    ordered = sorted(segments, key=lambda one: (level_of(one.segment_id), one.number))
    return [segment.place for segment in ordered]


def truth_table(expression: Expression, inputs: list[LeafSpec | str]) -> int:
    """Bit i: the answer when input j is bit j of i."""
    table = 0
    for index in range(1 << len(inputs)):
        state = {of: bool(index >> j & 1) for j, of in enumerate(inputs)}
        holds = run(
            expression, lambda of: state[of], lambda: True, lambda taken, n: sum(taken) >= n,
            lambda one: not one,
        )  # fmt: skip
        table |= int(holds) << index
    return table


def holds_over_nothing(segments: list[Segment], order: list[int]) -> list[bool]:
    """By place: whether the rule holds for a profile without a leaf bit."""
    holds: dict[str, bool] = {}
    by_place = [False] * len(segments)
    for place in order:
        segment = segments[place]
        if segment.node is not None:
            by_place[place] = run(
                segment.expression,
                lambda of: holds.get(of, False) if isinstance(of, str) else False,
                lambda: True, lambda taken, n: sum(taken) >= n, lambda one: not one,
            )  # fmt: skip
        holds[segment.segment_id] = by_place[place]
    return by_place


def build_rules(part: Partition, leaves: dict[LeafSpec, int], leaf_count: int) -> Rules:
    """Tables of every segment, by place; leaves: the numbers of the leaves in use."""
    segments = part.by_place
    order = ranks(segments)
    rank_of = {place: rank for rank, place in enumerate(order)}
    watch = np.zeros((leaf_count, (len(segments) + 63) // 64 or 1), np.uint64)

    def look(leaf: int, place: int) -> None:
        rank = rank_of[place]
        watch[leaf, rank >> 6] |= np.uint64(1 << (rank & 63))

    for place, holds in enumerate(holds_over_nothing(segments, order)):
        if holds:
            look(ALIVE, place)
    kinds, tables, inputs, steps = [], [], [], []
    dependents: list[list[int]] = [[] for _ in segments]
    references: list[list[int]] = [[] for _ in segments]
    for segment in segments:
        expression = segment.expression
        of = list(dict.fromkeys(step.of for step in expression if isinstance(step, Push)))
        numbers = []
        for one in of:
            if isinstance(one, str):
                other = part.segments[one].place
                numbers.append(-1 - other)
                dependents[other].append(segment.place)
                references[segment.place].append(other)
            else:
                numbers.append(leaves[one])
                look(leaves[one], segment.place)
        inputs.append(numbers)
        small = len(of) <= TABLE_INPUTS_MAX
        kinds.append(NOTHING if segment.node is None else BY_TABLE if small else BY_STEPS)
        tables.append(truth_table(expression, of) if small and expression else 0)
        steps.append(_steps(expression, of))
    flat = [step for program in steps for step in program]
    return Rules(
        np.array(kinds, np.uint8), np.array(tables, np.uint64), _starts(inputs), _flat(inputs),
        _starts(steps), np.array([s[0] for s in flat], np.uint8),
        np.array([s[1] for s in flat], np.int64), np.array([s[2] for s in flat], np.int64), watch,
        np.array([rank_of[place] for place in range(len(segments))], np.int64),
        np.array(order, np.int64), np.array([s.number for s in segments], np.int64),
        _starts(dependents), _flat(dependents), _starts(references), _flat(references),
    )  # fmt: skip


def _steps(expression: Expression, of: list[LeafSpec | str]) -> list[tuple[int, int, int]]:
    steps = []
    for step in expression:
        if isinstance(step, Push):
            steps.append((PUSH, of.index(step.of), 0))
        elif isinstance(step, AtLeast):
            steps.append((AT_LEAST, step.n, step.of))
        else:
            steps.append((TRUE if isinstance(step, True_) else NOT, 0, 0))
    return steps


def _starts(lists: list[list[int]] | list[list[tuple[int, int, int]]]) -> Array:
    return np.cumsum([0, *map(len, lists)]).astype(np.int64)


def _flat(lists: list[list[int]]) -> Array:
    return np.array([item for items in lists for item in items], np.int64)


def make_scratch(leaf_count: int, places: int) -> Scratch:
    """Working memory of the kernel for this many leaves and segments."""
    return Scratch(
        np.zeros(leaf_count, np.int64), np.zeros(leaf_count, np.uint8),
        np.zeros(leaf_count, np.int64), np.zeros(max(places, 1), np.int64),
        np.zeros(max(places, 1), np.int64), np.zeros(leaf_count, np.int64),
        np.zeros((places + 63) // 64 or 1, np.uint64), np.zeros(512, np.uint8),
        np.zeros(1, np.int64),
    )  # fmt: skip
