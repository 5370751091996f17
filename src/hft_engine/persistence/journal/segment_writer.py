"""One segment being written: bytes to the kernel, to the disk, and its sums on the way."""

import contextlib
import os
import time
from pathlib import Path

from hft_engine.persistence.journal import format as fmt
from hft_engine.persistence.journal.format import Block, BlockKind, SegmentHeader
from hft_engine.persistence.journal.index import write_index
from hft_engine.persistence.journal.metadata import SegmentMetadata
from hft_engine.persistence.journal.session import segment_path
from hft_engine.persistence.journal.tally import Tally
from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point


class SegmentWriter:
    """Makes the file and writes its header. Every method raises OSError; after one the segment is to be left alone.

    ``unsynced_since_ns``: CLOCK_MONOTONIC of the oldest byte that is not synced, 0 where all are.
    """

    def __init__(self, session: Path, number: int, first_sequence: int, metadata: SegmentMetadata) -> None:
        self.path = segment_path(session, number)
        self.unsynced_since_ns = 0
        session.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        self._folder_synced = False
        created_ns = time.time_ns()
        raw = fmt.encode_header(number, first_sequence, created_ns, metadata)
        header = SegmentHeader(
            number, first_sequence, created_ns, fmt.TICK_DTYPE_HASH, metadata, header_bytes=len(raw)
        )
        self._tally = Tally(header)
        self.blocks = 0
        try:
            fault_point("journal.header")
            self._write(raw)
        except OSError:
            os.close(self._fd)
            raise

    @property
    def size(self) -> int:
        """Bytes of header and whole blocks."""
        return self._tally.end

    def append(self, kind: BlockKind, count: int, first_sequence: int, payload: bytes = b"") -> None:
        """A whole block, with the kernel when it returns."""
        fault_point("journal.block")
        self._write(fmt.encode_head(kind, count, first_sequence, payload))
        fault_point("journal.block.head")
        self._write(payload)
        fault_point("journal.block.payload")
        self._tally.add(Block(self._tally.end, kind, count, first_sequence, payload))
        self.blocks += 1

    def sync(self) -> None:
        """What was written is on the disk when it returns."""
        if self.unsynced_since_ns:
            fault_point("journal.sync")
            os.fdatasync(self._fd)
            if not self._folder_synced:  # or power loss may take a new file's name, and with it the file
                sync_folder(self.path.parent)
                self._folder_synced = True
            self.unsynced_since_ns = 0
            fault_point("journal.synced")

    def end(self, next_sequence: int) -> None:
        """Close it in order, and make its index."""
        fault_point("journal.end")
        self.append(BlockKind.END, 0, next_sequence)
        self.sync()
        os.close(self._fd)
        with contextlib.suppress(OSError):  # whoever wants it makes it again
            write_index(self.path, self._tally.sums())

    def abandon(self) -> None:
        """Close it as it is."""
        with contextlib.suppress(OSError):  # it is given up already
            os.close(self._fd)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:  # the kernel may take a part, for one just before the disk is full
            view = view[os.write(self._fd, view) :]
        self.unsynced_since_ns = self.unsynced_since_ns or time.monotonic_ns()
