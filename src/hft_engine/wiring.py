"""Many arrays as one argument: a kernel call pays for each array that crosses from Python, several µs for a dozen.

``wire`` writes address and length of arrays into one int64 array; in the kernel ``wired`` makes an array of each
again. Whoever wires keeps the arrays alive. Order and dtypes are a matter between the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from hft_engine.words import item_pointer


def wire(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """int64[2 * n]: address and length of each. Raises ValueError for one that is not contiguous."""
    words = np.zeros(2 * len(arrays), np.int64)
    for i, array in enumerate(arrays):
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"array {i} of a kernel's wiring is not contiguous and aligned")
        words[2 * i : 2 * i + 2] = array.ctypes.data, len(array)
    return words


def _array_at(context: Any, builder: Any, made: Any, wiring: Any, i: Any, columns: Sequence[Any]) -> Any:
    """An array over the i-th address and length of ``wiring``, that nobody counts references of."""
    kind, words = wiring
    first = builder.mul(i, context.get_constant(types.intp, 2))
    address, length = (
        builder.load(item_pointer(context, builder, kind, words, at))
        for at in (first, builder.add(first, context.get_constant(types.intp, 1)))
    )
    lengths, size = [length, *columns], context.get_abi_sizeof(context.get_data_type(made.dtype))
    steps = [context.get_constant(types.intp, size)]
    for count in reversed(columns):
        steps.insert(0, builder.mul(steps[0], count))
    array = context.make_array(made)(context, builder)
    pointer = builder.inttoptr(address, array.data.type)
    populate_array(array, pointer, lengths, steps, steps[-1], None)
    return array._getvalue()


# Intrinsics, not kernels in place: there is an array or two dozen of these to a kernel, and each would be typed anew.


@intrinsic
def wired(typingctx: Any, wiring: Any, i: Any, dtype: Any) -> Any:
    """The i-th wired array, of one dimension."""
    made = types.Array(dtype.dtype, 1, "C")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _array_at(context, builder, made, (sig.args[0], args[0]), args[1], ())

    return made(wiring, types.intp, dtype), codegen


@intrinsic
def wired_rows(typingctx: Any, wiring: Any, i: Any, columns: Any) -> Any:
    """The i-th wired array as int64[rows, columns]: records seen as words."""
    made = types.Array(types.int64, 2, "C")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _array_at(context, builder, made, (sig.args[0], args[0]), args[1], args[2:])

    return made(wiring, types.intp, types.intp), codegen


@intrinsic
def bytes_of(typingctx: Any, buffer: Any) -> Any:
    """A bytearray's bytes as uint8[], so that kernels made for arrays read them."""
    made = types.Array(types.uint8, 1, "C")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        view = context.make_array(buffer)(context, builder, args[0])
        array = context.make_array(made)(context, builder)
        lengths, steps = (cgutils.unpack_tuple(builder, field, 1) for field in (view.shape, view.strides))
        populate_array(array, view.data, lengths, steps, view.itemsize, None)
        return array._getvalue()

    return made(buffer), codegen
