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
Number = Any
"""What a kernel computes with and answers: a Python or a NumPy number."""


@intrinsic
def _pointer(typing_context: Any, address: Any) -> Any:
    """The address as a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def bare(typing_context: Any, value: Any) -> Any:
    """An array, or a tuple of arrays, without its reference count; valid while the caller's is.

    Numba counts references with atomic operations on every call of one kernel by another; a tuple
    of fifteen columns costs thirty. Kernels that call others take their arguments bare.
    """

    def without(builder: Any, array: Any) -> Any:
        for field in (0, 1):  # meminfo and parent, the owners
            null = ir.Constant(array.type.elements[field], None)
            array = builder.insert_value(array, null, field)
        return array

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given = args[0]
        if isinstance(value, types.Array):
            return without(builder, given)
        for place, kind in enumerate(value.types):
            if isinstance(kind, types.Array):
                bared = without(builder, builder.extract_value(given, place))
                given = builder.insert_value(given, bared, place)
        return given

    return value(value), codegen


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
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Asks for the cache line of array[index] (first axis, C order), to be written soon.

    The index must lie within the array. Random access to arrays larger than the cache is what a
    step costs; asked for some rows ahead, most of it is hidden.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        given = context.make_array(kind)(context, builder, args[0])
        stride = builder.extract_value(given.strides, 0)
        place = context.cast(builder, args[1], signature.args[1], types.intp)
        base = builder.ptrtoint(given.data, ir.IntType(64))
        pointer = builder.inttoptr(
            builder.add(base, builder.mul(place, stride)), ir.IntType(8).as_pointer()
        )
        _ask_for(builder, pointer)
        return context.get_dummy_value()

    return types.void(array, index), codegen


@intrinsic
def prefetch_cell(typing_context: Any, matrix: Any, row: Any, column: Any) -> Any:
    """Asks for the cache line of matrix[row, column] (C order), to be written soon."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        given = context.make_array(kind)(context, builder, args[0])
        place = builder.ptrtoint(given.data, ir.IntType(64))
        for axis in (0, 1):
            index = context.cast(builder, args[1 + axis], signature.args[1 + axis], types.intp)
            stride = builder.extract_value(given.strides, axis)
            place = builder.add(place, builder.mul(index, stride))
        _ask_for(builder, builder.inttoptr(place, ir.IntType(8).as_pointer()))
        return context.get_dummy_value()

    return types.void(matrix, row, column), codegen


def _ask_for(builder: Any, pointer: Any) -> None:
    word = ir.IntType(32)
    function = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), word, word, word]),
        "llvm.prefetch.p0",
    )
    builder.call(function, [pointer, word(1), word(3), word(1)])


@intrinsic
def trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Trailing zero bits of a uint64 that is not 0."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


SMALL_BYTES = 1 << 20


def grown(array: Array, length: int, fill: int = 0) -> Array:
    """An array of at least `length` along its first axis with the old content; the same one if it
    is long enough.

    A large array grows to eight times its length: memory nobody has written to costs nothing but
    addresses, and copying is a pause. Where addresses are short, and where the new part must hold
    something else than 0, it grows by half.
    """
    old = array.shape[0]
    if length <= old:
        return array
    width = array.nbytes // max(old, 1)
    capacity = max(length, old + (old >> 1) + 16)
    if fill == 0 and length * width > SMALL_BYTES:
        try:
            new = np.zeros((length * 8, *array.shape[1:]), array.dtype)
        except MemoryError:
            new = np.zeros((capacity, *array.shape[1:]), array.dtype)
    else:
        new = np.full((capacity, *array.shape[1:]), fill, array.dtype)
    new[:old] = array
    return new


def widened(array: Array, width: int, used: int) -> Array:
    """A matrix of at least `width` columns with the content of its first `used` rows; the same one
    if it is wide enough."""
    old = array.shape[1]
    if width <= old:
        return array
    new = np.zeros((array.shape[0], max(width, old * 2)), array.dtype)
    new[:used, :old] = array[:used]
    return new
