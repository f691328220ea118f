"""A rule as an expression over leaves that are false for a profile nobody knows anything about.

Comparisons become thresholds (`eq 3` is `at least 3 and not at least 4`), negative operators the
negation of their positive; so identical figures and tests are shared by every rule, and a new
profile has no leaf bit to set.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from services.segments.domain import conditions as rule
from services.segments.domain import windows
from services.segments.domain.values import POSITIVE_OF, Op, Scalar, Test
from services.segments.engine.language.moving import moves
from services.segments.engine.live.streams import SCALE

T = TypeVar("T")
COUNTED = (rule.Kind.COUNT, rule.Kind.SUM, rule.Kind.DISTINCT, rule.Kind.DISTINCT_DAYS)
"""Aggregates that are 0 over no events; others have no value."""


@dataclass(frozen=True, slots=True)
class FigureLeaf:
    """A count (property empty) or sum, in figure units: figure >= bound, or > when strict; turned
    round when that holds for 0, so that the leaf is false over nothing."""

    events: rule.Selector
    property: str
    window: windows.Span
    bound: Fraction
    strict: bool

    @builtins.property
    def aggregate(self) -> rule.Aggregate:
        kind = rule.Kind.SUM if self.property else rule.Kind.COUNT
        return rule.Aggregate(kind, self.property)

    def threshold(self) -> int:
        """The least whole figure that reaches the bound; not positive when 0 does."""
        return math.floor(self.bound) + 1 if self.strict else math.ceil(self.bound)

    def holds(self, figure: Fraction) -> bool:
        """figure: in figure units, whole or not."""
        reached = figure > self.bound if self.strict else figure >= self.bound
        return reached == (self.threshold() > 0)

    def over(self, figure: Fraction | Scalar | None) -> bool:
        """figure: the aggregate's, as `persons.figure_of` answers it."""
        assert isinstance(figure, Fraction)
        return self.holds(figure * 10**SCALE if self.property else figure)


@dataclass(frozen=True, slots=True)
class AverageLeaf:
    """The average of a property, in figure units, compared so (gte, gt, lte, lt) with a bound;
    false over nothing."""

    events: rule.Selector
    property: str
    window: windows.Span
    bound: Fraction
    op: Op

    @builtins.property
    def aggregate(self) -> rule.Aggregate:
        return rule.Aggregate(rule.Kind.AVG, self.property)

    def over(self, figure: Fraction | Scalar | None) -> bool:
        """figure: the aggregate's, as `persons.figure_of` answers it."""
        return rule.Comparison(self.op, self.bound / 10**SCALE).holds(figure)


@dataclass(frozen=True, slots=True)
class AttributeLeaf:
    """An element of the attribute's value satisfies a positive test."""

    attribute: str
    test: Test


@dataclass(frozen=True, slots=True)
class DayLeaf:
    """The day of the attribute's value comes round (anniversary)."""

    attribute: str
    test: Test


@dataclass(frozen=True, slots=True)
class KindsLeaf:
    """The profile has an identifier of one of these kinds."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PastLeaf:
    """Judged from the profile's whole past; `negated` when it would hold over nothing."""

    node: rule.PastLeaf | rule.EventsAre | rule.AttributeIs
    negated: bool


ADDED, REMOVED = 1, 2
"""What was done by hand to a profile in a list."""


@dataclass(frozen=True, slots=True)
class ListLeaf:
    """Somebody put the profile into a list, or took it out of one that follows a segment."""

    list_id: str
    mark: int


@dataclass(frozen=True, slots=True)
class WordLeaf:
    """The profile has said so: it stopped a channel, or takes push messages on a platform."""

    topic: str


@dataclass(frozen=True, slots=True)
class PartLeaf:
    """The profile falls into a part of a live split: fixed from its birth."""

    salt: str
    low: int
    high: int


LeafSpec = (
    FigureLeaf | AverageLeaf | AttributeLeaf | DayLeaf | KindsLeaf | ListLeaf
    | WordLeaf | PastLeaf | PartLeaf
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Push:
    """Pushes a leaf, or the membership of another segment (a text: its id)."""

    of: LeafSpec | str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """Replaces the top `of` answers by whether at least n of them hold."""

    n: int
    of: int


@dataclass(frozen=True, slots=True)
class Turn:
    """Turns the top answer round."""


@dataclass(frozen=True, slots=True)
class True_:  # noqa: N801
    """Pushes yes."""


Step = Push | AtLeast | Turn | True_
Expression = tuple[Step, ...]

NOT = Turn()
TRUE = True_()


def stopped(channel: str) -> WordLeaf:
    """Somebody is not to be written to over a channel any more."""
    return WordLeaf(f"stop:{channel}")


def taking(channel: str, platform: str) -> WordLeaf:
    """Somebody takes push messages on a platform."""
    return WordLeaf(f"on:{channel}:{platform.casefold()}")


def express(node: rule.Node) -> Expression:
    """The rule over leaves, in postfix order."""
    steps: list[Step] = []
    _express(node, steps)
    return tuple(steps)


def _express(node: rule.Node, steps: list[Step]) -> None:
    match node:
        case rule.All(of):
            _gather(of, len(of), steps)
        case rule.Any(of):
            _gather(of, 1, steps)
        case rule.Neither(of):
            _gather(of, 1, steps)
            steps.append(NOT)
        case rule.AtLeast(n, of):
            _gather(of, n, steps)
        case rule.Not(of):
            _express(of, steps)
            steps.append(NOT)
        case rule.Everyone(known_only):
            steps.append(Push(KindsLeaf(rule.KNOWN_KINDS)) if known_only else TRUE)
        case rule.MemberOf(segment_id) | rule.InList(segment_id):
            steps.append(Push(segment_id))
        case rule.InPart(salt, low, high):
            steps.append(Push(PartLeaf(salt, low, high)))
        case rule.Reachable(channel, platform):
            steps += [Push(KindsLeaf((rule.CHANNEL_KINDS[channel],))), Push(stopped(channel)), NOT]
            steps += [Push(taking(channel, platform))] if platform else []
            steps.append(AtLeast(3, 3) if platform else AtLeast(2, 2))
        case rule.AttributeIs(attribute, test):
            _attribute(attribute, test, steps)
        case rule.EventsAre():
            _events(node, steps)
        case _:
            _past(node, steps)


def _past(node: rule.PastLeaf | rule.EventsAre | rule.AttributeIs, steps: list[Step]) -> None:
    negated = over_nothing(node)
    steps.append(Push(PastLeaf(node, negated)))
    if negated:
        steps.append(NOT)


def over_nothing(node: rule.PastLeaf | rule.EventsAre | rule.AttributeIs) -> bool:
    """The answer for a profile nobody knows anything about."""
    match node:
        case rule.AttributeIs(_, test):
            return test.op in POSITIVE_OF
        case rule.AttributeHeld(_, test, _, less_than_us):
            return less_than_us is None and test.op in POSITIVE_OF
        case rule.EventsAre(_, _, aggregate, comparison):
            counted = aggregate.kind in COUNTED
            return comparison.holds(Fraction(0) if counted else None)
        case rule.Catalogue(_, _, _, _, comparison):
            return comparison.holds(Fraction(0))
    return False


def _gather(of: tuple[rule.Node, ...], n: int, steps: list[Step]) -> None:
    for child in of:
        _express(child, steps)
    if len(of) > 1:
        steps.append(AtLeast(n, len(of)))


def _attribute(attribute: str, test: Test, steps: list[Step]) -> None:
    if test.op in POSITIVE_OF:
        _attribute(attribute, test.positive, steps)
        steps.append(NOT)
    elif test.op is Op.ALL:
        each = [Test(Op.EQ, (value,), test.zone) for value in test.values]
        steps += [Push(AttributeLeaf(attribute, one)) for one in each]
        if len(test.values) > 1:
            steps.append(AtLeast(len(test.values), len(test.values)))
    elif test.op is Op.ANNIVERSARY:
        steps.append(Push(DayLeaf(attribute, test)))
    elif test.moves:
        _past(rule.AttributeIs(attribute, test), steps)
    else:
        steps.append(Push(AttributeLeaf(attribute, test)))


def adds_up(leaf: rule.EventsAre) -> bool:
    """Whether a cursor keeps the figure: it is added up as rows come and go, in a window that all
    profiles share."""
    window = leaf.window
    own = not isinstance(window, windows.Window) and window.clock.by_profile
    added = (rule.Kind.COUNT, rule.Kind.SUM, rule.Kind.AVG)
    return leaf.aggregate.kind in added and not own and not moves(leaf.events.where)


def _events(leaf: rule.EventsAre, steps: list[Step]) -> None:
    kind, comparison = leaf.aggregate.kind, leaf.comparison
    if not adds_up(leaf):
        _past(leaf, steps)
        return
    if kind is rule.Kind.AVG:
        _average(leaf, steps)
        return
    scale = 1 if kind is rule.Kind.COUNT else 10**SCALE
    low, high = comparison.low * scale, comparison.high * scale

    def at_least(bound: Fraction) -> None:
        _threshold(leaf, bound, False, steps)

    def above(bound: Fraction) -> None:
        _threshold(leaf, bound, True, steps)

    match comparison.op:
        case Op.GTE:
            at_least(low)
        case Op.GT:
            above(low)
        case Op.LT:
            at_least(low)
            steps.append(NOT)
        case Op.LTE:
            above(low)
            steps.append(NOT)
        case Op.EQ | Op.NE | Op.BETWEEN:
            at_least(low)
            above(high if comparison.op is Op.BETWEEN else low)
            steps += [NOT, AtLeast(2, 2)]
            if comparison.op is Op.NE:
                steps.append(NOT)


def _average(leaf: rule.EventsAre, steps: list[Step]) -> None:
    """An average is compared exactly; over nothing every comparison is false."""
    comparison = leaf.comparison
    low, high = comparison.low * 10**SCALE, comparison.high * 10**SCALE
    asked = {
        Op.EQ: ((Op.GTE, low), (Op.LTE, low)),
        Op.NE: ((Op.GT, low), (Op.LT, low)),
        Op.BETWEEN: ((Op.GTE, low), (Op.LTE, high)),
    }.get(comparison.op, ((comparison.op, low),))
    for op, bound in asked:
        made = AverageLeaf(leaf.events, leaf.aggregate.property, leaf.window, bound, op)
        steps.append(Push(made))
    if len(asked) > 1:
        steps.append(AtLeast(1 if comparison.op is Op.NE else 2, 2))


def _threshold(leaf: rule.EventsAre, bound: Fraction, strict: bool, steps: list[Step]) -> None:
    """figure >= bound, or > when strict."""
    made = FigureLeaf(leaf.events, leaf.aggregate.property, leaf.window, bound, strict)
    if leaf.aggregate.kind is rule.Kind.COUNT:
        if made.threshold() <= 0:
            steps.append(TRUE)
            return
        # Counts are whole: more than 2 and at least 3 are one leaf.
        made = replace(made, bound=Fraction(made.threshold()), strict=False)
    steps.append(Push(made))
    if made.threshold() <= 0:
        steps.append(NOT)


def leaves_of(expression: Expression) -> list[LeafSpec]:
    """Its leaves, each once, in order."""
    found = [step.of for step in expression if isinstance(step, Push)]
    return list(dict.fromkeys(of for of in found if not isinstance(of, str)))


def references_of(expression: Expression) -> list[str]:
    """Segments it refers to, each once, in order."""
    found = [step.of for step in expression if isinstance(step, Push)]
    return list(dict.fromkeys(of for of in found if isinstance(of, str)))


def run(
    expression: Expression,
    push: Callable[[LeafSpec | str], T],
    true: Callable[[], T],
    gather: Callable[[list[T], int], T],
    turn: Callable[[T], T],
) -> T:
    """Runs an expression over any kind of answers: bits, arrays of bits, explanations."""
    stack: list[T] = []
    for step in expression:
        match step:
            case Push(of):
                stack.append(push(of))
            case AtLeast(n, count):
                taken = stack[-count:]
                del stack[-count:]
                stack.append(gather(taken, n))
            case Turn():
                stack.append(turn(stack.pop()))
            case True_():
                stack.append(true())
    return stack[0]
