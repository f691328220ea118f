"""Prints are SipHash-2-4-128, apart by kind, and never zero."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from services.chassis.prints import (
    Key,
    event_print,
    import_key,
    print_bytes,
    print_key,
    print_of,
)

REFERENCE_KEY = Key(
    int.from_bytes(bytes(range(8)), "little"), int.from_bytes(bytes(range(8, 16)), "little")
)

# Key 00..0f, message 00..n-1; computed with OpenSSL 3:
# openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f -macopt size:16 -in FILE SIPHASH
VECTORS = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    7: "a1f1ebbed8dbc153c0b84aa61ff08239",
    8: "3b62a9ba6258f5610f83e264f31497b4",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
    63: "5150d1772f50834a503e069a973fbd7c",
}
ALL_64_SHA256 = "ecfaa9fe47ff788fa834a9863ea2715a2880cd37d2b8c3c194402838428119b9"


def reference(length: int) -> bytes:
    words = print_bytes(bytes(range(length)), REFERENCE_KEY)
    return b"".join(word.to_bytes(8, "little") for word in words)


@pytest.mark.parametrize("length", VECTORS)
def test_a_print_is_the_reference_siphash(length: int) -> None:
    assert reference(length).hex() == VECTORS[length]


def test_all_64_reference_vectors_agree() -> None:
    every = b"".join(reference(length) for length in range(64))
    assert hashlib.sha256(every).hexdigest() == ALL_64_SHA256


def test_a_slice_prints_as_the_value_alone() -> None:
    from services.chassis.prints import U, print_slice

    data = np.frombuffer(b"....user-17....", np.uint8)
    first, second = print_slice(U(5), U(7), data, 4, 11)
    assert (int(first), int(second)) == print_bytes(b"user-17", Key(5, 7))


def test_kinds_events_imports_and_installations_stand_apart() -> None:
    key = print_key("one")
    prints = {
        print_of("user_id", "a", key),
        print_of("cookie", "a", key),
        event_print("a", key),
        print_bytes(b"a", import_key(key, "history")),
        print_bytes(b"a", import_key(key, "history-2")),
        print_of("user_id", "a", print_key("two")),
    }
    assert len(prints) == 6
    assert all(0 <= word < 2**64 for words in prints for word in words)
    assert (0, 0) not in prints
