"""The run's latest events in a file of its run directory, for readers that come later or cannot use ZeroMQ."""

from pathlib import Path

import msgspec

from hft_engine.runtime.messages import Event

FILE = "events.jsonl"
FILE_BYTES_MAX = 1_000_000  # it lies in shared memory; beyond this the older half goes


class EventFile:
    """One JSON object a line; one writer."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._file = self._path.open("ab", buffering=0)

    def append(self, event: Event) -> None:
        self._file.write(msgspec.json.encode(event) + b"\n")
        if self._file.tell() > FILE_BYTES_MAX:
            self._shorten()

    def close(self) -> None:
        self._file.close()

    def _shorten(self) -> None:
        # Renamed into place: a reader sees the old file or the new one, and knows by the inode.
        self._file.close()
        kept = self._path.read_bytes()[-FILE_BYTES_MAX // 2 :].partition(b"\n")[2]
        draft = self._path.with_suffix(".new")
        draft.write_bytes(kept)
        draft.replace(self._path)
        self._file = self._path.open("ab", buffering=0)
