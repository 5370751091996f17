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

from hft_engine.kernel import kernel


def wire(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """int64[2 * n]: address and length of each. Raises ValueError for one that is not contiguous."""
    words = np.zeros(2 * len(arrays), np.int64)
    for i, array in enumerate(arrays):
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"array {i} of a kernel's wiring is not contiguous and aligned")
        words[2 * i : 2 * i + 2] = array.ctypes.data, len(array)
    return words


def _array_at(typingctx: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """An array that nobody counts references of. ``carray`` makes the same, but not in a kernel without counting."""
    made = types.Array(dtype.dtype, len(shape), "C")

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array = context.make_array(made)(context, builder)
        lengths = cgutils.unpack_tuple(builder, args[1], len(shape))
        step = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(made.dtype)))
        steps = [step]
        for length in reversed(lengths[1:]):
            steps.insert(0, builder.mul(steps[0], length))
        pointer = builder.inttoptr(args[0], array.data.type)
        populate_array(array, pointer, lengths, steps, step, None)
        return array._getvalue()

    return made(types.int64, shape, dtype), codegen


_array: Any = intrinsic(_array_at)


@kernel(inline="always")
def wired(wiring: np.ndarray, i: int, dtype: Any) -> Any:
    """The i-th wired array, of one dimension."""
    return _array(wiring[2 * i], (wiring[2 * i + 1],), dtype)


@kernel(inline="always")
def wired_rows(wiring: np.ndarray, i: int, columns: int) -> Any:
    """The i-th wired array as int64[rows, columns]: records seen as words."""
    return _array(wiring[2 * i], (wiring[2 * i + 1], columns), np.int64)


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
