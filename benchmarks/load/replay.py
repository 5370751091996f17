"""Ticks a second through every stage, a model of 100 trees x 31 leaves on every tick, from a journal on disk.

    journal --> replay actor --ticks--> indicators --features--> inference --predictions--> signals

Every ring gates, nothing is lost. ``inline`` (one process) is what `hft replay` uses; ``compact`` puts the source
in a process of its own. Then, inline again, how much of the time each stage took. All of it once more with the model
and the rules on bars alone (``inference.evaluate: bars``). Rings of features and predictions are small enough to stay
in a second-level cache (``rings``): in a replay they only carry what one duty cycle gives.
"""

import functools
import time
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks import harness, workload
from benchmarks.load.engine_run import Scratch
from hft_engine import inline
from hft_engine.config.schema import (
    ActorTuning,
    Config,
    EngineConfig,
    InferenceConfig,
    PersistenceConfig,
    RingsConfig,
    SignalsConfig,
)
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import SegmentMetadata
from hft_engine.persistence.journal.writer import JournalWriter
from hft_engine.replay import ReplayResult, replay

CHUNK = 4_096
RING_RECORDS = 512  # twice what a stage takes up in one duty cycle
Evaluated = Literal["ticks", "bars"]
EVALUATED: tuple[Evaluated, ...] = ("ticks", "bars")
TARGETS: dict[Evaluated, float] = {"ticks": 600_000.0, "bars": 5_000_000.0}
STAGES = ("replay", "indicators", "inference", "signals")


def write_journal(session: Path, ticks: np.ndarray, symbols: tuple[str, ...]) -> Path:
    """A journal of ``ticks`` as the engine would have written it."""
    instruments = InstrumentTable.private(max(1_000, len(symbols)))
    for symbol in symbols:
        instruments.id_of(symbol)
    ticks["sequence"] = np.arange(len(ticks))
    metadata = SegmentMetadata(run_id="benchmark", venue="synthetic", config_hash="", code_version="")
    writer = JournalWriter(session, metadata, instruments, segment_bytes=256_000_000, flush_ms=200)
    for start in range(0, len(ticks), CHUNK):
        writer.append(ticks[start : start + CHUNK])
    writer.close()
    return session


def configuration(scratch: Scratch, model: Path, layout: str, evaluate: Evaluated = "ticks") -> Config:
    spin = ActorTuning(wait="yield")
    return Config(
        engine=EngineConfig(
            layout=layout,  # type: ignore[arg-type]
            run_root=str(scratch.run_root),
            data_dir=str(scratch.disk / "data"),
            log_dir=str(scratch.disk / "logs"),
            actors={"replay": spin, "compute": spin},
        ),
        indicators=workload.INDICATORS,
        inference=InferenceConfig(model=str(model), evaluate=evaluate),
        signals=SignalsConfig(cooldown_ms=0, rules=workload.RULES),
        persistence=PersistenceConfig(journal=False, sqlite=False),
        rings=RingsConfig(features=RING_RECORDS, predictions=RING_RECORDS),
    )


def split(config: Config, journal: Path) -> tuple[dict[str, float], int, int]:
    """(seconds in each stage's ``do_work``, ticks, predictions of the model), the actors driven by hand."""
    (Path(config.engine.data_dir)).mkdir(parents=True, exist_ok=True)
    made = inline.make(config, "replay", False, {"replay": {"paths": [str(journal)], "speed": 0.0}})
    spent = dict.fromkeys(STAGES, 0.0)
    finished, busy = made.stats["replay"].counter("finished"), 1
    while busy or not finished.value:
        busy = 0
        for name in STAGES:
            started = time.perf_counter()
            busy += made.actors[name].do_work()
            spent[name] += time.perf_counter() - started
    made.runner.stop()
    predicted = made.stats["inference"].counters()["predictions"]
    return spent, made.rings["ticks"].published, predicted


def main() -> int:
    report = harness.Report("replay", harness.options(__doc__ or ""))
    count = report.opts.count(1_000_000, 300_000)
    scratch = Scratch()
    try:
        report.progress(f"making a journal of {count:,} ticks and a model ...")
        symbols, ticks = workload.market_ticks(count)
        journal = write_journal(scratch.disk / "session", ticks, symbols)
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        report.sense_jitter()
        _measure(report, scratch, journal, model)
        report.sense_jitter()
    finally:
        scratch.remove()
    return report.finish()


def _measure(report: harness.Report, scratch: Scratch, journal: Path, model: Path) -> None:
    configs = {
        (evaluate, layout): configuration(scratch, model, layout, evaluate)
        for evaluate in EVALUATED
        for layout in ("inline", "compact")
    }
    makers = {
        f"{layout}, model on {evaluate}": functools.partial(replay, config, [str(journal)])
        for (evaluate, layout), config in configs.items()
    }
    results = dict(zip(configs, report.interleave(makers).values(), strict=True))
    for evaluate in EVALUATED:
        hashes = {run.signal_hash for layout in ("inline", "compact") for run in results[evaluate, layout]}
        if len(hashes) != 1:
            raise RuntimeError(f"the runs gave different signals: {sorted(hashes)}")
        _add(report, evaluate, results, configs[evaluate, "inline"], journal)


def _add(
    report: harness.Report,
    evaluate: Evaluated,
    results: dict[tuple[Evaluated, str], list[ReplayResult]],
    inline_config: Config,
    journal: Path,
) -> None:
    spent, ticks, predicted = split(inline_config, journal)
    reference = ("the model alone, in the same engine", [predicted / spent["inference"]])
    if evaluate == "bars":
        reference = ("model on ticks", [run.ticks_per_s for run in results["ticks", "inline"]])
    suffix = "_on_bars" if evaluate == "bars" else ""
    for layout, target in (("inline", TARGETS[evaluate]), ("compact", None)):
        name = f"replay{'_compact' if layout == 'compact' else ''}{suffix}_ticks_per_s"
        rates = [run.ticks_per_s for run in results[evaluate, layout]]
        report.add(name, rates, "1/s", reference, target, more_is_better=True)
    total = sum(spent.values())
    report.show(
        f"replay, inline, model on {evaluate}: time of each stage",
        ("stage", "ns/tick", "share"),
        [[name, f"{1e9 * s / ticks:,.0f}", f"{s / total:.0%}"] for name, s in spent.items()],
    )
    shown = results[evaluate, "inline"][0]
    report.note(
        f"replay, model on {evaluate}: {shown.ticks:,} ticks of {workload.INSTRUMENTS} instruments, "
        f"{shown.bars:,} bars, {shown.signals:,} signals, hash {shown.signal_hash} in all runs; "
        f"{predicted / ticks:.1%} of the ticks with a prediction of the model."
    )


if __name__ == "__main__":
    raise SystemExit(main())
