"""Random condition trees of every leaf; what the engine does not judge yet is counted, not drawn.

A leaf comes from a source of chance of its own, so a tree keeps its shape when the engine learns
another leaf.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

from muster.types.v1 import condition_pb2 as pb
from services.segments.domain import conditions as rule
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import Reader
from services.segments.engine.language.speaking import ENGINE_SPEAKS, words_of
from tests.support.leaves import Leaves

LEAF_DRAWS = 30


class Trees:
    """Makes trees from one source of chance."""

    def __init__(
        self,
        rng: random.Random,
        durations_us: list[int],
        instants_us: list[int],
        ordered: bool = True,
    ) -> None:
        self.rng = rng
        self.durations_us, self.instants_us, self.ordered = durations_us, instants_us, ordered
        self.segments: list[str] = []
        self.lists: list[str] = []
        """Segments and lists a tree may name."""
        self.refused: Counter[str] = Counter()
        """How often each word was drawn that the engine does not judge yet."""

    def tree(self, depth: int = 3) -> pb.Condition:
        rng = self.rng
        if depth == 0 or rng.random() < 0.4:
            return self.leaf(random.Random(rng.getrandbits(64)))
        kind = rng.choice(["all", "all", "any", "any", "none", "not", "at_least"])
        made = pb.Condition()
        if kind == "not":
            getattr(made, "not").CopyFrom(self.tree(depth - 1))
            return made
        children = [self.tree(depth - 1) for _ in range(rng.randint(1, 3))]
        getattr(made, kind).of.extend(children)
        if kind == "at_least":
            made.at_least.n = rng.randint(1, len(children))
        return made

    def leaf(self, rng: random.Random) -> pb.Condition:
        """The first leaf drawn that the engine judges; it never reads one that means nothing."""
        leaves = Leaves(rng, self.durations_us, self.instants_us, self.ordered)
        leaves.segments, leaves.lists = self.segments, self.lists
        for _ in range(LEAF_DRAWS):
            drawn = leaves.draw()
            reader = Reader("", lambda _: None, EngineLimits())
            normal = reader.node(drawn)
            if reader.faults:
                continue
            unspoken = set(words_of(normal)) - ENGINE_SPEAKS  # type: ignore[arg-type]
            if not unspoken:
                return drawn
            self.refused.update(unspoken)
        return pb.Condition(everyone=pb.Everyone())


def words_in(conditions: Iterable[pb.Condition]) -> Counter[str]:
    """How often each word of the language stands in some rules: leaves, aggregates, operators,
    calendar windows."""
    counted: Counter[str] = Counter()
    for condition in conditions:
        node = Reader("", lambda _: None, EngineLimits()).node(condition)
        for _, leaf in rule.leaves(node):
            counted.update(set(words_of(leaf)))
        # A list is read as membership of the segment it is.
        counted["InList"] += str(condition).count("list_id:")
    return counted
