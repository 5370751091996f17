"""The engine: configuration -> topology -> segments -> processes -> supervisor -> exit code."""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine import sessions
from hft_engine.config.lines import MAIN, line_configs
from hft_engine.config.load import require_known_features
from hft_engine.config.outputs import output_names
from hft_engine.config.redact import redacted
from hft_engine.config.schema import ActorTuning, Config
from hft_engine.feed.venues import UnknownVenueError, venue_of
from hft_engine.indicators import features
from hft_engine.indicators.features import FeatureSchema
from hft_engine.instruments import INSTRUMENT_DTYPE
from hft_engine.persistence.journal.session import session_dir
from hft_engine.runtime import kernelcache, run_record, rundir
from hft_engine.runtime.forkserver import ForkServer
from hft_engine.runtime.instruments_file import open_instruments
from hft_engine.runtime.logs import errors_path, logger
from hft_engine.runtime.placement import Places, kept_off, places
from hft_engine.runtime.plan import BELLS_FILE, INSTRUMENTS_FILE, ProcessPlan, RolePlan
from hft_engine.runtime.session_events import EventLog
from hft_engine.runtime.snapshots import Snapshots
from hft_engine.runtime.supervisor import Supervisor
from hft_engine.runtime.wait_mode import resolve
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.error_log import ErrorLog
from hft_engine.shm.ring_file import RingView, create_ring
from hft_engine.shm.segment import Segment
from hft_engine.summary import Summary
from hft_engine.topology import DTYPES, Process, Topology, build, preload

SCHEMA_FACTORY = "hft_engine.engine:feature_schema"
TICKS_FACTORY = "hft_engine.engine:journal_of"
_LOOPBACK = "127.0.0.1"


class StartError(RuntimeError):
    """The engine cannot start; the text says why and what to do."""


def feature_schema(config: Config) -> FeatureSchema:
    """The feature set of a configuration."""
    return features.feature_schema(config.indicators)


def journal_of(config: Config, run_id: str) -> Callable[[int], Any] | None:
    """Opens a run's journal at a sequence, for a stage whom the tick ring has lapped; None without a journal."""
    if not config.persistence.journal:
        return None

    def open_ticks(sequence: int) -> Any:
        from hft_engine.persistence.journal.session import session_dir
        from hft_engine.persistence.journal.tail import JournalTail

        return JournalTail(session_dir(Path(config.engine.data_dir), run_id), sequence)

    return open_ticks


@dataclass
class Run:
    """A run being made: its directory, its topology and the words that wake its actors."""

    config: Config
    topology: Topology
    directory: rundir.RunDirectory
    bells: np.ndarray
    places: Places
    arguments: dict[str, dict[str, Any]]  # role -> keyword arguments of its factory
    history: Path | None = None  # the session whose events a replay repeats


def run(
    config: Config,
    source: str = "feed",
    persistence: bool = True,
    arguments: dict[str, dict[str, Any]] | None = None,
    on_ready: Callable[[Run], None] = lambda run: None,
    finished: Callable[[Run], bool] = lambda run: False,
    on_end: Callable[[Run], None] = lambda run: None,
    say: Callable[[str], None] = lambda text: None,
    history: Path | None = None,
    resume: str | None = None,
) -> int:
    """Run an engine until it is told to stop or ``finished``. Returns the exit code.

    ``history``: of a replay, the session folder whose events are repeated. ``resume``: go on with this session, "" for
    the last one; None: a new one.

    Raises StartError, RunError, ConfigError, TopologyError, SegmentError, SessionError before anything was started.
    """
    config = _resolve(config, source)
    require_known_features(config, (*feature_schema(config).names, *output_names(config.inference)))
    arguments = arguments or {}
    topology = build(config, source, persistence, collected_rings(arguments))
    with _data_lock(config) as lock, _directory(config, topology, resume, say) as directory:
        lock.describe(f"run {directory.run_id}, pid {os.getpid()}")
        bells = _segments(directory, topology, config, resume is not None, say)
        made = Run(config, topology, directory, bells, _places(config, topology), arguments, history)
        directory.write_manifest(_manifest(config, topology, directory.run_id))
        log = logger(
            "supervisor",
            Path(config.engine.log_dir),
            config.engine.log_level,
            "trading_agent",
            directory.path,
        )
        supervisor = _supervisor(made, log, say)
        summary = Summary(directory.path, topology)
        snapshots = Snapshots(directory.path, [role.name for role in topology.roles])

        def each_second() -> None:
            snapshots.take_due()
            _log_due(log, summary.due_line())

        try:
            with _marked(made), kept_off(made.places.others):
                code = supervisor.run(lambda: on_ready(made), lambda: finished(made), each_second)
        finally:
            run_record.save(directory.path, "stopped", supervisor.exit_code, supervisor.reason)
        on_end(made)
        if code:
            say(f"error: {supervisor.reason}")
        return code


def collected_rings(arguments: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    """What the collector reads, where there is one."""
    return tuple(arguments.get("collector", {}).get("rings", ()))


# ---- before anything starts -----------------------------------------------------------------------------------


def _resolve(config: Config, source: str) -> Config:
    """Ports, the demo venue's address, absolute directories, the key; and what would only fail later."""
    engine = msgspec.structs.replace(
        config.engine,
        data_dir=str(Path(config.engine.data_dir).resolve()),
        log_dir=str(Path(config.engine.log_dir).resolve()),
    )
    config = msgspec.structs.replace(config, engine=engine)
    if source == "replay":
        return msgspec.structs.replace(config, simulator=None)
    if config.simulator is not None:
        return _with_venue(config)
    _check_venue(config)
    return config


def _check_venue(config: Config) -> None:
    for name, line in line_configs(config.feed).items():
        where = "" if name == MAIN else f"feed.lines.{name}: "
        try:
            problem = venue_of(line).problem(line)
        except UnknownVenueError as error:
            raise StartError(f"{where}{error}") from None
        if problem:
            raise StartError(f"{where}{problem}; or try the engine without a key: hft start --demo")


def _with_venue(config: Config) -> Config:
    assert config.simulator is not None
    port = _free_port(config.simulator.port)
    simulator = msgspec.structs.replace(config.simulator, port=port)
    own = {name: line for name, line in config.feed.lines.items() if line.venue is None and line.url is None}
    feed = msgspec.structs.replace(
        config.feed, url=f"ws://{_LOOPBACK}:{port}/stocks", api_key=config.simulator.api_key, lines=own
    )  # the other lines' venues are real ones
    return msgspec.structs.replace(config, simulator=simulator, feed=feed)


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, wanted))
        except OSError as error:
            raise StartError(
                f"simulator.port {wanted} cannot be used: {error.strerror}; choose another, or 0 for any free one"
            ) from error
        return int(probe.getsockname()[1])


@contextmanager
def _data_lock(config: Config) -> Iterator[rundir.DataLock]:
    try:
        lock = rundir.DataLock(Path(config.engine.data_dir))
    except OSError as error:
        raise StartError(
            f"engine.data_dir {config.engine.data_dir} cannot be used: {error.strerror}"
        ) from error
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def _directory(
    config: Config, topology: Topology, resume: str | None, say: Callable[[str], None]
) -> Iterator[rundir.RunDirectory]:
    """The run's: a new one, or of a session that goes on the one that a killed engine has left."""
    session = sessions.to_resume(config, resume).run_id if resume is not None else ""
    if not session and topology.source == "feed":
        _tell_unfinished(config, say)
    for swept in rundir.sweep(config.engine.run_root, session, run_record.salvage):
        say(f"removed what the dead run {swept} had left in shared memory")
    directory = sessions.take_over(config, session, _manifest(config, topology, session)) if session else None
    if directory is None:
        directory = rundir.RunDirectory.create(config.engine.run_root, config.engine.name, session)
    try:
        yield directory
    finally:
        directory.remove()


def _tell_unfinished(config: Config, say: Callable[[str], None]) -> None:
    last = sessions.last_session(Path(config.engine.data_dir))
    if last is not None and last.state == "running":
        say(f"session {last.run_id} was not ended in order; this start begins a new one")
        say(f"  to go on with that one instead: hft stop, then hft start --resume {last.run_id}")


@contextmanager
def _marked(made: Run) -> Iterator[None]:
    """What the session says of itself: that it runs, and in the end that it was stopped in order."""
    if made.topology.source == "replay" or not made.config.persistence.journal:
        yield
        return
    data_dir, run_id = Path(made.config.engine.data_dir), made.directory.run_id
    sessions.write_mark(data_dir, sessions.mark_of(made.config, run_id, "running"))
    yield
    sessions.write_mark(data_dir, sessions.mark_of(made.config, run_id, "stopped"))


# ---- segments and plans ---------------------------------------------------------------------------------------


def _segments(
    directory: rundir.RunDirectory,
    topology: Topology,
    config: Config,
    resume: bool,
    say: Callable[[str], None],
) -> np.ndarray:
    """Every segment of the run: made, or there already. Returns the doorbells' words."""
    path, run_id = directory.path, directory.run_id
    if (path / rundir.MANIFEST).exists():
        say(f"going on with session {run_id}: its shared memory is still there")
        ticks = RingView(path / "ticks.ring", DTYPES["TICK_DTYPE"])
        last: np.ndarray = ticks.last(1)
        _record_resume(
            config, run_id, "memory", ticks.published, int(last[0]["ts_recv_ns"]) if len(last) else 0
        )
        return Segment.attach(path / BELLS_FILE).words
    if not resume:
        return _make_segments(path, topology, config)
    say(f"going on with session {run_id}: from its checkpoint and its journal")
    continuation = sessions.continue_from_disk(config, run_id, path)
    _record_resume(config, run_id, "disk", continuation.rings["ticks"].start, continuation.last_recv_ns)
    say(
        f"  {continuation.ticks_again:,} ticks taken again, {continuation.signals_again:,} signals came of them"
    )
    return _make_segments(path, topology, config, continuation)


def _record_resume(config: Config, run_id: str, source: str, tick: int, last_recv_ns: int) -> None:
    """Between the session's last tick and the next one time passed without data: a gap, which is written down."""
    folder = session_dir(Path(config.engine.data_dir), run_id)
    gap = {"from_recv_ns": last_recv_ns, "to_recv_ns": time.time_ns()}
    EventLog(folder, "engine").record("resume", tick, {"from": source, "gap": gap})


def _make_segments(
    path: Path, topology: Topology, config: Config, continuation: sessions.Continuation | None = None
) -> np.ndarray:
    """Every segment of a run. Returns the doorbells' words."""
    with Segment.create(path / INSTRUMENTS_FILE, _instrument_bytes(config)) as segment:
        segment.words[layout.W_CAPACITY] = config.engine.instruments_max
    if continuation is not None:
        table = open_instruments(path / INSTRUMENTS_FILE, writable=True)
        for symbol in continuation.symbols:
            table.id_of(symbol)
    with Segment.create(path / BELLS_FILE, layout.BELLS_WORDS * layout.WORD):
        pass
    role_bell = {
        role.name: topology.bells[process.name]
        if _mode(config, topology, process) == "park"
        else layout.NO_BELL
        for process in topology.processes
        for role in process.roles
    }
    for entry in topology.rings:
        readers = [(role, role_bell[role]) for role in entry.readers]
        dtype = DTYPES[entry.dtype]
        begin = continuation.rings[entry.name] if continuation else sessions.RingStart(0)
        before = sessions.record_before(begin, dtype)
        create_ring(path / entry.file, dtype, entry.capacity, readers, topology.gating, begin.start, before)
    for role in [role.name for role in topology.roles] + ["supervisor"]:
        Stats.create(path / f"{role}.stats")
        ErrorLog.create(errors_path(path, role))
    return Segment.attach(path / BELLS_FILE).words


def _instrument_bytes(config: Config) -> int:
    return layout.PAGE_BYTES + config.engine.instruments_max * INSTRUMENT_DTYPE.itemsize


def _manifest(config: Config, topology: Topology, run_id: str) -> rundir.Manifest:
    return rundir.Manifest(
        run_id=run_id,
        name=config.engine.name,
        pid=os.getpid(),
        layout=topology.layout,
        source=topology.source,
        venue="demo" if config.simulator is not None else config.feed.venue,
        started_utc_ns=time.time_ns(),
        started_mono_ns=time.monotonic_ns(),
        data_dir=config.engine.data_dir,
        log_dir=config.engine.log_dir,
        processes={p.name: tuple(role.name for role in p.roles) for p in topology.processes},
        rings=topology.rings,
        rules=tuple(rule.name for rule in config.signals.rules),
        config=redacted(config),
    )


def _mode(config: Config, topology: Topology, process: Process) -> str:
    """The wait strategy of a process."""
    critical = sum(p.hot for p in topology.processes)
    tuning = _tuning(config, process)
    wait = "park" if tuning.realtime and tuning.wait == "auto" else tuning.wait
    return resolve(wait, process.hot, critical, os.cpu_count() or 1)


def _places(config: Config, topology: Topology) -> Places:
    wanted = {process.name: _tuning(config, process).cpus for process in topology.processes}
    hot = [process.name for process in topology.processes if process.hot]
    return places(os.sched_getaffinity(0), wanted, hot)


def _plan(made: Run, process: Process) -> ProcessPlan:
    config, topology = made.config, made.topology
    return ProcessPlan(
        name=process.name,
        roles=tuple(
            RolePlan(
                r.name,
                r.factory,
                (*r.reads, *r.writes, *r.watches),
                r.reads,
                made.arguments.get(r.name, {}),
                r.log,
            )
            for r in process.roles
        ),
        hot=process.hot,
        optional=process.optional,
        mode=_mode(config, topology, process),
        bell=topology.bells[process.name],
        cpus=made.places.of[process.name],
        realtime=_tuning(config, process).realtime and topology.source != "replay",  # which never sleeps
        run_id=made.directory.run_id,
        run_dir=str(made.directory.path),
        data_dir=config.engine.data_dir,
        log_dir=config.engine.log_dir,
        supervisor_pid=os.getpid(),
        rings=topology.rings,
        schema_factory=SCHEMA_FACTORY,
        ticks_factory=TICKS_FACTORY,
        config=config,
        session_dir=_session_dir(made),
        history_dir=str(made.history) if made.history is not None else None,
    )


def _session_dir(made: Run) -> str | None:
    """Beside the journal's segments; without a journal in the run directory, for the actors' next lives."""
    if made.topology.source == "replay":
        return None
    if not made.config.persistence.journal:
        return str(made.directory.path)
    return str(session_dir(Path(made.config.engine.data_dir), made.directory.run_id))


def _tuning(config: Config, process: Process) -> ActorTuning:
    """Of the process's own name (compute, engine), else of its first role that has one."""
    for name in [process.name, *(role.name for role in process.roles)]:
        if name in config.engine.actors:
            return config.engine.actors[name]
    return ActorTuning()


def _supervisor(made: Run, log: logging.Logger, say: Callable[[str], None]) -> Supervisor:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kernelcache.use())}
    return Supervisor(
        made.config.supervisor,
        [_plan(made, process) for process in made.topology.start_order],
        [process.name for process in made.topology.stop_order],
        lambda: ForkServer(preload(made.topology), environment),
        made.directory.path,
        made.bells,
        log,
        say,
    )


def _log_due(log: logging.Logger, line: str | None) -> None:
    if line is not None:
        log.info("%s", line)


if __name__ == "__main__":
    sys.exit("use: hft start")
