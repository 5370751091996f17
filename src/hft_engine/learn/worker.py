"""The trainer's process that does the work: ``python -m hft_engine.learn.worker``, driven over its standard streams.

    trainer ── Work (JSON, one line), then a line for each cycle ─▶ worker ── a line of JSON for each step ─▶ trainer

It collects what the session's journal has got since the last cycle, through the stage that runs live, trains each task
that has no candidate in shadow, and registers what came of it. Memory is limited, the trainer limits the time: whatever
happens here, the engine only hears of it. Its parent's death is its own.
"""

import errno
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from hft_engine.learn.protocol import Step, Work
from hft_engine.runtime import kernelcache

kernelcache.use()  # before anything imports numba

from hft_engine.feed.recorded_rows import RecordingError  # noqa: E402
from hft_engine.indicators.features import feature_schema  # noqa: E402
from hft_engine.indicators.offline import OfflineIndicators  # noqa: E402
from hft_engine.instruments import InstrumentTable  # noqa: E402
from hft_engine.learn.command import register  # noqa: E402
from hft_engine.learn.errors import TrainingError  # noqa: E402
from hft_engine.learn.report import Report  # noqa: E402
from hft_engine.learn.samples import Samples, joined, learnable, of_bars  # noqa: E402
from hft_engine.learn.tasks import TASKS  # noqa: E402
from hft_engine.learn.training import train  # noqa: E402
from hft_engine.learn.window import RowWindow  # noqa: E402
from hft_engine.models.registry import Entry, Registry, RegistryError  # noqa: E402
from hft_engine.persistence.journal import JournalError, session_paths  # noqa: E402
from hft_engine.persistence.journal.tail import JournalTail  # noqa: E402
from hft_engine.recorded_session import RecordedSession, SessionError  # noqa: E402
from hft_engine.replay import open_source  # noqa: E402
from hft_engine.runtime.faultpoints import fault_point  # noqa: E402
from hft_engine.runtime.instruments_file import open_instruments  # noqa: E402
from hft_engine.runtime.linux import die_with_parent, set_name  # noqa: E402

NICE = 10
COLLECTING_SHARE = 0.3  # of the progress of a cycle
# How libraries that raise no MemoryError say that there was none: LightGBM's C++, the dynamic loader.
NO_MEMORY_TEXTS = ("bad allocation", "bad_alloc", "allocate memory", "failed to map segment")

Tell = Callable[[Step], None]


class Rows:
    """What there is to learn from: this session's rows as they come, and those of earlier ones."""

    def __init__(self, work: Work) -> None:
        self._work, self._config = work, work.config
        self._earlier: list[Samples] | None = None
        self._instruments: InstrumentTable | None = None

    def collect(self, tell: Tell) -> Samples:
        """Raises TrainingError where there is nothing yet, JournalError, and what the readers raise."""
        if not self._work.session:
            return self._of_database()
        if self._instruments is None:
            self._open()
        self._read_on(tell)
        own = self._window.samples("this session")
        if self._earlier is None:
            self._earlier = self._read_earlier(
                tell, self._config.learning.rows_max - (len(own) if own else 0)
            )
        parts = [*self._earlier, *([own] if own is not None else [])]
        if not parts:
            raise TrainingError("no bar is over yet: nothing to learn from")
        return learnable(joined(parts, _named(own, len(self._earlier))))

    def _of_database(self) -> Samples:
        """Stored bars, where they are what the engine's rows are made of."""
        bar = self._config.indicators.bar
        if bar != "minute":
            raise TrainingError(
                f"without a journal only stored bars of a minute can be learned from, and the engine's rows are of "
                f"indicators.bar={bar}; set persistence.journal: true"
            )
        return of_bars(self._config.indicators, [Path(self._work.database)])

    def _open(self) -> None:
        indicators = self._config.indicators
        self._instruments = open_instruments(Path(self._work.instruments), writable=False)
        self._tail = JournalTail(Path(self._work.session), 0)
        self._stage = OfflineIndicators(indicators, self._instruments.capacity, on_bars=True)
        self._window = RowWindow(indicators, self._instruments.symbol_of, self._config.learning.rows_max)

    def _read_on(self, tell: Tell) -> None:
        while (ticks := self._tail.read()) is not None:
            computed = self._stage.feed(ticks.copy())
            self._window.add(computed.features, computed.bars)
            tell(Step("progress", f"collecting: {len(self._window):,} rows", 0.0, rows=len(self._window)))

    def _read_earlier(self, tell: Tell, wanted: int) -> list[Samples]:
        """The newest first, as long as rows are wanted; in the end the oldest first."""
        current, found = Path(self._work.session), []
        paths = [path for path in session_paths(current.parents[1]) if path.name != current.name]
        paths.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in paths[: self._config.learning.earlier_sessions]:
            if wanted <= 0:
                break
            tell(Step("progress", f"collecting: session {path.name}", 0.0))
            samples = self._of_session(path, wanted)
            if samples is not None:
                found.append(samples)
                wanted -= len(samples)
        return found[::-1]

    def _of_session(self, path: Path, rows_max: int) -> Samples | None:
        """None of a session with other features, or one that cannot be read: it is not the running one's fault."""
        try:
            session = RecordedSession(path, verify=False)
            if (
                feature_schema(session.config().indicators).hash
                != feature_schema(self._config.indicators).hash
            ):
                return None
            instruments = InstrumentTable.private(self._config.engine.instruments_max)
            stage = OfflineIndicators(self._config.indicators, instruments.capacity, on_bars=True)
            window = RowWindow(self._config.indicators, instruments.symbol_of, rows_max)
            for ticks in open_source([str(path)], instruments):
                computed = stage.feed(ticks)
                window.add(computed.features, computed.bars)
            return window.samples(path.name)
        except (JournalError, SessionError, OSError):
            return None


def _named(own: Samples | None, earlier: int) -> str:
    return " and ".join(
        [*(["this session"] if own is not None else []), *([f"{earlier} earlier ones"] if earlier else [])]
    )


class Cycle:
    """collect → features → train → evaluate → register."""

    def __init__(self, work: Work, tell: Tell) -> None:
        self._config, self._tell = work.config, tell
        self._registry = Registry(Path(work.registry))
        self._rows = Rows(work)

    def run(self) -> None:
        tasks = self._config.learning.tasks
        waiting = [name for name in tasks if self._in_shadow(name)]
        for name in waiting:
            self._tell(
                Step("progress", f"{name}: its last candidate is still in shadow; not trained again yet")
            )
        samples = self._rows.collect(self._tell)
        fault_point("trainer.collected")
        open_tasks = [name for name in tasks if name not in waiting]
        for number, name in enumerate(open_tasks):
            begin = COLLECTING_SHARE + (1.0 - COLLECTING_SHARE) * number / len(open_tasks)
            self._train(name, samples, begin, (1.0 - COLLECTING_SHARE) / len(open_tasks))

    def _in_shadow(self, name: str) -> bool:
        return any(entry.status == "shadow" for entry in self._registry.entries(name))

    def _train(self, name: str, samples: Samples, begin: float, span: float) -> None:
        def progress(text: str, share: float) -> None:
            self._tell(Step("progress", text, begin + span * share, rows=len(samples)))

        progress(f"{name}: {len(samples):,} rows", 0.0)
        try:
            trained = train(TASKS[name], samples, self._config, progress)
            entry = register(self._registry, trained, samples)
        except TrainingError as error:
            self._tell(Step("not_trained", str(error)))
            return
        except RegistryError as error:
            self._tell(Step("failed", str(error)))
            return
        entry = self._judge(entry, trained.report)
        self._tell(
            Step("registered", f"{name} {entry.version}: {judgement(trained.report)}", status=entry.status)
        )

    def _judge(self, entry: Entry, report: Report) -> Entry:
        """To the gate goes what was not worse than any baseline; whether it is better is proven there."""
        status = "candidate" if worse_than(report) else "shadow"
        return self._registry.set_status(entry.name, entry.version, status, judgement(report))  # type: ignore[arg-type]


def worse_than(report: Report) -> list[str]:
    """The baselines with a smaller log loss out of sample, proven or not."""
    return [name for name, comparison in report.comparisons.items() if comparison.gain <= 0.0]


def judgement(report: Report) -> str:
    """One sentence for people."""
    figures = ", ".join(f"{name} {values['log_loss']:.4f}" for name, values in report.figures.items())
    worse = worse_than(report)
    if worse:
        return f"not better than {', '.join(worse)} on the past; log loss: {figures}"
    proven = "proven" if not report.unbeaten else f"not proven against {', '.join(report.unbeaten)}"
    return f"better than each baseline on the past ({proven}), the gate decides; log loss: {figures}"


def is_out_of_memory(error: Exception) -> bool:
    """Whether what failed is the memory limit, by whatever name the library at work then calls it."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return any(text in str(error).lower() for text in NO_MEMORY_TEXTS)


def main() -> int:
    encoder, decoder = msgspec.json.Encoder(), msgspec.json.Decoder(Work)
    work = decoder.decode(sys.stdin.readline())
    die_with_parent(work.parent_pid)
    set_name("hft-training")
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    limit = work.config.learning.memory_mb << 20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no step

    def tell(step: Step) -> None:
        out.write(encoder.encode(step) + b"\n")

    cycle = Cycle(work, tell)
    for _ in sys.stdin:
        try:
            cycle.run()
        except TrainingError as error:
            tell(Step("not_trained", str(error)))
        except Exception as error:
            if is_out_of_memory(error):
                limit_mb = work.config.learning.memory_mb
                print(f"more than learning.memory_mb: {limit_mb} MB; lower rows_max", file=sys.stderr)
                return 1  # what is left of the memory is not to be trusted
            if not isinstance(error, RegistryError | JournalError | RecordingError | OSError):
                raise
            tell(Step("failed", f"{type(error).__name__}: {error}"))
        tell(Step("done", "", 1.0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
