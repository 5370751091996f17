"""Memory of this process's own, as kernels like it."""

import numpy as np

LINE_BYTES = 64  # a cache line


def private_bytes(size: int) -> np.ndarray:
    """uint8[size] of zeros that begin a cache line: no record touches one line too many.

    Pages that are never written are never there.
    """
    raw = np.zeros(size + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + size]
