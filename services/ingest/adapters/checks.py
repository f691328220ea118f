"""Checks decoded events, the same way at the doors and behind the log.

Everything is decided on the rows' tables; Python looks only at what is out of the ordinary:
identifiers not certainly in normal form, and doubles of more than fifteen digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np

from services.chassis.identifiers import KIND, BadIdentifier, Normaliser
from services.chassis.prints import Key, event_key, identifier_key, import_key, print_bytes
from services.ingest.adapters import check_kernel, identifier_kernel
from services.ingest.adapters import rows as at_
from services.ingest.adapters.rows import PADDING, Rows
from services.ingest.domain.faults import DECIMAL_EXPONENT_MAX, Fault

HISTORY = 1
UNTRUSTED = 2
DERIVED = 4
PUNCTUAL = 8
"""Bits of EventColumns.row_flags."""
_KINDS_KNOWN_MAX = 4_096
_CLASSES = {"email": identifier_kernel.EMAIL, "phone": identifier_kernel.UNSURE}
_INT64_MAX = 2**63 - 1


@dataclass(slots=True)
class Envelope:
    """What the rows of one message share: when it was accepted, the import it belongs to, and
    whether its publisher may say who is one person."""

    time_us: int
    import_id: str = ""
    untrusted: bool = False
    source: str = ""
    """Its publisher."""


@dataclass(slots=True)
class Checked:
    """Rows with a verdict each.

    faults (n, uint8): `Fault`, 0 where the row may go on. prints (n, 2) and identifier_prints
    (i, 2): uint64. dropped (i, bool): identifiers that cannot identify; left_out names them:
    (row, place in the event, code). time_us, flags, sources: per message. named: key of the
    property that made a row faulty.
    """

    rows: Rows
    faults: np.ndarray
    faulty: int
    prints: np.ndarray
    identifier_prints: np.ndarray
    dropped: np.ndarray
    time_us: np.ndarray
    flags: np.ndarray
    sources: list[str] = field(default_factory=list)
    left_out: list[tuple[int, int, str]] = field(default_factory=list)
    named: dict[int, str] = field(default_factory=dict)


class Checker:
    """Applies domain/faults.py and the rules of identifiers to decoded rows of one tenant."""

    def __init__(self, normaliser: Normaliser, key: Key) -> None:
        self._normaliser = normaliser
        self._key = key
        self._kinds: dict[bytes, tuple[str, int, Key]] = {}
        self._seen = np.zeros((identifier_kernel.SEEN_SLOTS, 2), np.uint64)
        self._all_look = bool(normaliser.patterns)
        self._blocked = self._blocked_words()

    def check(self, rows: Rows, envelopes: Sequence[Envelope]) -> Checked:
        """Judges every row. envelopes: by the place that the rows' MESSAGE column names.

        Changes the rows in place: values in normal form, doubles as exact decimals, SEND_US as
        deduplication goes by it.
        """
        count = len(rows)
        imports = np.array([bool(envelope.import_id) for envelope in envelopes], np.bool_)
        checked = Checked(
            rows,
            faults=np.empty(count, np.uint8),
            faulty=0,
            prints=np.empty((count, 2), np.uint64),
            identifier_prints=np.empty((len(rows.identifiers), 2), np.uint64),
            dropped=np.zeros(len(rows.identifiers), np.bool_),
            time_us=np.array([envelope.time_us for envelope in envelopes], np.int64),
            flags=imports.astype(np.uint8) * HISTORY,
        )
        checked.sources = [envelope.source for envelope in envelopes]
        checked.flags[[envelope.untrusted for envelope in envelopes]] |= UNTRUSTED
        keys = [self._print_key(envelope) for envelope in envelopes]
        checked.faulty, unresolved = check_kernel.inspect(
            rows.data,
            rows.events,
            rows.identifiers,
            rows.properties,
            rows.properties.view(np.float64),
            check_kernel.POWERS,
            checked.time_us,
            imports,
            np.array(keys, np.uint64).reshape(-1, 2),
            checked.faults,
            checked.prints,
        )
        unusual = bytearray()
        if unresolved:
            self._resolve_numbers(rows, unusual)
        self._judge_identifiers(checked, unusual)
        if unusual:
            more = np.frombuffer(bytes(unusual) + PADDING, np.uint8)
            rows.data = np.concatenate([rows.data, more])
            rows.data.flags.writeable = False  # the one type the kernels are compiled for
        return checked

    def _print_key(self, envelope: Envelope) -> Key:
        if envelope.import_id:
            return import_key(self._key, envelope.import_id)
        return event_key(self._key)

    def _resolve_numbers(self, rows: Rows, unusual: bytearray) -> None:
        """Doubles whose shortest form has more than fifteen digits."""
        lines = rows.properties
        values = lines.view(np.float64)[:, at_.VALUE]
        for at in np.flatnonzero(lines[:, at_.KIND] == at_.NUMBER).tolist():
            if not np.isfinite(values[at]):
                continue  # its row is refused
            kind, value, exponent, text = exact_number(float(values[at]))
            lines[at, at_.KIND] = kind
            lines[at, at_.VALUE] = value
            lines[at, at_.EXPONENT] = exponent
            start = len(rows.data) + len(unusual)
            unusual += text
            lines[at, at_.TEXT_START] = start
            lines[at, at_.TEXT_END] = start + len(text)

    def _judge_identifiers(self, checked: Checked, unusual: bytearray) -> None:
        rows = checked.rows
        count = len(rows.identifiers)
        if not count:
            return
        kind_of = np.empty(count, np.int32)
        firsts = np.empty(count, np.int64)
        found = identifier_kernel.kinds(rows.data, rows.identifiers, kind_of, firsts)
        known = [self._kind_at(rows, first) for first in firsts[:found].tolist()]
        look = np.empty(count, np.int64)
        looks = identifier_kernel.judge(
            rows.data,
            rows.identifiers,
            kind_of,
            np.array([kind_class for _, kind_class, _ in known], np.int64),
            np.array([key for _, _, key in known], np.uint64),
            self._blocked,
            self._seen,
            checked.identifier_prints,
            look,
        )
        if looks:
            self._look(checked, look[:looks], kind_of, known, unusual)

    def _look(
        self,
        checked: Checked,
        look: np.ndarray,
        kind_of: np.ndarray,
        known: list[tuple[str, int, Key]],
        unusual: bytearray,
    ) -> None:
        """Normalises the identifiers that the kernel was not sure of."""
        rows = checked.rows
        ends = rows.events[:, at_.IDENTIFIERS_END]
        owners = np.searchsorted(ends, look, side="right")
        lines = rows.identifiers[look].tolist()
        kinds = kind_of[look].tolist()
        faulty = checked.faults[owners].tolist()
        losing: set[int] = set()
        for order, (at, row) in enumerate(zip(look.tolist(), owners.tolist(), strict=True)):
            if faulty[order]:
                continue
            kind, _, key = known[kinds[order]]
            _, _, start, end = lines[order]
            raw = rows.slice(start, end)
            try:
                normal = self._normaliser.normal(kind, raw.decode()).encode()
            except BadIdentifier as refusal:
                checked.dropped[at] = True
                place = at - (int(ends[row - 1]) if row else 0)
                checked.left_out.append((row, place, refusal.code))
                losing.add(row)
                continue
            if normal == raw:
                words = checked.identifier_prints[at]
                self._seen[int(words[0]) & (identifier_kernel.SEEN_SLOTS - 1)] = words
                continue
            checked.identifier_prints[at] = print_bytes(normal, key)
            start = len(rows.data) + len(unusual)
            unusual += normal
            rows.identifiers[at, at_.VALUE_START :] = start, start + len(normal)
        for row in losing:
            first = int(ends[row - 1]) if row else 0
            if checked.dropped[first : int(ends[row])].all():
                checked.faults[row] = Fault.ONLY_BLOCKED_IDENTIFIERS
                checked.faulty += 1

    def _kind_at(self, rows: Rows, at: int) -> tuple[str, int, Key]:
        """(name, class, key) of the kind of an identifier."""
        start, end = rows.identifiers[at, : at_.KIND_END + 1].tolist()
        raw = rows.slice(start, end)
        known = self._kinds.get(raw)
        if known is None:
            name = raw.decode()
            kind_class = _CLASSES.get(name, identifier_kernel.PLAIN)
            if self._all_look or not KIND.fullmatch(name):
                kind_class = identifier_kernel.UNSURE
            known = name, kind_class, identifier_key(self._key, name)
            if len(self._kinds) >= _KINDS_KNOWN_MAX:
                self._kinds.clear()
            self._kinds[raw] = known
        return known

    def _blocked_words(self) -> np.ndarray:
        """The blocked values as pairs of words; one that does not fit sends all to Python."""
        words = []
        for value in sorted(self._normaliser.blocked):
            raw = value.encode()
            if len(raw) > identifier_kernel.WORD_BYTES:
                self._all_look = True
            if 0 < len(raw) <= identifier_kernel.WORD_BYTES:
                padded = raw.ljust(identifier_kernel.WORD_BYTES, b"\0")
                words.append(np.frombuffer(padded, "<u8"))
        return np.array(words, np.uint64).reshape(-1, 2)


def exact_number(number: float) -> tuple[int, int, int, bytes]:
    """(kind, value, exponent, text) of a finite double's shortest decimal form, exactly.

    A whole or a decimal where they hold it, decimal text (digits, no exponent) otherwise.
    """
    shortest = Decimal(repr(number))
    sign, digits, exponent = shortest.as_tuple()
    assert isinstance(exponent, int)
    units = int("".join(map(str, digits))) * (-1 if sign else 1)
    while exponent < 0 and units % 10 == 0:
        units //= 10
        exponent += 1
    if 0 <= exponent <= DECIMAL_EXPONENT_MAX:
        units, exponent = units * 10**exponent, 0
    if abs(units) <= _INT64_MAX and -DECIMAL_EXPONENT_MAX <= exponent <= 0:
        return (at_.DECIMAL if exponent else at_.WHOLE), units, -exponent, b""
    return at_.TEXT, 0, 0, format(shortest, "f").encode()
