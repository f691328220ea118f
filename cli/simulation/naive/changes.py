"""Transitions of the naive model: memberships asked whenever anything could change, the differences
written down."""

from __future__ import annotations

from cli.simulation.naive import reach
from cli.simulation.naive.facts import LATE_AFTER_US, Assigned, Defined, Row, Transition
from cli.simulation.naive.world import OWN_ZONE, NaiveWorld
from muster.types.v1 import condition_pb2 as pb


def transitions(world: NaiveWorld, since_us: int, until_us: int) -> list[Transition]:
    """Every change in (since, until], in order of (instant, profile, segment)."""
    found = []
    for profile in sorted(world.alive):
        for segment in world.definitions:
            found += of_profile(world, segment, profile, until_us)
    return sorted(one for one in found if one.at_us > since_us)


def of_profile(world: NaiveWorld, segment: str, profile: int, until_us: int) -> list[Transition]:
    """Every change of one membership up to an instant, in order."""
    found: list[Transition] = []
    version = number = 0
    for at_us in sorted(instants(world, segment, profile, until_us)):
        in_force = [d for d in world.definitions[segment] if d.at_us <= at_us]
        if in_force:
            version, number = in_force[-1].version, in_force[-1].number
        is_member = world.member(segment, profile, at_us)
        if is_member != (len(found) % 2 == 1):
            ordinal = len(found) + 1
            found.append(Transition(at_us, profile, number, is_member, version, ordinal))
    return found


def instants(world: NaiveWorld, segment: str, profile: int, until_us: int) -> set[int]:
    """Every instant up to `until_us` at which the membership could change."""
    found = {edge for stretch in world.alive[profile] for edge in stretch}
    found |= {defined.at_us for defined in _versions_reached(world, segment)}
    found |= {one.at_us for items in world.catalogue.values() for one in items}
    for kept in (world.rows, world.assignments, world.links, world.marks):
        for held in kept[profile]:
            found.update(edge for stay in held.stays for edge in stay[1:3])
            if isinstance(held.fact, Row | Assigned):
                found.add(held.fact.effect_us)
    found |= passages(world, segment, profile, until_us)
    return {edge for edge in found if edge <= until_us}


def passages(world: NaiveWorld, segment: str, profile: int, until_us: int) -> set[int]:
    """Those at which it could change because time passes."""
    key = (segment, profile, until_us)
    if key not in world.passages:
        world.passages[key] = _passages(world, segment, profile, until_us)
    return world.passages[key]


def _passages(world: NaiveWorld, segment: str, profile: int, until_us: int) -> set[int]:
    found: set[int] = set()
    zones: set[str] = set()
    own = {
        value
        for held in world.assignments[profile]
        if isinstance(held.fact, Assigned) and held.fact.key == OWN_ZONE
        for value in held.fact.values or ()
    }
    begin = until_us
    for leaf, zone in _leaves_reached(world, segment):
        zones |= reach.midnight_zones(leaf, zone)
        for held in world.rows[profile]:
            assert isinstance(held.fact, Row)
            found |= reach.of_row(leaf, held.fact, zone, own)
            begin = min(begin, held.fact.occur_us)
        for held in world.assignments[profile]:
            assert isinstance(held.fact, Assigned)
            found |= reach.of_value(leaf, held.fact, zone, own)
            begin = min(begin, held.fact.occur_us)
    begin = min([begin, *(since for since, _ in world.alive[profile])])
    return found | reach.midnights(zones, begin, until_us)


def _leaves_reached(world: NaiveWorld, segment: str) -> list[tuple[pb.Condition, str]]:
    reached = _versions_reached(world, segment)
    return [one for defined in reached for one in reach.leaves_of(defined)]


def _versions_reached(world: NaiveWorld, segment: str) -> list[Defined]:
    """Every version of the segment and of the segments its conditions name, at any depth."""
    reached, waiting = [], [segment]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for defined in world.definitions[name]:
            reached.append(defined)
            waiting += [defined.follows] if defined.follows else []
            waiting += [
                leaf.segment.segment_id or leaf.list.list_id
                for leaf, _ in reach.leaves_of(defined)
                if leaf.WhichOneof("node") in ("segment", "list")
            ]
    return reached


def causes(
    world: NaiveWorld, segment: str, profile: int, at_us: int, until_us: int
) -> set[tuple[str, str]]:
    """(reason, event id or '') of everything that happens to the profile at an instant; until_us:
    the end of the history."""
    found = set()
    for held in world.rows[profile]:
        fact = held.fact
        assert isinstance(fact, Row)
        if fact.effect_us == at_us and held.at(profile, at_us):
            found.add((_reason_of(fact), fact.event_id))
    for held in world.assignments[profile]:
        fact = held.fact
        assert isinstance(fact, Assigned)
        if fact.effect_us == at_us and held.at(profile, at_us):
            found.add(("attribute", fact.event_id))
    if _becomes_known(world, profile, at_us):
        accepted = [h.fact for h in world.rows[profile] if h.fact.accept_us == at_us]  # type: ignore[union-attr]
        found |= {("event", "")} | {(_reason_of(row), row.event_id) for row in accepted}  # type: ignore[arg-type, union-attr]
    for move in world.moves:
        if profile in (move.source, move.target) and at_us in (move.at_us, move.arrive_us):
            found.add(("merge" if move.merge else "unmerge", move.cause))
    for held in world.marks[profile]:
        if any(stay[0] == profile and at_us in stay[1:3] for stay in held.stays):
            found.add(("list_change", ""))
    if any(one.at_us == at_us for items in world.catalogue.values() for one in items):
        found.add(("attribute", ""))
    for defined in _versions_reached(world, segment):
        if defined.at_us == at_us:
            first = defined is world.definitions[defined.segment][0]
            found.add(("backfill" if first else "rule_change", ""))
    if at_us in passages(world, segment, profile, until_us):
        found.add(("time", ""))
    return found or {("time", "")}


def _becomes_known(world: NaiveWorld, profile: int, at_us: int) -> bool:
    """Whether the profile or an identifier of it is new at an instant."""
    created = any(since == at_us for since, _ in world.alive[profile])
    return created or any(held.fact.at_us == at_us for held in world.links[profile])  # type: ignore[union-attr]


def _reason_of(row: Row) -> str:
    if row.imported:
        return "import"
    return "late_event" if row.accept_us - row.occur_us > LATE_AFTER_US else "event"
