"""Replay: a journal or recorded files through the same actors, in any layout, with a hash to compare.

``ReplayResult.signal_hash`` is the running hash over the deterministic part of every signal; two runs over the same
input with the same configuration give the same hash, whatever the layout and the speed.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine import engine, preflight
from hft_engine.config.schema import ActorTuning, Config
from hft_engine.instruments import InstrumentTable
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring_file import RingView
from hft_engine.topology import DTYPES, ROLES

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


def open_source(paths: Sequence[str], instruments: InstrumentTable) -> Iterable[np.ndarray]:
    """Chunks of ticks of a journal (session directory or segment) or of recorded files, merged by time."""
    from hft_engine.feed.recorded import open_recording
    from hft_engine.persistence.journal import is_journal

    if len(paths) == 1 and is_journal(Path(paths[0])):
        return _open_journal(Path(paths[0]), instruments)
    return open_recording([Path(path) for path in paths], instruments)


def _open_journal(path: Path, instruments: InstrumentTable) -> Iterable[np.ndarray]:
    from hft_engine.persistence.journal import JournalReader
    from hft_engine.persistence.source import JournalTicks

    return JournalTicks(JournalReader(path), instruments)


def make_actor(paths: list[str], speed: float) -> Any:
    """The replay actor, in whichever process it will run."""
    from hft_engine.feed.recorded import RecordingError
    from hft_engine.persistence.replay import ReplayActor

    return ReplayActor(
        lambda instruments: open_source(paths, instruments), speed, refusals=(ReplayError, RecordingError)
    )


def replay(
    config: Config,
    paths: Sequence[str],
    speed: float = 0.0,
    database: Path | None = None,
    progress: Callable[[int], None] = lambda permille: None,
    say: Callable[[str], None] = lambda text: None,
) -> ReplayResult:
    """Run ``paths`` through the actors in ``config.engine.layout``. ``speed`` 0 = as fast as possible.

    ``database``: also store bars and signals there. Raises ReplayError and what the files' readers raise.
    """
    missing = [str(path) for path in paths if not Path(path).exists()]
    if missing:
        raise ReplayError(f"no such file: {', '.join(missing)}; `hft journal ls` lists what was recorded")
    arguments = {"replay": {"paths": [str(Path(path).resolve()) for path in paths], "speed": speed}}
    with tempfile.TemporaryDirectory(prefix="hft-replay-") as scratch:
        config = _for_replay(config if speed else at_full_speed(config), database, scratch)
        preflight.check(config)
        if config.engine.layout == "inline":
            return _inline(config, arguments, database is not None, progress)
        return _processes(config, arguments, database is not None, progress, say)


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
) -> ReplayResult:
    from hft_engine import inline
    from hft_engine.persistence.hashing import signal_hash

    made = inline.make(config, "replay", persistence, arguments)
    started = time.perf_counter()
    made.run(lambda: progress(made.stats["replay"].counter("progress_permille").value))
    seconds = time.perf_counter() - started
    ticks, bars, signals = (made.rings[name].published for name in ("ticks", "bars", "signals"))
    return ReplayResult("inline", ticks, bars, signals, signal_hash(made.rings["signals"]), seconds)


def _first_tick_s(ticks: RingView) -> float:
    """When the replay began: its first tick, which is on the ring before the supervisor sees everybody running."""
    rows = ticks.last(ticks.published)
    return int(rows[0]["ts_mono_ns"]) / 1e9 if len(rows) else time.monotonic()


class _Watch:
    """Sees a replay in other processes through its segments."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress
        self._views: list[RingView] = []
        self._names: list[str] = []
        self._stats: Stats | None = None
        self._started = self._ended = 0.0
        self.result: ReplayResult | None = None

    def on_ready(self, run: engine.Run) -> None:
        self._stats = Stats.attach(run.directory.path / "replay.stats", writable=False)
        self._views = [
            RingView(run.directory.path / entry.file, DTYPES[entry.dtype]) for entry in run.topology.rings
        ]
        self._names = [entry.name for entry in run.topology.rings]
        self._started = _first_tick_s(self._views[self._names.index("ticks")])

    def finished(self, run: engine.Run) -> bool:
        assert self._stats is not None
        counters = self._stats.counters()
        self._progress(counters["progress_permille"])
        if not counters["finished"]:
            return False
        # Upstream first: once a ring's readers are through, what they publish from it is published.
        order = ("ticks", "features", "predictions", "bars", "signals")
        by_name = dict(zip(self._names, self._views, strict=True))
        through = all(by_name[name].drained() for name in order)
        self._ended = time.monotonic() if through else 0.0
        return through

    def on_end(self, run: engine.Run) -> None:
        if not self._ended:
            return  # stopped before everything was through
        by_name = dict(zip(self._names, self._views, strict=True))
        last: np.ndarray = by_name["signals"].last(1)
        self.result = ReplayResult(
            run.topology.layout,
            by_name["ticks"].published,
            by_name["bars"].published,
            by_name["signals"].published,
            f"{int(last[0]['chain_hash']) if len(last) else 0:016x}",
            self._ended - self._started,
        )


def _processes(
    config: Config,
    arguments: dict[str, dict[str, Any]],
    persistence: bool,
    progress: Callable[[int], None],
    say: Callable[[str], None],
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
    )
    if code or watch.result is None:
        reason = failures[-1].removeprefix("error: ") if failures else "it was stopped"
        raise ReplayError(f"the replay did not finish: {reason}")
    return watch.result
