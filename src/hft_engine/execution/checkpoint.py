"""What a restarted execution actor goes on from: the whole account and the strategy, as they were between two ticks.

One file in the run directory, replaced as a whole every ``EVERY_NS``. What came after it is taken from the rings once
more, and what is out already is not put out again: nothing is ordered or filled twice, nothing is missing.
"""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hft_engine.execution.desk import Desk
from hft_engine.execution.state import A_FILLS, A_ORDER_RECORDS
from hft_engine.runtime.faultpoints import fault_point

FILE = "execution.state"
EVERY_NS = 1_000_000_000


@dataclass(frozen=True)
class Checkpoint:
    """``positions``: the next record to read of ticks, bars and signals. ``strategy``: None where it cannot be kept."""

    positions: dict[str, int]
    arrays: dict[str, bytes]
    waiting: dict[str, bytes]  # bars and signals whose tick has not been dealt with
    strategy: bytes | None

    @classmethod
    def of(cls, desk: Desk, positions: dict[str, int]) -> "Checkpoint":
        state = desk.state
        arrays = {name: getattr(state, name).tobytes() for name in ("rows", "working", "account", "holdings")}
        waiting = {"bars": desk.bars.waiting.tobytes(), "signals": desk.signals.waiting.tobytes()}
        return cls(positions, arrays, waiting, _pickled(desk.strategy))

    def restore(self, desk: Desk) -> None:
        """Put everything but the strategy back, in place."""
        for name, raw in self.arrays.items():
            array = getattr(desk.state, name)
            array[:] = np.frombuffer(raw, array.dtype)
        for pending, name in ((desk.bars, "bars"), (desk.signals, "signals")):
            pending.clear()
            pending.put(np.frombuffer(self.waiting[name], pending.rows.dtype))

    @property
    def has_strategy(self) -> bool:
        return self.strategy is not None

    def load_strategy(self) -> Any:
        """The strategy object. Its module must have been imported."""
        assert self.strategy is not None
        return pickle.loads(self.strategy)

    def write(self, run_dir: Path) -> None:
        """Appears under its name only when it is whole. Raises OSError."""
        unfinished = run_dir / f"{FILE}.part"
        fault_point("execution.checkpoint.write")
        unfinished.write_bytes(pickle.dumps(self.__dict__, pickle.HIGHEST_PROTOCOL))
        fault_point("execution.checkpoint.rename")
        unfinished.replace(run_dir / FILE)


def read_checkpoint(run_dir: Path) -> Checkpoint | None:
    """None where there is none yet. The file is our own, in a directory that only this user may enter."""
    try:
        return Checkpoint(**pickle.loads((run_dir / FILE).read_bytes()))
    except FileNotFoundError:
        return None


def records_of(desk: Desk) -> dict[str, int]:
    """How many records of each kind the account has put out."""
    account = desk.state.account
    return {"orders": int(account[A_ORDER_RECORDS]), "fills": int(account[A_FILLS])}


def _pickled(strategy: object) -> bytes | None:
    try:
        return pickle.dumps(strategy, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 - of the user's class, whatever it holds
        return None
