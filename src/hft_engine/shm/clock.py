"""The one clock of latencies: CLOCK_MONOTONIC, the same for all processes of a host."""

from hft_engine.shm.atomics import mono_ns

__all__ = ["mono_ns"]
