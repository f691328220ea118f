"""Remembers orders, and says what changes when something more is said of one.

Everything is on packed tables (`order_tables.py`) and happens in kernels; Python looks only at
texts that stand for times, and for numbers in an unusual form. Nothing is forgotten to make room:
at the named maximum further orders are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from services.chassis.core import Appended
from services.chassis.prints import Key, order_key
from services.ingest.adapters import amount_kernel as amount
from services.ingest.adapters import order_kernel, order_tables
from services.ingest.adapters import rows as at_
from services.ingest.adapters.checks import Checked
from services.ingest.adapters.order_wire import ROW_BYTES_MAX
from services.ingest.adapters.rows import PADDING, Rows
from services.ingest.adapters.schema_checks import Numbered
from services.ingest.domain.drafts import DraftFault, instant_us
from services.ingest.domain.orders import (
    FRACTION_DIGITS_MAX,
    PLACING,
    STEPS,
    WHOLE_DIGITS_MAX,
)

LATE_AFTER_US = 600_000_000
"""Said longer than this after it happened, a change of an order is late, as a reason."""
_OUT_BYTES = 4 * ROW_BYTES_MAX
_TOLD_MAX = 4_096
_NO_ORDER = -1


@dataclass(frozen=True, slots=True)
class Told:
    """Differences that follow one another: an EventBatch, the message of their cause, and whether
    they are late."""

    body: bytes
    message: int
    late: bool


class OrderBook:
    """The orders of one tenant. orders_max: how many are remembered."""

    def __init__(self, orders_max: int, key: Key) -> None:
        self._orders_max = orders_max
        own = order_key(key)
        self._low, self._high = np.uint64(own.low), np.uint64(own.high)
        self._tables, self._sizes = order_tables.empty()
        self._out = np.empty(_OUT_BYTES, np.uint8)
        self._told = np.zeros((_TOLD_MAX, 3), np.int64)

    @property
    def count(self) -> int:
        return int(self._sizes[order_tables.ORDERS])

    @property
    def is_full(self) -> bool:
        """Further orders are refused."""
        return self.count >= self._orders_max

    def without_room(self, rows: Rows, picked: np.ndarray) -> np.ndarray:
        """Those of the picked rows (int64) whose orders cannot be remembered any more."""
        found = np.empty(len(picked), np.bool_)
        data, read = self._read(rows, picked)
        names, keys = self._named(rows, data, read, picked)
        order_kernel.known(keys, names, self._tables.slots, self._tables.keys, found)
        return picked[~found]

    def take(self, checked: Checked, picked: np.ndarray, what: np.ndarray) -> list[Told]:
        """What accepted events change. picked (int64): their rows; what (int64): as `steps_of`."""
        rows = checked.rows
        data, read = self._read(rows, picked)
        people = rows.identifiers
        self._tables = order_tables.with_room(
            self._tables,
            self._sizes,
            len(picked),
            int((people[:, 1] - people[:, 0] + people[:, 3] - people[:, 2] + 16).sum()),
            len(rows.properties),
            len(data),
            self._low,
        )
        names, keys = self._named(rows, data, read, picked)
        t = self._tables
        self._sizes[order_tables.WORDS] = amount.number_words(
            data,
            rows.events,
            read,
            picked,
            self._low,
            t.word_slots,
            t.words,
            t.word_end,
            self._sizes[order_tables.WORDS],
        )
        said: list[Told] = []
        start = 0
        while start < len(picked):
            start, told, size = order_kernel.take(
                data,
                rows.events,
                rows.identifiers,
                checked.dropped,
                rows.properties,
                read,
                checked.time_us,
                picked,
                what,
                names,
                keys,
                start,
                LATE_AFTER_US,
                self._tables,
                self._sizes,
                self._out,
                self._told,
            )
            said += self._grouped(told, size)
        return said

    def dump(self) -> dict[str, np.ndarray | Appended]:
        """Named buffers of everything said."""
        return order_tables.dump(self._tables, self._sizes)

    def load(self, state: Mapping[str, memoryview]) -> None:
        """Takes over what `dump` gave; other buffers are none of it."""
        self._tables, self._sizes = order_tables.loaded(state, self._low)

    def _named(
        self, rows: Rows, data: np.ndarray, read: np.ndarray, picked: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(slice of the id of its order, its print) of each picked row."""
        names = np.empty((len(picked), 2), np.int64)
        keys = np.empty((len(picked), 2), np.uint64)
        amount.name_orders(data, rows.events, read, picked, self._low, self._high, names, keys)
        return names, keys

    def _read(self, rows: Rows, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the rows' bytes, and digits behind them; what properties of the picked rows say)."""
        table = np.empty((len(rows.properties), amount.READ_WIDTH), np.int64)
        looks = np.empty(len(rows.properties), np.int64)
        found = amount.read(rows.data, rows.events, rows.properties, picked, table, looks)
        looks = looks[:found]
        is_digits = table[looks, amount.STATE] == amount.DIGITS
        for line in looks[~is_digits].tolist():
            start, end = rows.properties[line, at_.TEXT_START : at_.TEXT_END + 1].tolist()
            text = rows.slice(start, end).decode()
            is_time = table[line, amount.CLASS] == amount.PLACED
            table[line, amount.STATE :] = _instant(text) if is_time else _number(text)
        if not is_digits.any():
            return rows.data, table
        return _with_digits(rows, table, looks[is_digits]), table

    def _grouped(self, told: int, size: int) -> list[Told]:
        """Neighbours of one message and lateness share a body."""
        lines = self._told[:told]
        if not told:
            return []
        raw = self._out[:size].tobytes()
        new = np.any(lines[1:, 1:] != lines[:-1, 1:], axis=1)
        lasts = np.append(np.flatnonzero(new), told - 1)
        start, found = 0, []
        for end, message, late in lines[lasts].tolist():
            found.append(Told(raw[start:end], message, bool(late)))
            start = end
        return found


def _with_digits(rows: Rows, table: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """The rows' bytes with the digits of these properties behind them, where the lines say so."""
    properties = rows.properties[lines]
    wholes = np.where(properties[:, at_.KIND] == at_.WHOLE, properties[:, at_.VALUE], 0)
    texts = wholes.astype("S20")
    starts = len(rows.data) + np.arange(len(lines)) * texts.itemsize
    table[lines, amount.STATE] = amount.SAID
    table[lines, amount.AMOUNT] = starts
    table[lines, amount.AMOUNT + 1] = starts + np.char.str_len(texts)
    data = np.concatenate([rows.data, texts.view(np.uint8), np.frombuffer(PADDING, np.uint8)])
    data.flags.writeable = False  # the one type the kernels are compiled for
    return data


def steps_of(types: Numbered) -> np.ndarray:
    """Per row what its type says of an order (step and PLACES_IT), -1 for other types."""
    by_type = [
        _NO_ORDER
        if name not in STEPS
        else int(STEPS[name]) | (order_tables.PLACES_IT if name in PLACING else 0)
        for name in types.texts
    ]
    return np.array(by_type, np.int64)[types.number]


def _number(text: str) -> tuple[int, int, int]:
    """(state, whole, part) of a text that may be a number."""
    try:
        made = Decimal(text.strip())
    except ArithmeticError:
        return amount.NOTHING, 0, 0
    if not made.is_finite() or (made and made.adjusted() >= WHOLE_DIGITS_MAX):
        return amount.NOTHING, 0, 0
    sign, digits, exponent = made.as_tuple()
    assert isinstance(exponent, int)
    kept = "".join(map(str, digits)).rstrip("0") or "0"
    exponent += len(digits) - len(kept)
    if kept == "0":
        return amount.SAID, 0, 0
    if exponent < -FRACTION_DIGITS_MAX:
        return amount.NOTHING, 0, 0
    units = int(kept) * 10 ** (exponent + FRACTION_DIGITS_MAX)
    return (amount.SAID, *divmod(-units if sign else units, amount.BASE))


def _instant(text: str) -> tuple[int, int, int]:
    """(state, microseconds, 0) of a text that may be a time."""
    try:
        return amount.SAID, instant_us("placed_time", text), 0
    except DraftFault:
        return amount.NOTHING, 0, 0
