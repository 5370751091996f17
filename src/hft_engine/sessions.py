"""Sessions: what outlives a run. Which is the last, whether it ended in order, and how a new run goes on with it.

A session is a folder ``<data_dir>/journal/<run id>``; a run that goes on with it keeps the run id, the sequences of its
records and the hash over its signals. Where the last run's shared memory is still there (the engine was killed, the
machine was not), the new run takes it over as it is, and its actors do what they do after any death. Else the state
before the journal's last tick is made anew, from the newest checkpoint on disk and the journal, by a process of its own
(``catchup``), and the rings begin where the session stopped.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine.config.schema import Config
from hft_engine.persistence.journal.session import JOURNAL_DIR, session_dir
from hft_engine.runtime import kernelcache, run_record, rundir
from hft_engine.runtime.checkpoint import write_durably
from hft_engine.runtime.plan import BELLS_FILE
from hft_engine.shm.counters import Stats
from hft_engine.shm.segment import Segment

MARK = "session.json"
CONTINUATION = "continuation.bin"  # in the run directory: what ``catchup`` found
# Sections that the state depends on; a session can only go on with the same.
DECIDING = ("indicators", "inference", "signals")
GONE_TIMEOUT_S = 5.0  # for processes of a killed engine, which die with their supervisor


class SessionError(RuntimeError):
    """A session cannot be resumed; the text says why and what to do."""


class SessionMark(msgspec.Struct, frozen=True):
    """session.json. ``state``: running | stopped; a session that says ``running`` while nobody runs was killed."""

    run_id: str
    state: str
    started_ns: int  # UTC, of its latest run
    instruments_max: int
    deciding: dict[str, Any]  # the sections of the configuration named in DECIDING


class RingStart(msgspec.Struct, frozen=True):
    """Where a ring goes on: its first sequence, and the record before it as bytes (b"": none)."""

    start: int
    before: bytes = b""


class Continuation(msgspec.Struct, frozen=True):
    """How a resumed run begins. ``symbols`` by instrument id; ``ticks_again``: how many were taken again."""

    rings: dict[str, RingStart]
    symbols: tuple[str, ...]
    ticks_again: int
    signals_again: int
    last_recv_ns: int  # of the last tick, UTC; 0 without one


class CatchUp(msgspec.Struct, frozen=True):
    """What the process that catches up is told, on its standard input."""

    config: Config
    run_id: str
    run_dir: str


def mark_of(config: Config, run_id: str, state: str) -> SessionMark:
    sections = {name: msgspec.to_builtins(getattr(config, name)) for name in DECIDING}
    return SessionMark(run_id, state, time.time_ns(), config.engine.instruments_max, sections)


def write_mark(data_dir: Path, mark: SessionMark) -> None:
    """A full disk keeps no engine from running: then the session cannot be found by ``--resume``."""
    with contextlib.suppress(OSError):
        write_durably(session_dir(data_dir, mark.run_id) / MARK, msgspec.json.encode(mark))


def last_session(data_dir: Path) -> SessionMark | None:
    """The session that ran last in this data directory; None where there is none."""
    marks = [_read(path) for path in (data_dir / JOURNAL_DIR).glob(f"*/{MARK}")]
    return max((mark for mark in marks if mark is not None), key=lambda mark: mark.started_ns, default=None)


def _read(path: Path) -> SessionMark | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=SessionMark)
    except (OSError, msgspec.MsgspecError):
        return None


def to_resume(config: Config, wanted: str = "") -> SessionMark:
    """The session called ``wanted``, else the last. Raises SessionError where there is none, or not with this
    configuration.
    """
    data_dir = Path(config.engine.data_dir)
    last = _read(session_dir(data_dir, wanted) / MARK) if wanted else last_session(data_dir)
    if not config.persistence.journal:
        raise SessionError(
            "persistence.journal is off: without a journal there is nothing to go on from; start without --resume"
        )
    if last is None:
        which = f"session {wanted}" if wanted else "session"
        raise SessionError(f"no {which} in {data_dir} to go on with; start without --resume")
    _refuse_other(last, mark_of(config, last.run_id, "running"))
    return last


def _refuse_other(last: SessionMark, wanted: SessionMark) -> None:
    other = [name for name in DECIDING if last.deciding.get(name) != _plain(wanted.deciding[name])]
    if last.instruments_max != wanted.instruments_max:
        other.append("engine.instruments_max")
    if other:
        raise SessionError(
            f"session {last.run_id} was made with another {', '.join(other)}: its state does not fit; resume it with "
            "the configuration it had, or start without --resume"
        )


def _plain(section: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(section))


# ---- the shared memory of a killed engine ---------------------------------------------------------------------


def take_over(config: Config, run_id: str, wanted: rundir.Manifest) -> rundir.RunDirectory | None:
    """The run directory of a session whose engine was killed, ours now; None where there is none that fits.

    ``wanted``: how this run would describe itself. Raises SessionError where its processes will not die.
    """
    directory = rundir.RunDirectory.take(config.engine.run_root, run_id)
    if directory is None:
        return None
    try:
        found = rundir.read_manifest(directory.path)
    except (rundir.RunError, msgspec.MsgspecError):
        found = None
    if found is None or not _is_alike(found, wanted):
        run_record.salvage(directory.path)
        directory.remove()
        return None
    _await_end(directory.path, [role for roles in found.processes.values() for role in roles])
    with Segment.attach(directory.path / BELLS_FILE) as bells:
        bells.words[:] = 0  # nobody sleeps, and nobody was told to stop
    return directory


def _is_alike(found: rundir.Manifest, wanted: rundir.Manifest) -> bool:
    """Whether rings, readers and processes are the same, so that every segment can be used as it is."""
    same = ("layout", "source", "processes", "rings", "rules")
    sections = ("engine", "rings", "persistence")
    return all(getattr(found, name) == getattr(wanted, name) for name in same) and all(
        _plain(found.config.get(name)) == _plain(wanted.config.get(name)) for name in sections
    )


def _await_end(run_dir: Path, roles: list[str]) -> None:
    deadline_s = time.monotonic() + GONE_TIMEOUT_S
    while alive := [pid for pid in _pids(run_dir, roles) if _is_ours(pid)]:
        if time.monotonic() > deadline_s:
            raise SessionError(
                f"processes {alive} of the killed engine are still there; end them, then try again"
            )
        time.sleep(0.01)


def _pids(run_dir: Path, roles: list[str]) -> set[int]:
    from hft_engine.shm import layout

    stats = [Stats.attach(run_dir / f"{role}.stats", writable=False) for role in roles]
    return {int(one.vitals[layout.V_PID]) for one in stats} - {0}


def _is_ours(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("hft:")
    except OSError:
        return False


# ---- from disk ------------------------------------------------------------------------------------------------


def continue_from_disk(config: Config, run_id: str, run_dir: Path) -> Continuation:
    """Make the session's state anew in ``run_dir``: a process of its own, because it compiles. Raises SessionError."""
    request = msgspec.msgpack.encode(CatchUp(config, run_id, str(run_dir)))
    environment: Mapping[str, str] = {**os.environ, "NUMBA_CACHE_DIR": str(kernelcache.use())}
    answer = subprocess.run(
        [sys.executable, "-m", "hft_engine.catchup"],
        input=request,
        capture_output=True,
        env=environment,
        check=False,
    )
    if answer.returncode:
        text = answer.stderr.decode(errors="replace").strip().splitlines()
        raise SessionError(f"session {run_id} cannot be resumed: {text[-1] if text else 'its process died'}")
    return msgspec.msgpack.decode((run_dir / CONTINUATION).read_bytes(), type=Continuation)


def record_before(start: RingStart, dtype: np.dtype) -> np.ndarray | None:
    """The record before a ring's first one, None where there is none."""
    return np.frombuffer(start.before, dtype)[0] if start.before else None
