"""How the engine's own kernels are compiled."""

from typing import Any

from numba import njit


def kernel(**options: Any) -> Any:
    """``numba.njit`` for a kernel that works in the memory it is given: it may not allocate, nor return an array.

    Without the interpreter's lock, with numpy's arithmetic (no exception on a division by zero), and without counting
    references to arrays: two calls for each array that one kernel hands to another, a third of a small kernel's time.
    ``forceinline``: for what is called once a tick; a call that hands over a dozen arrays costs more than its body.
    """
    return njit(nogil=True, error_model="numpy", _nrt=False, **options)
