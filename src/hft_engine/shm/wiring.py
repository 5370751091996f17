"""Many arrays as one argument: a kernel call pays for each array that crosses from Python, several µs for a dozen.

``wire`` writes address and length of arrays into one int64 array; in the kernel ``wired`` makes an array of each
again. Whoever wires keeps the arrays alive. Order and dtypes are a matter between the two.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic


def wire(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """int64[2 * n]: address and length of each. Raises ValueError for one that is not contiguous."""
    words = np.zeros(2 * len(arrays), np.int64)
    for i, array in enumerate(arrays):
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise ValueError(f"array {i} of a kernel's wiring is not contiguous and aligned")
        words[2 * i : 2 * i + 2] = array.ctypes.data, len(array)
    return words


def _as_pointer(typingctx: Any, address: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.int64), codegen


_pointer: Any = intrinsic(_as_pointer)


@njit(nogil=True, inline="always", error_model="numpy")
def wired(wiring: np.ndarray, i: int, dtype: Any) -> Any:
    """The i-th wired array, of one dimension."""
    return carray(_pointer(wiring[2 * i]), (wiring[2 * i + 1],), dtype)


@njit(nogil=True, inline="always", error_model="numpy")
def wired_rows(wiring: np.ndarray, i: int, columns: int) -> Any:
    """The i-th wired array as int64[rows, columns]: records seen as words."""
    return carray(_pointer(wiring[2 * i]), (wiring[2 * i + 1], columns), np.int64)
