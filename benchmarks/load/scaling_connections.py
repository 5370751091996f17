"""1 to 4 feed connections in one process: sockets, a ``Wire`` each over one scanner and one tick ring, one chain.

    sender (core A) --n sockets--> chain of n wires (core B), spinning --> tick ring

Latency: one frame at a time into one of the sockets, from just before send(2) to the tick's publish stamp, on a
schedule of its own. Throughput: every socket is kept full. What bends: a pass of the chain asks every socket, and an
empty one costs a system call as well.
"""

import functools
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numba import njit

from benchmarks import harness, plot, workload
from benchmarks.harness import medians
from benchmarks.load import venue
from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.frames import FrameReader, StreamWord
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.wire import Wire
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE
from hft_engine.runtime.chain import Chain
from hft_engine.shm import layout
from hft_engine.shm.atomics import load_acquire, spin_hint
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring, as_words

CONNECTIONS = (1, 2, 3, 4)
PERIOD_NS = 50_000  # between frames, more than one takes
EVENTS = 10  # of a frame, for throughput
BURST_BYTES = 32_768  # into one socket before the next has its turn
CAPACITY = 65_536  # of the ring where nobody looks back
WAIT_NS = 2_000_000_000
_PUBLISHED = layout.W_PUBLISHED
_send, _NO_SIGNAL = venue._send, venue._NO_SIGNAL


class Frames:
    """Frames as they go over the wire: ``text`` uint8[], ``offsets`` int64[frames + 1], ``ticks`` in them."""

    def __init__(self, count: int, events: int) -> None:
        self.symbols, ticks = workload.market_ticks(count)
        frames = [workload.websocket_frame(text) for text in workload.frames_of(self.symbols, ticks, events)]
        self.text = np.frombuffer(b"".join(frames), np.uint8)
        self.offsets = np.zeros(len(frames) + 1, np.int64)
        np.cumsum([len(frame) for frame in frames], out=self.offsets[1:])
        self.ticks = len(ticks)


@njit(nogil=True, cache=True)
def _wait_for(head: np.ndarray, ticks: int, until_ns: int) -> bool:
    while load_acquire(head, _PUBLISHED) < ticks:
        if mono_ns() > until_ns:
            return False
        spin_hint()
    return True


@njit(nogil=True, cache=True)
def _send_all(fd: int, text: np.ndarray, begin: int, end: int) -> bool:
    while begin < end:
        done = _send(fd, text[begin:].ctypes, end - begin, _NO_SIGNAL)
        if done <= 0:
            return False
        begin += done
    return True


@njit(nogil=True, cache=True)
def _one_by_one(
    fds: np.ndarray, text: np.ndarray, offsets: np.ndarray, head: np.ndarray, sent_ns: np.ndarray
) -> bool:
    """Frames of one tick, the next when the last is on the ring and its time has come. Whether all arrived."""
    due_ns: int = mono_ns()
    for i in range(len(sent_ns)):
        while mono_ns() < due_ns:
            spin_hint()
        sent_ns[i] = mono_ns()
        taken = _send_all(fds[i % len(fds)], text, offsets[i], offsets[i + 1])
        if not taken or not _wait_for(head, i + 1, sent_ns[i] + WAIT_NS):
            return False
        due_ns = sent_ns[i] + PERIOD_NS
    return True


@njit(nogil=True, cache=True)
def _flood(fds: np.ndarray, text: np.ndarray, offsets: np.ndarray, head: np.ndarray, ticks: int) -> int:
    """Whole frames into the sockets in turn, as fast as they are taken. ns until all are on the ring, 0 if some
    are not."""
    started: int = mono_ns()
    first = turn = 0
    while first < len(offsets) - 1:
        last = first + 1
        while last < len(offsets) - 1 and offsets[last + 1] - offsets[first] <= BURST_BYTES:
            last += 1
        if not _send_all(fds[turn % len(fds)], text, offsets[first], offsets[last]):
            return 0
        first = last
        turn += 1
    if not _wait_for(head, ticks, mono_ns() + WAIT_NS):
        return 0
    return mono_ns() - started


class Lines:
    """Connections that one chain pumps; ``fds`` are the venue's ends. Close them."""

    def __init__(self, count: int, symbols: tuple[str, ...], capacity: int) -> None:
        instruments = InstrumentTable.private(2 * len(symbols))
        for symbol in symbols:
            instruments.id_of(symbol)
        self.ring = Ring.private("ticks", TICK_DTYPE, capacity)
        as_words(self.ring.slots)[:] = 0  # every page has been touched
        self._scanner = Scanner(self.ring, FrameDecoder(instruments, 1, BURST_BYTES), 1, new_counts())
        pairs = [socket.socketpair() for _ in range(count)]
        self._ours, self._theirs = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
        self.fds = np.array([theirs.fileno() for theirs in self._theirs], np.int64)
        self._wires = [self._wire(self._scanner, ours) for ours in self._ours]
        self._chain = Chain([wire.call for wire in self._wires], [], self.ring.bells, 0, "spin")
        self._stopped = False

    @staticmethod
    def _wire(scanner: Scanner, ours: socket.socket) -> Wire:
        frames = FrameReader(BURST_BYTES)
        frames.words[StreamWord.FD] = ours.fileno()
        return Wire(scanner, frames, encrypted=False, scans=True)

    @property
    def blocked(self) -> bool:
        """Whether a frame was left to the general decoder."""
        return any(wire.blocked for wire in self._wires)

    def _pump(self, core: int) -> None:
        os.sched_setaffinity(0, {core})  # of this thread
        while not self._stopped and not self.blocked:
            self._chain.turn()

    @contextmanager
    def pumped(self) -> Iterator[None]:
        """The chain turns on the second core, the caller runs on the first."""
        here, there = harness.two_cores()
        allowed = os.sched_getaffinity(0)
        thread = threading.Thread(target=self._pump, args=(there,))
        self._chain.turn(0)  # compiled
        thread.start()
        try:
            os.sched_setaffinity(0, {here})
            yield
        finally:
            os.sched_setaffinity(0, allowed)
            self._stopped = True
            thread.join()

    def close(self) -> None:
        for end in (*self._ours, *self._theirs):
            end.close()


@contextmanager
def _running(connections: int, frames: Frames, capacity: int) -> Iterator[Lines]:
    lines = Lines(connections, frames.symbols, capacity)
    try:
        with lines.pumped():
            yield lines
    finally:
        lines.close()


def latency_ns(connections: int, frames: Frames) -> np.ndarray:
    """int64[frames]: from just before send(2) to the tick's publish stamp. Raises RuntimeError when one is missing."""
    sent_ns = np.zeros(len(frames.offsets) - 1, np.int64)
    with _running(connections, frames, 1 << len(sent_ns).bit_length()) as lines:
        whole = _one_by_one(lines.fds, frames.text, frames.offsets, lines.ring.head, sent_ns)
        _check(whole and lines.ring.published == len(sent_ns), lines)
        return lines.ring.slots["ts_publish_ns"][: len(sent_ns)] - sent_ns


def latency_us(connections: int, frames: Frames) -> tuple[float, float]:
    """(p50, p99)."""
    p50, p99 = np.percentile(latency_ns(connections, frames), [50.0, 99.0]) / 1e3
    return float(p50), float(p99)


def ticks_per_s(connections: int, frames: Frames) -> float:
    """With every socket full. Raises RuntimeError when a tick is missing."""
    with _running(connections, frames, CAPACITY) as lines:
        elapsed_ns = _flood(lines.fds, frames.text, frames.offsets, lines.ring.head, frames.ticks)
        _check(elapsed_ns > 0 and lines.ring.published == frames.ticks, lines)
    return 1e9 * frames.ticks / elapsed_ns


def _check(whole: bool, lines: Lines) -> None:
    if lines.blocked:
        raise RuntimeError("a frame was left to the general decoder")
    if not whole:
        raise RuntimeError(f"only {lines.ring.published} ticks arrived")


def panels(report: harness.Report, frames: int, ticks: int) -> list[plot.Panel]:
    """Figures and pictures of latency and throughput as connections grow."""
    single, full = Frames(frames, 1), Frames(ticks, EVENTS)
    latency_ns(1, Frames(100, 1)), ticks_per_s(1, Frames(1_000, EVENTS))  # compiled
    waits = report.interleave(
        {f"{n} connections": functools.partial(latency_us, n, single) for n in CONNECTIONS}
    )
    rates = report.interleave(
        {f"{n} full connections": functools.partial(ticks_per_s, n, full) for n in CONNECTIONS}
    )
    lines = []
    for i, label in enumerate(("p50", "p99")):
        values = [[run[i] for run in runs] for runs in waits.values()]
        for n, figures in zip(CONNECTIONS, values, strict=True):
            report.add(f"scaling_{n}_connections_{label}_us", figures, "us", ("1 connection", values[0]))
        lines.append(plot.Line(label, CONNECTIONS, medians(values), dots=True))
    flows = list(rates.values())
    for n, figures in zip(CONNECTIONS, flows, strict=True):
        one = "1 connection", flows[0]
        report.add(f"scaling_{n}_connections_ticks_per_s", figures, "1/s", one, more_is_better=True)
    report.note(
        f"scaling: connections: one tick a frame, {1e9 / PERIOD_NS:,.0f} frames/s; full sockets: {EVENTS} a frame."
    )
    flow = plot.Line("full sockets", CONNECTIONS, medians(flows), dots=True)
    return [
        plot.Panel("send to ring, us", "connections", lines),
        plot.Panel("ticks/s", "connections", [flow]),
    ]
