"""Arrays that a kernel uses without counting references to them.

numba counts a reference, atomically, wherever a loop hands an array to another function, inlined
or not. In the kernels here that was nine tenths of the time (1.01 instead of 0.14 µs an event for
`column_kernel.build`). The caller keeps every array alive for the length of the call, so kernels
take a view of each that has no owner, once, at their top.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array


@intrinsic
def borrowed(_typing: Any, array: Any) -> Any:
    """The same array without an owner; only for as long as the caller holds the real one."""
    if not isinstance(array, types.Array):
        return None

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array_type = signature.args[0]
        source = make_array(array_type)(context, builder, arguments[0])
        view = make_array(array_type)(context, builder)
        for member in ("nitems", "itemsize", "data", "shape", "strides"):
            setattr(view, member, getattr(source, member))
        view.meminfo = cgutils.get_null_value(source.meminfo.type)
        view.parent = cgutils.get_null_value(source.parent.type)
        return view._getvalue()

    return array(array), generated
