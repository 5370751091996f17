"""The clocks for compiled code: CLOCK_MONOTONIC, the one of latencies and the same for all processes of a host; UTC."""

from hft_engine.kernel import kernel
from hft_engine.shm.atomics import mono_ns, utc_ns
from hft_engine.shm.histogram_view import RECORDING

__all__ = ["mono_ns", "stamp_ns", "utc_ns"]


@kernel(forceinline=True)
def stamp_ns() -> int:
    """CLOCK_MONOTONIC for what only latency needs; 0 where that is compiled out."""
    if RECORDING:
        return mono_ns()
    return 0
