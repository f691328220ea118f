"""Runs a case through a world and says, in words, what disagrees and which reader says so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cli.conditions import read_condition
from cli.reading import TreeFaults
from cli.simulation.cases import Case, Checks, Defines, Happens, Refuses, Told
from cli.simulation.streams import CutChoice, everything
from cli.simulation.world import Refused, Said, Settled, World, instant_text

READERS = {
    "incremental": "what the live engine has (B)",
    "from scratch": "the rule asked anew over all rows (A)",
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
    """Runs a case in simulated time.

    choose: how many waiting messages a step takes. partitions: instead of the case's own.
    """
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

    def take(self, step: Defines | Refuses | Checks) -> None:
        if isinstance(step, Refuses):
            self._refuses(step)
        elif isinstance(step, Checks):
            self._checks(step)
        else:
            self._defines(step)

    def check_verdicts(self) -> None:
        """Whether each event was accepted, refused or known already, as its step says."""
        verdicts = self.world.verdicts()
        for place, step in self.sent.items():
            verdict, detail = verdicts.get(place, ("accepted", ""))
            if verdict != step.verdict:
                said = f"{verdict} ({detail})" if detail else verdict
                self._wrong(step.path, f"{step.event.event_id} is {said}, not {step.verdict}")

    def _defines(self, step: Defines) -> None:
        try:
            if step.rule is None:
                self.world.retire(step.segment_id, step.at_us)
            else:
                rule = step.rule
                self.world.define(rule.segment_id, rule.condition, step.at_us, rule.name, rule.zone)
        except Refused as refused:
            self.outcome.wrong.append(f"{step.segment_id} is refused: {refused}")

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
        for segment, expected in step.members.items():
            self._check_members(step, segment, expected, settled)
        for segment, told in step.transitions.items():
            said = [t for t in settled.said if t.segment_id == segment]
            self._check_transitions(step, segment, told, said)

    def _check_members(
        self, step: Checks, segment: str, expected: Iterable[str], settled: Settled
    ) -> None:
        self.outcome.checks += 1
        found = {label: self.present[label] for label in expected}
        wanted = {number for number in found.values() if number is not None}
        unseen = [label for label, number in found.items() if number is None]
        answers = settled.members(segment)
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
            where = f"{segment} as of {instant_text(step.at_us)}, {reader} ({READERS[reader]})"
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

    def _names(self, profiles: Iterable[int]) -> str:
        return ", ".join(self.labels.get(p, f"profile {p}") for p in sorted(profiles))

    def _wrong(self, path: str, text: str) -> None:
        self.outcome.wrong.append(f"{path}: {text}")
