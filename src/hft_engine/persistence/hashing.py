"""The signal hash of a run: one number that two runs share only if all their signals are the same."""

from hft_engine.shm.ring import Ring


def signal_hash(signals: Ring) -> str:
    """Chain hash of the last signal on the ring, 16 hexadecimal digits; all zeros where there is none.

    Call it when the writer is done: it reads the writer's last slot.
    """
    if not signals.published:
        return f"{0:016x}"
    return f"{int(signals.record(signals.published - 1)['chain_hash']):016x}"
