"""Prints identifiers, and tells which are certainly in normal form: the others go to Python.

What is certain here must be what `chassis.identifiers` leaves as it is; a property holds the two
against each other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from services.chassis import identifiers as rules
from services.chassis.prints import print_slice
from services.ingest.adapters import rows as at_
from services.ingest.adapters.borrowed import borrowed
from services.ingest.adapters.column_kernel import same

U = np.uint64

_KIND_START = at_.KIND_START
_KIND_END = at_.KIND_END
_VALUE_START = at_.VALUE_START
_VALUE_END = at_.VALUE_END

PLAIN = 0
EMAIL = 1
UNSURE = 2
"""Classes of identifier kinds: letter for letter, addresses, and those only Python can judge."""

NORMAL = 0
LOOK = 1
"""Verdicts of `judge`: certainly in normal form; Python must look."""

SEEN_SLOTS = 1 << 20
"""Places of the direct-mapped memory of values Python found normal already (two words each)."""

_VALUE_BYTES_MAX = rules.VALUE_BYTES_MAX
_EMAIL_BYTES_MAX = rules.EMAIL_BYTES_MAX
_LOCAL_BYTES_MAX = rules.EMAIL_LOCAL_BYTES_MAX
_LABEL_BYTES_MAX = 63
WORD_BYTES = 16
"""Blocked values up to this length are told by two words."""


def _atom_bytes() -> np.ndarray:
    table = np.zeros(256, np.bool_)
    for character in b"abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+/=?^_`{|}~-":
        table[character] = True
    return table


_ATOM = _atom_bytes()


@njit(nogil=True, cache=True)
def kinds(data: Any, identifiers: Any, kind_of: Any, firsts: Any) -> Any:
    """Numbers the distinct kinds of identifiers: kind_of (i, int32), firsts (int64): where each
    was first met. Returns their count. Kinds are few, so the last ones met are compared first."""
    data = borrowed(data)
    identifiers = borrowed(identifiers)
    kind_of = borrowed(kind_of)
    firsts = borrowed(firsts)
    count = 0
    for k in range(identifiers.shape[0]):
        start = identifiers[k, _KIND_START]
        size = identifiers[k, _KIND_END] - start
        number = -1
        for c in range(count):
            at = identifiers[firsts[c], _KIND_START]
            if identifiers[firsts[c], _KIND_END] - at == size and same(data, start, data, at, size):
                number = c
                break
            if c == 63:
                break
        if number < 0:
            firsts[count] = k
            number = count
            count += 1
        kind_of[k] = number
    return count


@njit(nogil=True, cache=True)
def _plain_is_normal(data: Any, start: Any, end: Any, blocked: Any) -> Any:
    """Certainly trimmed, ASCII, not blocked. blocked (b, 2) uint64: two words of lower case."""
    size = end - start
    if size == 0 or size > _VALUE_BYTES_MAX or data[start] <= 32 or data[end - 1] <= 32:
        return False
    low = U(0)
    high = U(0)
    zeroes = True
    for k in range(size):
        byte = data[start + k]
        if byte >= 128:
            return False
        if byte != 48 and byte != 45:
            zeroes = False
        if byte >= 65 and byte <= 90:
            byte += 32
        if k < 8:
            low |= U(byte) << U(8 * k)
        elif k < WORD_BYTES:
            high |= U(byte) << U(8 * (k - 8))
    if zeroes:
        return False
    if size <= WORD_BYTES:
        for k in range(blocked.shape[0]):
            if blocked[k, 0] == low and blocked[k, 1] == high:
                return False
    return True


@njit(nogil=True, cache=True)
def _email_is_normal(data: Any, start: Any, end: Any) -> Any:
    """Certainly an address in lower case: the regular expression of chassis.identifiers."""
    size = end - start
    if size > _EMAIL_BYTES_MAX or size < 6:
        return False
    at = start
    last_dot = True
    while at < end and data[at] != 64:
        if data[at] == 46:
            if last_dot:
                return False
            last_dot = True
        elif _ATOM[data[at]]:
            last_dot = False
        else:
            return False
        at += 1
    if last_dot or at == end or at - start > _LOCAL_BYTES_MAX:
        return False
    at += 1
    label = at
    labels = 0
    letters = True
    while at <= end:
        if at == end or data[at] == 46:
            if at == label or at - label > _LABEL_BYTES_MAX:
                return False
            if data[label] == 45 or data[at - 1] == 45:
                return False
            if at - label >= 4 and data[label + 2] == 45 and data[label + 3] == 45:
                return False
            labels += 1
            if at == end:
                return labels >= 2 and letters and at - label >= 2
            label = at + 1
            letters = True
        elif data[at] >= 97 and data[at] <= 122:
            pass
        elif (data[at] >= 48 and data[at] <= 57) or data[at] == 45:
            letters = False
        else:
            return False
        at += 1
    return False


@njit(nogil=True, cache=True)
def judge(
    data: Any,
    identifiers: Any,
    kind_of: Any,
    kind_class: Any,
    kind_key: Any,
    blocked: Any,
    seen: Any,
    prints: Any,
    look: Any,
) -> Any:
    """Prints every identifier as it stands and lists those that Python must look at.

    kind_of (i, int32): number of the kind; kind_class (k, int64), kind_key (k, 2) uint64: per
    kind. seen (SEEN_SLOTS, 2) uint64: prints of values found normal before. Writes prints (i, 2)
    and look (i, int64); returns how many there are in look.
    """
    data = borrowed(data)
    identifiers = borrowed(identifiers)
    kind_of = borrowed(kind_of)
    kind_class = borrowed(kind_class)
    kind_key = borrowed(kind_key)
    blocked = borrowed(blocked)
    seen = borrowed(seen)
    prints = borrowed(prints)
    look = borrowed(look)
    found = 0
    mask = U(seen.shape[0] - 1)
    for k in range(identifiers.shape[0]):
        kind = kind_of[k]
        start = identifiers[k, _VALUE_START]
        end = identifiers[k, _VALUE_END]
        first, second = print_slice(kind_key[kind, 0], kind_key[kind, 1], data, start, end)
        prints[k, 0] = first
        prints[k, 1] = second
        if kind_class[kind] == PLAIN:
            normal = _plain_is_normal(data, start, end, blocked)
        elif kind_class[kind] == EMAIL:
            normal = _email_is_normal(data, start, end)
        else:
            normal = False
        if not normal:
            slot = np.int64(first & mask)
            if seen[slot, 0] != first or seen[slot, 1] != second:
                look[found] = k
                found += 1
    return found
