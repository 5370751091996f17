"""A role's checkpoints in its run's directory: two buffers, of which one is always complete. No numba here.

    page 0    identity words as in ``shm.layout``: magic, version, key, bytes a row, rows at most
    then, twice, a buffer:
      a page  word 0 GENERATION (0: being written)   1 ROWS   16...: ``facts``, words of the role's own
      rows    ROWS rows of plain bytes

The actor alone writes, always into the older buffer; GENERATION is taken away first and given last. A death at any
instruction leaves the other buffer as it was. Who copies a buffer (the persistence actor, to disk) looks at
GENERATION before and after. The file is sparse: pages are reserved as rows come into use (``reserve``), so that a
full memory file system is an error of a checkpoint and no SIGBUS.
"""

import hashlib
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.runtime.durable import sync_folder
from hft_engine.runtime.faultpoints import fault_point
from hft_engine.shm import layout
from hft_engine.shm.segment import SegmentError

SUFFIX = ".ckpt"
FACTS = 256  # words
_W_GENERATION, _W_ROWS, _W_FACTS = 0, 1, 16
_BUFFERS = 2
_RESERVE_BYTES = 1 << 16  # of each buffer at a time: the pages are cleared as they are reserved
assert (_W_FACTS + FACTS) * layout.WORD <= layout.PAGE_BYTES


@dataclass(frozen=True)
class Checkpoint:
    """``facts`` int64[FACTS], ``rows`` uint8[rows, bytes a row]: views of a buffer, or of what was read from disk."""

    generation: int
    facts: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True)
class Column:
    """A piece of each row's state: row i is the ``row_bytes`` bytes from ``i * row_bytes`` on in ``array``."""

    array: np.ndarray
    row_bytes: int

    def raw(self, rows: int) -> np.ndarray:
        """uint8[rows, row_bytes], a view."""
        return self.array.view(np.uint8)[: rows * self.row_bytes].reshape(rows, self.row_bytes)


def restore(checkpoint: Checkpoint, columns: Sequence[Column]) -> None:
    """Put a checkpoint's rows back into the arrays they were taken of."""
    at = 0
    for column in columns:
        column.raw(len(checkpoint.rows))[:] = checkpoint.rows[:, at : at + column.row_bytes]
        at += column.row_bytes


def key_of(*parts: object) -> int:
    """A positive int63 that changes with anything that a state depends on: dtypes, configuration, code of others."""
    digest = hashlib.sha256(repr(parts).encode())
    return int.from_bytes(digest.digest()[:8], "little") >> 1


class CheckpointFile:
    """The two buffers of one role. ``rows_max`` rows of ``row_bytes`` each."""

    def __init__(self, path: Path, buffer: mmap.mmap, row_bytes: int, rows_max: int) -> None:
        self.path = path
        self.row_bytes = row_bytes
        self.rows_max = rows_max
        self._raw = np.frombuffer(buffer, np.uint8)
        self._words = self._raw.view(np.int64)
        self._stride = _stride(row_bytes, rows_max)
        self._reserved = 0

    @classmethod
    def open(cls, path: Path, key: int, row_bytes: int, rows_max: int) -> "CheckpointFile":
        """The role's file, made if it is not there (or only half made). Raises SegmentError."""
        size = layout.PAGE_BYTES + _BUFFERS * _stride(row_bytes, rows_max)
        try:
            with _opened(path, os.O_RDWR | os.O_CREAT) as fd:
                if os.fstat(fd).st_size != size:
                    os.ftruncate(fd, 0)
                    os.ftruncate(fd, size)
                for start in (0, layout.PAGE_BYTES, layout.PAGE_BYTES + _stride(row_bytes, rows_max)):
                    os.posix_fallocate(fd, start, layout.PAGE_BYTES)
                file = cls(path, mmap.mmap(fd, size), row_bytes, rows_max)
        except OSError as error:
            raise SegmentError(
                f"cannot make {path}: {error.strerror}; free the memory file system"
            ) from error
        file._identify(key)
        return file

    @classmethod
    def attach(cls, path: Path) -> "CheckpointFile | None":
        """For who only reads; None while there is none, or only half of it."""
        try:
            with _opened(path, os.O_RDONLY) as fd:
                head = os.pread(fd, layout.PAGE_BYTES, 0).ljust(layout.PAGE_BYTES, b"\0")
                words = np.frombuffer(head, np.int64)
                if words[layout.W_MAGIC] != layout.MAGIC:
                    return None
                buffer = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            return None
        return cls(path, buffer, int(words[layout.W_RECORD]), int(words[layout.W_CAPACITY]))

    @property
    def key(self) -> int:
        return int(self._words[layout.W_DTYPE])

    def newest(self) -> Checkpoint | None:
        """The complete checkpoint of the highest generation; None where there is none yet."""
        generations = [int(self._header(b)[_W_GENERATION]) for b in range(_BUFFERS)]
        newest = int(np.argmax(generations))
        return self._checkpoint(newest) if generations[newest] else None

    def still_holds(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint that ``newest`` gave is still there, so that what was copied of it is whole."""
        return any(int(self._header(b)[_W_GENERATION]) == checkpoint.generation for b in range(_BUFFERS))

    def reserve(self, rows: int) -> bool:
        """Whether ``rows`` rows may be written; reserves some more if not. Raises OSError where there is no room."""
        if rows <= self._reserved:
            return True
        more = min(rows, self._reserved + max(1, _RESERVE_BYTES // self.row_bytes))
        with _opened(self.path, os.O_RDWR) as fd:
            for b in range(_BUFFERS):
                os.posix_fallocate(fd, self._rows_at(b), max(1, more * self.row_bytes))
        self._reserved = more
        return rows <= more

    def begin(self, rows: int) -> tuple[int, np.ndarray, int]:
        """Give up the older checkpoint: (its buffer, its facts, the address of its rows) to be written."""
        generations = [int(self._header(b)[_W_GENERATION]) for b in range(_BUFFERS)]
        buffer = int(np.argmin(generations))
        header = self._header(buffer)
        header[_W_GENERATION] = 0
        header[_W_ROWS] = rows
        fault_point("checkpoint.begun")
        address = self._raw.ctypes.data + self._rows_at(buffer)
        return buffer, header[_W_FACTS : _W_FACTS + FACTS], address

    def commit(self, buffer: int) -> None:
        """What was begun is complete."""
        generations = [int(self._header(b)[_W_GENERATION]) for b in range(_BUFFERS)]
        fault_point("checkpoint.written")
        self._header(buffer)[_W_GENERATION] = max(generations) + 1
        fault_point("checkpoint.committed")

    def put(self, facts: np.ndarray, rows: np.ndarray) -> None:
        """A whole checkpoint at once, from disk. ``facts`` int64[FACTS]; ``rows`` uint8[n, bytes a row]."""
        while not self.reserve(len(rows)):
            pass
        buffer, held, _ = self.begin(len(rows))
        held[:] = facts
        start = self._rows_at(buffer)
        self._raw[start : start + rows.size] = rows.reshape(-1)
        self.commit(buffer)

    def _identify(self, key: int) -> None:
        words = self._words
        if words[layout.W_MAGIC] != layout.MAGIC:
            words[layout.W_VERSION] = layout.LAYOUT_VERSION
            words[layout.W_DTYPE] = key
            words[layout.W_RECORD], words[layout.W_CAPACITY] = self.row_bytes, self.rows_max
            words[layout.W_MAGIC] = layout.MAGIC
        if words[layout.W_DTYPE] != key or words[layout.W_VERSION] != layout.LAYOUT_VERSION:
            raise SegmentError(
                f"{self.path} is of a run with another configuration or version; stop that run first"
            )

    def _checkpoint(self, buffer: int) -> Checkpoint:
        header = self._header(buffer)
        start, count = self._rows_at(buffer), int(header[_W_ROWS])
        rows = self._raw[start : start + count * self.row_bytes].reshape(count, self.row_bytes)
        return Checkpoint(int(header[_W_GENERATION]), header[_W_FACTS : _W_FACTS + FACTS], rows)

    def _header(self, buffer: int) -> np.ndarray:
        start = (layout.PAGE_BYTES + buffer * self._stride) // layout.WORD
        return self._words[start : start + layout.PAGE_BYTES // layout.WORD]

    def _rows_at(self, buffer: int) -> int:
        return 2 * layout.PAGE_BYTES + buffer * self._stride


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    """A descriptor for as long as it takes: a mapping has one of its own, which goes with it."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


def _stride(row_bytes: int, rows_max: int) -> int:
    return layout.PAGE_BYTES + -(-row_bytes * rows_max // layout.PAGE_BYTES) * layout.PAGE_BYTES


class InForce:
    """What a role was told while it ran, as a JSON document of the session that outlives the role."""

    def __init__(self, session_dir: Path, role: str) -> None:
        self._path = session_dir / f"told-{role}.json"

    def read(self) -> dict[str, object] | None:
        """None where nothing was told."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, object])
        except FileNotFoundError:
            return None

    def write(self, document: dict[str, object]) -> None:
        """Complete or not there. Raises OSError."""
        write_durably(self._path, msgspec.json.encode(document))


def write_durably(path: Path, data: bytes) -> None:
    """The file, whole or as it was before, also after a loss of power. Raises OSError."""
    _replace(path, data, sync=True)
    sync_folder(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """As ``write_durably``, without waiting for the disk: after a loss of power it may be anything, so what is read
    must be checked. Raises OSError.
    """
    _replace(path, data, sync=False)


def _replace(path: Path, data: bytes, sync: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        fault_point("file.written")
        if sync:
            os.fsync(file.fileno())
    fault_point("file.synced")
    draft.replace(path)
    fault_point("file.renamed")
