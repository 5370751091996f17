"""A running engine as a view sees it: its segments, read-only. No compiler, no sockets, no cooperation needed.

So it works while an actor hangs, while the supervisor hangs, and after any of them was killed.
"""

from pathlib import Path

import numpy as np

from hft_engine import records
from hft_engine.instruments import INSTRUMENT_DTYPE, InstrumentTable
from hft_engine.runtime.plan import INSTRUMENTS_FILE
from hft_engine.runtime.rundir import Manifest, RunError, read_manifest
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring_file import RingView
from hft_engine.shm.segment import Segment, SegmentError

_COUNT_WORD = 16  # of the instruments segment, see runtime.instruments_file


class RunView:
    """Everything a view reads of one run. Raises RunError where there is no complete run."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        try:
            self.manifest: Manifest = read_manifest(run_dir)
            self.rings = {
                entry.name: RingView(run_dir / entry.file, getattr(records, entry.dtype))
                for entry in self.manifest.rings
            }
            self.stats = {role: self._stats(role) for role in [*self.roles, "supervisor"]}
            self.instruments = _instruments(run_dir)
        except (FileNotFoundError, SegmentError) as error:
            raise RunError(f"run {run_dir.name} has just ended or is only starting: {error}") from None

    @property
    def roles(self) -> list[str]:
        """In the order of the data's flow."""
        return [role for roles in self.manifest.processes.values() for role in roles]

    @property
    def alive(self) -> bool:
        """Whether the run's directory is still there and its supervisor lives."""
        return self.run_dir.exists() and is_alive(self.manifest.pid)

    def counters(self, role: str) -> dict[str, int]:
        """By name; empty of a role that has declared none yet or does not run here."""
        stats = self.stats.get(role)
        return stats.counters() if stats is not None else {}

    def setting(self, section: str, key: str) -> int:
        """A whole number of the run's configuration."""
        values = self.manifest.config[section]
        assert isinstance(values, dict)
        return int(values[key])

    def rule_name(self, reason: int) -> str:
        return self.manifest.rules[reason] if reason < len(self.manifest.rules) else f"rule {reason}"

    def symbol(self, instrument_id: int) -> str:
        try:
            return self.instruments.symbol_of(instrument_id)
        except IndexError:
            return f"#{instrument_id}"

    def _stats(self, role: str) -> Stats:
        return Stats.attach(self.run_dir / f"{role}.stats", writable=False)


def is_alive(pid: int) -> bool:
    """Whether a process of this id runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def _instruments(run_dir: Path) -> InstrumentTable:
    words = Segment.attach(run_dir / INSTRUMENTS_FILE, writable=False).words
    rows = words.view(np.uint8)[layout.PAGE_BYTES :]
    size = int(words[layout.W_CAPACITY]) * INSTRUMENT_DTYPE.itemsize
    return InstrumentTable(rows[:size].view(INSTRUMENT_DTYPE), words[_COUNT_WORD : _COUNT_WORD + 1])
