"""The two ends of a transport under test, what is asked of them, and the processes they live in.

Message: 64 bytes, a record of ``channel.RECORD``; word 0 is the ring's sequence, word 1 the clock right before the
send, word 2 the instant it was due.
"""

import gc
import multiprocessing
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol

import numpy as np
from numba import njit

from benchmarks import harness
from benchmarks.micro.channel import RECORD
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import sleep_ns, spin_hint
from hft_engine.shm.clock import mono_ns

SPIN_NS = 60_000  # a sender that naps does so until this long before a message is due
LEAD_NS = 2_000_000  # between the start of a schedule and its first message
SETTLE_S = 0.02  # between a receiver's "ready" and the first message: it is asleep by then
ANSWER_S_MAX = 30.0
PACK = struct.Struct("<qqq40x")
assert PACK.size == RECORD.itemsize


class TransportError(harness.LeftOutError):
    """A contender cannot take part: not installed, no server, or it failed; the text says which and what to do."""


@dataclass(frozen=True)
class Pace:
    """An open loop: ``count`` messages at ``rate`` a second; the receiver waits by ``wait``: block or spin.

    The sender spins until a message is due (``nap``: naps until SPIN_NS before).
    """

    rate: float
    count: int
    wait: str
    nap: bool

    @property
    def period_ns(self) -> int:
        return int(1e9 / self.rate)


@dataclass(frozen=True)
class Blast:
    """As fast as it goes: ``count`` messages, ``batch`` with each send; ``packed``: as one message of all of them."""

    name: str
    count: int
    batch: int = 1
    packed: bool = False


class Timing(NamedTuple):
    """Latencies in us."""

    sent_p50: float
    sent_p99: float
    due_p50: float
    due_p99: float


class Sender(Protocol):
    def paced(self, pace: Pace) -> None: ...
    def blast(self, blast: Blast) -> None: ...
    def close(self) -> None: ...


class Receiver(Protocol):
    def paced(self, pace: Pace) -> Timing: ...
    def blast(self, blast: Blast) -> float: ...  # messages a second
    def close(self) -> None: ...


@dataclass(frozen=True)
class Contender:
    """``place`` gives, while entered, what the ends are made of: (the sender's argument, the receiver's).

    ``helped``: threads of the library or a server carry the message, so a sender that spins takes their core away.
    """

    name: str
    title: str
    place: Callable[[], AbstractContextManager[tuple[Any, Any]]]
    sender: Callable[[Any], Sender]
    receiver: Callable[[Any], Receiver]
    blasts: tuple[Blast, ...]
    waits: tuple[str, ...] = ("block",)
    helped: bool = True

    def pace(self, rate: float, count: int, wait: str) -> Pace:
        return Pace(rate, count, wait, nap=self.helped or wait == "block")


# ---- what ends are made with ----


@njit(nogil=True, cache=True)
def wait_until(due_ns: int, nap: bool) -> None:
    """Spin, before it nap."""
    now: int = mono_ns()
    if nap and due_ns - now > SPIN_NS:
        sleep_ns(due_ns - now - SPIN_NS)
    while mono_ns() < due_ns:
        spin_hint()


@njit(nogil=True, cache=True)
def fill(records: np.ndarray, first: int) -> None:
    """Write every field of a block of records, the first of them with number ``first``."""
    for i in range(len(records)):
        record = records[i]
        record.sequence = first + i
        record.ts_ns = first + i + 1
        for k in range(6):
            record.payload[k] = first + i + k


@njit(nogil=True, cache=True)
def wrong(records: np.ndarray, first: int) -> int:
    """How many of a block of records are not what ``fill`` wrote."""
    bad = 0
    for i in range(len(records)):
        bad += records[i].payload[0] != first + i or records[i].payload[5] != first + i + 5
    return bad


def timing(sent_ns: np.ndarray, due_ns: np.ndarray) -> Timing:
    """Of latencies in ns."""
    return Timing(*(float(np.percentile(part, p)) / 1e3 for part in (sent_ns, due_ns) for p in (50.0, 99.0)))


def stamped(arrivals: list[int], messages: list[Any]) -> Timing:
    """Of messages and the clock at the arrival of each."""
    records = np.frombuffer(b"".join(bytes(message) for message in messages), RECORD)
    at = np.array(arrivals, np.int64)
    return timing(at - records["ts_ns"], at - records["payload"][:, 0])


def schedule(pace: Pace) -> range:
    """When each message is due."""
    t0_ns = time.monotonic_ns() + LEAD_NS
    return range(t0_ns, t0_ns + pace.count * pace.period_ns, pace.period_ns)


def blocks(blast: Blast) -> Iterator[memoryview]:
    """The bytes of one packed message after the other, made in place."""
    records = np.zeros(blast.batch, RECORD)
    view = memoryview(records.view(np.uint8))  # type: ignore[arg-type]
    for first in range(0, blast.count, blast.batch):
        fill(records, first)
        yield view


class PythonSender:
    """Sends by calling ``send`` for each message."""

    def __init__(self, send: Callable[[Any], object], close: Callable[[], object] = lambda: None) -> None:
        self.send = send
        self._close = close

    def paced(self, pace: Pace) -> None:
        send, pack, clock = self.send, PACK.pack, time.monotonic_ns
        for due in schedule(pace):
            wait_until(due, pace.nap)
            send(pack(0, clock(), due))

    def blast(self, blast: Blast) -> None:
        send, message = self.send, PACK.pack(0, 0, 0)
        if blast.packed:
            for block in blocks(blast):
                send(block)
        elif blast.batch > 1:
            for _ in range(blast.count // blast.batch):
                self.send_batch([message] * blast.batch)
        else:
            for _ in range(blast.count):
                send(message)

    def close(self) -> None:
        self._close()

    def send_batch(self, messages: list[bytes]) -> None:
        """The transport's own way to send several messages at once, where it has one."""
        raise NotImplementedError


class PythonReceiver:
    """Receives by calling ``receive``, which waits, or ``poll``, which returns None when there is nothing."""

    def __init__(
        self,
        receive: Callable[[], Any],
        poll: Callable[[], Any] = lambda: None,
        close: Callable[[], object] = lambda: None,
        receive_block: Callable[[], Any] | None = None,
    ) -> None:
        self.receive = receive
        self.receive_block = receive_block or receive
        self.poll = poll
        self._close = close

    def paced(self, pace: Pace) -> Timing:
        take, clock = self.receive if pace.wait == "block" else self._spin, time.monotonic_ns
        arrivals, messages = [], []
        for _ in range(pace.count):
            message = take()
            arrivals.append(clock())
            messages.append(message)
        return stamped(arrivals, messages)

    def close(self) -> None:
        self._close()

    def _spin(self) -> Any:
        poll = self.poll
        while True:
            message = poll()
            if message is not None:
                return message

    def blast(self, blast: Blast) -> float:
        return self._blast_packed(blast) if blast.packed else self._blast_single(blast)

    def _blast_single(self, blast: Blast) -> float:
        receive = self.receive
        receive()
        started = time.perf_counter()
        for _ in range(blast.count - 1):
            receive()
        return (blast.count - 1) / (time.perf_counter() - started)

    def _blast_packed(self, blast: Blast) -> float:
        seen = bad = first = 0
        started = 0.0
        while seen < blast.count:
            records = np.frombuffer(self.receive_block(), RECORD)
            bad += wrong(records, seen)
            seen += len(records)
            if not started:
                started, first = time.perf_counter(), seen
        if bad:
            raise TransportError(f"{bad} of {blast.count} messages were wrong")
        return (seen - first) / (time.perf_counter() - started)


# ---- the processes ----


def warm() -> None:
    """Compile (or load) the kernels; part of what a child imports before it is forked."""
    records = np.zeros(1, RECORD)
    fill(records, 0)
    wrong(records, 0)
    wait_until(0, True)


def _live(make: Callable[[Any], Any], where: Any, core: int, commands: Connection) -> None:
    """An end's process: does what it is told, until told None."""
    die_with_parent(os.getppid())
    fine_timers()
    try:
        warm()
        end = make(where)
        os.sched_setaffinity(0, {core})  # only now: threads that a library made may use the other core too
        gc.freeze()
        gc.disable()
        commands.send("open")
        while (command := commands.recv()) is not None:
            commands.send("ready")
            commands.send(getattr(end, command[0])(command[1]))
        end.close()
    except Exception as error:  # noqa: BLE001 - told to the parent, who names the contender
        commands.send(TransportError(f"{type(error).__name__}: {error}"))


class End:
    """A process with one end of a transport, seen from the benchmark."""

    def __init__(self, make: Callable[[Any], Any], where: Any, core: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "benchmarks.micro.transport_peers"])
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_live, args=(make, where, core, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def answer(self) -> Any:
        """What the process says next. Raises TransportError."""
        if not self._pipe.poll(ANSWER_S_MAX):
            raise TransportError(f"no answer from pid {self._process.pid} in {ANSWER_S_MAX:.0f} s")
        try:
            said = self._pipe.recv()
        except EOFError:
            raise TransportError(f"pid {self._process.pid} ended") from None
        if isinstance(said, TransportError):
            raise said
        return said

    def begin(self, command: str, what: Pace | Blast) -> None:
        self._pipe.send((command, what))
        self.answer()

    def end(self, in_order: bool) -> None:
        if in_order:
            self._pipe.send(None)
            self._process.join(2.0)
        self._process.kill()
        self._process.join()
        self._pipe.close()


class Pair:
    """Both ends of a contender, each in a process on a core of its own."""

    def __init__(self, sender: End, receiver: End) -> None:
        self._sender = sender
        self._receiver = receiver

    def paced(self, pace: Pace) -> Timing:
        return Timing(*self._do("paced", pace))

    def blast(self, blast: Blast) -> float:
        return float(self._do("blast", blast))

    def _do(self, command: str, what: Pace | Blast) -> Any:
        self._receiver.begin(command, what)
        time.sleep(SETTLE_S)
        self._sender.begin(command, what)
        result = self._receiver.answer()
        self._sender.answer()
        return result


@contextmanager
def opened(contender: Contender) -> Iterator[Pair]:
    """The contender's two processes, ended and cleaned up afterwards. Raises TransportError."""
    sender_core, receiver_core = harness.two_cores()
    with contender.place() as (sender_where, receiver_where):
        ends: list[End] = []
        done = False
        try:
            ends.append(End(contender.receiver, receiver_where, receiver_core))
            ends.append(End(contender.sender, sender_where, sender_core))
            for end in ends:
                end.answer()
            yield Pair(ends[1], ends[0])
            done = True
        finally:
            for end in reversed(ends):
                end.end(in_order=done)
