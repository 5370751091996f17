"""Events a second from frame bytes to the tick ring on one core: parse, check, pack, publish.

Frames of the demo's market (two quotes to a trade) with 1, 10 and 50 events. Beside it, on the same frames:
``orjson.loads`` and ``json.loads`` (to dicts, no checks, no ring), simdjson (C++, to its own tape: every number read,
nothing taken out of it), the official polygon client's parsing, and msgspec alone with the types of our general path
(to structs, types checked, no ring): what is left of it is ours.
"""

import gc
import json
import time
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import orjson

from benchmarks import harness, workload
from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.duty import TickStage
from hft_engine.feed.events import Event
from hft_engine.feed.frames import FrameReader, StreamWord
from hft_engine.feed.scan_text import REFUSED
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.wire import Wire
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring

FRAME_EVENTS = (1, 10, 50)
HEADLINE_EVENTS = 10  # the figure with the target: what a busy market's frames hold


class Pipeline:
    """What the feed does with a frame, without the socket; ``scans`` as ``feed.scanner`` in the configuration."""

    def __init__(self, scans: bool = True) -> None:
        self._decoder = FrameDecoder(InstrumentTable.private(1_000), 1, 1_000_000)
        ring = Ring.private("ticks", TICK_DTYPE, 65_536)
        latency = new_counts()
        self._stage = TickStage(ring, self._decoder.rows, latency)
        self.scanner = Scanner(ring, self._decoder, 1, latency)
        self._scans = scans
        self._ring = ring

    def run(self, frames: Sequence[bytes]) -> int:
        """Returns the ticks published. Raises RuntimeError when an event was refused."""
        scans, scan, before = self._scans, self.scanner.publish, self._ring.published
        for frame in frames:
            now_ns = time.monotonic_ns()
            if not scans or scan(frame, now_ns, now_ns) == REFUSED:
                self._decode(frame, now_ns)
        refused = self._decoder.rejected + self._decoder.frames_rejected
        if refused:
            raise RuntimeError(f"{refused} events were refused: the frames are not what the decoder expects")
        return self._ring.published - before

    def _decode(self, frame: bytes, now_ns: int) -> None:
        count = self._decoder.decode(frame, now_ns, now_ns)
        if count:
            self._stage.publish(count, now_ns)


class Stream:
    """The same frames as they come out of a socket, cut, scanned and published in one compiled call."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._pipeline = Pipeline()
        self._pipeline.run(frames)  # the symbols are known now
        stream = np.frombuffer(b"".join(map(workload.websocket_frame, frames)), np.uint8)
        self._count, self._end = len(frames), len(stream)
        self._reader = FrameReader(len(stream))
        self._reader.buffer[: self._end] = stream
        self._wire = Wire(self._pipeline.scanner, self._reader, encrypted=False, scans=True)

    def run(self) -> None:
        """Raises RuntimeError when a frame was left to the general decoder."""
        self._reader.words[StreamWord.BEGIN], self._reader.words[StreamWord.END] = 0, self._end
        taken = self._wire.unblock()
        if taken != self._count:
            raise RuntimeError(f"the scanner took {taken} of {self._count} frames")


def rate(work: Callable[[], object], events: int, seconds: float) -> float:
    """Events a second of ``work``, which handles so many, repeated for about ``seconds``.

    Without the garbage collector's visits, as in the engine's hot processes, whoever works.
    """
    work()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        rounds, started = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - started) < seconds:
            work()
            rounds += 1
    finally:
        gc.enable()
        gc.unfreeze()
    return rounds * events / elapsed


def _each(parse: Callable[[bytes], object], frames: Sequence[bytes]) -> Callable[[], None]:
    def work() -> None:
        for frame in frames:
            parse(frame)

    return work


def _simdjson(frames: Sequence[bytes]) -> Callable[[], None] | None:
    """Langdale and Lemire, "Parsing gigabytes of JSON per second", VLDB 2019; None where it is not installed."""
    try:
        from simdjson import Parser
    except ImportError:
        return None
    return _each(Parser().parse, frames)


def _official(frames: Sequence[bytes]) -> Callable[[], None] | None:
    """The official client's way: json.loads, then a model object an event; None where it is not installed."""
    try:
        from polygon.websocket.models import parse
        from polygon.websocket.models.common import Market
    except ImportError:
        return None
    import logging

    log = logging.getLogger("polygon")
    return _each(lambda frame: parse(json.loads(frame), log, Market.Stocks), frames)


def main() -> int:
    report = harness.Report("decode", harness.options(__doc__ or ""))
    seconds = report.opts.seconds(1.5, 0.4)
    symbols, ticks = workload.market_ticks(report.opts.count(40_000, 10_000))
    report.sense_jitter()
    for events in FRAME_EVENTS[: 2 if report.opts.quick else None]:
        _measure(report, workload.frames_of(symbols, ticks, events), len(ticks), events, seconds)
    report.sense_jitter()
    report.note(
        f"decode: {len(ticks):,} distinct events; ours ends in the ring, the references end in Python objects."
    )
    return report.finish()


def _measure(report: harness.Report, frames: list[bytes], count: int, events: int, seconds: float) -> None:
    stream, general = Stream(frames), Pipeline(scans=False)
    general.run(frames)
    label = f"{events} events a frame" if events > 1 else "1 event a frame"
    with_orjson = report.measure(
        f"{label}: orjson", lambda: rate(_each(orjson.loads, frames), count, seconds)
    )
    parse = msgspec.json.Decoder(list[Event]).decode
    with_msgspec = report.measure(f"{label}: msgspec", lambda: rate(_each(parse, frames), count, seconds))
    ours = report.measure(f"{label}: ours", lambda: rate(stream.run, count, seconds))
    by_decoder = report.measure(
        f"{label}: the general decoder alone", lambda: rate(lambda: general.run(frames), count, seconds)
    )
    report.add(f"decode_msgspec_{events}_events_per_s", with_msgspec, "1/s", ("orjson.loads", with_orjson))
    limit = 1_000_000.0 if events == HEADLINE_EVENTS else None
    name = f"decode_general_{events}_events_per_s"
    report.add(name, by_decoder, "1/s", ("msgspec alone", with_msgspec), limit, more_is_better=True)
    name = "decode_events_per_s" if events == HEADLINE_EVENTS else f"decode_{events}_events_per_s"
    target = 4_000_000.0 if events == HEADLINE_EVENTS else None
    report.add(name, ours, "1/s", ("orjson.loads", with_orjson), target, more_is_better=True)
    if events == HEADLINE_EVENTS:
        with_json = report.measure("json", lambda: rate(_each(json.loads, frames), count, seconds))
        report.add("decode_json_loads_per_s", with_json, "1/s", ("orjson.loads", with_orjson))
        simdjson = _simdjson(frames)
        if simdjson is not None:
            with_simdjson = report.measure("simdjson", lambda: rate(simdjson, count, seconds))
            report.add("decode_simdjson_per_s", with_simdjson, "1/s", ("ours, to the ring", ours))
        official = _official(frames)
        if official is not None:
            models = report.measure("official client", lambda: rate(official, count, seconds))
            report.add("decode_official_client_per_s", models, "1/s", ("orjson.loads", with_orjson))


if __name__ == "__main__":
    np.seterr(all="raise")
    raise SystemExit(main())
