import socket
import threading
import time
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from benchmarks import plot
from benchmarks.load import overload
from benchmarks.load.overload_burst import Burst, Part
from benchmarks.load.overload_load import EVENTS, Block, Phase, play
from benchmarks.load.overload_watch import Look, Reader
from benchmarks.micro.decode import Pipeline

from hft_engine.feed.frames import FrameReader
from hft_engine.records import SIGNAL_DTYPE

S, MS = 1_000_000_000, 1_000_000
PHASES = [Phase("slow", 20_000.0, 0.1), Phase("fast", 200_000.0, 0.1), Phase("slow", 20_000.0, 0.05)]


def _played(block: Block, phases: list[Phase]) -> tuple[bytes, int]:
    """(what came out of the socket, ticks that the load says it sent)."""
    ours, theirs = socket.socketpair()
    sent, came = np.zeros(1, np.int64), bytearray()

    def read() -> None:
        while part := theirs.recv(65_536):
            came.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    with theirs:
        with ours:
            assert play(ours.fileno(), block, phases, time.monotonic_ns(), 1_760_000_400_000_000_000, sent)
        reader.join()
    return bytes(came), int(sent[0])


def test_every_tick_of_the_schedule_is_sent_also_over_the_end_of_the_block() -> None:
    block = Block(instruments=10, ticks=6_000)  # fewer than the phases have
    came, sent = _played(block, PHASES)
    assert sent == sum(phase.ticks for phase in PHASES) > 6_000
    reader = FrameReader(len(came))
    reader.buffer[: len(came)] = np.frombuffer(came, np.uint8)
    reader.filled(len(came))
    messages = [message[1] for message in iter(reader.next, None)]
    assert len(messages) == sent // EVENTS
    assert Pipeline().run(messages) == sent


def test_the_venues_time_goes_on_where_the_block_begins_again() -> None:
    came, _ = _played(Block(instruments=10, ticks=600), [Phase("", 50_000.0, 0.1)])
    times = [int(part[:13]) for part in came.split(b'"t":')[1:]]
    assert len(times) == 5_000
    assert all(before <= after for before, after in pairwise(times))
    assert times[-1] - times[0] == 99


def test_a_block_whose_ticks_would_not_repeat_is_refused() -> None:
    with pytest.raises(ValueError, match="repeat"):
        Block(instruments=7, ticks=600)


def test_what_is_due_is_known_for_every_tick_and_every_instant() -> None:
    part = Part(Phase("", 1_000.0, 1.0), first=500, t0_ns=7 * S)
    assert part.due_ns(np.array([500, 509, 510])).tolist() == [7 * S, 7 * S, 7 * S + 10 * MS]
    assert [part.offered(7 * S + at) for at in (-S, 0, S // 2, 5 * S)] == [0, 0, 500, 1_000]


def _burst(late_after_ms: float) -> Burst:
    """Signals every ms, 1 ms late; 50 ms late in the burst and for ``late_after_ms`` after it."""
    rates = (10_000.0, 50_000.0, 10_000.0)
    parts, first, t0 = [], 0, 100 * S
    for rate in rates:
        parts.append(Part(Phase("", rate, 1.0), first, t0))
        first, t0 = first + int(rate), t0 + S
    signals = np.zeros(3_000, SIGNAL_DTYPE)
    due = 100 * S + np.arange(3_000) * MS
    for part in parts:
        inside = (due >= part.t0_ns) & (due < part.end_ns)
        signals["source_sequence"][inside] = (
            part.first + (due[inside] - part.t0_ns) * part.phase.rate / S
        ).astype(int)
    is_late = (due >= 101 * S) & (due < 102 * S + late_after_ms * MS)
    signals["ts_mono_ns"] = due
    signals["ts_publish_ns"] = due + np.where(is_late, 50, 1) * MS
    readers = (Reader("features", "inference", 10, 5, 2, 7),)
    looks = [Look(100 * S + i * 20 * MS, i, i, readers, 100.0, 50.0) for i in range(150)]
    return overload.burst_of(5.0, tuple(parts), looks, signals)


def test_normal_is_back_when_its_latency_is() -> None:
    burst = _burst(late_after_ms=300.0)
    assert burst.normal_ns == 1 * MS
    assert 300.0 <= burst.recovery_ms <= 500.0
    assert burst.percentile_ms(99.0) == pytest.approx(50.0, abs=1.0)


def test_what_was_shed_is_lost_and_the_venues_time_says_when_a_signal_was_due() -> None:
    assert Look(0, 10, 10, (), 0.0, 0.0, shed=3).lost() == 3
    part = Part(Phase("", 1_000.0, 1.0), first=500, t0_ns=7 * S, venue_ns=90 * S)
    signals = np.zeros(3, SIGNAL_DTYPE)
    signals["ts_venue_ns"] = [90 * S - MS, 90 * S + 5 * MS, 91 * S]
    rows, due = part.dated(signals)
    assert (len(rows), due.tolist()) == (1, [7 * S + 5 * MS])


def test_an_engine_that_stays_late_has_not_recovered_while_it_was_watched() -> None:
    assert _burst(late_after_ms=5_000.0).recovery_ms == 1_000.0


def test_what_waits_is_what_was_due_and_has_not_come_through() -> None:
    part = Part(Phase("", 1_000.0, 1.0), first=500, t0_ns=7 * S)
    readers = (
        Reader("features", "inference", 560, 540, 0, 540),
        Reader("ticks", "persistence", 600, 0, 0, 0),
    )
    look = Look(7 * S + 100 * MS, sent=590, taken=570, readers=readers, private_mb=0.0, shared_mb=0.0)
    assert part.waiting(look) == 30 + 20  # at the venue and in the socket; before the model


def test_a_reader_that_lost_a_record_uncounted_is_seen() -> None:
    assert Reader("ticks", "indicators", 10, 5, 2, 7).unaccounted == 0
    assert Reader("ticks", "indicators", 10, 5, 2, 8).unaccounted == 1


def test_a_picture_is_valid_and_has_every_line(tmp_path: Path) -> None:
    lines = [
        plot.Line("a < b", [1.0, 10.0, 100.0], [1.0, float("nan"), 3.0]),
        plot.Line("with zero", [0.0, 10.0], [0.0, 5.0], dots=True),
    ]
    panels = [
        plot.Panel("y", "x", lines, log_x=True, log_y=True),
        plot.Panel("y", "x", lines, bands=[(1.0, 5.0, "burst")]),
        plot.Panel("empty", "x", []),
    ]
    plot.draw(tmp_path / "new" / "picture.svg", "a & b", panels)
    root = ElementTree.parse(tmp_path / "new" / "picture.svg").getroot()
    tracks = [node.get("points", "") for node in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(track.split()) for track in tracks] == [2, 1, 2, 2]


def test_a_curve_of_percentiles_goes_as_deep_as_its_count_and_never_down() -> None:
    from hft_engine.shm.histogram import new_counts, record_one

    counts = new_counts()
    for value in range(1, 1_001):
        record_one(counts, value * 1_000)
    line = plot.percentile_line("x", counts)
    assert max(line.x) == pytest.approx(3.0)
    assert all(before <= after for before, after in pairwise(line.y))
    assert plot.nines([90.0, 99.0]) == pytest.approx([1.0, 2.0])
