"""Columns of EVENTS as the kernel and the decisions read them, and decisions made by hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from muster.identity.v1 import facts_pb2 as identity
from services.chassis.columns import Columns
from services.identity.domain.attribute_rules import AttributeRule, AttributeRules
from services.identity.domain.fold import Key
from services.identity.domain.kinds import Kinds, Rules
from services.identity.domain.patterns import Pattern
from services.identity.engine.decisions import Decided
from services.identity.engine.entering import event_words
from services.identity.engine.evidence import Event, Named
from services.identity.engine.shapes import ROW_UNTRUSTED, Rows


def rows_of(columns: Columns, names: list[str], kinds: Kinds) -> Rows:
    """The columns that say who rows are about, with the codes of their kinds."""
    code = np.full(len(names), -1, np.int64)
    for number in np.flatnonzero(np.bincount(columns["id_kind"], minlength=len(names))):
        code[number] = kinds.code(names[number])
    flags = columns["row_flags"]
    return Rows(
        columns["id_end"],
        columns["id_kind"],
        columns["id_print"],
        columns["id_text"],
        columns["id_text_end"],
        columns["occur_time_us"],
        columns["accept_time_us"],
        columns["event_print"],
        columns["event_id"],
        columns["event_id_end"],
        flags if len(flags) else np.zeros(columns["rows"], np.uint8),
        code,
    )


def event_of(rows: Rows, row: int) -> Event:
    """One row as the domain decides on it."""
    start = int(rows.id_end[row - 1]) if row else 0
    named = []
    for place in range(start, int(rows.id_end[row])):
        text_start = int(rows.id_text_end[place - 1]) if place else 0
        named.append(
            Named(
                int(rows.code[rows.id_kind[place]]),
                int(rows.id_print[2 * place]),
                int(rows.id_print[2 * place + 1]),
                rows.id_text[text_start : int(rows.id_text_end[place])].tobytes(),
            )
        )
    first, second = event_words(rows.event_id, rows.event_id_end, row)
    high, low = int(rows.event_print[2 * row]), int(rows.event_print[2 * row + 1])
    id_start = int(rows.event_id_end[row - 1]) if row else 0
    return Event(
        (int(rows.occur_time_us[row]), int(first), int(second), high),
        low,
        tuple(named),
        int(rows.accept_time_us[row]),
        rows.event_id[id_start : int(rows.event_id_end[row])].tobytes(),
        not int(rows.row_flags[row]) & ROW_UNTRUSTED,
    )


def cause_of(rows: Rows, row: int) -> Event:
    """One row as the cause of a move: nothing is decided on it any more."""
    start = int(rows.event_id_end[row - 1]) if row else 0
    event_id = rows.event_id[start : int(rows.event_id_end[row])].tobytes()
    high, low = int(rows.event_print[2 * row]), int(rows.event_print[2 * row + 1])
    return Event((0, 0, 0, high), low, (), int(rows.accept_time_us[row]), event_id)


def check(columns: Columns) -> None:
    """ValueError when columns contradict each other; a kernel would read past their ends."""
    rows, ids = columns["rows"], len(columns["id_kind"])
    per_row = ("type", "occur_time_us", "accept_time_us", "id_end", "event_id_end")
    wrong = [name for name in per_row if len(columns[name]) != rows]
    if len(columns["event_print"]) != 2 * rows:
        wrong.append("event_print")
    if len(columns["row_flags"]) not in (0, rows):
        wrong.append("row_flags")
    if len(columns["row_source"]) not in (0, rows):
        wrong.append("row_source")
    elif rows and int(columns["row_source"].max(initial=0)) > len(columns["source_name_end"]):
        wrong.append("source_name")
    if len(columns["id_print"]) != 2 * ids or len(columns["id_text_end"]) != ids:
        wrong.append("id_print")
    if not wrong:
        for ends, target in (
            ("id_end", ids),
            ("event_id_end", len(columns["event_id"])),
            ("id_text_end", len(columns["id_text"])),
            ("prop_end", len(columns["prop_key"])),
            ("text_end", len(columns["text"])),
        ):
            if len(columns[ends]) and int(columns[ends][-1]) != target:
                wrong.append(ends)
    if wrong:
        raise ValueError(f"columns of {rows} rows that do not fit: {', '.join(wrong)}")


def decided_of(body: bytes, kinds: Kinds, time_us: int) -> Decided:
    """A record of CONTROL about identity. time_us: log time at which it is taken."""
    record = identity.IdentityDecided.FromString(body)
    which = record.WhichOneof("decision")
    asserted = record.asserted.identifiers if which == "asserted" else ()
    event = Event(
        _key(record.decide_time_us, record.request_id, record.print_high),
        record.print_low,
        _named(asserted, kinds),
        time_us,
        record.request_id.encode(),
    )
    pairs = [
        _named((pair.first, pair.second), kinds)
        for pair in (record.forbidden.pairs if which == "forbidden" else ())
    ]
    rules = None
    if which == "rules":
        made = record.rules
        rules = (
            made.version,
            Rules(
                kinds.rules.priority,
                dict(made.limits),
                made.shared_others_max,
                made.profile_identifiers_max,
                patterns_of(made.patterns),
            ),
            _named(made.blocked, kinds),
            attribute_rules_of(made),
        )
    return Decided(
        record.request_id,
        record.actor,
        record.reason,
        event,
        tuple((first, second) for first, second in pairs),
        rules,
    )


def attribute_rules_of(made: identity.IdentityRules) -> AttributeRules:
    """The rules of attributes; one of a number that is not known here is none."""
    known = {int(rule) for rule in AttributeRule}
    rules = {n: AttributeRule(rule) for n, rule in made.attributes.items() if rule in known}
    return AttributeRules(rules, tuple(dict.fromkeys(made.sources)))


def patterns_of(made: Iterable[identity.BlockedPattern]) -> tuple[Pattern, ...]:
    """The patterns of rules, each once."""
    found = (Pattern(one.kind, one.pattern, one.one_character) for one in made)
    return tuple(dict.fromkeys(found))


def _key(time_us: int, request_id: str, print_high: int) -> Key:
    first = request_id.encode()[:16].ljust(16, b"\0")
    return time_us, int.from_bytes(first[:8], "big"), int.from_bytes(first[8:], "big"), print_high


def _named(identifiers: Iterable[identity.PrintedIdentifier], kinds: Kinds) -> tuple[Named, ...]:
    return tuple(
        Named(kinds.code(one.kind), one.print_high, one.print_low, one.value.encode())
        for one in identifiers
    )
