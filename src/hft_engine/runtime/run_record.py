"""What is kept of a run that has ended: its errors and the accounts of its rings, in the data directory.

    <data_dir>/runs/<run id>.json

Written when a run ends; of one that was killed, by whoever sweeps up its directory (the next start or stop). It is
read from the segments alone, so it tells the same of a run that ended well, hung, or died.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hft_engine.runtime import rundir
from hft_engine.runtime.logs import ERRORS_SUFFIX
from hft_engine.shm import layout
from hft_engine.shm.error_log import read_error_log
from hft_engine.shm.ring_file import reader_names
from hft_engine.shm.segment import Segment, SegmentError

FOLDER = "runs"
KEPT = 500  # files of a few hundred bytes; the oldest go first


class RoleFault(msgspec.Struct, frozen=True):
    """One distinct fault of one role; times are UTC nanoseconds, ``level`` as of ``logging``."""

    role: str
    level: int
    count: int
    first_ns: int
    last_ns: int
    text: str


class ReaderAccount(msgspec.Struct, frozen=True):
    """Records of a ring, from the view of one reader: ``published == seen + lapped + lag + unaccounted``."""

    ring: str
    role: str
    published: int
    seen: int
    lapped: int
    lag: int

    @property
    def unaccounted(self) -> int:
        return self.published - self.seen - self.lapped - self.lag


class RunRecord(msgspec.Struct, frozen=True):
    """``ended``: "stopped", or "killed" of a run whose supervisor could not write it. ``exit_code`` -1: unknown."""

    run_id: str
    started_utc_ns: int
    recorded_utc_ns: int
    ended: str
    exit_code: int
    reason: str
    faults: tuple[RoleFault, ...]
    dropped: int  # observations of faults that found no room
    readers: tuple[ReaderAccount, ...]


def read_faults(run_dir: Path) -> tuple[tuple[RoleFault, ...], int]:
    """Of every role, oldest first; and the observations dropped. A log that cannot be read is itself a fault."""
    faults: list[RoleFault] = []
    dropped = 0
    for path in sorted(run_dir.glob(f"*{ERRORS_SUFFIX}")):
        try:
            found, lost = read_error_log(path)
        except SegmentError as error:
            faults.append(RoleFault(path.stem, 40, 1, 0, 0, str(error)))
            continue
        faults += [RoleFault(path.stem, *fault) for fault in found]
        dropped += lost
    return tuple(sorted(faults, key=lambda fault: fault.first_ns)), dropped


def read_accounts(run_dir: Path, manifest: rundir.Manifest) -> tuple[ReaderAccount, ...]:
    """Of every reader of every ring that can be read."""
    accounts: list[ReaderAccount] = []
    for entry in manifest.rings:
        with contextlib.suppress(SegmentError):
            accounts += _accounts_of(run_dir / entry.file, entry.name)
    return tuple(accounts)


def _accounts_of(path: Path, ring: str) -> Iterator[ReaderAccount]:
    head = Segment.attach(path, writable=False).words[: layout.RING_HEADER_WORDS]
    if head[layout.W_MAGIC] != layout.MAGIC or not 0 <= head[layout.W_READERS] <= layout.READERS_MAX:
        raise SegmentError(f"{path} is no ring")
    published = int(head[layout.W_PUBLISHED])
    for i, role in enumerate(reader_names(head)):
        start = layout.W_READER_0 + i * layout.READER_WORDS
        position, lapped, seen = (int(word) for word in head[start : start + 3])
        yield ReaderAccount(ring, role, published, seen, lapped, published - position)


def folder(data_dir: Path) -> Path:
    return data_dir / FOLDER


def save(run_dir: Path, ended: str, exit_code: int = -1, reason: str = "") -> None:
    """Write the record of the run of this directory. One that cannot be read or written is given up silently."""
    with contextlib.suppress(OSError, rundir.RunError, SegmentError, msgspec.MsgspecError, ValueError):
        manifest = rundir.read_manifest(run_dir)
        faults, dropped = read_faults(run_dir)
        faults = _with_earlier(folder(Path(manifest.data_dir)) / f"{manifest.run_id}.json", faults)
        record = RunRecord(
            run_id=manifest.run_id,
            started_utc_ns=manifest.started_utc_ns,
            recorded_utc_ns=time.time_ns(),
            ended=ended,
            exit_code=exit_code,
            reason=reason,
            faults=faults,
            dropped=dropped,
            readers=read_accounts(run_dir, manifest),
        )
        _write(folder(Path(manifest.data_dir)), record)


def _with_earlier(path: Path, faults: tuple[RoleFault, ...]) -> tuple[RoleFault, ...]:
    """Of a run that was resumed from disk, what its earlier life had recorded comes first."""
    if not path.exists():
        return faults
    known = {(fault.role, fault.first_ns, fault.text) for fault in faults}
    earlier = [fault for fault in read(path).faults if (fault.role, fault.first_ns, fault.text) not in known]
    return (*earlier, *faults)


def salvage(run_dir: Path) -> None:
    """``save`` of a run that nobody holds any more; for ``rundir.sweep``."""
    save(run_dir, "killed")


def _write(into: Path, record: RunRecord) -> None:
    into.mkdir(parents=True, exist_ok=True)
    draft = into / f".{record.run_id}.new"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    draft.replace(into / f"{record.run_id}.json")
    for old in sorted(into.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
        old.unlink(missing_ok=True)


def read(path: Path) -> RunRecord:
    """Raises RunError for a file that is no record."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except (OSError, msgspec.MsgspecError) as error:
        raise rundir.RunError(f"{path} is not the record of a run: {error}") from None


def recorded(data_dir: Path) -> list[Path]:
    """The records of this data directory, oldest first."""
    found = folder(data_dir).glob("*.json")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)
