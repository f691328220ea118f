"""A partition as it stood: what reader A, the judges of pasts and the outlook read instead of now.

A question has two instants. `at`: events up to it count, and windows end there. `known`: what was
accepted by then is known, and identities are those of then. (at, at) is what live membership was at
that instant; (at, now) is what we know today about that instant, and a profile then stands at every
instant. An instant that lies ahead is what comes if nothing more happens.

The log is shared with the partition that lives, which only adds to it; what changes there in place
is copied, and later changes are taken back by `Former`. Rules are those of an instant the asker
names. What somebody does to a list or says of an item has one instant, at which it is known and
counts: at (at, known) lists stand as they stood at the earlier of the two, and whom they followed.
Items and cuts of scores are those known, of the past by what speaks of no later instant.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

from services.segments.domain import conditions as rule
from services.segments.engine.base.arrays import Array
from services.segments.engine.base.pieces import Pieces, finished
from services.segments.engine.base.tables import Table
from services.segments.engine.language.expressions import (
    Expression,
    LeafSpec,
    ListLeaf,
    PastLeaf,
    Push,
    WordLeaf,
)
from services.segments.engine.live.anniversaries import Anniversaries
from services.segments.engine.live.rules import Segment
from services.segments.engine.live.streams import StreamTable
from services.segments.engine.partition import Partition
from services.segments.engine.pasts.table import PastTable
from services.segments.engine.store.attributes import Attributes
from services.segments.engine.store.catalogue_log import CatalogueThen
from services.segments.engine.store.events import Events
from services.segments.engine.store.former import ABSORBED, HOME, KIND, NO, OWNER, YES, Former
from services.segments.engine.store.lists import Lists
from services.segments.engine.store.people import NEVER, NONE, People
from services.segments.engine.store.words import STOPPING, SUBSCRIBED, UNSUBSCRIBED, Words

PIECE_ROWS = 1 << 17
"""Events whose acceptance is looked at between two places where steps may run."""
_LONG_AGO = 1 << 60
"""Taken from times of acceptance, they keep their order and lie before every question."""
_UNKNOWN = 1 << 62
_PEOPLE = (
    "absorbed", "first_slot", "slot_row", "slot_next", "slot_event", "slot_record", "slot_kind"
)  # fmt: skip
"""What changes in place; who begins later was not there before either."""


class PastUnknown(Exception):
    """A question about the past that nobody can answer exactly; the message says why."""


def unanswerable(
    part: Partition, expression: Expression, at: int, known: int, rules_us: int | None = None
) -> list[str]:
    """Why a rule cannot be answered at (at, known); empty when it can. rules_us: of which instant
    the rules are that it refers to; None for now."""
    then = min(at, known)
    if then >= part.now:
        return []
    found: dict[str, None] = {}
    if known < part.former.since_us:
        found["what stood then was not kept: the log of changes begins later"] = None
    whole_us = part.former.whole_since_us
    if rules_us is not None and rules_us < whole_us:
        found["which version stood then was not kept: the log of versions begins later"] = None
    # Before versions were kept, the present ones say what has to be refused.
    rules = part.segments if then < whole_us else rules_at(part, rules_us, then)
    for spec in leaves_of(rules, expression):
        match spec:
            case ListLeaf(list_id) if then < whole_us:
                found[f"who was in the list {list_id} by hand was not kept until later"] = None
            case PastLeaf(rule.Catalogue()) if then < whole_us:
                found["how the catalogue stood then was not kept until later"] = None
            case PastLeaf(rule.Rfm(edges=None) as node):
                if then < whole_us:
                    found["cuts of scores by quantile were not kept until later"] = None
                elif not _ever_cut(part, node):
                    found["no rule that scores so by quantile was in force: there are no cuts"] = (
                        None
                    )
    return list(found)


def _ever_cut(part: Partition, leaf: rule.Rfm) -> bool:
    """Whether cuts were taken for a leaf, or a rule is in force for which they will be."""
    key = part.cuts.key_of(leaf)
    return any(given.key == key for _, given in part.cuts.former) or any(
        isinstance(one, PastLeaf)
        and isinstance(one.node, rule.Rfm)
        and one.node.edges is None
        and part.cuts.key_of(one.node) == key
        for one in part.leaf_numbers
    )


def rules_at(part: Partition, rules_us: int | None, then: int) -> dict[str, Segment]:
    """Segments by id, as they were at an instant, None for now; lists as they were at `then`."""
    at = part.now if rules_us is None else min(rules_us, part.now)
    if min(at, then) >= part.now:
        return {name: copy.copy(one) for name, one in part.segments.items()}
    found = part.versions.at(at, min(then, part.now))
    lists = Lists(part)
    lists.follows = part.versions.follows(min(then, part.now))
    for name in lists.follows:
        found[name].expression = lists.expression(name)
    return found


def leaves_of(segments: Mapping[str, Segment], expression: Expression) -> list[LeafSpec]:
    """Every leaf of a rule and of the segments it refers to, each once."""
    found: dict[LeafSpec, None] = {}
    seen: set[str] = set()
    waiting = [expression]
    while waiting:
        for step in waiting.pop():
            of = step.of if isinstance(step, Push) else None
            if isinstance(of, str):
                if of not in seen and segments[of].node is not None:
                    waiting.append(segments[of].expression)
                seen.add(of)
            elif of is not None:
                found[of] = None
    return list(found)


def as_of(
    part: Partition, at: int, known: int, expression: Expression, rules_us: int | None = None
) -> Partition:
    """The partition at (at, known), for rules that look at no more than `expression` does. It is
    read only, and stays as it is whatever steps come. Raises PastUnknown."""
    return finished(as_of_in_pieces(part, at, known, expression, rules_us))


def as_of_in_pieces(
    part: Partition, at: int, known: int, expression: Expression, rules_us: int | None = None
) -> Pieces[Partition]:
    """The same, with places where steps may run; it is as of where it began. rules_us: of which
    instant the rules are that it refers to; None for now."""
    why = unanswerable(part, expression, at, known, rules_us)
    if why:
        raise PastUnknown("; ".join(why))
    view = copy.copy(part)
    view.people = _people(part.people, part.former, known)
    if at != known:
        born = view.people.created_us <= known
        view.people.created_us = np.where(born, min(0, at), NEVER)
    view.events = copy.copy(part.events)
    view.events.columns = dict(part.events.columns)
    view.events.forget_view()
    view.attributes = _attributes(part, at, known)
    stand_at(view, part, at, known, expression, rules_us)
    if any(isinstance(one, WordLeaf) for one in leaves_of(view.segments, expression)):
        if at == known or min(at, known) >= part.now:
            view.words.topics = dict(part.words.topics)
            view.words.yes = _table(part.words.yes, *part.former.after(YES, known))
            view.words.no = _table(part.words.no, *part.former.after(NO, known))
        else:
            yield from _hear_again(view, part, at, known)
    if at != known:
        yield from _know_events(view.events, known)
    return view


def stand_at(
    view: Partition, part: Partition, at: int, known: int, expression: Expression,
    rules_us: int | None = None,
) -> None:  # fmt: skip
    """Sets what a view of a partition has but for people, log and words: its instant, rules, lists,
    items and cuts, and everything that is kept up from these."""
    then = min(at, known, part.now)
    view.now = at
    view.segments = rules_at(part, rules_us, then)
    view.streams = StreamTable()
    view.streams.index = part.streams.index
    view.pasts = PastTable(view)
    days, view.days = part.days.days, Anniversaries(view)
    view.days.days = days
    words, view.words = view.words, Words(view)
    if words.part is not part:
        view.words.topics, view.words.yes, view.words.no = words.topics, words.yes, words.no
    looks = leaves_of(view.segments, expression)
    listed = any(isinstance(one, ListLeaf) for one in looks)
    view.lists = part.lists.as_of(view, then) if listed else Lists(view)
    view.lists.follows = {
        name: one for name, one in part.versions.follows(then).items() if name in view.segments
    }
    view.catalogue = CatalogueThen(view, part.catalogue_log, at, known)
    view.cuts = part.cuts.as_of(view, at, known)


def _people(people: People, former: Former, at: int) -> People:
    view = copy.copy(people)
    view.forget()
    for name in _PEOPLE:
        count = people.slots if name.startswith("slot_") else people.rows
        setattr(view, name, getattr(people, name)[:count].copy())
    for what, array in (
        (OWNER, view.slot_row), (KIND, view.slot_kind), (ABSORBED, view.absorbed),
    ):  # fmt: skip
        places, before = former.after(what, at)
        if what == OWNER and places.size:
            touched = np.unique(np.concatenate((before, array[places])))
            array[places] = before
            _chain_again(view, touched[touched >= 0])
        else:
            array[places] = before
    return view


def _chain_again(people: People, rows: Array) -> None:
    """Strings the slots of some profiles by whose they are."""
    owners = people.slot_row[: people.slots]
    mine = np.flatnonzero(np.isin(owners, rows))
    people.first_slot[rows] = NONE
    order = mine[np.argsort(owners[mine], kind="stable")]
    same = owners[order[1:]] == owners[order[:-1]]
    people.slot_next[order] = NONE
    people.slot_next[order[1:][same]] = order[:-1][same]
    last = np.append(~same, True) if order.size else np.zeros(0, bool)
    people.first_slot[owners[order[last]]] = order[last]


def _known_then(accept: Array, known: int) -> Array:
    """Times of acceptance that lie before every question, or after it when it was not known."""
    return np.where(accept <= known, accept - _LONG_AGO, _UNKNOWN)


def _know_events(events: Events, known: int) -> Pieces[None]:
    accept = events.columns["accept"]
    found = events.columns["accept"] = np.empty(events.count, np.int64)
    for first in range(0, events.count, PIECE_ROWS):
        piece = slice(first, min(first + PIECE_ROWS, events.count))
        found[piece] = _known_then(accept[piece], known)
        yield 1
    events.as_accepted = False
    events.forget_view()


def _hear_again(view: Partition, part: Partition, at: int, known: int) -> Pieces[None]:
    """What was said of times up to `at` and known by `known`, in the order in which it was meant,
    of people as they were known."""
    view.former = Former()
    events, names = part.events.view, part.names.names
    wanted = np.array([name in {*STOPPING, SUBSCRIBED, UNSUBSCRIBED} for name in names], bool)
    found = [np.zeros(0, np.int64)]
    for first in range(0, part.events.count, PIECE_ROWS):
        piece = slice(first, min(first + PIECE_ROWS, part.events.count))
        said = wanted[events.type[piece]] & (events.accept[piece] <= known)
        found.append(first + np.flatnonzero(said & (events.occur[piece] <= at)))
        yield 1
    rows, columns = np.concatenate(found), part.attributes.columns
    of = slice(0, part.attributes.count)
    records = np.flatnonzero((columns["accept"][of] <= known) & (columns["occur"][of] <= at))
    view.words.heard(rows, events.occur[rows], records, columns["occur"][records])


def _attributes(part: Partition, at: int, known: int) -> Attributes:
    view = copy.copy(part.attributes)
    columns = view.columns = dict(part.attributes.columns)
    count = view.count
    if at != known:
        columns["accept"] = _known_then(columns["accept"][:count], known)
    columns["home"] = columns["home"][:count].copy()
    places, before = part.former.after(HOME, known)
    columns["home"][places] = before
    view.current, view.known = {}, set(part.attributes.known)
    view.forget_view()
    return view


def _table(table: Table, keys: Array, before: Array) -> Table:
    """A table of words in which later ones are taken back; -1 for none is as old as can be."""
    found = Table(table.keys.size)
    found.keys, found.values, found.used = table.keys.copy(), table.values.copy(), table.used
    if keys.size:
        oldest = dict(zip(keys.tolist(), before.tolist(), strict=True))
        kept = found.values >= 0
        places = np.flatnonzero(kept & np.isin(found.keys, np.array(list(oldest), np.uint64)))
        wanted = np.array([oldest[key] for key in found.keys[places].tolist()], np.int64)
        gone = wanted < 0
        found.values[places[~gone]] = wanted[~gone]
        if gone.any():
            kept[places[gone]] = False
            made = Table(table.keys.size)
            made.fill(found.keys[kept], found.values[kept])
            return made
    return found
