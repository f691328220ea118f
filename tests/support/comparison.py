"""Holds every reader against every other over one history; says in words where they disagree."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from cli.simulation.naive import changes
from cli.simulation.naive.facts import (
    Assigned,
    Created,
    Defined,
    Fact,
    Item,
    Linked,
    Listed,
    Moved,
    Row,
)
from cli.simulation.naive.reach import leaves_of
from cli.simulation.naive.world import NaiveWorld
from cli.simulation.oracle import SqlOracle, Unspoken
from muster.types.v1 import common_pb2
from muster.types.v1 import condition_pb2 as pb
from services.segments.engine.engine import ConditionFaults, Engine
from tests.support.encoding import print_words
from tests.support.engines import EngineRun, Told
from tests.support.histories import History

ATTEMPTS_MAX = 300
"""Histories tried while a disagreement is made smaller."""
QUESTIONS_AT = 3
"""Steps of a run after which every reader is asked."""


def disagreements(
    history: History, cut_chance: float = 0.4, salt: int = 0, everywhere: bool = False
) -> list[str]:
    """Every place where the engine, the naive model and DuckDB differ; empty when all agree."""
    rng = random.Random(history.seed * 1_000 + salt)
    world = NaiveWorld(history.facts)
    run = EngineRun(history, rng)
    cuts = run.cuts(cut_chance)
    asked = set(cuts if everywhere else rng.sample(cuts, min(QUESTIONS_AT, len(cuts))))
    asked_sql = asked if everywhere else {min(asked), max(asked)} - {max(cuts)}
    renewed = rng.choice(cuts) if rng.random() < 0.3 else None
    oracle = SqlOracle(world)
    found: list[str] = []
    for at_us in cuts:
        run.step(at_us)
        if at_us == renewed:
            run.engines = [renewed_engine(engine) for engine in run.engines]
        if at_us in asked:
            found += _answers_differ(run, world, at_us)
        if at_us in asked_sql:
            found += _sql_differs(history, world, oracle, at_us)
    found += transitions_differ(run.told, world, history.end_us)
    return found or list(_causes_differ(run.told, world, history))


def told_by(history: History, cut_chance: float, salt: int) -> list[Told]:
    """What the engines tell under one choice of cuts."""
    run = EngineRun(history, random.Random(history.seed * 1_000 + salt))
    for at_us in run.cuts(cut_chance):
        run.step(at_us)
    return sorted(run.told)


def renewed_engine(engine: Engine) -> Engine:
    """A fresh engine that took over the state of this one."""
    state = {name: memoryview(bytes(value)) for name, value in engine.dump().items()}
    fresh = Engine(engine.partition, engine.partitions)
    fresh.load(state)
    return fresh


def _answers_differ(run: EngineRun, world: NaiveWorld, at_us: int) -> Iterable[str]:
    existing = [p for p in sorted(world.alive) if world.exists(p, at_us)]
    for defined in run.history.conditions():
        known = world.definition(defined.segment, at_us)
        if known is defined:
            expected = world.members(defined.segment, at_us)
            told = _gathered(engine.members(defined.segment) for engine in run.engines)
            if told != expected:
                yield f"B at {at_us}: {defined.segment} has {told}, naive {expected}"
        if known is not defined and not _can_ask(defined, world, at_us):
            continue
        zone = defined.zone
        expected = [p for p in existing if world.holds(defined.condition, p, at_us, zone)]
        asked = _gathered(e.select(e.compile(defined.condition, zone)) for e in run.engines)
        counted = sum(e.count(e.compile(defined.condition, zone)) for e in run.engines)
        if counted != len(asked):
            yield f"A at {at_us}: {defined.segment} counts {counted}, selects {asked}"
        if asked != expected:
            rule = f"{defined.segment} version {defined.version}"
            yield f"A at {at_us}: {rule} selects {asked}, naive {expected}"


def _sql_differs(
    history: History, world: NaiveWorld, oracle: SqlOracle, at_us: int
) -> Iterable[str]:
    existing = [p for p in sorted(world.alive) if world.exists(p, at_us)]
    for defined in history.conditions():
        for leaf, zone in leaves_of(defined):
            try:
                by_sql = oracle.satisfying(leaf, at_us, existing, zone)
            except Unspoken:
                continue
            by_hand = [p for p in existing if world.holds(leaf, p, at_us, zone)]
            if by_sql != by_hand:
                yield f"C at {at_us}: DuckDB {by_sql}, naive {by_hand}: {leaf}"


def _can_ask(defined: Defined, world: NaiveWorld, at_us: int) -> bool:
    """Whether every segment that a condition names is known at an instant."""
    return all(
        world.definition(leaf.segment.segment_id or leaf.list.list_id, at_us) is not None
        for leaf, _ in leaves_of(defined)
        if leaf.WhichOneof("node") in ("segment", "list")
    )


def _gathered(parts: Iterable[np.ndarray]) -> list[int]:
    return sorted(int(profile) for part in parts for profile in part)


def transitions_differ(told: list[Told], world: NaiveWorld, end_us: int) -> Iterable[str]:
    """Transitions that only the engine, or only the naive model, says."""
    expected = changes.transitions(world, -1, end_us)
    got = sorted(t.transition for t in told)
    for missing in sorted(set(expected) - set(got)):
        yield f"B never said {missing}"
    for surplus in sorted(set(got) - set(expected)):
        yield f"B wrongly said {surplus}"
    if len(set(got)) != len(got):
        yield "B said a transition twice"


def _causes_differ(told: list[Told], world: NaiveWorld, history: History) -> Iterable[str]:
    by_number = {f.number: f.segment for f in history.facts if isinstance(f, Defined)}
    for one in told:
        at = one.transition
        reason = common_pb2.Reason.Name(common_pb2.Reason.ValueType(one.reason))
        reason = reason.removeprefix("REASON_").lower()
        allowed = changes.causes(world, by_number[at.segment], at.profile, at.at_us, history.end_us)
        told_cause = (reason, one.cause)
        prints = {(r, print_words(cause) if cause else (0, 0)) for r, cause in allowed}
        if told_cause not in prints:
            yield f"B gives {reason} {one.cause} for {at}; could be {sorted(allowed)}"


def shrunk(history: History, salt: int = 0) -> tuple[History, list[str]]:
    """A smaller history that still disagrees, and how: facts and branches left out by turns."""
    found = _found(history, salt)
    length = len(history.facts) // 2
    attempts = 0
    while found and length >= 1:
        begin = 0
        while begin < len(history.facts):
            fewer = _mended(history.facts[:begin] + history.facts[begin + length :])
            attempts += 1
            hopeful = bool(fewer) and attempts < ATTEMPTS_MAX
            still = _found(_of(history, fewer), salt) if hopeful else []
            if still:
                history, found = _of(history, fewer), still
            else:
                begin += length
        length //= 2
    for place, fact in enumerate(history.facts if found else []):
        while isinstance(fact, Defined):
            for simpler in _simpler(fact.condition):
                defined = replace(fact, condition=simpler)
                facts = [*history.facts[:place], defined, *history.facts[place + 1 :]]
                if still := _found(_of(history, facts), salt):
                    history, found, fact = _of(history, facts), still, defined
                    break
            else:
                break
    return history, found


def _found(history: History, salt: int) -> list[str]:
    """Disagreements under a few choices of cuts, asked after every step.

    None where the engine refuses what is left.
    """
    for cut_chance, other in ((1.0, 0), (0.4, salt), (0.4, salt + 1), (0.1, salt + 2)):
        try:
            found = disagreements(history, cut_chance, other, everywhere=True)
        except (ConditionFaults, KeyError, ValueError, AssertionError):
            continue
        if found:
            return found
    return []


def _simpler(condition: pb.Condition) -> Iterator[pb.Condition]:
    kind = condition.WhichOneof("node")
    if kind == "not":
        yield getattr(condition, "not")
    elif kind in ("all", "any", "none", "at_least"):
        children = list(getattr(condition, kind).of)
        yield from children
        for place in range(len(children) if len(children) > 1 else 0):
            fewer = pb.Condition()
            fewer.CopyFrom(condition)
            del getattr(fewer, kind).of[place]
            if kind != "at_least" or fewer.at_least.n <= len(fewer.at_least.of):
                yield fewer
        for place, child in enumerate(children):
            for simpler in _simpler(child):
                other = pb.Condition()
                other.CopyFrom(condition)
                getattr(other, kind).of[place].CopyFrom(simpler)
                yield other


def _mended(facts: list[Fact]) -> list[Fact]:
    """The facts that still make sense: of profiles that were created with an event, by the atoms
    they hold by now."""
    fewer = _fewer(facts)
    return fewer if len(fewer) == len(facts) else _mended(fewer)


def _fewer(facts: list[Fact]) -> list[Fact]:
    heard = {(f.profile, f.accept_us) for f in facts if isinstance(f, Row | Assigned)}
    created: set[int] = set()
    gone: set[int] = set()
    owner: dict[int, int] = {}
    mended: list[Fact] = []
    for fact in facts:
        if isinstance(fact, Created):
            if (fact.profile, fact.at_us) not in heard:
                continue
            created.add(fact.profile)
        elif isinstance(fact, Moved):
            atoms = tuple(atom for atom in fact.atoms if owner.get(atom) == fact.source)
            if fact.merge:
                atoms = tuple(atom for atom, holder in owner.items() if holder == fact.source)
            merged_away = gone - ({fact.target} if not fact.merge else set())
            if not atoms or fact.target not in created or fact.target in merged_away:
                continue
            gone = merged_away | ({fact.source} if fact.merge else set())
            owner |= dict.fromkeys(atoms, fact.target)
            fact = replace(fact, atoms=atoms)
        elif isinstance(fact, Linked):
            if fact.profile not in created - gone:
                continue
            fact = replace(fact, profile=owner.setdefault(fact.atom, fact.profile))
        elif isinstance(fact, Listed):
            if fact.profile not in owner.values():
                continue
        elif not isinstance(fact, Defined | Item):
            if fact.atom not in owner:
                continue
            fact = replace(fact, profile=owner[fact.atom])
        mended.append(fact)
    return mended


def _of(history: History, facts: list[Fact]) -> History:
    pinned = set()
    for fact in facts:
        if isinstance(fact, Moved) and fact.arrive_us is not None:
            pinned |= {fact.at_us, fact.arrive_us}
    return replace(history, facts=facts, pinned=pinned)


def _brief(defined: Defined) -> str:
    return " ".join(str(defined.condition).split())


def in_words(history: History, found: list[str]) -> str:
    """A report of a disagreement: the seed, the facts that matter, the differences."""
    lines = [f"seed {history.seed}, {history.shape}", "facts in log order:"]
    for fact in history.facts:
        if isinstance(fact, Defined):
            version = "retired" if fact.retired else f"version {fact.version}"
            lines.append(f"  {fact.at_us} {fact.segment} {version}: {_brief(fact)}")
        else:
            lines.append(f"  {fact}")
    lines += ["disagreements:", *(f"  {line}" for line in found[:20])]
    return "\n".join(lines)
