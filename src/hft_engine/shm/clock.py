"""The clocks for compiled code: CLOCK_MONOTONIC, the one of latencies and the same for all processes of a host; UTC."""

from hft_engine.shm.atomics import mono_ns, utc_ns

__all__ = ["mono_ns", "utc_ns"]
