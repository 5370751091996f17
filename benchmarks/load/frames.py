"""Websocket text frames, each a trade event, from a socket into the client's hands.

    load process (core A) --loopback websocket--> client (core B)      no TLS, no compression, no decoding

A frame has 158 bytes with its header. ``blast``: the load writes as fast as the socket takes it; frames a second
and the client's CPU time for a frame (user and system; the kernel's work at the receiving socket included).
``paced``: an open loop of 5,000 frames a second, one segment each; from the instant a frame was due, and from the
clock before its ``send``, to the clock after the client has its payload as bytes.

Our compiled way from the socket to a ring (``frames_wire``), our ``Connection`` and its peers, each as fast as its
documentation makes it: no compression, no UTF-8 check and no decoding to ``str`` where that can be left out, no proxy,
no pings, the payload always as bytes. ``poll`` and plain names sleep in the kernel when there is nothing; ``busy`` ones
never do (picows: an asyncio loop that re-arms itself with ``call_soon``; a core each). ``uvloop`` ones are left out
where it is not installed. The reference is ``recv`` on the bare socket, which takes no frame apart, makes no payload:
nothing in Python can be faster. Not the same: "socket to ring" decodes and publishes every trade besides; picows' and
aiohttp's parsers are compiled, those of ``Connection``, websockets and websocket-client are Python; websockets has a
thread that reads; asyncio ones serve many connections with one thread.
"""

import asyncio
import gc
import multiprocessing
import os
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numba import njit, types
from websockets.http11 import Request
from websockets.server import ServerProtocol

from benchmarks import harness, workload
from hft_engine.runtime.linux import die_with_parent, fine_timers
from hft_engine.shm.atomics import sleep_ns, spin_hint
from hft_engine.shm.clock import mono_ns

RATE = 5_000
WARM_UP = 500  # frames of the paced run that are not counted
SPIN_NS = 60_000  # the load naps until this long before a frame is due
LEAD_NS = 10_000_000
ANSWER_S_MAX = 60.0
FRAME_BYTES_MAX = 1_000_000
READ_BYTES = 65_536
REMEDY = 'pip install "hft-engine[bench]"'
_NO_SIGNAL = 0x4000  # MSG_NOSIGNAL
_send = types.ExternalFunction("send", types.int64(types.int32, types.voidptr, types.int64, types.int32))


class FramesError(harness.LeftOutError):
    """A client is not installed or failed; the text says which and what to do."""


@dataclass(frozen=True)
class Plan:
    """``count`` frames; ``rate`` 0: a blast."""

    count: int
    rate: float


class Seen(NamedTuple):
    """What a client saw: when each frame was in its hands (paced), when it had the last, its CPU time."""

    arrivals: np.ndarray
    payload_bytes: int
    ended_ns: int
    cpu_s: float


class Paced(NamedTuple):
    due_p50: float
    due_p99: float
    sent_p50: float
    sent_p99: float
    cpu_us: float  # for each frame


# ---- the load ----


def trade_event(number: int) -> bytes:
    """A trade as the venue documents it, of an instrument reported through a trade reporting facility."""
    stamp = 1_760_000_400_000 + number // 5
    event = {
        "ev": "T",
        "sym": f"SYM{number % workload.INSTRUMENTS:02d}",
        "x": 4,
        "i": str(52_983_525_000_000 + number),
        "z": 3,
        "p": round(100 + number % 997 / 100 + 0.0001, 4),
        "s": 100 + number % 900,
        "c": [12, 37],
        "t": stamp,
        "q": 3_681_000 + number,
        "trfi": 202,
        "trft": stamp - 4,
    }
    return msgspec.json.encode([event])


PAYLOAD_BYTES = len(trade_event(0))
FRAME_BYTES = PAYLOAD_BYTES + 4
assert 126 <= PAYLOAD_BYTES < 65_536  # the middle one of the three sizes of header


def wire_frames(count: int) -> np.ndarray:
    """uint8[count, FRAME_BYTES]: the frames with their websocket headers."""
    header = bytes((0x81, 126)) + PAYLOAD_BYTES.to_bytes(2, "big")
    frames = b"".join(header + trade_event(number) for number in range(count))
    return np.frombuffer(frames, np.uint8).reshape(count, FRAME_BYTES)


@njit(nogil=True, cache=True)
def _offer(fd: int, frames: np.ndarray, t0_ns: int, period_ns: int, sent_ns: np.ndarray) -> None:
    """Send frame i at t0_ns + i * period_ns; the loop of ``venue``, but it keeps when each frame left."""
    for i in range(len(sent_ns)):
        due = t0_ns + i * period_ns
        now: int = mono_ns()
        if due - now > SPIN_NS:
            sleep_ns(due - now - SPIN_NS)
        now = mono_ns()
        while now < due:
            spin_hint()
            now = mono_ns()
        sent_ns[i] = now
        if _send(fd, frames[i].ctypes, frames.shape[1], _NO_SIGNAL) != frames.shape[1]:
            return


def _shake_hands(peer: socket.socket) -> None:
    protocol = ServerProtocol()
    while True:
        protocol.receive_data(peer.recv(READ_BYTES))
        requests = [event for event in protocol.events_received() if isinstance(event, Request)]
        if requests:
            protocol.send_response(protocol.accept(requests[0]))
            for data in protocol.data_to_send():
                peer.sendall(data)
            return


def serve(parent_pid: int, core: int, count: int, channel: Pipe) -> None:
    """The load process, with ``count`` frames: says its port, then serves one client after the other. Told a Plan and
    "go", it answers with (t0_ns, sent_ns[]) when all is sent, and hangs up when told that the client has it."""
    die_with_parent(parent_pid)
    fine_timers()
    frames = wire_frames(count)
    _offer(-1, frames, 0, 1, np.zeros(0, np.int64))  # compiled now
    os.sched_setaffinity(0, {core})
    with socket.create_server(("127.0.0.1", 0)) as listener:
        channel.send(listener.getsockname()[1])
        while True:
            plan = channel.recv()
            peer, _ = listener.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _shake_hands(peer)
                channel.recv()
                channel.send(_serve(peer, frames[: plan.count], plan.rate))
                channel.recv()


def _serve(peer: socket.socket, frames: np.ndarray, rate: float) -> tuple[int, np.ndarray]:
    t0_ns = time.monotonic_ns() + LEAD_NS
    sent_ns = np.zeros(len(frames) if rate else 0, np.int64)
    if rate:
        _offer(peer.fileno(), frames, t0_ns, int(1e9 / rate), sent_ns)
    else:
        t0_ns = time.monotonic_ns()
        peer.sendall(frames.reshape(-1))  # type: ignore[arg-type]
    return t0_ns, sent_ns


# ---- clients: each takes ``plan.count`` payloads and gives each, as bytes, to ``tally`` ----


class Tally:
    """Counts payloads; in a paced run it also keeps when each came."""

    def __init__(self, plan: Plan) -> None:
        self.missing = plan.count
        self.payload_bytes = 0
        self.arrivals: list[int] = []
        self._paced = bool(plan.rate)
        self.take: Callable[[bytes], None] = self._stamp if self._paced else self._count
        self._cpu_s = 0.0
        self._seen: Seen | None = None

    def start(self) -> None:
        """Called when the connection is open, before the first frame."""
        self._cpu_s = _cpu_s()

    def _count(self, payload: bytes) -> None:
        self.payload_bytes += len(payload)
        self.missing -= 1

    def _stamp(self, payload: bytes) -> None:
        self.arrivals.append(time.monotonic_ns())
        self.payload_bytes += len(payload)
        self.missing -= 1

    def came(self, count: int) -> None:
        """``count`` frames of which no payload was made."""
        self.payload_bytes += count * PAYLOAD_BYTES
        self.missing -= count
        if self._paced:
            self.arrivals.extend([time.monotonic_ns()] * count)

    def stop(self) -> None:
        """Called after the last frame, before the connection is closed."""
        ended_ns = time.monotonic_ns()
        arrivals = np.array(self.arrivals, np.int64)
        self._seen = Seen(arrivals, self.payload_bytes, ended_ns, _cpu_s() - self._cpu_s)

    def seen(self) -> Seen:
        assert self._seen is not None
        return self._seen


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


Client = Callable[[str, Tally, Callable[[], None]], None]  # (address, tally, to be called when connected)


def _ours(mode: str, url: str, tally: Tally, ready: Callable[[], None]) -> None:
    from hft_engine.feed.transport import Dialer
    from hft_engine.runtime.wait import FdWait

    dialer = Dialer(url, 5_000, FRAME_BYTES_MAX)
    while (connection := dialer.result()) is None:
        time.sleep(0.01)
    wait, fd, take = FdWait(mode), connection.fileno(), tally.take
    ready()
    while tally.missing:
        message = connection.next_message()
        if message is not None:
            take(message)
        elif not connection.read():
            wait.idle(fd)
    tally.stop()
    connection.close()


def _ours_wire(mode: str, url: str, tally: Tally, ready: Callable[[], None]) -> None:
    from benchmarks.load import frames_wire

    arrivals, payload_bytes = frames_wire.receive(mode, url, tally.missing, FRAME_BYTES_MAX, ready)
    tally.arrivals, tally.payload_bytes = arrivals.tolist(), payload_bytes
    tally.stop()


def _websocket_client(url: str, tally: Tally, ready: Callable[[], None]) -> None:
    import websocket

    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    client = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True, sockopt=options)
    client.connect(url, http_no_proxy=["127.0.0.1"])  # type: ignore[no-untyped-call]
    receive, take = client.recv_data, tally.take
    ready()
    while tally.missing:
        take(receive()[1])
    tally.stop()
    client.shutdown()  # type: ignore[no-untyped-call]


def _websockets(url: str, tally: Tally, ready: Callable[[], None]) -> None:
    from websockets.sync.client import connect

    with connect(url, compression=None, proxy=None, ping_interval=None, close_timeout=0.1) as client:
        receive, take = client.recv, tally.take
        ready()
        while tally.missing:
            take(receive(decode=False))
        tally.stop()


def _raw(flags: int, url: str, tally: Tally, ready: Callable[[], None]) -> None:
    port = int(url.rpartition(":")[2].rstrip("/"))
    with socket.create_connection(("127.0.0.1", port)) as bare:
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        bare.sendall(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}".encode()
        )
        bare.recv(READ_BYTES)
        ready()
        _raw_frames(bare, flags, tally)
        tally.stop()


def _raw_frames(bare: socket.socket, flags: int, tally: Tally) -> None:
    """All frames have one size, so bytes say how many have come."""
    received = seen = 0
    while tally.missing:
        try:
            chunk = bare.recv(READ_BYTES, flags)
        except BlockingIOError:
            continue
        if not chunk:
            raise FramesError("the load hung up")
        received += len(chunk)
        tally.came(received // FRAME_BYTES - seen)
        seen = received // FRAME_BYTES


async def _picows(busy: bool, url: str, tally: Tally, ready: Callable[[], None]) -> None:
    from picows import WSFrame, WSListener, WSTransport, ws_connect

    loop, done, take = asyncio.get_running_loop(), asyncio.Event(), tally.take

    class Listener(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            take(frame.get_payload_as_bytes())
            if not tally.missing:
                done.set()

    def again() -> None:  # the selector is asked and never sleeps
        if tally.missing:
            loop.call_soon(again)

    transport, _ = await ws_connect(Listener, url, read_buffer_init_size=READ_BYTES)
    ready()
    if busy:
        again()
    await done.wait()
    tally.stop()
    transport.disconnect()


async def _aiohttp(url: str, tally: Tally, ready: Callable[[], None]) -> None:
    import aiohttp

    options: dict[str, Any] = {
        "compress": 0,
        "autoping": False,
        "timeout": aiohttp.ClientWSTimeout(ws_close=0.1),
        "decode_text": False,
        "max_msg_size": 0,
    }
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as client:
        receive, take = client.receive, tally.take
        ready()
        while tally.missing:
            take((await receive()).data)
        tally.stop()


def _async(client: Callable[..., Any], loop: str, *arguments: Any) -> None:
    """An asynchronous client on asyncio's own event loop or on uvloop's. ``arguments`` end as those of a Client."""
    if loop == "asyncio":
        asyncio.run(client(*arguments))
    else:
        import uvloop

        uvloop.run(client(*arguments))


@dataclass(frozen=True)
class Contender:
    """``busy``: it never sleeps. ``needs``: modules."""

    name: str
    title: str
    client: Client
    needs: tuple[str, ...]
    busy: bool = False


CONTENDERS = (
    Contender("raw", "bare socket, blocking recv", partial(_raw, 0), ()),
    Contender("raw_busy", "bare socket, busy", partial(_raw, socket.MSG_DONTWAIT), (), busy=True),
    Contender("ours_wire", "hft_engine, socket to ring, poll", partial(_ours_wire, "park"), ()),
    Contender(
        "ours_wire_busy", "hft_engine, socket to ring, busy", partial(_ours_wire, "spin"), (), busy=True
    ),
    Contender("ours", "hft_engine Connection, poll", partial(_ours, "park"), ()),
    Contender("ours_busy", "hft_engine Connection, busy", partial(_ours, "spin"), (), busy=True),
    Contender("websocket_client", "websocket-client", _websocket_client, ("websocket",)),
    Contender("websockets", "websockets, sync", _websockets, ("websockets",)),
    Contender("aiohttp", "aiohttp, asyncio", partial(_async, _aiohttp, "asyncio"), ("aiohttp",)),
    Contender(
        "aiohttp_uvloop", "aiohttp, uvloop", partial(_async, _aiohttp, "uvloop"), ("aiohttp", "uvloop")
    ),
    Contender("picows", "picows, asyncio", partial(_async, _picows, "asyncio", False), ("picows",)),
    Contender(
        "picows_uvloop", "picows, uvloop", partial(_async, _picows, "uvloop", False), ("picows", "uvloop")
    ),
    Contender(
        "picows_busy", "picows, asyncio, busy", partial(_async, _picows, "asyncio", True), ("picows",), True
    ),
    Contender(
        "picows_uvloop_busy",
        "picows, uvloop, busy",
        partial(_async, _picows, "uvloop", True),
        ("picows", "uvloop"),
        True,
    ),
)
LIMITS = {False: "raw", True: "raw_busy"}  # by busy


# ---- the processes ----


def receive(contender: Contender, url: str, core: int, plan: Plan, channel: Pipe) -> None:
    """The client's process: says "ready" when connected, then what it saw, or why not."""
    die_with_parent(os.getppid())
    fine_timers()
    os.sched_setaffinity(0, {core})
    tally = Tally(plan)

    def ready() -> None:
        gc.freeze()
        gc.disable()
        channel.send("ready")
        tally.start()

    try:
        for module in contender.needs:
            __import__(module)
        contender.client(url, tally, ready)
        channel.send(tally.seen())
    except ImportError as error:
        channel.send(FramesError(f"{error.name} is not installed: {REMEDY}"))
    except Exception as error:  # noqa: BLE001 - told to the parent, who names the contender
        channel.send(FramesError(f"{type(error).__name__}: {error}"))


def _answer(channel: Pipe, who: str) -> Any:
    if not channel.poll(ANSWER_S_MAX):
        raise FramesError(f"{who} does not answer")
    try:
        said = channel.recv()
    except EOFError:
        raise FramesError(f"{who} ended") from None
    if isinstance(said, FramesError):
        raise said
    return said


def _forkserver() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "hft_engine.feed.transport", "hft_engine.runtime.wait"])
    return context


class Load:
    """The load process. It serves a client at a time; after one that failed it must be made anew (``end``)."""

    def __init__(self, count: int) -> None:
        self._core, self._client_core = harness.two_cores()
        self._pipe, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._process = spawn.Process(
            target=serve, args=(os.getpid(), self._core, count, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self._url = f"ws://127.0.0.1:{_answer(self._pipe, 'the load')}/"

    def run(self, contender: Contender, plan: Plan) -> tuple[Seen, int, np.ndarray]:
        """(what the client saw, t0_ns, when each frame was sent). Raises FramesError."""
        ours, theirs = multiprocessing.Pipe()
        arguments = (contender, self._url, self._client_core, plan, theirs)
        child = _forkserver().Process(target=receive, args=arguments, daemon=True)
        self._pipe.send(plan)
        child.start()
        theirs.close()
        try:
            _answer(ours, contender.title)
            self._pipe.send("go")
            seen = _answer(ours, contender.title)
            t0_ns, sent_ns = _answer(self._pipe, "the load")
            self._pipe.send("served")
        finally:
            child.join(0.5)
            child.kill()
            child.join()
            ours.close()
        if seen.payload_bytes != plan.count * PAYLOAD_BYTES:
            raise FramesError(f"{seen.payload_bytes} bytes came, not {plan.count * PAYLOAD_BYTES}")
        return seen, t0_ns, sent_ns

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


# ---- measuring ----


@dataclass
class Figures:
    """Of one contender, a value for each run."""

    rates: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    paced: list[Paced] = field(default_factory=list)


def paced(seen: Seen, t0_ns: int, sent_ns: np.ndarray, plan: Plan) -> Paced:
    """The figures of a paced run, its warm-up left out."""
    due_ns = t0_ns + np.arange(plan.count) * int(1e9 / plan.rate)
    due, sent = ((seen.arrivals - since)[WARM_UP:] / 1e3 for since in (due_ns, sent_ns))
    p50s, p99s = (tuple(float(np.percentile(part, p)) for part in (due, sent)) for p in (50.0, 99.0))
    return Paced(p50s[0], p99s[0], p50s[1], p99s[1], 1e6 * seen.cpu_s / plan.count)


def measure(load: Load, contender: Contender, blast: Plan, pace: Plan, figures: Figures) -> None:
    """One run of a contender. Raises FramesError."""
    seen, t0_ns, _ = load.run(contender, blast)
    figures.rates.append(blast.count / ((seen.ended_ns - t0_ns) / 1e9))
    figures.cpu_us.append(1e6 * seen.cpu_s / blast.count)
    figures.paced.append(paced(*load.run(contender, pace), pace))


def run_all(report: harness.Report) -> dict[str, Figures]:
    """Every contender's figures; who fails is left out and named."""
    blast = Plan(report.opts.count(200_000, 40_000), 0.0)
    pace = Plan(WARM_UP + int(RATE * report.opts.seconds(1.5, 0.3)), RATE)
    figures = {contender.name: Figures() for contender in CONTENDERS}
    load = Load(blast.count)

    def once(contender: Contender) -> None:
        nonlocal load
        try:
            measure(load, contender, blast, pace, figures[contender.name])
        except FramesError:
            load.end()
            load = Load(blast.count)
            raise

    try:
        took_part = report.interleave({one.title: partial(once, one) for one in CONTENDERS})
    finally:
        load.end()
    return {one.name: figures[one.name] for one in CONTENDERS if one.title in took_part}


# ---- what is shown ----


def add(report: harness.Report, figures: dict[str, Figures]) -> None:
    for contender in (c for c in CONTENDERS if c.name in figures):
        of, limit = figures[contender.name], LIMITS[contender.busy]
        floor = figures.get(limit, of)

        def beside(values: list[float], what: str = f"{limit} recv, no frames") -> tuple[str, list[float]]:
            return what, values

        name = f"frames_{contender.name}"
        report.add(f"{name}_per_s", of.rates, "1/s", beside(floor.rates), more_is_better=True)
        report.add(f"{name}_cpu_us", of.cpu_us, "us", beside(floor.cpu_us))
        for figure in ("due_p50", "due_p99", "sent_p50", "cpu_us"):
            values = [getattr(run, figure) for run in of.paced]
            limits = [getattr(run, figure) for run in floor.paced]
            report.add(f"{name}_paced_{figure.removesuffix('_us')}_us", values, "us", beside(limits))


def show(report: harness.Report, figures: dict[str, Figures]) -> None:
    def median(values: list[float]) -> str:
        return harness.number(harness.Measured(tuple(values)).median)

    rows = [
        [contender.title, median(of.rates), median(of.cpu_us)]
        + [median([run[i] for run in of.paced]) for i in range(len(Paced._fields))]
        for contender in CONTENDERS
        if (of := figures.get(contender.name))
    ]
    header = ("client", "blast frames/s", "CPU us/frame", *(f"paced {name}" for name in Paced._fields))
    report.show(f"websocket frames; paced: {RATE:,} a second, us; medians of runs", header, rows)


def main() -> int:
    report = harness.Report("frames", harness.options(__doc__ or ""))
    report.sense_jitter()
    figures = run_all(report)
    report.sense_jitter()
    add(report, figures)
    show(report, figures)
    report.note(f"frames: one trade event of {PAYLOAD_BYTES} bytes each; CPU is the whole client process's.")
    return report.finish()


if __name__ == "__main__":
    raise SystemExit(main())
