"""What grows with the work: instruments, readers on a ring, models, feed connections.

Indicators: time of a tick with 10 to 10,000 instruments, as ``micro.indicators`` measures it.
Ring: records a second of a writer that waits for nobody, with 1 to 8 readers, as in ``micro.ring``. *idle*: they are
attached and parked without end, or dead, so what is seen is what their entries cost the writer; *reading*: each is a
process that takes every record it can, all on the second core, so what is seen is also the price of being read.
Engine: 10,000 ticks/s over a real websocket, compact and spinning, for 10, 100 and 1,000 instruments.
Models: one record through 1 to 16 of them (``scaling_models``). Connections: 1 to 4 feed sockets in one process
(``scaling_connections``).
"""

import functools
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from benchmarks import harness, plot, workload
from benchmarks.harness import medians
from benchmarks.load import overload, scaling_connections, scaling_models, tick_to_signal
from benchmarks.load.engine_run import Scratch
from benchmarks.load.overload_load import EVENTS, Phase
from benchmarks.micro.indicators import CROWDS, Crowd, crowd_pattern
from benchmarks.micro.ring import BATCH, followed_rate, idle_rate
from hft_engine.config.schema import Config
from hft_engine.feed.simulator.symbols import market_symbols

READERS = (1, 2, 4, 8)
READERS_SLOWER_PERCENT_MAX, INSTRUMENTS_RATIO_MAX = 5.0, 1.3  # targets
ENGINE_INSTRUMENTS = (10, 100, 1_000)
WARM_TICKS, WARM_RATE = 300, 100_000.0  # of an instrument, until every input of the model is known


def engine_us(instruments: int, seconds: float, model: Path) -> tuple[float, float]:
    """(p50, p99) from the frame's socket stamp to the visible signal, every input of the model known."""

    def configure(url: str) -> Config:
        config = tick_to_signal.configuration(tick_to_signal.SETUPS["compact"], url, model)
        feed = msgspec.structs.replace(config.feed, symbols=market_symbols(instruments))
        return msgspec.structs.replace(config, feed=feed)

    warm = Phase("warm", WARM_RATE, max(1.0, instruments * WARM_TICKS / WARM_RATE))
    with overload.running(configure, instruments) as (session, watch):
        session.play([warm])
        (part,) = session.play([Phase("measured", tick_to_signal.RATE, seconds)])
        rows = watch.signals()
    rows = rows[rows["source_sequence"] >= part.first]
    if not len(rows):
        raise RuntimeError("no signal came of the load: a rule or the model does not fit it")
    p50, p99 = np.percentile(rows["ts_publish_ns"] - rows["ts_mono_ns"], [50.0, 99.0]) / 1e3
    return float(p50), float(p99)


# ---- what is shown ----


def growth(report: harness.Report, ticks: int) -> plot.Panel:
    """The indicators' time of a tick as instruments grow."""
    pattern = crowd_pattern(3_000)
    report.progress("warming the crowds ...")
    made = {count: Crowd(count, pattern) for count in CROWDS}
    runs = report.interleave({str(count): functools.partial(made[count].run, ticks) for count in CROWDS})
    fewest = f"{CROWDS[0]} instruments", runs[str(CROWDS[0])]
    for count in CROWDS:
        limit = INSTRUMENTS_RATIO_MAX * medians([fewest[1]])[0] if count == CROWDS[-1] else None
        report.add(f"scaling_tick_{count}_instruments_ns", runs[str(count)], "ns", fewest, target=limit)
    line = plot.Line("indicators", CROWDS, medians(list(runs.values())), dots=True)
    return plot.Panel("ns a tick", "instruments", [line], log_x=True)


def readers(report: harness.Report, count: int) -> plot.Panel:
    """The ring writer's records a second as readers grow."""
    kinds: dict[str, Callable[[int], float]] = {
        "idle": lambda n: idle_rate(count, n, BATCH),
        "idle_single": lambda n: idle_rate(count // 4, n, 1),
        "reading": lambda n: followed_rate(count, n, BATCH),
    }
    lines = []
    for kind, rate in kinds.items():
        runs = report.interleave({f"{n} {kind}": functools.partial(rate, n) for n in READERS})
        values = list(runs.values())
        one = f"1 reader, {kind.removesuffix('_single')}", values[0]
        for n, rates in zip(READERS, values, strict=True):
            report.add(f"scaling_ring_{n}_{kind}_per_s", rates, "1/s", one, more_is_better=True)
        slower = [100.0 * (1.0 - last / first) for first, last in zip(values[0], values[-1], strict=True)]
        name = f"scaling_ring_{kind}_slower_with_{READERS[-1]}_percent"
        report.add(name, slower, "%", target=READERS_SLOWER_PERCENT_MAX)
        lines.append(plot.Line(kind.replace("_", ", "), READERS, medians(values), dots=True))
    return plot.Panel("records/s, 64 bytes", "readers attached", lines)


def engines(report: harness.Report, seconds: float) -> plot.Panel:
    """Tick to signal as instruments grow."""
    scratch = Scratch()
    try:
        model = scratch.disk / "model.txt"
        workload.train_model(model, workload.model_rows(20_000))
        makers = {str(n): functools.partial(engine_us, n, seconds, model) for n in ENGINE_INSTRUMENTS}
        runs = report.interleave(makers)
    finally:
        scratch.remove()
    lines = []
    for i, label in enumerate(("p50", "p99")):
        values = [[run[i] for run in runs[str(n)]] for n in ENGINE_INSTRUMENTS]
        fewest = f"{ENGINE_INSTRUMENTS[0]} instruments", values[0]
        for n, figures in zip(ENGINE_INSTRUMENTS, values, strict=True):
            report.add(f"scaling_tick_to_signal_{n}_instruments_{label}_us", figures, "us", fewest)
        lines.append(plot.Line(label, ENGINE_INSTRUMENTS, medians(values), dots=True))
    return plot.Panel("tick to signal, us", "instruments", lines, log_x=True, log_y=True)


def main() -> int:
    report = harness.Report("scaling", harness.options(__doc__ or ""))
    report.sense_jitter()
    panels = [
        growth(report, report.opts.count(300_000, 100_000)),
        readers(report, report.opts.count(50_000_000, 30_000_000)),
        engines(report, report.opts.seconds(4.0, 1.0)),
        scaling_models.panel(report, report.opts.count(20_000, 5_000)),
        *scaling_connections.panels(
            report, report.opts.count(40_000, 5_000), report.opts.count(1_000_000, 200_000)
        ),
    ]
    report.sense_jitter()
    if plot.draws(report.opts):
        plot.draw(plot.PICTURES / "scaling.svg", "Cost as work grows", panels)
    report.note(f"scaling: ring batches of {BATCH} records (single: one by one); frames of {EVENTS} ticks.")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
