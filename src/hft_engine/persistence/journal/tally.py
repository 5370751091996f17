"""Running sums over the blocks of one segment: what its report and its index say.

The writer and whoever reads a segment from end to end use the same sums, so an index that is made again is the one
that was lost.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.persistence.journal.format import Block, BlockKind, JournalError, SegmentHeader
from hft_engine.persistence.journal.holes import HoleTracker

STRIDE_BYTES = (
    1 << 18
)  # an entry each 256 KiB: a thousand a segment, and a range reads at most so much too much

# One stride: the blocks from ``offset`` to the next entry's. ``ts_*_ns``: least and largest ts_recv_ns of its ticks and
# signals, UTC; of a stride without any, ``ts_min_ns`` is larger than ``ts_max_ns``.
ENTRY_DTYPE = np.dtype(
    [
        ("offset", "<i8"),
        ("first_sequence", "<i8"),  # next tick when the stride began
        ("first_signal", "<i8"),  # next signal when the stride began
        ("ts_min_ns", "<i8"),
        ("ts_max_ns", "<i8"),
        ("ticks", "<i8"),
        ("signals", "<i8"),
    ]
)
_NEVER_NS = np.iinfo(np.int64)


class SegmentSums(msgspec.Struct, frozen=True, kw_only=True):
    """``ts`` stamps: ts_recv_ns of the first and last tick, UTC; 0 without any. ``entries``: ENTRY_DTYPE's bytes."""

    valid_bytes: int
    blocks: int
    ticks: int
    signals: int
    first_ts_ns: int
    last_ts_ns: int
    next_sequence: int
    next_signal: int
    holes: tuple[tuple[int, int], ...]
    signal_holes: tuple[tuple[int, int], ...]
    symbols: tuple[str, ...]
    ended: bool  # closed in order
    entries: bytes


@dataclass(slots=True)
class _Stride:
    offset: int
    first_sequence: int
    first_signal: int
    ts_min_ns: int = _NEVER_NS.max
    ts_max_ns: int = _NEVER_NS.min
    ticks: int = 0
    signals: int = 0

    def entry(self) -> bytes:
        """Of ENTRY_DTYPE."""
        stamps = (self.ts_min_ns, self.ts_max_ns)
        row = (self.offset, self.first_sequence, self.first_signal, *stamps, self.ticks, self.signals)
        return np.array(row, ENTRY_DTYPE).tobytes()


class Tally:
    """Feed it every block of a segment in order. ``end``: where the next block begins."""

    def __init__(self, header: SegmentHeader | None) -> None:
        self.end = header.header_bytes if header else 0
        self.holes = HoleTracker(header.first_sequence if header else 0)
        self.signal_holes = HoleTracker(header.metadata.first_signal if header else 0)
        self._symbols = list(header.metadata.symbols) if header else []
        self._blocks = self._ticks = self._signals = self._first_ts_ns = self._last_ts_ns = 0
        self._ended = False
        self._entries = bytearray()  # of the strides before: as objects they took a megabyte an hour
        self._stride: _Stride | None = None

    def add(self, block: Block) -> None:
        """Raises JournalError where sequences go back."""
        self._blocks += 1
        self.end = block.end
        self._ended = block.kind == BlockKind.END
        stride = self._stride_of(block)
        if block.kind == BlockKind.TICKS:
            self._add_ticks(block, stride)
        elif block.kind == BlockKind.SIGNALS:
            self._add_signals(block, stride)
        elif block.kind == BlockKind.HOLE:
            self.holes.skip_to(block.hole()[1])
        elif block.kind == BlockKind.INSTRUMENTS:
            self._symbols[block.first_sequence :] = block.symbols()

    def sums(self) -> SegmentSums:
        return SegmentSums(
            valid_bytes=self.end,
            blocks=self._blocks,
            ticks=self._ticks,
            signals=self._signals,
            first_ts_ns=self._first_ts_ns,
            last_ts_ns=self._last_ts_ns,
            next_sequence=self.holes.expected,
            next_signal=self.signal_holes.expected,
            holes=tuple(self.holes.holes),
            signal_holes=tuple(self.signal_holes.holes),
            symbols=tuple(self._symbols),
            ended=self._ended,
            entries=bytes(self._entries) + (self._stride.entry() if self._stride else b""),
        )

    def _stride_of(self, block: Block) -> _Stride:
        if self._stride is None or block.offset - self._stride.offset >= STRIDE_BYTES:
            if self._stride is not None:
                self._entries += self._stride.entry()
            self._stride = _Stride(block.offset, self.holes.expected, self.signal_holes.expected)
        return self._stride

    def _add_ticks(self, block: Block, stride: _Stride) -> None:
        self.holes.run(block.first_sequence, block.count)
        stamps = block.ticks()["ts_recv_ns"].copy()  # one walk over the records, not one for each sum
        self._first_ts_ns = self._first_ts_ns or int(stamps[0])
        self._last_ts_ns = int(stamps[-1])
        self._ticks += block.count
        stride.ticks += block.count
        _widen(stride, stamps)

    def _add_signals(self, block: Block, stride: _Stride) -> None:
        self.signal_holes.run(block.first_sequence, block.count)
        self._signals += block.count
        stride.signals += block.count
        _widen(stride, block.signals()["ts_recv_ns"])


def _widen(stride: _Stride, stamps: np.ndarray) -> None:
    stride.ts_min_ns = min(stride.ts_min_ns, int(stamps.min()))
    stride.ts_max_ns = max(stride.ts_max_ns, int(stamps.max()))


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """What a segment holds. ``bytes`` = ``sums.valid_bytes`` + ``torn_bytes`` unless it is damaged.

    ``bytes`` counts as if the segment were not compressed, ``disk_bytes`` what it takes. ``verified``: every block
    was read and its checksum compared; else this is what its index says.
    """

    path: Path
    bytes: int
    disk_bytes: int
    torn_bytes: int
    damaged_at: int | None  # offset of a bad block that valid blocks follow
    header: SegmentHeader | None  # None: torn before its header was whole
    sums: SegmentSums
    verified: bool

    @property
    def valid_bytes(self) -> int:
        return self.sums.valid_bytes

    @property
    def blocks(self) -> int:
        return self.sums.blocks

    @property
    def ticks(self) -> int:
        return self.sums.ticks

    @property
    def signals(self) -> int:
        return self.sums.signals

    @property
    def next_sequence(self) -> int:
        return self.sums.next_sequence

    @property
    def entries(self) -> np.ndarray:
        """The index, ENTRY_DTYPE."""
        return np.frombuffer(self.sums.entries, ENTRY_DTYPE)

    @property
    def remedy(self) -> str:
        """The command that cuts a damaged segment; empty where nothing is damaged."""
        return "" if self.damaged_at is None else f"hft journal cut {self.path} --at {self.damaged_at}"

    def refuse_damage(self) -> None:
        """Raises JournalError, naming file, offset and remedy, if valid blocks follow a bad one."""
        if self.damaged_at is not None:
            raise JournalError(
                f"{self.path}: damaged at byte {self.damaged_at} of {self.bytes}, valid blocks follow. "
                f"To keep what is before it and set the rest aside: {self.remedy}"
            )
