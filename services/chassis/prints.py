"""Prints: keyed 128-bit names of identifiers and event ids, so that look-ups never touch text.

SipHash-2-4 with a 128-bit result (Aumasson and Bernstein, "SipHash: a fast short-input PRF", and
its reference implementation) under a key derived from `Settings.print_key`. Each kind of
identifier, event ids, and each import have a key of their own, so equal texts of different kinds
never meet and the kernel hashes a slice where it lies.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

U = np.uint64
Print = tuple[int, int]
"""The two words of a print, in the order of their columns; never (0, 0)."""


class Key(NamedTuple):
    """The two words of a SipHash key."""

    low: int
    high: int


def print_key(secret: str) -> Key:
    """The key of an installation, from `Settings.print_key`."""
    digest = hashlib.sha256(b"muster prints v1\0" + secret.encode()).digest()
    return _key_of(digest)


@lru_cache(maxsize=4096)
def identifier_key(key: Key, kind: str) -> Key:
    """The key under which values of this kind of identifier are printed."""
    return _derived(key, "identifier", kind)


@lru_cache(maxsize=16)
def event_key(key: Key) -> Key:
    """The key under which event ids are printed."""
    return _derived(key, "event", "")


@lru_cache(maxsize=1024)
def import_key(key: Key, import_id: str) -> Key:
    """The key under which the event ids of one import are printed."""
    return _derived(key, "import", import_id)


@lru_cache(maxsize=16)
def order_key(key: Key) -> Key:
    """The key under which the ids of orders are printed."""
    return _derived(key, "order", "")


def print_of(kind: str, value: str, key: Key) -> Print:
    """The print of an identifier; `value` is normalised already (chassis.identifiers)."""
    return print_bytes(value.encode(), identifier_key(key, kind))


def event_print(event_id: str, key: Key) -> Print:
    """The print of an event id."""
    return print_bytes(event_id.encode(), event_key(key))


def print_bytes(data: bytes, key: Key) -> Print:
    """The print of bytes under a derived key."""
    first, second = print_slice(
        U(key.low), U(key.high), np.frombuffer(data, np.uint8), np.int64(0), np.int64(len(data))
    )
    return int(first), int(second)


def warm() -> None:
    """Compiles the kernel, or reads it from the cache."""
    print_bytes(b"", Key(0, 0))


def _derived(key: Key, purpose: str, name: str) -> Key:
    first, second = print_bytes(f"{purpose}\0{name}".encode(), key)
    return Key(first, second)


def _key_of(digest: bytes) -> Key:
    return Key(int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little"))


@njit(nogil=True, cache=True, inline="always")
def _rotated(x: Any, bits: int) -> Any:
    return (x << U(bits)) | (x >> U(64 - bits))


@njit(nogil=True, cache=True, inline="always")
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v2 += v3
    v1 = _rotated(v1, 13) ^ v0
    v3 = _rotated(v3, 16) ^ v2
    v0 = _rotated(v0, 32)
    v2 += v1
    v0 += v3
    v1 = _rotated(v1, 17) ^ v2
    v3 = _rotated(v3, 21) ^ v0
    v2 = _rotated(v2, 32)
    return v0, v1, v2, v3


@njit(nogil=True, cache=True)
def word_at(data: Any, at: Any) -> Any:
    """Eight bytes as a little-endian word; the caller knows that they are there.

    Unsigned places need no check for negative ones, so this becomes a single load.
    """
    place = U(at)
    return (
        U(data[place])
        | U(data[place + U(1)]) << U(8)
        | U(data[place + U(2)]) << U(16)
        | U(data[place + U(3)]) << U(24)
        | U(data[place + U(4)]) << U(32)
        | U(data[place + U(5)]) << U(40)
        | U(data[place + U(6)]) << U(48)
        | U(data[place + U(7)]) << U(56)
    )


@njit(nogil=True, cache=True)
def print_slice(low: Any, high: Any, data: Any, start: Any, end: Any) -> Any:
    """SipHash-2-4-128 of data[start:end] (uint8) under (low, high): two uint64."""
    v0 = low ^ U(0x736F6D6570736575)
    v1 = high ^ U(0x646F72616E646F6D) ^ U(0xEE)
    v2 = low ^ U(0x6C7967656E657261)
    v3 = high ^ U(0x7465646279746573)
    at = start
    while at + 8 <= end:
        word = word_at(data, at)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
        at += 8
    word = U(end - start) << U(56)
    shift = U(0)
    while at < end:
        word |= U(data[at]) << shift
        shift += U(8)
        at += 1
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0 ^= word
    v2 ^= U(0xEE)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    first = v0 ^ v1 ^ v2 ^ v3
    v1 ^= U(0xDD)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    second = v0 ^ v1 ^ v2 ^ v3
    if first == U(0) and second == U(0):
        second = U(1)
    return first, second
