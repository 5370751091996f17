"""Replay: a journal or recorded files through the same actors, in any layout, with a hash to compare.

``ReplayResult.signal_hash`` is the running hash over the deterministic part of every signal; two runs over the same
input with the same configuration give the same hash, whatever the layout and the speed.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine import engine, preflight
from hft_engine.config.schema import ActorTuning, Config
from hft_engine.engine import collected_rings
from hft_engine.instruments import InstrumentTable
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring_file import RingView
from hft_engine.topology import DTYPES, ROLES

_NEVER_NS = np.iinfo(np.int64).max
_CACHED = {"ticks": 4_096, "features": 128, "predictions": 128}  # 700 KB in all
READERS = tuple(role.name for role in ROLES.values() if role.reads)


class ReplayError(RuntimeError):
    """What should be replayed cannot be; the text says why."""


class ReplayResult(msgspec.Struct, frozen=True):
    layout: str
    ticks: int
    bars: int
    signals: int
    signal_hash: str  # 16 hex digits; zeros without a signal
    seconds: float

    @property
    def ticks_per_s(self) -> float:
        return self.ticks / self.seconds if self.seconds > 0 else 0.0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What of the recorded ticks is replayed: UTC ns of receipt, half open, an end of 0 is none; and symbols.

    ``end_tick``: of a journal, the first sequence that is not replayed any more, 0 = none.
    """

    begin_ns: int = 0
    end_ns: int = 0
    end_tick: int = 0
    symbols: tuple[str, ...] = ()  # none named: all


class Collect(msgspec.Struct, frozen=True):
    """What ``persistence.collector`` keeps of a replay in ``directory``; ``ticks``: whose predictions."""

    rings: tuple[str, ...]
    directory: str
    ticks: tuple[int, ...] = ()


EVERYTHING = Part()


def open_source(
    paths: Sequence[str], instruments: InstrumentTable, part: Part = EVERYTHING
) -> Iterable[np.ndarray]:
    """Chunks of ticks of a journal (session directory or segment) or of recorded files, merged by time."""
    from hft_engine.feed.recorded import open_recording
    from hft_engine.persistence.journal import is_journal

    if len(paths) == 1 and is_journal(Path(paths[0])):
        return _open_journal(Path(paths[0]), instruments, part)
    return within(open_recording([Path(path) for path in paths], instruments), instruments, part)


def within(source: Iterable[np.ndarray], instruments: InstrumentTable, part: Part) -> Iterable[np.ndarray]:
    """The wanted ticks of a source. Files have no stamp of receipt everywhere: then the venue's counts."""
    return source if part == EVERYTHING else _Within(source, instruments, part)


class _Within:
    def __init__(self, source: Iterable[np.ndarray], instruments: InstrumentTable, part: Part) -> None:
        self._source, self._instruments, self._part = source, instruments, part
        self.count = int(getattr(source, "count", 0))

    def __iter__(self) -> Iterator[np.ndarray]:
        part = self._part
        for chunk in self._source:
            stamps = chunk["ts_recv_ns"] if chunk["ts_recv_ns"].any() else chunk["ts_venue_ns"]
            wanted = (stamps >= part.begin_ns) & (stamps < (part.end_ns or _NEVER_NS))
            if part.symbols:
                ids = [self._instruments.find(symbol) for symbol in part.symbols]
                wanted &= np.isin(chunk["instrument_id"], [i for i in ids if i is not None])
            # as whole records: a mask would part overlapping fields
            yield chunk.view(f"V{chunk.itemsize}")[wanted].view(chunk.dtype)


def _open_journal(path: Path, instruments: InstrumentTable, part: Part) -> Iterable[np.ndarray]:
    from hft_engine.persistence.journal import JournalReader
    from hft_engine.persistence.source import JournalTicks

    return JournalTicks(JournalReader(path), instruments, _selection(part), part.symbols)


def _selection(part: Part) -> Any:
    from hft_engine.persistence.journal.selection import EVERYTHING as ALL
    from hft_engine.persistence.journal.selection import Selection

    if not (part.begin_ns or part.end_ns or part.end_tick):
        return ALL  # a live feed's blocks hold a few ticks each: looking into every one would cost more than they
    return Selection(end=part.end_tick or _NEVER_NS, from_ns=part.begin_ns, to_ns=part.end_ns or _NEVER_NS)


def make_actor(paths: list[str], speed: float, part: dict[str, Any] | None = None) -> Any:
    """The replay actor, in whichever process it will run. ``part``: a ``Part`` as plain data."""
    from hft_engine.feed.recorded import RecordingError
    from hft_engine.persistence.replay import ReplayActor

    wanted = msgspec.convert(part or {}, Part)
    return ReplayActor(
        lambda instruments: open_source(paths, instruments, wanted),
        speed,
        refusals=(ReplayError, RecordingError),
    )


def replay(
    config: Config,
    paths: Sequence[str],
    speed: float = 0.0,
    database: Path | None = None,
    progress: Callable[[int], None] = lambda permille: None,
    say: Callable[[str], None] = lambda text: None,
    ledger: Path | None = None,
    part: Part = EVERYTHING,
    collect: Collect | None = None,
) -> ReplayResult:
    """Run ``paths`` through the actors in ``config.engine.layout``. ``speed`` 0 = as fast as possible.

    What a recorded session's events say (configuration changes, model swaps, records that an actor did not see) is
    done again at the same records. ``database``: also store bars, signals, orders and fills there. ``ledger``: of a
    configuration with a strategy, where all it did is written. Raises ReplayError and what the files' readers raise.
    """
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        raise ReplayError(f"no such file: {', '.join(missing)}; `hft journal ls` lists what was recorded")
    resolved = [str(Path(path).resolve()) for path in paths]
    arguments: dict[str, dict[str, Any]] = {
        "replay": {"paths": resolved, "speed": speed, "part": msgspec.to_builtins(part)}
    }
    if ledger is not None:
        arguments["execution"] = {"ledger": str(ledger.resolve())}
    if collect is not None:
        arguments["collector"] = msgspec.to_builtins(collect)
    with tempfile.TemporaryDirectory(prefix="hft-replay-") as scratch:
        config = _for_replay(config if speed else at_full_speed(config), database, scratch)
        preflight.check(config)
        history = _history(resolved)
        if config.engine.layout == "inline":
            return _inline(config, arguments, database is not None, progress, history)
        return _processes(config, arguments, database is not None, progress, say, history)


def _history(paths: Sequence[str]) -> Path | None:
    """The session folder, where a whole session is replayed."""
    return Path(paths[0]) if len(paths) == 1 and Path(paths[0]).is_dir() else None


def at_full_speed(config: Config) -> Config:
    """Readers nap where their wait is not chosen in the configuration.

    Nobody waits for a single record then. A parked reader costs its writer a system call for each record; while it
    naps, records gather.
    """
    actors = dict(config.engine.actors)
    for role in READERS:
        tuning = actors.get(role, ActorTuning())
        if tuning.wait == "auto":
            actors[role] = msgspec.structs.replace(tuning, wait="sleep")
    return msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, actors=actors))


def _in_cache(config: Config, collected: Sequence[str]) -> Config:
    """Rings that lie in a core's own cache: in one process each stage takes up what the one before it has just put
    out. A ring that is collected stays as it is: the collector is not compiled, and takes a lot at once."""
    small = {
        name: min(size, getattr(config.rings, name))
        for name, size in _CACHED.items()
        if name not in collected
    }
    return msgspec.structs.replace(config, rings=msgspec.structs.replace(config.rings, **small))


def _for_replay(config: Config, database: Path | None, data_dir: str) -> Config:
    """No venue, no journal of a journal; a data directory of its own so that it may run beside a live engine."""
    replace = msgspec.structs.replace
    persistence = replace(
        config.persistence,
        journal=False,
        sqlite=True,
        sqlite_file=str(database.resolve()) if database else "",
    )
    return replace(
        config,
        simulator=None,
        persistence=persistence if database else config.persistence,
        engine=replace(config.engine, name="replay", data_dir=data_dir),
    )


def _inline(
    config: Config,
    arguments: dict[str, dict[str, Any]],
    persistence: bool,
    progress: Callable[[int], None],
    history: Path | None,
) -> ReplayResult:
    from hft_engine import inline
    from hft_engine.persistence.hashing import signal_hash

    made = inline.make(
        _in_cache(config, collected_rings(arguments)), "replay", persistence, arguments, history=history
    )
    started = time.perf_counter()
    made.run(lambda: progress(made.stats["replay"].counter("progress_permille").value))
    seconds = time.perf_counter() - started
    ticks = made.stats["replay"].counter("ticks").value
    bars, signals = (made.rings[name].published for name in ("bars", "signals"))
    return ReplayResult("inline", ticks, bars, signals, signal_hash(made.rings["signals"]), seconds)


class _Watch:
    """Sees a replay in other processes through its segments."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._views: list[RingView] = []
        self._names: list[str] = []
        self._stats: Stats | None = None
        self._seconds = 0.0
        self._ticks = 0
        self.result: ReplayResult | None = None

    def on_ready(self, run: engine.Run) -> None:
        self._stats = Stats.attach(run.directory.path / "replay.stats", writable=False)
        self._views = [
            RingView(run.directory.path / entry.file, DTYPES[entry.dtype]) for entry in run.topology.rings
        ]
        self._names = [entry.name for entry in run.topology.rings]

    def finished(self, run: engine.Run) -> bool:
        assert self._stats is not None
        counters = self._stats.counters()
        self._progress(counters["progress_permille"])
        self._ticks = counters["ticks"]
        if not counters["finished"]:
            return False
        # Upstream first: once a ring's readers are through, what they publish from it is published.
        order = ("ticks", "features", "predictions", "bars", "signals", "orders", "fills")
        by_name = dict(zip(self._names, self._views, strict=True))
        through = all(by_name[name].drained() for name in order if name in by_name)
        if through:
            # The first tick may have left the ring before the supervisor saw everybody running.
            self._seconds = (time.monotonic_ns() - counters["began_mono_ns"]) / 1e9
        return through

    def on_end(self, run: engine.Run) -> None:
        if not self._seconds:
            return  # stopped before everything was through
        by_name = dict(zip(self._names, self._views, strict=True))
        last: np.ndarray = by_name["signals"].last(1)
        self.result = ReplayResult(
            run.topology.layout,
            self._ticks,
            by_name["bars"].published,
            by_name["signals"].published,
            f"{int(last[0]['chain_hash']) if len(last) else 0:016x}",
            self._seconds,
        )


def _processes(
    config: Config,
    arguments: dict[str, dict[str, Any]],
    persistence: bool,
    progress: Callable[[int], None],
    say: Callable[[str], None],
    history: Path | None,
) -> ReplayResult:
    watch = _Watch(progress)
    failures: list[str] = []

    def tell(text: str) -> None:
        failures.append(text) if text.startswith("error: ") else say(text)

    code = engine.run(
        config,
        "replay",
        persistence,
        arguments,
        on_ready=watch.on_ready,
        finished=watch.finished,
        on_end=watch.on_end,
        say=tell,
        history=history,
    )
    if code or watch.result is None:
        reason = failures[-1].removeprefix("error: ") if failures else "it was stopped"
        raise ReplayError(f"the replay did not finish: {reason}")
    return watch.result
