"""Every broken rule is refused with faults, each at a place of the tree that can be found, never
with anything else: in friendly YAML, and as the contract has it.

Valid rules are broken at random: keys renamed, dropped and added, values exchanged for values of
other kinds, branches moved. MUSTER_SEED is the first seed (by chance, printed); seeds that ever
failed are kept here and replayed first.
"""

from __future__ import annotations

import copy
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.message import Message

from cli.conditions import read_condition as read_friendly
from cli.definitions import read_definition, read_list, read_variant_set
from cli.reading import TreeFaults, read_document
from cli.simulation.cases import read_case
from cli.writing import write_condition
from muster.types.v1 import condition_pb2 as pb
from services.segments.engine.base.limits import EngineLimits
from services.segments.engine.language.reading import Reader
from tests.properties.test_any_tree_is_read import Chance
from tests.properties.test_friendly_both_ways import tree
from tests.unit.segments.reading import known

TREES = 400
SEEDS = 4
KEPT = [557993124, 21, 5159]
"""A leap day that is a list; a zone longer than a file name; a list in a list of values."""
FIRST_SEED = int(os.environ.get("MUSTER_SEED", "0")) or random.SystemRandom().randrange(1 << 30)
ALL_SEEDS = [*KEPT, *(FIRST_SEED + place for place in range(SEEDS))]

JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2**70, -(2**70), 0.1, float("nan"), float("inf"), "", " ", "soon",
    "last", "last 90", "last -3 days", "last 3 days", "90 days", "1e9", "10/0", "2026-02-30",
    "2026-02-28T25:00:00Z", "Europe/Nowhere", "(", "\x00", "e" * 5_000, [], [[]], [None], {},
    {"": 0},
    {"all": []}, {"not": None}, {1: 2}, {"eq": {"eq": 1}}, ["all"], {"event": {"type": []}},
]  # fmt: skip
INDEX = re.compile(r"\[(\d+)\]")
STEPS = re.compile(r"[.\[]")
STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def places_of(root: Any) -> list[tuple[Any, Any]]:
    """(holder, key) of every value below a root."""
    found, waiting = [], [root]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        for key in keys:
            found.append((one, key))
            if isinstance(one[key], dict | list):
                waiting.append(one[key])
    return found


def broken(document: Any, rng: random.Random) -> Any:
    """A document with one to three mistakes."""
    made = {"top": copy.deepcopy(document)}
    for _ in range(rng.randint(1, 3)):
        places = places_of(made)
        holder, key = rng.choice(places)
        mistake = rng.randrange(6)
        if mistake == 0:
            holder[key] = copy.deepcopy(rng.choice(JUNK))
        elif mistake == 1 and len(holder) > 1 and holder is not made:
            del holder[key]
        elif mistake == 2 and isinstance(holder, dict) and holder is not made:
            holder[rng.choice(["all", "of", "window", "wher", str(key) + "s", ""])] = holder.pop(
                key
            )
        elif mistake == 3 and isinstance(holder, dict) and holder is not made:
            other, name = rng.choice(places)
            holder[str(name)] = copy.deepcopy(other[name])
        elif mistake == 4:
            holder[key] = [copy.deepcopy(holder[key])]
        else:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
    return made["top"]


def lies_in(root: Any, path: str) -> bool:
    """Whether a path leads somewhere in a document: all of it but, of what is missing, the last."""
    if not path:
        return True
    if isinstance(root, list):
        found = INDEX.match(path)
        return (
            bool(found)
            and int(found[1]) < len(root)
            and lies_in(root[int(found[1])], path[found.end() :])
        )
    rest = path.removeprefix(".")
    keys = [str(key) for key in root] if isinstance(root, dict) else []
    for key in keys:
        if rest == key or (rest.startswith(key) and rest[len(key)] in ".["):
            named = next(one for one in root if str(one) == key)
            if lies_in(root[named], rest[len(key) :]):
                return True
    return not STEPS.search(rest)


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_a_broken_document_is_refused_where_it_is_broken(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    refused = meant = 0
    for _ in range(TREES):
        document = broken(write_condition(tree(rng, 3)), rng)
        if faults_of(read_friendly, document):
            refused += 1
        else:
            meant += 1
            check(read_friendly(document))
    print(f"{refused} refused, {meant} mean something")
    assert refused > TREES // 4
    assert meant


DOCUMENTS: list[tuple[Any, dict[str, Any]]] = [
    (
        read_definition,
        {
            "segment": "big-spenders", "name": "Big", "zone": "Europe/Kyiv", "tags": ["sales"],
            "triggers": {
                "reasons": ["event", "list change"], "cool_down": "1 day", "reentry": False,
                "variant_set": "spring", "migrates_from": "prospects",
            },
            "condition": {"event": {"type": "order_completed", "window": "last 90 days"}},
        },
    ),
    (
        read_list,
        {
            "list": "vip", "name": "Best", "follows": "buyers", "tags": ["care"],
            "triggers": {"reasons": ["time"], "cool_down": "1 hour"},
        },
    ),
    (
        read_variant_set,
        {
            "variants": "spring", "name": "Spring", "default": "hello",
            "rules": [{"segment": "buyers", "variant": "thanks"}],
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize("seed", ALL_SEEDS)
@pytest.mark.parametrize(("read", "document"), DOCUMENTS)
def test_a_broken_definition_is_refused_where_it_is_broken(
    read: Any, document: dict[str, Any], seed: int
) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    refused = 0
    for _ in range(TREES):
        given = broken(document, rng)
        refused += bool(faults_of(lambda _, given=given: read(given, "demo"), given))
    assert TREES // 4 < refused < TREES


STORIES = [
    read_document(file.read_text())
    for file in sorted((Path(__file__).parent.parent / "scenarios").glob("*.yaml"))
]


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_a_broken_story_is_refused_where_it_is_broken(seed: int) -> None:
    print(f"seed {seed}")
    rng, refused, cases = random.Random(seed), 0, 0
    for _ in range(TREES):
        given = broken(rng.choice(STORIES), rng)
        try:
            text = yaml.safe_dump(given)
            given = read_document(text)
        except (yaml.YAMLError, TreeFaults):  # What no YAML can say.
            continue
        cases += 1
        refused += bool(faults_of(lambda _, text=text: read_case(text), given))
    print(f"{refused} of {cases} refused")
    assert cases // 4 < refused < cases


def faults_of(read: Any, document: Any) -> list[tuple[str, str]]:
    """What is wrong with a document, each at a place it has; nothing when it means something."""
    try:
        read(document)
    except TreeFaults as wrong:
        faults = wrong.faults
    else:
        return []
    assert faults, document
    assert len(set(faults)) == len(faults), (faults, document)
    for path, text in faults:
        assert text, (path, document)
        assert lies_in(document, path), (path, text, document)
    return faults


@pytest.mark.parametrize("seed", ALL_SEEDS)
def test_a_broken_message_is_refused_where_it_is_broken(seed: int) -> None:
    print(f"seed {seed}")
    chance, refused = Chance(random.Random(seed)), 0
    for _ in range(TREES):
        condition = tree(chance.rng, 3)
        for _ in range(chance.rng.randint(1, 3)):
            chance.mistake(condition)
        refused += check(condition)
    assert refused > TREES // 10


def check(condition: pb.Condition) -> bool:
    """Reads a condition as the engine does; whether it is refused, then at places it has."""
    reader = Reader("", known, EngineLimits())
    reader.node(condition)
    assert len(set(reader.faults)) == len(reader.faults), (reader.faults, condition)
    for path, text in reader.faults:
        assert text, (path, condition)
        assert leads(condition, path), (path, text, condition)
    return bool(reader.faults)


def leads(message: Message, path: str) -> bool:
    """Whether a path names fields of a message, the last one perhaps unset."""
    one: Any = message
    steps = [name or int(number) for name, number in STEP.findall(path)]
    for place, step in enumerate(steps):
        if isinstance(step, int):
            if isinstance(one, Message) or step >= len(one):
                return False
            one = one[step]
            continue
        if not isinstance(one, Message):
            return False
        names = one.DESCRIPTOR.fields_by_name
        if step not in names:
            # A group's list is named by the group: all[0] is all.of[0].
            return False
        value = getattr(one, step)
        following = steps[place + 1] if place + 1 < len(steps) else None
        if isinstance(following, int) and isinstance(value, Message):
            value = value.of  # type: ignore[attr-defined]
        one = value
    return True
