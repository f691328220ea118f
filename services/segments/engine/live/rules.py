"""The rules in force as tables for the kernel that judges them.

A rule over at most six inputs is a truth table in one word; others are steps over a stack. A rule
comes after those it refers to (its rank), so one pass settles a group. Each rule is compiled once,
when it is defined; the tables only string the parts together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.language.expressions import (
    AtLeast,
    Expression,
    LeafSpec,
    PartLeaf,
    Push,
    True_,
    references_of,
    run,
)
from services.segments.engine.live.memberships import (
    ALIVE,
    AT_LEAST,
    BY_STEPS,
    BY_TABLE,
    HEARD,
    INPUTS,
    NOT,
    NOTHING,
    PLACE,
    PUSH,
    SHORT_INPUTS_MAX,
    SHORT_WIDTH,
    TABLE,
    TRUE,
    Rules,
    Scratch,
)

TABLE_INPUTS_MAX = 6
StepRow = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled rule. inputs: numbers of leaves, or -1 - place of a segment referred to."""

    kind: int = NOTHING
    table: int = 0
    inputs: tuple[int, ...] = ()
    steps: tuple[StepRow, ...] = ()
    from_birth: bool = False
    """It looks at a leaf that a profile may have from birth: no turn of it will be heard."""

    @property
    def references(self) -> list[int]:
        """Places of the segments referred to."""
        return [-1 - given for given in self.inputs if given < 0]

    @property
    def short_table(self) -> int:
        """The table over three inputs, where the last ones, if it has fewer, make no difference."""
        size = 1 << len(self.inputs)
        return sum((self.table >> (i % size) & 1) << i for i in range(1 << SHORT_INPUTS_MAX))

    def over_nothing(self) -> bool:
        """Its answer for a profile without a leaf bit that is in no segment: whether a profile must
        be judged when it begins, although no leaf of the rule turned."""
        if self.kind == NOTHING or self.from_birth:
            return self.from_birth
        if self.kind == BY_TABLE:
            return bool(self.table & 1)
        stack: list[bool] = []
        for step, least, count in self.steps:
            if step == PUSH:
                stack.append(False)
            elif step == AT_LEAST:
                taken = stack[-count:]
                del stack[-count:]
                stack.append(sum(taken) >= least)
            else:
                stack.append(not stack.pop() if step == NOT else True)
        return stack[0]


@dataclass(slots=True)
class Segment:
    """A segment as it stands. place: its bit in memberships, never given to another.

    node: None when the segment is taken out of service; the rest follows from it.
    """

    place: int
    number: int
    segment_id: str
    version: int = 0
    definition: bytes = b""
    """SegmentDefined as it came."""
    node: rule.Node | None = None
    expression: Expression = ()
    zone: str = ""
    program: Program = field(default_factory=Program)
    leaves: tuple[LeafSpec, ...] = ()

    @property
    def references(self) -> list[str]:
        return references_of(self.expression)


def compile_program(
    expression: Expression, leaves: dict[LeafSpec, int], places: dict[str, int]
) -> Program:
    """leaves: numbers of those in use; places: of the segments referred to."""
    if not expression:
        return Program()
    of = list(dict.fromkeys(step.of for step in expression if isinstance(step, Push)))
    inputs = tuple(-1 - places[one] if isinstance(one, str) else leaves[one] for one in of)
    from_birth = any(isinstance(one, PartLeaf) for one in of)
    if len(of) <= TABLE_INPUTS_MAX:
        return Program(BY_TABLE, truth_table(expression, of), inputs, (), from_birth)
    steps: list[StepRow] = []
    numbers = {one: number for number, one in enumerate(of)}
    for step in expression:
        if isinstance(step, Push):
            steps.append((PUSH, numbers[step.of], 0))
        elif isinstance(step, AtLeast):
            steps.append((AT_LEAST, step.n, step.of))
        else:
            steps.append((TRUE if isinstance(step, True_) else NOT, 0, 0))
    return Program(BY_STEPS, 0, inputs, tuple(steps), from_birth)


def truth_table(expression: Expression, inputs: list[LeafSpec | str]) -> int:
    """Bit i: the answer when input j is bit j of i."""
    numbers = {of: number for number, of in enumerate(inputs)}
    table = 0
    for index in range(1 << len(inputs)):
        holds = run(
            expression,
            lambda of, index=index: bool(index >> numbers[of] & 1),  # type: ignore[misc]
            lambda: True,
            lambda taken, n: sum(taken) >= n,
            lambda one: not one,
        )
        table |= int(holds) << index
    return table


def ranks(segments: list[Segment]) -> list[int]:
    """Places in an order in which a rule comes after those it refers to, then by number."""
    level: dict[int, int] = {}

    def level_of(place: int) -> int:
        if place not in level:
            below = segments[place].program.references
            level[place] = 1 + max((level_of(other) for other in below), default=-1)
        return level[place]

    ordered = sorted(segments, key=lambda one: (level_of(one.place), one.number))
    return [segment.place for segment in ordered]


def build_rules(
    segments: list[Segment], leaf_count: int, ended: dict[str, list[int]] | None = None
) -> Rules:
    """Tables of every segment, by place. ended: leaves that a segment's transition ends, by id."""
    order = ranks(segments)
    rank_of = [0] * len(segments)
    for rank, place in enumerate(order):
        rank_of[place] = rank
    watch = np.zeros((leaf_count, (len(segments) + 63) // 64 or 1), np.uint64)
    dependents: list[list[int]] = [[] for _ in segments]
    for place in order:
        program = segments[place].program
        rank = rank_of[place]
        bit = np.uint64(1 << (rank & 63))
        if program.over_nothing():
            watch[ALIVE, rank >> 6] |= bit
        for given in program.inputs:
            if given >= 0:
                watch[given, rank >> 6] |= bit
            else:
                dependents[-1 - given].append(place)
    programs = [segment.program for segment in segments]
    references = [program.references for program in programs]
    inputs = [list(program.inputs) for program in programs]
    ends = [(ended or {}).get(segment.segment_id, []) for segment in segments]
    steps = np.array([s for p in programs for s in p.steps], np.int64).reshape(-1, 3)
    return Rules(
        np.array([p.kind for p in programs], np.uint8),
        np.array([p.table for p in programs], np.uint64),
        _starts([len(one) for one in inputs]), _flat(inputs),
        _starts([len(p.steps) for p in programs]), steps[:, 0].astype(np.uint8),
        np.ascontiguousarray(steps[:, 1]), np.ascontiguousarray(steps[:, 2]), watch,
        np.array(rank_of, np.int64), np.array(order, np.int64),
        np.array([s.number for s in segments], np.int64),
        np.array([s.version for s in segments], np.uint32),
        _starts([len(one) for one in dependents]), _flat(dependents),
        _starts([len(one) for one in references]), _flat(references),
        _starts([len(one) for one in ends]), _flat(ends),
        _short_forms([programs[place] for place in order], order, dependents, ends),
    )  # fmt: skip


def _short_forms(
    programs: list[Program], order: list[int], dependents: list[list[int]], ends: list[list[int]]
) -> Array:
    """Rules by rank as the kernel judges most of them; see `Rules`."""
    forms = np.zeros((len(order), SHORT_WIDTH), np.uint32)
    forms[:, PLACE] = order
    forms[:, HEARD] = [bool(dependents[place] or ends[place]) for place in order]
    for rank, program in enumerate(programs):
        inputs = program.inputs
        if program.kind == BY_TABLE and len(inputs) <= SHORT_INPUTS_MAX and not program.references:
            forms[rank, TABLE] = program.short_table
            forms[rank, INPUTS : INPUTS + len(inputs)] = inputs
    return forms.ravel()


def _starts(lengths: list[int]) -> Array:
    return np.cumsum([0, *lengths]).astype(np.int64)


def _flat(lists: list[list[int]]) -> Array:
    return np.array([item for items in lists for item in items], np.int64)


def make_scratch(leaf_count: int, places: int) -> Scratch:
    """Working memory of the kernel for this many leaves and segments."""
    return Scratch(
        np.zeros(leaf_count, np.int64), np.zeros(leaf_count, np.uint8),
        np.zeros(leaf_count, np.int64), np.zeros(max(places, 1), np.int64),
        np.zeros(max(places, 1), np.int64), np.zeros(leaf_count, np.int64),
        np.zeros(max(places, 1), np.int64),
        np.zeros((places + 63) // 64 or 1, np.uint64), np.zeros(512, np.uint8),
        np.zeros(1, np.int64),
    )  # fmt: skip
