"""Calls about the rules that profiles are folded by: shown, tried, changed."""

from __future__ import annotations

from typing import Any

from muster.identity.v1 import facts_pb2 as identity
from muster.identity.v1 import service_pb2 as api
from services.chassis.errors import Conflict, InvalidRequest, NotReady, Precondition
from services.identity.adapters.decider import Decider, printed
from services.identity.adapters.door import Door
from services.identity.adapters.reading import patterns_of
from services.identity.adapters.simulations import KEPT_MAX, Simulations
from services.identity.domain.attribute_rules import AttributeRule
from services.identity.domain.kinds import Rules
from services.identity.engine.previews import Wanted

LIMIT_MAX = 10_000
BLOCKED_MAX = 1_000
PATTERNS_MAX = 100
SOURCES_MAX = 100


class RulesCalls(Door):
    """GetIdentityRules, SimulateIdentityRules, GetIdentitySimulation, ChangeIdentityRules."""

    decider: Decider | None = None
    simulations: Simulations | None = None
    """Both there before the first call."""

    async def GetIdentityRules(
        self, request: api.GetIdentityRulesRequest, context: Any
    ) -> api.GetIdentityRulesResponse:
        worker = await self.reached(request.tenant, request.at_least)
        return api.GetIdentityRulesResponse(rules=self._present(), position=worker.position())

    async def SimulateIdentityRules(
        self, request: api.SimulateIdentityRulesRequest, context: Any
    ) -> api.SimulateIdentityRulesResponse:
        worker = await self.reached(request.tenant)
        rules, blocked = self._read(request.rules)
        job = self._simulations().start(rules, blocked, _tried(rules, blocked), worker.position())
        return api.SimulateIdentityRulesResponse(simulation_id=job)

    async def GetIdentitySimulation(
        self, request: api.GetIdentitySimulationRequest, context: Any
    ) -> api.GetIdentitySimulationResponse:
        await self.reached(request.tenant)
        job = self._simulations().job(request.simulation_id)
        if job is None:
            return api.GetIdentitySimulationResponse(
                state=api.SIMULATION_STATE_GONE, error=_gone(request.simulation_id)
            )
        response = api.GetIdentitySimulationResponse(
            state=api.SIMULATION_STATE_RUNNING, position=job.position
        )
        found = job.difference
        if job.error:
            response.state, response.error = api.SIMULATION_STATE_FAILED, job.error
        if found is None:
            return response
        response.state = api.SIMULATION_STATE_DONE
        response.profiles_now, response.profiles_then = found.profiles_now, found.profiles_then
        response.joined, response.split = found.joined, found.split
        for group in found.joined_examples:
            ids = [self.answers.profile_id(number) for number in group]
            response.joined_examples.add(profile_ids=ids)
        response.split_examples.extend(self.answers.profile_id(n) for n in found.split_examples)
        return response

    async def ChangeIdentityRules(
        self, request: api.ChangeIdentityRulesRequest, context: Any
    ) -> api.ChangeIdentityRulesResponse:
        worker = await self.reached(request.tenant)
        if self.decider is None:
            raise NotReady("not connected to the log yet; ask again", retry_s=0.5)
        rules, blocked = self._read(request.rules)
        record = self.decider.record(request.request_id, request.actor, request.reason)
        if self.answers.decided(record.request_id) is None:
            self._check_tried(request, rules, blocked)
            record.rules.CopyFrom(request.rules)
            record.rules.version += 1
            del record.rules.blocked[:]
            record.rules.blocked.extend(printed(one) for one in blocked)
            await self.decider.decide(record, worker)
            if self.answers.decided(record.request_id) is None:
                raise Conflict("somebody else changed the rules first: read them again")
        return api.ChangeIdentityRulesResponse(rules=self._present(), position=worker.position())

    def _check_tried(
        self, request: api.ChangeIdentityRulesRequest, rules: Rules, blocked: list[Wanted]
    ) -> None:
        version = self.answers.rules_version()
        if request.rules.version != version:
            raise Conflict(f"the rules are at version {version}: read them again")
        job = self._simulations().job(request.simulation_id)
        if job is None:
            raise Precondition(_gone(request.simulation_id))
        if job.difference is None:
            raise Precondition("that simulation is not done: see GetIdentitySimulation")
        if job.tried != _tried(rules, blocked):
            raise Precondition("that simulation was of other rules: simulate these first")

    def _read(self, rules: identity.IdentityRules) -> tuple[Rules, list[Wanted]]:
        """Rules as wished for; InvalidRequest names every fault."""
        faults = [
            (f"rules.limits[{kind}]", f"from 1 to {LIMIT_MAX}; leave a kind out for no limit")
            for kind, limit in sorted(rules.limits.items())
            if not 1 <= limit <= LIMIT_MAX
        ]
        faults += [
            (f"rules.{name}", f"from 1 to {LIMIT_MAX}")
            for name in ("shared_others_max", "profile_identifiers_max")
            if not 1 <= getattr(rules, name) <= LIMIT_MAX
        ]
        if len(rules.blocked) > BLOCKED_MAX:
            faults.append(("rules.blocked", f"at most {BLOCKED_MAX}"))
        if len(rules.patterns) > PATTERNS_MAX:
            faults.append(("rules.patterns", f"at most {PATTERNS_MAX}"))
        if len(rules.sources) > SOURCES_MAX or len(set(rules.sources)) < len(rules.sources):
            faults.append(("rules.sources", f"at most {SOURCES_MAX}, each once"))
        patterns = patterns_of(rules.patterns)
        faults += [
            (f"rules.patterns[{place}]", fault)
            for place, pattern in enumerate(patterns)
            if (fault := pattern.fault())
        ]
        faults += [
            (f"rules.attributes[{name}]", "name survivor, newest, source or first")
            for name, rule in sorted(rules.attributes.items())
            if int(rule) not in {int(known) for known in AttributeRule}
        ]
        if faults:
            raise InvalidRequest(faults)
        blocked = [self.answers.wanted(one.kind, one.value) for one in rules.blocked]
        made = Rules(
            self.settings.identifier_priority,
            dict(rules.limits),
            rules.shared_others_max,
            rules.profile_identifiers_max,
            patterns,
        )
        return made, blocked

    def _present(self) -> identity.IdentityRules:
        rules, version, blocked, attributes = self.answers.rules()
        present = identity.IdentityRules(
            version=version,
            limits=rules.limits,
            shared_others_max=rules.shared_others_max,
            profile_identifiers_max=rules.profile_identifiers_max,
        )
        for kind, value in blocked:
            present.blocked.add(kind=kind, value=value)
        for one in rules.patterns:
            present.patterns.add(kind=one.kind, pattern=one.text, one_character=one.one_character)
        for name, rule in attributes.rules.items():
            present.attributes[name] = int(rule)  # type: ignore[assignment]
        present.sources.extend(attributes.sources)
        return present

    def _simulations(self) -> Simulations:
        if self.simulations is None:
            raise NotReady("not started yet; ask again", retry_s=0.5)
        return self.simulations


def _gone(name: str) -> str:
    return f"simulation {name} is remembered no more ({KEPT_MAX} are, none beyond a restart)"


def _tried(rules: Rules, blocked: list[Wanted]) -> object:
    """What two wishes for the same rules have in common."""
    limits = tuple(sorted(rules.limits.items()))
    values = frozenset(blocked), frozenset(rules.patterns)
    return limits, rules.shared_others_max, rules.profile_identifiers_max, values
