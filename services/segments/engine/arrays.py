"""Growing arrays, and arrays reached by address from kernels.

A kernel walks the columns of many streams in one call. Python hands it tables of addresses; the
objects that own the arrays keep them alive and refresh the table whenever an array is replaced.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Array = np.ndarray[Any, Any]


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:  # noqa: ARG001
    """The address as a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@njit(inline="always")
def at_i64(address: int, length: int) -> Array:
    """The int64 array that begins at an address."""
    return carray(_pointer(address), length, np.int64)


@njit(inline="always")
def at_i32(address: int, length: int) -> Array:
    """The int32 array that begins at an address."""
    return carray(_pointer(address), length, np.int32)


@njit(inline="always")
def at_u8(address: int, length: int) -> Array:
    """The uint8 array that begins at an address."""
    return carray(_pointer(address), length, np.uint8)


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    """Trailing zero bits of a uint64 that is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


def grown(array: Array, length: int, fill: int = 0) -> Array:
    """An array of at least `length` along its first axis with the old content; the same one if it
    is long enough. Grows by half, so that appending costs constant time per element."""
    old = array.shape[0]
    if length <= old:
        return array
    capacity = max(length, old + (old >> 1) + 16)
    new = np.empty((capacity, *array.shape[1:]), array.dtype)
    new[:old] = array
    new[old:] = fill
    return new


def widened(array: Array, width: int, fill: int = 0) -> Array:
    """A matrix of at least `width` columns with the old content; the same one if wide enough."""
    old = array.shape[1]
    if width <= old:
        return array
    new = np.full((array.shape[0], max(width, old * 2)), fill, array.dtype)
    new[:, :old] = array
    return new


@njit(cache=True, nogil=True)
def _probe_pair() -> int:
    """Compiled by `warm` to see that addresses work."""
    return int(trailing_zeros(np.uint64(8)))
