"""New orders are latched off: by a person, a full disk, or the loss limit (``runtime/latch.py``)."""

from typing import Any

from numba import njit

from hft_engine.execution.state import A_LATCHED


@njit(nogil=True)
def is_latched(b: Any) -> bool:
    return b.account[A_LATCHED] != 0
