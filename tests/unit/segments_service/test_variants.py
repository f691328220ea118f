"""Variants of transitions: those of their own instants, whatever the cut, through restarts."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from muster.segments.v1 import facts_pb2 as segments
from muster.types.v1 import condition_pb2 as pb
from services.chassis import subjects
from services.chassis.core import Message
from services.segments.adapters import wire
from services.segments.core import SegmentsCore
from services.segments.relay_core import RelayCore
from tests.integration.segments_stack import TENANT, bought
from tests.unit.segments_service.test_core import Partition, control

Row = tuple[int, int, int, bool]
"""at_us, profile, segment, entered."""

RULES = [("big", "gold"), ("buyers", "silver"), ("big", "never"), ("nowhere", "never")]


def segment(
    number: int, name: str, condition: pb.Condition, version: int = 1, variant_set: str = ""
) -> identity.ProfileEntry:
    body = segments.SegmentDefined(
        segment_id=name, segment_number=number, version=version, condition=condition,
        triggers=segments.TriggerPolicy(variant_set=variant_set),
    ).SerializeToString()  # fmt: skip
    return control(body)


def variant_set(version: int = 1, default: str = "plain", **more: object) -> identity.ProfileEntry:
    body = segments.VariantsDefined(
        variant_set_id="spring",
        version=version,
        rules=[segments.VariantRule(segment_id=s, variant=v) for s, v in RULES],
        default_variant=default,
        **more,
    ).SerializeToString()
    return control(body, "variant")


def story(rng: random.Random) -> Partition:
    """People buy and view at random; views trigger with the variant of the moment."""
    log = Partition()
    log.say(log.people(range(8)))
    log.say([segment(1, "buyers", bought(1, 7)), segment(2, "big", bought(3, 9))])
    log.say([variant_set(), segment(3, "viewers", bought(1, 5, "viewed"), 1, "spring")])
    for _ in range(50):
        rows = [
            (rng.randrange(8), rng.choice(["bought", "bought", "viewed"]), 1)
            for _ in range(rng.randrange(4))
        ]
        seconds = rng.choice([0.3, 1.1, 4, 9])
        log.say(log.events(rows, seconds), seconds)
    log.say([], 60)
    return log


def said(core: SegmentsCore, messages: Sequence[Message]) -> dict[Row, str]:
    """What one step says: row -> variant."""
    facts = core.step(messages, max(message.time_us for message in messages))
    found: dict[Row, str] = {}
    for body in facts.bodies.get(0, []):
        columns = wire.transitions_of(body)
        names = ("at_us", "profile", "segment", "entered")
        rows = zip(*(columns[name].tolist() for name in names), strict=True)
        texts = columns.get("variant", np.full(len(columns["at_us"]), "", object)).tolist()
        found |= dict(zip(rows, texts, strict=True))
    return found


def expected(rows: list[Row]) -> dict[Row, str]:
    """By hand, row by row: memberships after every change of the same instant."""
    found: dict[Row, str] = {}
    for row in rows:
        at, profile, number, _ = row
        holds = {
            other: entered
            for when, who, other, entered in sorted(rows, key=lambda r: r[0])
            if who == profile and when <= at
        }
        variant = "gold" if holds.get(2) else "silver" if holds.get(1) else "plain"
        found[row] = variant if number == 3 else ""
    return found


def test_a_transition_carries_the_variant_of_its_instant_whatever_the_cut() -> None:
    seed = random.Random().randrange(1 << 30)
    print("seed", seed)
    rng = random.Random(seed)
    log = story(rng)
    answers = []
    for cut in (1, 3, 1000):
        core = SegmentsCore(TENANT, 0, 1)
        found: dict[Row, str] = {}
        for start in range(0, len(log.messages), cut):
            found |= said(core, log.messages[start : start + cut])
            if cut == 3 and rng.random() < 0.2:
                state = {name: memoryview(bytes(b)) for name, b in core.dump().items()}
                core = SegmentsCore(TENANT, 0, 1)
                core.load(state)
        answers.append(found)
    assert answers[0] == answers[1] == answers[2]
    assert answers[0] == expected(list(answers[0]))
    given = {variant for (_, _, number, _), variant in answers[0].items() if number == 3}
    assert given >= {"silver", "plain"}


def test_a_set_changes_what_later_transitions_carry_and_retired_it_carries_none() -> None:
    log = Partition()
    log.say(log.people(range(3)))
    log.say([variant_set(), segment(3, "viewers", bought(1, 5, "viewed"), 1, "spring")])
    log.say(log.events([(0, "viewed", 1)], 1), 1)
    log.say([variant_set(2, "other"), *log.events([(1, "viewed", 1)], 1)], 1)
    log.say([variant_set(3, retired=True)], 1)
    log.say(log.events([(2, "viewed", 1)], 1), 1)
    for cut in (1, 10):
        core, found = SegmentsCore(TENANT, 0, 1), {}
        for start in range(0, len(log.messages), cut):
            found |= said(core, log.messages[start : start + cut])
        entered = {profile: text for (_, profile, _, way), text in found.items() if way}
        assert entered == {0: "plain", 1: "other", 2: ""}


def columns(rows: int, variant: list[str]) -> wire.Columns:
    made: wire.Columns = {
        name: np.arange(1, rows + 1)
        for name in ("at_us", "profile", "version", "ordinal", "public_id")
    }
    made["segment"] = np.full(rows, 1)
    made["cause_print"] = np.zeros(2 * rows)
    for name in ("entered", "reason"):
        made[name] = np.ones(rows, np.uint8)
    made["row_flags"] = np.zeros(rows, np.uint8)
    made["version"] = np.ones(rows)
    made["variant"] = np.array(variant, object)
    return made


def test_variants_travel_in_parts_of_a_step_and_wait_with_their_rows() -> None:
    texts = [f"variant-{n % 7}" * (n % 3) for n in range(500)]
    bodies = wire.step_bodies(columns(500, texts), {}, [], 12_000)
    assert len(bodies) > 1
    assert all(len(body) <= 12_000 for body in bodies)
    read = [wire.transitions_of(body) for body in bodies]
    assert wire.joined_transitions(read)["variant"].tolist() == texts
    # The plain contract says the same.
    plain = []
    for body in bodies:
        step = segments.SegmentStep.FromString(body).transitions
        ends = [0, *step.variant_name_end]
        pool = [step.variant_name[a:b].decode() for a, b in itertools.pairwise(ends)]
        plain += [pool[place - 1] if place else "" for place in step.variant]
    assert plain == texts
    relay = RelayCore(TENANT, 0)
    subject = subjects.transitions(TENANT, 0)
    (without,) = wire.step_bodies({**columns(1, [""]), "profile": np.array([999])}, {}, [])
    sent = [Message(0, subject, n, 600, body) for n, body in enumerate([*bodies, without], 1)]
    assert not relay.step(sent, 600).batch
    state = {name: memoryview(bytes(body)) for name, body in relay.dump().items()}
    again = RelayCore(TENANT, 0)
    again.load(state)
    body = segments.SegmentDefined(segment_id="a", segment_number=1, version=1).SerializeToString()
    known = Message(1, subjects.control(TENANT, "segment"), 1, 0, body)
    for core in (relay, again):
        batch = core.step([known], 601).batch
        said_of = [segments.SegmentTriggered.FromString(one).variant for _, one, _ in batch]
        assert said_of == [*texts, ""]
