"""Ticks a second through every stage, a model of 100 trees x 31 leaves on every tick, from a journal on disk.

    journal --> replay actor --ticks--> indicators --features--> inference --predictions--> signals

Every ring gates, nothing is lost. ``inline`` (one process) is what `hft replay` uses; ``compact`` puts the source
in a process of its own. Then, inline again, how much of the time each stage took.
"""

import time
from pathlib import Path

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
    SignalsConfig,
)
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import SegmentMetadata
from hft_engine.persistence.journal.writer import JournalWriter
from hft_engine.replay import ReplayResult, replay

CHUNK = 4_096
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


def configuration(scratch: Scratch, model: Path, layout: str) -> Config:
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
        inference=InferenceConfig(model=str(model)),
        signals=SignalsConfig(cooldown_ms=0, rules=workload.RULES),
        persistence=PersistenceConfig(journal=False, sqlite=False),
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
    results: dict[str, list[ReplayResult]] = {}
    for layout in ("inline", "compact"):
        config = configuration(scratch, model, layout)
        results[layout] = report.measure(layout, lambda config=config: replay(config, [str(journal)]))  # type: ignore[misc]
    hashes = {result.signal_hash for runs in results.values() for result in runs}
    if len(hashes) != 1:
        raise RuntimeError(f"the runs gave different signals: {sorted(hashes)}")
    spent, ticks, predicted = split(configuration(scratch, model, "inline"), journal)
    alone = [ticks / spent["inference"]]
    inline_rates = [result.ticks_per_s for result in results["inline"]]
    reference = ("the model alone, in the same engine", alone)
    report.add("replay_ticks_per_s", inline_rates, "1/s", reference, 300_000.0, more_is_better=True)
    report.add("replay_compact_ticks_per_s", [r.ticks_per_s for r in results["compact"]], "1/s", reference)
    total = sum(spent.values())
    report.show(
        "replay, inline: time of each stage",
        ("stage", "ns/tick", "share"),
        [[name, f"{1e9 * s / ticks:,.0f}", f"{s / total:.0%}"] for name, s in spent.items()],
    )
    shown = results["inline"][0]
    report.note(
        f"replay: {shown.ticks:,} ticks of {workload.INSTRUMENTS} instruments, {shown.bars:,} bars, "
        f"{shown.signals:,} signals, hash {shown.signal_hash} in all {sum(map(len, results.values()))} runs; "
        f"{predicted / ticks:.1%} of the ticks with a prediction of the model."
    )


if __name__ == "__main__":
    raise SystemExit(main())
