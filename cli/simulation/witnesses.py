"""What others than the engine say of a world's memberships: the naive model, and DuckDB where it is
installed and speaks all of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cli.simulation.cores import normal_identifier
from cli.simulation.naive import changes
from cli.simulation.naive.facts import Fact, Linked, Transition
from cli.simulation.naive.world import NaiveWorld
from muster.types.v1 import condition_pb2 as pb

if TYPE_CHECKING:
    from cli.simulation.oracle import SqlOracle


class Witnesses:
    """Answers over the facts of a world's logs."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self.world = NaiveWorld(facts)
        self._oracle: SqlOracle | None = None
        try:
            from cli.simulation.oracle import SqlOracle
        except ImportError:  # DuckDB comes with the requirements of the tests.
            return
        self._oracle = SqlOracle(self.world)

    def members(self, segment_id: str, at_us: int) -> dict[str, set[int]]:
        """Profile numbers at an instant, by everyone who speaks the rule."""
        found = {"naive": set(self.world.members(segment_id, at_us))}
        defined = self.world.definition(segment_id, at_us)
        if self._oracle is not None and defined is not None and defined.follows is None:
            everybody = {p for p in self.world.alive if self.world.exists(p, at_us)}
            by_sql = self._by_sql(defined.condition, at_us, everybody, defined.zone)
            if by_sql is not None:
                found["sql"] = by_sql
        return found

    def holder(self, kind: str, value: str, at_us: int) -> int | None:
        """The profile that held an identifier at an instant; None before anybody did."""
        wanted = kind, normal_identifier(kind, value)
        for profile, links in self.world.links.items():
            for held in links:
                assert isinstance(held.fact, Linked)
                named = held.fact.kind, held.fact.text
                if named == wanted and held.at(profile, at_us) is not None:
                    return profile
        return None

    def transitions(self, until_us: int) -> list[Transition]:
        """Everything the naive model would have said up to an instant."""
        return changes.transitions(self.world, -(2**62), until_us)

    def _by_sql(
        self, condition: pb.Condition, at_us: int, everybody: set[int], zone: str
    ) -> set[int] | None:
        """None when there is a leaf that SQL does not speak."""
        from cli.simulation.oracle import Unspoken

        kind = str(condition.WhichOneof("node"))
        node = getattr(condition, kind)
        if kind == "not":
            inner = self._by_sql(node, at_us, everybody, zone)
            return None if inner is None else everybody - inner
        if kind in ("all", "any", "none", "at_least"):
            parts = [self._by_sql(child, at_us, everybody, zone) for child in node.of]
            if any(part is None for part in parts):
                return None
            return _gathered(kind, node, [part for part in parts if part is not None], everybody)
        if kind == "everyone" and not node.known_only:
            return everybody
        if kind == "segment":
            defined = self.world.definition(node.segment_id, at_us)
            if defined is None or defined.follows is not None:
                return None
            return self._by_sql(defined.condition, at_us, everybody, defined.zone)
        assert self._oracle is not None
        try:
            return set(self._oracle.satisfying(condition, at_us, sorted(everybody), zone))
        except Unspoken:
            return None


def _gathered(
    kind: str, node: pb.AtLeast | pb.Group, parts: Iterable[set[int]], everybody: set[int]
) -> set[int]:
    parts = list(parts)
    least = node.n if isinstance(node, pb.AtLeast) else len(parts) if kind == "all" else 1
    found = {p for p in everybody if sum(p in part for part in parts) >= least}
    return everybody - found if kind == "none" else found
