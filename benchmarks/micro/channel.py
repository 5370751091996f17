"""A ring of 64-byte records as a file, for two processes of a benchmark; removed at the end."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from hft_engine.runtime.rundir import SHM
from hft_engine.shm import layout
from hft_engine.shm.ring import Ring
from hft_engine.shm.ring_file import create_ring
from hft_engine.shm.segment import Segment

RECORD = np.dtype([("sequence", "<i8"), ("ts_ns", "<i8"), ("payload", "<i8", (6,))])
CAPACITY = 65_536
assert RECORD.itemsize == 64


class Channel:
    """``with Channel(gating) as channel``: ``channel.ring`` here, ``Channel.attach(directory)`` there.

    ``parks``: each reader may sleep on a doorbell of its own. ``readers``: how many there are.
    """

    def __init__(self, gating: bool, parks: bool = False, readers: int = 1) -> None:
        parent = SHM if SHM.is_dir() else Path(tempfile.gettempdir())
        self.directory = Path(tempfile.mkdtemp(prefix="hft_bench-", dir=parent))
        with Segment.create(self.directory / "bells", layout.BELLS_WORDS * layout.WORD):
            pass
        roles = [(f"reader-{i}", i if parks else layout.NO_BELL) for i in range(readers)]
        create_ring(self.directory / "channel.ring", RECORD, CAPACITY, roles, gating)
        self.ring = self.attach(self.directory)

    @staticmethod
    def attach(directory: Path) -> Ring:
        bells = Segment.attach(directory / "bells").words
        return Ring.attach(directory / "channel.ring", RECORD, bells)

    def __enter__(self) -> "Channel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
