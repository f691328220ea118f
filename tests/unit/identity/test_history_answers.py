"""What lies behind a profile: links, rows of the log, changes, quarantine; and looks ahead."""

from __future__ import annotations

import random
from collections import defaultdict

import numpy as np
import pytest

from muster.identity.v1 import facts_pb2 as identity
from services.identity.adapters.decider import printed_pair
from services.identity.core import IdentityCore
from services.identity.domain.kinds import Rules
from services.identity.engine.changes import HAND_OVER, MERGE, SPLIT, UNMERGE
from services.identity.engine.spare import fresh
from services.identity.engine.timeline import Timeline
from services.identity.handlers import Answers
from tests.unit.identity.deciding import Decision, decided
from tests.unit.identity.events import START_US, TENANT, Happened
from tests.unit.identity.running import reloaded
from tests.unit.identity.test_answers import ADA, LAPTOP, MAIL, SETTINGS, STORY, asked, printed

BOB = ("user_id", "bob")
PHONE = ("phone", "+442079460000")


def test_a_graph_names_the_first_event_of_every_link_and_what_was_left_out() -> None:
    answers, _ = asked(*STORY, Happened("c0", 25, (LAPTOP, ADA)))
    links = answers.links(answers.resolve_identifier(*ADA))
    told = [(link.cause, link.time_us, link.identifiers) for link in links]
    assert told == [
        ("c0", 25, [(ADA, ""), (LAPTOP, "")]),
        ("d", 40, [(BOB, ""), (LAPTOP, "limit")]),
        ("e", 50, [(ADA, ""), (("web_push_token", "t-1"), "")]),
        ("f", 60, [(BOB, ""), (("web_push_token", "t-1"), "")]),
        ("g", 70, [(ADA, ""), (MAIL, ""), (PHONE, "")]),
    ]
    assert not any(link.untrusted for link in links)


def test_changes_are_told_newest_first_in_pages_with_their_cause() -> None:
    answers, _ = asked(*STORY, Happened("late", 5, (BOB, LAPTOP)))
    everything, more = answers.changes(None, 0, 1 << 62, 10)
    kinds = [change.kind for change, _ in everything]
    assert kinds == [SPLIT, HAND_OVER, MERGE] and not more
    assert [change.cause for change, _ in everything] == ["late", "f", "c"]
    page, more = answers.changes(None, 0, 1 << 62, 2)
    rest, done = answers.changes(None, 0, page[-1][0].number, 2)
    assert [c.number for c, _ in page + rest] == [2, 1, 0] and more and not done
    merges, _ = answers.changes(None, MERGE, 1 << 62, 10)
    assert [change.cause for change, _ in merges] == ["c"]
    carol = answers.resolve_identifier("user_id", "bob")
    assert {c.cause for c, _ in answers.changes(carol, 0, 1 << 62, 10)[0]} >= {"late", "f"}


def test_a_link_taken_back_is_told_with_who_and_why() -> None:
    core = IdentityCore(TENANT, 1)
    events = [Happened("a", 10, (LAPTOP,)), Happened("b", 20, (ADA,))]
    core.step([printed([*events, Happened("c", 30, (ADA, LAPTOP))])], START_US)
    record = decided(Decision("r-1", 40, apart=((ADA, LAPTOP),)), 1)
    answers = Answers(core, SETTINGS)
    pairs = answers.pairs_by_cause(answers.resolve_identifier(*ADA), "c")
    assert pairs is not None
    assert [tuple(map(answers.name, pair)) for pair in pairs] == [(ADA, LAPTOP)]
    # The tests' decisions carry other prints than ingest's: name what the core knows.
    forbidden = identity.IdentityDecided.FromString(record.body)
    del forbidden.forbidden.pairs[:]
    forbidden.forbidden.pairs.append(printed_pair(answers, pairs[0]))
    message = type(record)(1, record.subject, 1, START_US, forbidden.SerializeToString())
    core.step([message], START_US + 1)
    answers = Answers(reloaded(core), SETTINGS)
    ((change, who), *_), _ = answers.changes(None, UNMERGE, 1 << 62, 1)
    assert who is not None and (who.actor, who.reason) == ("support@example.com", "asked by phone")
    assert (change.cause, change.time_us) == ("r-1", START_US), "the log time before it"
    assert answers.resolve_identifier(*ADA) != answers.resolve_identifier(*LAPTOP)


def test_profiles_at_the_brake_and_ignored_values_are_listed() -> None:
    rules = Rules(shared_others_max=3, profile_identifiers_max=3)
    core = IdentityCore(TENANT, 1, rules)
    kiosk = ("cookie", "kiosk")
    shared = [Happened(f"k{i}", i, (kiosk, ("email", f"m{i}@example.com"))) for i in range(4)]
    many = [Happened(f"c{i}", 10 + i, (ADA, ("cookie", f"c{i}"))) for i in range(4)]
    core.step([printed([*shared, *many])], START_US)
    answers = Answers(core, SETTINGS)
    profiles, ignored = answers.quarantine()
    assert profiles == [(answers.resolve_identifier(*ADA), 3)]
    assert [answers.name(one) for one in ignored] == [kiosk]
    assert answers.report().left_out["size"] == 2


def test_a_look_at_a_link_says_what_the_event_then_does() -> None:
    answers, core = asked(*STORY)
    wanted = [answers.wanted(*one) for one in (ADA, LAPTOP, BOB, ("card", "0815"))]
    before = (core.knowledge.kinds.names[:], core.store.counts.tolist())
    preview = answers.preview_link(wanted, trusted=True)
    assert (core.knowledge.kinds.names, core.store.counts.tolist()) == before, "only a look"
    # Of two user ids one is too many, and the weaker names go first.
    assert {one.value: why for one, why in preview.left_out.items()} == {
        "bob": "limit",
        "laptop": "limit",
        "0815": "limit",
    }
    mail = answers.wanted("email", "new@example.com")
    preview = answers.preview_link([mail, answers.wanted(*LAPTOP)], trusted=True)
    assert preview.survivor == answers.resolve_identifier(*ADA)
    assert not preview.left_out and not preview.absorbed


def test_who_is_not_trusted_would_join_nobody_known() -> None:
    answers, _ = asked(Happened("a", 10, (MAIL,)), Happened("b", 20, (PHONE, LAPTOP)))
    wanted = [answers.wanted(*MAIL), answers.wanted(*PHONE)]
    trusted = answers.preview_link(wanted, trusted=True)
    assert list(trusted.absorbed) == [answers.resolve_identifier(*PHONE)]
    assert [one.kind for one in trusted.absorbed[answers.resolve_identifier(*PHONE)]] == ["phone"]
    doubt = answers.preview_link(wanted, trusted=False)
    assert not doubt.absorbed and list(doubt.left_out.values()) == ["untrusted"]


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_found_newest_first_in_pages_until_they_are_overwritten(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    rows_max = rng.choice((10, 100, 5_000))
    timeline, naive = Timeline(rows_max), defaultdict(list)
    number = 0
    for sequence in range(1, 200):
        atoms = [rng.randrange(20) for _ in range(rng.randint(1, 60))]
        for row, atom in enumerate(atoms):
            naive[atom].append((number + row, sequence, row))
        number += len(atoms)
        timeline.add(sequence, np.array(atoms, np.int64))
        if sequence % 50 == 0:
            again = Timeline(rows_max)
            again.load({k: memoryview(v.tobytes()) for k, v in timeline.dump(fresh).items()})
            timeline = again
    assert timeline.count == number and timeline.oldest >= number - max(rows_max, 1 << 12)
    for _ in range(20):
        atoms = rng.sample(range(25), rng.randint(1, 6))
        want = sorted((row for atom in atoms for row in naive[atom]), reverse=True)
        want = [row for row in want if row[0] >= timeline.oldest]
        found, before = [], 1 << 62
        while page := timeline.of(atoms, before, 7):
            found += [tuple(one) for one in page]
            before = page[-1].number
        assert found == want
