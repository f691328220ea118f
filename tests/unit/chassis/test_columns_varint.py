"""Lengths as protobuf writes them: held against protobuf's own."""

from __future__ import annotations

import pytest
from google.protobuf.internal.encoder import _VarintBytes as theirs  # type: ignore[import-untyped]

from services.chassis.columns import varint

EDGES = [0, 1, *(edge for bits in range(7, 64, 7) for edge in (2**bits - 1, 2**bits)), 2**64 - 1]


@pytest.mark.parametrize("value", EDGES)
def test_a_varint_is_what_protobuf_writes(value: int) -> None:
    assert varint(value) == theirs(value)
