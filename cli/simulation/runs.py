"""Runs a case through a world and says, in words, what disagrees and which reader says so."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cli.conditions import read_condition
from cli.reading import TreeFaults
from cli.simulation.cases import (
    Case,
    Checks,
    Decides,
    Defines,
    Happens,
    Listing,
    Lists,
    Refuses,
    Step,
    Stocks,
    Told,
)
from cli.simulation.settled import Said, Settled, instant_text
from cli.simulation.streams import CutChoice, everything
from cli.simulation.world import Refused, World
from muster.segments.v1 import lists_pb2
from muster.types.v1 import event_pb2

READERS = {
    "incremental": "what the live engine has (B)",
    "from scratch": "the rule asked anew over all rows (A)",
    "as of": "the rule of the instant asked over what stood then (A)",
    "transitions": "everyone who entered and has not left, by what was published",
    "naive": "a second model, one profile at a time, from the semantics alone",
    "sql": "the rule as a query of DuckDB (C)",
}


@dataclass
class Outcome:
    """What came of a case: nothing wrong, or one text for each disagreement."""

    story: str
    checks: int = 0
    wrong: list[str] = field(default_factory=list)
    transitions: int = 0


def run_case(case: Case, choose: CutChoice = everything, partitions: int = 0) -> Outcome:
    """Runs a case in simulated time, in as many orders of its events as it asks for.

    choose: how many waiting messages a step takes. partitions: instead of the case's own.
    """
    outcome = _run_once(case, choose, partitions)
    for order in range(1, case.orders):
        if outcome.wrong:
            break
        other = _run_once(_reordered(case, order), choose, partitions)
        outcome.checks += other.checks
        outcome.wrong += [f"in order {order} of {case.orders}: {line}" for line in other.wrong]
    return outcome


def _reordered(case: Case, order: int) -> Case:
    """The case with its events shuffled over their arrivals; they happened when they happened, and
    what is published on the way differs: only members and profiles are checked."""
    steps: list[Step] = list(case.steps)
    places = [place for place, step in enumerate(steps) if isinstance(step, Happens)]
    shuffled = random.Random(order).sample(places, len(places))
    for place, other in zip(places, shuffled, strict=True):
        into, of = case.steps[place], case.steps[other]
        assert isinstance(into, Happens)
        assert isinstance(of, Happens)
        event = event_pb2.Event()
        event.CopyFrom(of.event)
        event.send_time_us = into.at_us
        steps[place] = replace(of, at_us=into.at_us, event=event)
    return replace(
        case,
        steps=[replace(s, transitions={}) if isinstance(s, Checks) else s for s in steps],
    )


def _run_once(case: Case, choose: CutChoice, partitions: int) -> Outcome:
    world = World(partitions or case.partitions, case.start_us, choose)
    run = _Run(case, world)
    pending: list[Happens] = []
    for step in case.steps:
        if isinstance(step, Happens):
            if pending and (pending[0].at_us, pending[0].import_id) != (step.at_us, step.import_id):
                run.happen(pending)
                pending = []
            pending.append(step)
            continue
        if pending:
            run.happen(pending)
            pending = []
        run.take(step)
    if pending:
        run.happen(pending)
    run.check_verdicts()
    run.outcome.wrong += world.broken_promises()
    if world.partitions == 1:
        run.outcome.wrong += world.settle(world.time_us).disputed()
    return run.outcome


class _Run:
    def __init__(self, case: Case, world: World) -> None:
        self.case = case
        self.world = world
        self.outcome = Outcome(case.story)
        self.numbers: dict[str, set[int]] = {}
        self.present: dict[str, int | None] = {}
        self.labels: dict[int, str] = {}
        self.sent: dict[tuple[int, int], Happens] = {}

    def happen(self, steps: list[Happens]) -> None:
        """Events that arrive at one instant come in one message."""
        first = steps[0]
        events = [step.event for step in steps]
        sequence = self.world.publish(events, first.at_us, first.import_id)
        self.sent |= {(sequence, index): step for index, step in enumerate(steps)}

    def take(self, step: Defines | Listing | Lists | Stocks | Decides | Refuses | Checks) -> None:
        if isinstance(step, Refuses):
            self._refuses(step)
        elif isinstance(step, Checks):
            self._checks(step)
        elif isinstance(step, Stocks):
            self.world.set_catalogue(step.items, step.at_us)
        elif isinstance(step, Decides):
            self.world.decide(step.identifiers, step.apart, step.at_us)
        else:
            self._changes(step)

    def _changes(self, step: Defines | Listing | Lists) -> None:
        name = step.segment_id if isinstance(step, Defines) else step.list_id
        try:
            if isinstance(step, Defines):
                self._defines(step)
            elif isinstance(step, Listing):
                self.world.keep_list(step.list_id, step.follows, step.at_us)
            else:
                self._lists(step)
        except Refused as refused:
            self.outcome.wrong.append(f"{name} is refused: {refused}")

    def _lists(self, step: Lists) -> None:
        self.world.run_until(step.at_us)
        self._meet_people()
        sides: list[list[int]] = []
        for labels in (step.added, step.removed):
            found = [(label, self.present[label]) for label in labels]
            for label in [label for label, number in found if number is None]:
                self._wrong(step.path, f"nothing was accepted of {label}, who cannot be listed")
            sides.append([number for _, number in found if number is not None])
        change = lists_pb2.ListChanged(
            list_id=step.list_id, added=sides[0], removed=sides[1], emptied=step.emptied
        )
        self.world.change_list(change, step.at_us)

    def check_verdicts(self) -> None:
        """Whether each event was accepted, refused or known already, as its step says."""
        verdicts = self.world.verdicts()
        for place, step in self.sent.items():
            verdict, detail = verdicts.get(place, ("accepted", ""))
            if verdict != step.verdict:
                said = f"{verdict} ({detail})" if detail else verdict
                self._wrong(step.path, f"{step.event.event_id} is {said}, not {step.verdict}")

    def _defines(self, step: Defines) -> None:
        if step.rule is None:
            self.world.retire(step.segment_id, step.at_us)
        else:
            rule = step.rule
            self.world.define(rule.segment_id, rule.condition, step.at_us, rule.name, rule.zone)

    def _refuses(self, step: Refuses) -> None:
        self.outcome.checks += 1
        try:
            condition = read_condition(step.tree)
            self.world.define("refused-rule", condition, step.at_us)
        except (TreeFaults, Refused) as refused:
            said = str(refused)
            missing = [part for part in step.because if part not in said]
            if missing:
                self._wrong(step.path, f"refused, but not because of {missing}: {said}")
            return
        self._wrong(step.path, "the rule was accepted, but must be refused")

    def _checks(self, step: Checks) -> None:
        settled = self.world.settle(step.at_us)
        self.outcome.transitions = len(settled.said)
        self._meet_people()
        self._check_profiles(step)
        for segment, expected in step.members.items():
            self._check_members(step, segment, expected, settled)
        for segment, told in step.transitions.items():
            said = [t for t in settled.said if t.segment_id == segment]
            self._check_transitions(step, segment, told, said)

    def _check_profiles(self, step: Checks) -> None:
        """Names of one group are one profile, names of two are two."""
        self.outcome.checks += bool(step.profiles)
        owner: dict[int, str] = {}
        for group in step.profiles:
            numbers = {label: self.present[label] for label in group}
            if len(set(numbers.values())) > 1 or None in numbers.values():
                shown = ", ".join(f"{label} is {_profile(n)}" for label, n in numbers.items())
                self._wrong(step.path, f"{' and '.join(group)} must be one profile: {shown}")
            for label, number in numbers.items():
                if number is not None and owner.setdefault(number, group[0]) != group[0]:
                    self._wrong(step.path, f"{label} and {owner[number]} must be two profiles")

    def _check_members(
        self, step: Checks, segment: str, expected: Iterable[str], settled: Settled
    ) -> None:
        self.outcome.checks += 1
        found = {label: self.present[label] for label in expected}
        if step.as_of_us is not None:
            found = {label: self._then(label, settled, step.as_of_us) for label in expected}
        wanted = {number for number in found.values() if number is not None}
        unseen = [label for label, number in found.items() if number is None]
        if step.as_of_us is None:
            at_us, answers = step.at_us, settled.members(segment)
        else:
            at_us, answers = step.as_of_us, settled.as_of(segment, step.as_of_us)
        if answers is None:
            self._wrong(step.path, f"there is no segment {segment!r}")
            return
        for reader, members in answers.items():
            if members == wanted and not unseen:
                continue
            surplus, missing = members - wanted, wanted - members
            parts = [f"must not hold {self._names(surplus)}"] if surplus else []
            parts += [f"misses {self._names(missing)}"] if missing else []
            parts += [f"misses {', '.join(unseen)}, of whom nothing was accepted"] if unseen else []
            where = f"{segment} as of {instant_text(at_us)}, {reader} ({READERS[reader]})"
            self._wrong(step.path, f"{where}: {' and '.join(parts)}")

    def _check_transitions(
        self, step: Checks, segment: str, told: tuple[Told, ...], said: list[Said]
    ) -> None:
        self.outcome.checks += 1
        for expected in told:
            found = next((t for t in said if self._is(expected, t)), None)
            if found is None:
                direction = "entered" if expected.entered else "left"
                self._wrong(
                    step.path,
                    f"{segment}: never said that {expected.who} {direction} at "
                    f"{instant_text(expected.at_us)} ({expected.reason})",
                )
            else:
                said.remove(found)
        for surplus in said:
            direction = "entered" if surplus.entered else "left"
            who = self._names([surplus.profile])
            when = instant_text(surplus.at_us)
            self._wrong(step.path, f"{segment}: {who} {direction} at {when} ({surplus.reason})")

    def _is(self, expected: Told, said: Said) -> bool:
        return (
            said.profile in self.numbers[expected.who]
            and (said.at_us, said.entered) == (expected.at_us, expected.entered)
            and said.reason == expected.reason
        )

    def _meet_people(self) -> None:
        """Notes which profiles each label has ever meant; `present` is what it means now."""
        for label, identifiers in self.case.people.items():
            ever = [self.world.profiles_of(kind, value) for kind, value in identifiers]
            known = [numbers for numbers in ever if numbers]
            self.numbers[label] = {number for numbers in known for number in numbers}
            self.present[label] = known[0][-1] if known else None
            for number in sorted(self.numbers[label]):
                self.labels.setdefault(number, label)

    def _then(self, label: str, settled: Settled, at_us: int) -> int | None:
        """The profile a name meant at an instant of the past."""
        held = (settled.witnesses.holder(*one, at_us) for one in self.case.people[label])
        return next((number for number in held if number is not None), None)

    def _names(self, profiles: Iterable[int]) -> str:
        return ", ".join(self.labels.get(p, f"profile {p}") for p in sorted(profiles))

    def _wrong(self, path: str, text: str) -> None:
        self.outcome.wrong.append(f"{path}: {text}")


def _profile(number: int | None) -> str:
    return "nobody" if number is None else f"profile {number}"
