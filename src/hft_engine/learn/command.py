"""`hft train` from end to end: read, train each task, register. Nothing is registered of a task that did not finish."""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hft_engine.config.schema import Config
from hft_engine.learn.card import card_of
from hft_engine.learn.demo import demo_samples
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.report import MODEL, Report
from hft_engine.learn.samples import Samples, read_samples
from hft_engine.learn.standing import FILE as STANDING
from hft_engine.learn.tasks import TASKS, Task
from hft_engine.learn.training import HERE, Trained, Workshop, encoded, train
from hft_engine.learn.tuning import Tuned, tune
from hft_engine.learn.tuning import check_extra as check_tuning
from hft_engine.learn.walking import Progress
from hft_engine.models.registry import CARD, REPORT, Entry, Registry
from hft_engine.persistence import provenance

if TYPE_CHECKING:
    from hft_engine.learn.cluster import Cluster

DEMO = "demo"  # in the place of a path: the demo venue's market
READING_SHARE = 0.2  # of the progress shown


@dataclass(frozen=True)
class TrainingOptions:
    """``data``: paths, or "demo" for ``demo_seconds`` of the demo venue's market; ``tasks``: none named, all."""

    data: Sequence[str]
    registry: Path
    tasks: Sequence[str] = ()
    demo_seconds: int = 1500  # of less, too few blocks of time are tested for a verdict
    promote: bool = False
    force: bool = False
    cross_validate: bool = False
    dask: str = ""  # address of a cluster's scheduler; "": this machine


@dataclass(frozen=True)
class Outcome:
    version: str
    status: str
    folder: Path
    report: Report


def _unheard(outcome: Outcome) -> None:
    pass


def run(
    config: Config,
    options: TrainingOptions,
    progress: Progress,
    registered: Callable[[Outcome], None] = _unheard,
) -> list[Outcome]:
    """``registered`` is called with each outcome as soon as it is in the registry. What one model cannot be learned
    from does not keep the others from it. Raises TrainingError at the end then, naming each; RegistryError, and what
    the readers raise, at once.
    """
    check_extra()
    tasks = [task_of(name) for name in options.tasks or TASKS]
    samples = samples_of(
        config, options, lambda permille: progress("reading", READING_SHARE * permille / 1000)
    )
    registry = Registry(options.registry)
    with contextlib.ExitStack() as stack:
        workshop = stack.enter_context(_cluster(options.dask)).workshop if options.dask else HERE
        return _train_each(config, options, tasks, samples, registry, workshop, progress, registered)


def _train_each(
    config: Config,
    options: TrainingOptions,
    tasks: Sequence[Task],
    samples: Samples,
    registry: Registry,
    workshop: Workshop,
    progress: Progress,
    registered: Callable[[Outcome], None],
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    failures: list[str] = []
    for number, task in enumerate(tasks):
        begin, span = (
            READING_SHARE + (1 - READING_SHARE) * number / len(tasks),
            (1 - READING_SHARE) / len(tasks),
        )
        try:
            trained = train(
                task, samples, config, _part(progress, begin, span), options.cross_validate, workshop
            )
        except TrainingError as error:
            failures.append(str(error))
            continue
        outcomes.append(_registered(registry, trained, samples, options))
        registered(outcomes[-1])
    if failures:
        raise TrainingError("\n".join(dict.fromkeys(failures)))
    return outcomes


def run_tuning(
    config: Config,
    options: TrainingOptions,
    trials: int,
    progress: Progress,
    tuned: Callable[[Tuned], None],
) -> None:
    """`hft tune`: ``trials`` of each task; ``tuned`` is called with what each came to. Raises as ``run`` does."""
    check_extra()
    check_tuning()
    tasks = [task_of(name) for name in options.tasks or TASKS]
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(_cluster(options.dask)) if options.dask else None
        samples = samples_of(
            config, options, lambda permille: progress("reading", READING_SHARE * permille / 1000)
        )
        span = (1 - READING_SHARE) / len(tasks)
        for number, task in enumerate(tasks):
            part = _part(progress, READING_SHARE + span * number, span)
            score, at_once = (cluster.score, cluster.workers) if cluster else (None, 1)
            tuned(tune(task, samples, config, options.registry, trials, part, score, at_once))


def check_extra() -> None:
    """Raises TrainingError where the extra is not installed."""
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise TrainingError("training needs scikit-learn: pip install 'hft-engine[learn]'") from None


def _cluster(address: str) -> "Cluster":
    from hft_engine.learn.cluster import Cluster  # needs the extra

    return Cluster(address)


def task_of(name: str) -> Task:
    """Raises TrainingError for a name that no task has."""
    if name not in TASKS:
        raise TrainingError(f"nothing is called {name!r}; there are: {', '.join(TASKS)}")
    return TASKS[name]


def samples_of(config: Config, options: TrainingOptions, progress: Callable[[int], None]) -> Samples:
    """What is learned from. Raises what the readers raise."""
    if list(options.data) == [DEMO]:
        return demo_samples(config, options.demo_seconds, progress)[0]
    return read_samples(config, options.data, progress)


def _part(progress: Progress, begin: float, span: float) -> Progress:
    return lambda text, share: progress(text, begin + span * share)


def _registered(registry: Registry, trained: Trained, samples: Samples, options: TrainingOptions) -> Outcome:
    entry = register(registry, trained, samples)
    if options.promote and (options.force or not entry.unbeaten):
        entry = registry.promote(entry.name, entry.version, options.force)
    return Outcome(entry.version, entry.status, registry.folder(entry), trained.report)


def register(registry: Registry, trained: Trained, samples: Samples) -> Entry:
    """A candidate with its report, its card and the baselines that go on beside it. Raises RegistryError."""
    report = trained.report
    version = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{hashlib.sha256(trained.text.encode()).hexdigest()[:6]}"
    live = registry.live(report.task)
    card = card_of(trained, version, live.version if live else "")
    return registry.register(
        Entry(
            name=report.task,
            version=version,
            begin_ns=report.begin_ns,
            end_ns=report.end_ns,
            data_hash=report.data_hash,
            code_hash=provenance.code().source_hash,
            feature_hash=samples.schema.hash,
            metrics=report.figures[MODEL],
            unbeaten=report.unbeaten,
            calibrated=report.calibrated,
        ),
        trained.text,
        trained.metadata,
        {
            REPORT: encoded(report),
            CARD: card.encode(),
            STANDING: msgspec.json.encode(trained.standing),
        },
    )
