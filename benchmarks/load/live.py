"""Ticks a second that a whole live engine takes without loss: over a websocket, through every stage, to the signal.

    load process --websocket, 10 ticks a frame--> feed --> indicators --> inference --> signals      compact, spinning
      open loop                                     (publisher, journal and SQLite on, on the load's core)

The rate is raised until a stage is lapped or ever more waits (the search of ``load.overload``). Once with the model of
100 trees x 31 leaves on every tick, twice with it on bars alone: of a second, which is the engine's own configuration,
and (not ``--quick``) of ten prints, where every thirtieth tick is a bar. Beside it, the same load into a client that
does nothing but ``recv``: what the load process and the loopback can bring; and what one core could take of it on bars
if nothing were between its parts: that ``recv``, the scanner, the indicators and the model on the bars that they give,
each alone on the same ticks. What the journal had of it at that rate is shown, too: it is written by the load's core.
"""

import functools
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import websocket

from benchmarks import harness, workload
from benchmarks.load import overload, overload_load
from benchmarks.load.engine_run import Scratch
from benchmarks.load.overload_load import EVENTS, Phase
from benchmarks.load.overload_watch import Watch
from benchmarks.load.venue import expect, venue_process
from benchmarks.micro import inference
from benchmarks.micro.decode import Stream, rate
from benchmarks.micro.indicators import CHUNK, Stage
from hft_engine.config.schema import Config, IndicatorConfig
from hft_engine.feed.simulator.symbols import market_symbols
from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables

BARE_RATE = 1e9  # more than any socket brings
RECEIVE_BYTES = 1 << 16
PARTS_TICKS, PARTS_ROUNDS = 24_000, 10


@dataclass(frozen=True)
class Case:
    """What the model sees, and the figure's name and target, ticks a second."""

    label: str
    figure: str
    evaluate: Literal["ticks", "bars"]
    indicators: IndicatorConfig
    target: float | None = None


CASES = (
    Case("model on ticks", "pipeline_live", "ticks", workload.INDICATORS, 600_000.0),
    Case("model on bars", "pipeline_live_on_bars", "bars", IndicatorConfig(), 5_000_000.0),
    Case("model on bars of ten prints", "pipeline_live_on_short_bars", "bars", workload.INDICATORS),
)
QUICK = CASES[:2]


@dataclass(frozen=True)
class Kept:
    """Ticks a second that the engine keeps up with; at that rate, percent of them that the journal has."""

    rate: float
    journaled: float


def configuration(url: str, model: Path, case: Case) -> Config:
    config = overload.engine_configuration(overload.VARIANTS["compact"], url, model)
    return msgspec.structs.replace(
        config,
        indicators=case.indicators,
        inference=msgspec.structs.replace(config.inference, evaluate=case.evaluate),
    )


def live_rate(folder: Path, case: Case, probe_s: float) -> Kept:
    with overload.running(lambda url: configuration(url, model_of(folder, case), case)) as (session, watch):
        session.play([overload.WARM])
        rate = session.capacity(probe_s)
        before = _journal(watch)
        session.play([Phase("journaled", rate, probe_s)])
        seen, lapped = np.subtract(_journal(watch), before)
        return Kept(rate, 100.0 * seen / (seen + lapped))


def _journal(watch: Watch) -> tuple[int, int]:
    """Ticks that persistence has seen, and by how many it was lapped."""
    reader = next(r for r in watch.look().readers if (r.role, r.ring) == ("persistence", "ticks"))
    return reader.seen, reader.lapped


def model_of(folder: Path, case: Case) -> Path:
    return folder / f"{case.figure}.txt"


def bare_rate(ticks: int) -> float:
    """Ticks a second into a client that throws the bytes away."""
    import multiprocessing

    shared = multiprocessing.RawArray("q", 1)
    with venue_process(overload_load.serve, workload.INSTRUMENTS, shared) as (url, channel):
        client = websocket.create_connection(url)
        client.send('{"action":"auth","params":"benchmark"}')
        client.send('{"action":"subscribe","params":"T.*"}')
        expect(channel)  # "subscribed"
        assert client.sock is not None
        _drain(client.sock, until_quiet=True)
        channel.send([Phase("bare", BARE_RATE, ticks / BARE_RATE)])
        t0_ns, _ = expect(channel)
        time.sleep(max(0.0, (t0_ns - time.monotonic_ns()) / 1e9))
        _drain(client.sock, until_quiet=False, shared=np.frombuffer(shared, np.int64), ticks=ticks)
        elapsed_s = (time.monotonic_ns() - t0_ns) / 1e9
        expect(channel)
        client.close(timeout=0)
    return ticks / elapsed_s


def parts_rate(bare: float, case: Case, seconds: float, model_ns: float) -> float:
    """Ticks a second of recv, scanner, indicators and model one after the other, each as fast as it is alone.

    ``model_ns``: of a row, which is a bar.
    """
    rows = workload.alternating_ticks(PARTS_TICKS, 100_000.0, instruments=workload.INSTRUMENTS)
    rows["venue_sequence"] = 0
    symbols = market_symbols(workload.INSTRUMENTS)
    scan = rate(Stream(workload.frames_of(symbols, rows, EVENTS)).run, len(rows), seconds)
    stage, length_ns = (
        Stage(workload.INSTRUMENTS, on_bars=True, config=case.indicators),
        int(np.ptp(rows["ts_venue_ns"])) + 1,
    )
    spent_ns = []
    for _ in range(PARTS_ROUNDS):
        chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
        spent_ns.append(sum(map(stage.spend, chunks)))
        rows["ts_venue_ns"] += length_ns  # the same market, later: what is late is cheaper
    bars = stage.published / (PARTS_ROUNDS * len(rows))
    return 1e9 / (1e9 / bare + 1e9 / scan + min(spent_ns) / len(rows) + bars * model_ns)


def model_row_ns(text: str) -> float:
    """Nanoseconds of one row through the model, in compiled code; the mean, as a rate has it."""
    tables = build_tables(parse_model(text.encode(), "the benchmark's"), range(len(workload.MODEL_FEATURES)))
    rows = workload.model_rows(20_000)
    return float(inference.compiled(inference.traverse, inference.context_of(tables), rows).spent.mean())


def _drain(sock: socket.socket, until_quiet: bool, shared: Any = None, ticks: int = 0) -> None:
    """Read until nothing came for 0.2 s, or until the load has sent ``ticks`` and the socket is empty."""
    sock.settimeout(0.2)
    buffer = bytearray(RECEIVE_BYTES)
    while until_quiet or int(shared[0]) < ticks:
        try:
            sock.recv_into(buffer)
        except TimeoutError:
            return


def main() -> int:
    report = harness.Report("live", harness.options(__doc__ or ""))
    probe_s, part_s = report.opts.seconds(1.0, 0.4), report.opts.seconds(1.0, 0.4)
    cases = QUICK if report.opts.quick else CASES
    scratch = Scratch()
    try:
        rows = workload.model_rows(20_000)
        texts = [
            workload.train_model(model_of(scratch.disk, case), rows, indicators=case.indicators)
            for case in cases
        ]
        bare_ticks = report.opts.count(4_000_000, 1_000_000) // EVENTS * EVENTS
        report.sense_jitter()
        runs: dict[str, list[Any]] = report.interleave(
            {"bare recv": lambda: bare_rate(bare_ticks)}
            | {case.label: functools.partial(live_rate, scratch.disk, case, probe_s) for case in cases}
        )
        report.sense_jitter()
    finally:
        scratch.remove()
    bare, model_ns = runs["bare recv"], model_row_ns(texts[0])
    for case in cases:
        kept: list[Kept] = runs[case.label]
        reference = ("the same load into a bare recv", bare)
        if case.evaluate == "bars":
            parts = [parts_rate(each, case, part_s, model_ns) for each in bare]
            reference = ("recv, scanner, indicators and model, each alone", parts)
        rates = [each.rate for each in kept]
        name = f"{case.figure}_ticks_per_s"
        report.add(name, rates, "1/s", reference, case.target, more_is_better=True)
        report.add(f"{case.figure}_journaled_percent", [each.journaled for each in kept], "%")
    report.note(
        f"live: {EVENTS} ticks a frame, {workload.INSTRUMENTS} instruments; every tick is accounted for."
    )
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
