"""What `hft latch show | reset` says."""

from datetime import UTC, datetime
from pathlib import Path

from hft_engine.runtime.latch import TradingLatch


def show(data_dir: Path) -> int:
    """Whether new orders are latched off, since when and why. Exit code: 0 free, 1 latched."""
    state = TradingLatch(data_dir).state()
    if state is None:
        print("trading is free: no latch is set")
        return 0
    since = f" since {datetime.fromtimestamp(state.since_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"
    print(f"latched off{since if state.since_ns else ''}: {state.reason}")
    print("no new order goes out until `hft latch reset`")
    return 1


def reset(data_dir: Path) -> None:
    """Take the latch off and say what it was. Raises LatchError."""
    latch = TradingLatch(data_dir)
    reason = latch.reason()
    latch.reset()
    print("no latch was set" if reason is None else f"taken off: {reason}")
