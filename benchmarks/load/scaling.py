"""What grows with the work: instruments in the indicators and in a whole engine, readers on a ring.

Indicators: time of a tick with 10 to 10,000 instruments, as ``micro.indicators`` measures it.
Ring: records a second of a writer that waits for nobody, with 1 to 8 readers. *idle*: they are attached and parked
without end, or dead, so what is seen is what their entries cost the writer; *reading*: each is a process that takes
every record it can, so what is seen is also the cache lines that they take from it. Only as many can read as there are
cores besides the writer's.
Engine: 10,000 ticks/s over a real websocket, compact and spinning, for 10, 100 and 1,000 instruments.
"""

import functools
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numba import njit

from benchmarks import harness, plot, workload
from benchmarks.load import overload, tick_to_signal
from benchmarks.load.engine_run import Scratch
from benchmarks.load.overload_load import EVENTS, Phase
from benchmarks.micro.channel import RECORD
from benchmarks.micro.indicators import CROWDS, Crowd, crowd_pattern
from hft_engine.config.schema import Config
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.runtime.linux import die_with_parent
from hft_engine.runtime.rundir import SHM
from hft_engine.shm import layout
from hft_engine.shm.atomics import load_acquire, spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.ring import Ring, advance, claim, poll_into, publish
from hft_engine.shm.ring_file import create_ring
from hft_engine.shm.segment import Segment

READERS = (1, 2, 4, 8)
CAPACITY = 65_536
BATCH = 256
READERS_SLOWER_PERCENT_MAX, INSTRUMENTS_RATIO_MAX = 5.0, 1.3  # targets
ENGINE_INSTRUMENTS = (10, 100, 1_000)
WARM_TICKS, WARM_RATE = 300, 100_000.0  # of an instrument, until every input of the model is known
STEPS_MAX = 2_000_000_000  # polls without a record before a reader gives up: its writer is dead


@njit(nogil=True, cache=True)
def _write(head: np.ndarray, slots: np.ndarray, bells: np.ndarray, count: int, batch: int) -> int:
    """Publishes ``count`` records, ``batch`` at once. Returns the nanoseconds it took."""
    mask = len(slots) - 1
    started: int = mono_ns()
    sent = 0
    while sent < count:
        n = min(batch, count - sent)
        first = claim(head, slots, n)
        for sequence in range(first, first + n):
            slot = slots[sequence & mask]
            slot.ts_ns = sequence
            for k in range(6):
                slot.payload[k] = sequence + k
        publish(head, slots, bells, first + n)
        sent += n
    return mono_ns() - started


@njit(nogil=True, cache=True)
def _read(
    head: np.ndarray, slots: np.ndarray, reader: int, scratch: np.ndarray, stop: np.ndarray, steps_max: int
) -> int:
    """Takes what it can until ``stop``. Returns how many records were wrong."""
    wrong = idle = 0
    while load_acquire(stop, 0) == 0 and idle < steps_max:
        n = poll_into(head, slots, reader, scratch, len(scratch))
        if n == 0:
            idle += 1
            spin_hint()
            continue
        idle = 0
        for i in range(n):
            wrong += scratch[i].payload[5] != scratch[i].sequence + 5
        advance(head, reader, n)
    return wrong


@contextmanager
def ring_file(readers: int, bells: bool) -> Iterator[tuple[Path, Ring, np.ndarray]]:
    """(directory, the ring, doorbells) with so many readers, each with a doorbell of its own or with none."""
    directory = Path(tempfile.mkdtemp(prefix="hft_bench-", dir=SHM if os.access(SHM, os.W_OK) else None))
    try:
        with Segment.create(directory / "bells", layout.BELLS_MAX * layout.BELL_WORDS * layout.WORD):
            pass
        entries = [(f"reader{i}", i if bells else layout.NO_BELL) for i in range(readers)]
        create_ring(directory / "channel.ring", RECORD, CAPACITY, entries, gating=False)
        ring = _attach(directory)
        yield directory, ring, ring.bells
    finally:
        shutil.rmtree(directory)


def _attach(directory: Path) -> Ring:
    return Ring.attach(directory / "channel.ring", RECORD, Segment.attach(directory / "bells").words)


def idle_rate(readers: int, count: int, batch: int) -> float:
    """Records a second with readers that have entries and doorbells but do nothing."""
    with ring_file(readers, bells=True) as (_, ring, bells):
        _write(ring.head, ring.slots, bells, 2 * CAPACITY, batch)  # every page has been touched
        return 1e9 * count / int(_write(ring.head, ring.slots, bells, count, batch))


def _reader(directory: str, reader: int, core: int, shared: Any, parent: int, answer: Connection) -> None:
    die_with_parent(parent)
    os.sched_setaffinity(0, {core})
    ring, stop = _attach(Path(directory)), np.frombuffer(shared, np.int64)
    scratch = np.zeros(BATCH, RECORD)
    _read(ring.head, ring.slots, reader, scratch, np.ones(1, np.int64), 0)
    answer.send("ready")
    wrong = _read(ring.head, ring.slots, reader, scratch, stop, STEPS_MAX)
    answer.send((int(wrong), ring.seen(reader), ring.lapped(reader), ring.position(reader)))


def reading_rate(readers: int, count: int, batch: int) -> float:
    """Records a second while every reader spins on a core of its own. Raises RuntimeError when one saw a wrong
    record or lost one uncounted."""
    cores = sorted(os.sched_getaffinity(0))
    context, shared = multiprocessing.get_context("spawn"), multiprocessing.RawArray("q", 1)
    with ring_file(readers, bells=False) as (directory, ring, bells):
        children, pipes = [], []
        try:
            for reader in range(readers):
                ours, theirs = multiprocessing.Pipe()
                arguments = (str(directory), reader, cores[1 + reader], shared, os.getpid(), theirs)
                children.append(context.Process(target=_reader, args=arguments, daemon=True))
                children[-1].start()
                pipes.append(ours)
            for pipe in pipes:
                _expect(pipe)
            os.sched_setaffinity(0, {cores[0]})
            _write(ring.head, ring.slots, bells, 2 * CAPACITY, batch)
            elapsed_ns = int(_write(ring.head, ring.slots, bells, count, batch))
            np.frombuffer(shared, np.int64)[0] = 1
            for pipe in pipes:
                wrong, seen, lapped, position = _expect(pipe)
                if wrong or seen + lapped != position:
                    raise RuntimeError(
                        f"{wrong} wrong records; {seen} seen + {lapped} lapped, not {position}"
                    )
        finally:
            os.sched_setaffinity(0, set(cores))
            for child in children:
                child.join(2.0)
                child.kill()
                child.join()
    return 1e9 * count / elapsed_ns


def _expect(channel: Connection, timeout_s: float = 60.0) -> Any:
    if not channel.poll(timeout_s):
        raise RuntimeError("a reader does not answer")
    return channel.recv()


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


def medians(values: Sequence[Sequence[float]]) -> list[float]:
    return [harness.Measured(tuple(runs)).median for runs in values]


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
    cores = len(os.sched_getaffinity(0))
    kinds: dict[str, tuple[Callable[[int], float], list[int]]] = {
        "idle": (lambda n: idle_rate(n, count, BATCH), list(READERS)),
        "idle_single": (lambda n: idle_rate(n, count // 4, 1), list(READERS)),
        "reading": (lambda n: reading_rate(n, count, BATCH), [n for n in READERS if n < cores]),
    }
    if cores <= READERS[-1]:
        report.note(
            f"scaling: on {cores} cores at most {cores - 1} can read beside the writer; more would take turns."
        )
    lines = []
    for kind, (rate, numbers) in kinds.items():
        if not numbers:
            continue
        runs = report.interleave({f"{n} {kind}": functools.partial(rate, n) for n in numbers})
        values = list(runs.values())
        one = f"1 reader, {kind.removesuffix('_single')}", values[0]
        for n, rates in zip(numbers, values, strict=True):
            report.add(f"scaling_ring_{n}_{kind}_per_s", rates, "1/s", one, more_is_better=True)
        if len(numbers) > 1:
            slower = [100.0 * (1.0 - last / first) for first, last in zip(values[0], values[-1], strict=True)]
            name = f"scaling_ring_{kind}_slower_with_{numbers[-1]}_percent"
            report.add(name, slower, "%", target=READERS_SLOWER_PERCENT_MAX)
        lines.append(plot.Line(kind.replace("_", ", "), numbers, medians(values), dots=True))
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
        readers(report, report.opts.count(20_000_000, 5_000_000)),
        engines(report, report.opts.seconds(4.0, 1.0)),
    ]
    report.sense_jitter()
    if plot.draws(report.opts):
        plot.draw(plot.PICTURES / "scaling.svg", "Cost as work grows", panels)
    report.note(f"scaling: ring batches of {BATCH} records (single: one by one); frames of {EVENTS} ticks.")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
