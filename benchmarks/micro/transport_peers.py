"""What Python programs move 64 bytes between two processes with, each as its documentation advises."""

import asyncio
import ctypes
import multiprocessing
import os
import queue
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.micro import transport_ring
from benchmarks.micro.channel import RECORD
from benchmarks.micro.transport_ends import (
    PACK,
    Blast,
    Contender,
    Pace,
    PythonReceiver,
    PythonSender,
    Timing,
    TransportError,
    blocks,
    schedule,
    stamped,
    wait_until,
    wrong,
)

REMEDY = 'pip install "hft-engine[bench]"'
PREFIX = "hft_bench_"
REDIS_HOST, REDIS_PORT = "127.0.0.1", 6379
NATS_URL = "nats://127.0.0.1:4222"
BLOCK = 256  # messages in a packed one
PIPELINE = 100  # commands in a Redis pipeline
WAIT_MS = 10_000  # a blocking Redis read returns by then
SHM = Path("/dev/shm")


def _installed(module: str) -> None:
    try:
        __import__(module)
    except ImportError:
        raise TransportError(f"{module} is not installed: {REMEDY}") from None


def _name() -> str:
    return f"{PREFIX}{uuid.uuid4().hex[:12]}"


# ---- multiprocessing.Queue and Pipe ----


@contextmanager
def _queue_place() -> Iterator[tuple[Any, Any]]:
    shared = multiprocessing.get_context("forkserver").Queue()
    try:
        yield shared, shared
    finally:
        shared.close()


def _queue_sender(shared: Any) -> PythonSender:
    # Its thread pickles later: what is sent must not change any more.
    return PythonSender(lambda message: shared.put(bytes(message)), shared.close)


def _queue_receiver(shared: Any) -> PythonReceiver:
    def poll() -> Any:
        try:
            return shared.get_nowait()
        except queue.Empty:
            return None

    return PythonReceiver(shared.get, poll)


@contextmanager
def _pipe_place() -> Iterator[tuple[Any, Any]]:
    reader, writer = multiprocessing.Pipe(duplex=False)
    with reader, writer:
        yield writer, reader


def _pipe_sender(writer: Any) -> PythonSender:
    return PythonSender(writer.send_bytes, writer.close)


def _pipe_receiver(reader: Any) -> PythonReceiver:
    receive = reader.recv_bytes
    return PythonReceiver(receive, lambda: receive() if reader.poll(0) else None, reader.close)


# ---- a Unix socket ----


@contextmanager
def _socket_place() -> Iterator[tuple[Any, Any]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def _socket_sender(ours: socket.socket) -> PythonSender:
    return PythonSender(ours.send, ours.close)


def _socket_receiver(theirs: socket.socket) -> PythonReceiver:
    size, receive = BLOCK * RECORD.itemsize, theirs.recv

    def poll() -> bytes | None:
        try:
            return receive(size, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    return PythonReceiver(lambda: receive(size), poll, theirs.close)


# ---- pyzmq ----


@contextmanager
def _zmq_place() -> Iterator[tuple[str, str]]:
    _installed("zmq")
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield f"ipc://{directory}/zmq", f"ipc://{directory}/zmq"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _zmq_sender(kind: str, endpoint: str) -> PythonSender:
    import zmq

    context = zmq.Context()
    out = context.socket(getattr(zmq, kind))
    out.setsockopt(zmq.SNDHWM, 100_000 if kind == "PUSH" else 0)  # a publisher drops what is over it
    out.bind(endpoint)
    if kind == "XPUB":
        out.recv()  # the subscription has arrived
    return PythonSender(out.send, lambda: context.destroy(linger=0))


def _zmq_receiver(kind: str, endpoint: str) -> PythonReceiver:
    import zmq

    context = zmq.Context()
    inbox = context.socket(getattr(zmq, kind))
    inbox.setsockopt(zmq.RCVHWM, 100_000 if kind == "PULL" else 0)
    if kind == "SUB":
        inbox.setsockopt(zmq.SUBSCRIBE, b"")
    inbox.connect(endpoint)
    receive = inbox.recv

    def poll() -> Any:
        try:
            return receive(zmq.NOBLOCK)
        except zmq.Again:
            return None

    return PythonReceiver(receive, poll, lambda: context.destroy(linger=0))


# ---- Redis ----


def _redis() -> Any:
    import redis

    plain = redis.Redis(host=REDIS_HOST, port=REDIS_PORT)
    path = plain.config_get("unixsocket").get("unixsocket")
    return redis.Redis(unix_socket_path=path) if path and os.access(path, os.W_OK) else plain


@contextmanager
def _redis_place() -> Iterator[tuple[str, str]]:
    _installed("redis")
    _installed("hiredis")
    import redis

    name = _name()
    client = redis.Redis(host=REDIS_HOST, port=REDIS_PORT)
    try:
        client.ping()
    except redis.RedisError as error:
        raise TransportError(f"no Redis at {REDIS_HOST}:{REDIS_PORT} ({error}): start redis-server") from None
    try:
        yield name, name
    finally:
        client.delete(name)
        client.close()


class _RedisSender(PythonSender):
    """``command``: publishes one message on a client or on a pipeline."""

    def __init__(self, command: Callable[[Any, bytes], object]) -> None:
        self._client = _redis()
        self._command = command
        super().__init__(lambda message: command(self._client, bytes(message)), self._client.close)

    def send_batch(self, messages: list[bytes]) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for message in messages:
            self._command(pipeline, message)
        pipeline.execute()


def _pubsub_sender(name: str) -> PythonSender:
    return _RedisSender(lambda client, message: client.publish(name, message))


def _pubsub_receiver(name: str) -> PythonReceiver:
    client = _redis()
    subscription = client.pubsub(ignore_subscribe_messages=True)
    subscription.subscribe(name)
    subscription.get_message(timeout=1.0)  # the server's word that we are subscribed
    listening = (message["data"] for message in subscription.listen() if message)
    return PythonReceiver(listening.__next__, close=client.close)


def _stream_sender(name: str) -> PythonSender:
    return _RedisSender(lambda client, message: client.xadd(name, {b"m": message}))


def _stream_receiver(name: str) -> PythonReceiver:
    client = _redis()

    def entries() -> Iterator[bytes]:
        last: Any = "0"
        while True:
            for _, messages in client.xread({name: last}, count=1_000, block=WAIT_MS) or ():
                for number, fields in messages:
                    last = number
                    yield fields[b"m"]

    return PythonReceiver(entries().__next__, close=client.close)


# ---- NATS ----


def _run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(work)


async def _connect() -> Any:
    import nats

    return await nats.connect(NATS_URL, allow_reconnect=False, connect_timeout=2)


@contextmanager
def _nats_place() -> Iterator[tuple[str, str]]:
    _installed("nats")
    try:
        socket.create_connection(("127.0.0.1", 4222), 1.0).close()
    except OSError as error:
        raise TransportError(f"no NATS at {NATS_URL} ({error}): start nats-server") from None
    name = _name()
    yield name, name


class _NatsSender:
    """``publish`` only queues: the library's flusher writes at the event loop's next turn and batches by itself."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._loop = asyncio.new_event_loop()
        self._client = _run_in(self._loop, _connect())

    def paced(self, pace: Pace) -> None:
        _run_in(self._loop, self._paced(pace))

    async def _paced(self, pace: Pace) -> None:
        publish, subject = self._client.publish, self._subject
        for due in schedule(pace):
            wait_until(due, pace.nap)
            await publish(subject, PACK.pack(0, time.monotonic_ns(), due))
            while self._client.pending_data_size:
                await asyncio.sleep(0)  # not to the end of this message's period: until it is written

    def blast(self, blast: Blast) -> None:
        _run_in(self._loop, self._packed(blast) if blast.packed else self._single(blast))

    async def _single(self, blast: Blast) -> None:
        message = PACK.pack(0, 0, 0)
        for _ in range(blast.count):
            await self._client.publish(self._subject, message)
        await self._client.flush()

    async def _packed(self, blast: Blast) -> None:
        for block in blocks(blast):
            await self._client.publish(self._subject, bytes(block))
        await self._client.flush()

    def close(self) -> None:
        _run_in(self._loop, self._client.close())
        self._loop.close()


class _NatsReceiver:
    def __init__(self, subject: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = _run_in(self._loop, self._open(subject))

    async def _open(self, subject: str) -> Any:
        client = await _connect()
        # No limits: over them it would drop, and what is counted must have come.
        await client.subscribe(subject, cb=self._on_message, pending_msgs_limit=0, pending_bytes_limit=0)
        await client.flush()
        return client

    async def _on_message(self, message: Any) -> None:
        self._arrivals.append(time.monotonic_ns())
        self._messages.append(message.data)
        self._missing -= 1
        if self._missing == 0:
            self._done.set()

    async def _collect(self, count: int) -> None:
        self._arrivals: list[int] = []
        self._messages: list[bytes] = []
        self._missing, self._done = count, asyncio.Event()
        await self._done.wait()

    def paced(self, pace: Pace) -> Timing:
        _run_in(self._loop, self._collect(pace.count))
        return stamped(self._arrivals, self._messages)

    def blast(self, blast: Blast) -> float:
        per_message = blast.batch if blast.packed else 1
        _run_in(self._loop, self._collect(blast.count // per_message))
        if blast.packed:
            for i, message in enumerate(self._messages):
                if wrong(np.frombuffer(message, RECORD), i * blast.batch):
                    raise TransportError("messages were wrong")
        seen = blast.count - per_message
        return seen / ((self._arrivals[-1] - self._arrivals[0]) / 1e9)

    def close(self) -> None:
        _run_in(self._loop, self._client.close())
        self._loop.close()


# ---- iceoryx2 ----


class _One(ctypes.Structure):
    _fields_ = (("words", ctypes.c_int64 * (RECORD.itemsize // 8)),)


class _Block(ctypes.Structure):
    _fields_ = (("words", ctypes.c_int64 * (BLOCK * RECORD.itemsize // 8)),)


@contextmanager
def _iceoryx_place() -> Iterator[tuple[str, str]]:
    _installed("iceoryx2")
    directory = Path(tempfile.mkdtemp(prefix=PREFIX))
    try:
        yield str(directory), str(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        for left in SHM.glob(f"{directory.name}*"):
            left.unlink(missing_ok=True)


class _Services:
    """The services of one contender, below a directory of their own: small and packed messages, and the bell."""

    def __init__(self, directory: str) -> None:
        iceoryx2 = self._api = import_module("iceoryx2")  # it carries no types
        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        config = iceoryx2.config.default()
        config.global_cfg.root_path = iceoryx2.Path.new(directory)
        config.global_cfg.prefix = iceoryx2.FileName.new(Path(directory).name + "_")
        self._node = iceoryx2.NodeBuilder.new().config(config).create(iceoryx2.ServiceType.Ipc)
        self.one, self.block = self._service("one", _One), self._service("block", _Block)
        self.bell = self._builder("bell").event().open_or_create()

    def _builder(self, name: str) -> Any:
        return self._node.service_builder(self._api.ServiceName.new(name))

    def _service(self, name: str, kind: type[ctypes.Structure]) -> Any:
        # Nothing is dropped: the publisher waits while the subscriber's buffer is full.
        builder = self._builder(name).publish_subscribe(kind).enable_safe_overflow(False)
        return builder.subscriber_max_buffer_size(1_024).open_or_create()

    def publisher(self, service: Any) -> Any:
        strategy = self._api.BackpressureStrategy.RetryUntilDelivered
        return service.publisher_builder().backpressure_strategy(strategy).create()


class _IceoryxSender(PythonSender):
    """Loans a sample, copies into it, sends it. It rings (an event service) only for a receiver that sleeps."""

    def __init__(self, directory: str) -> None:
        self._services = _Services(directory)
        self._one = self._services.publisher(self._services.one).loan_uninit
        self._block = self._services.publisher(self._services.block).loan_uninit
        self._ring = self._services.bell.notifier_builder().create().notify
        super().__init__(self._send)

    def _send(self, message: Any) -> None:
        sample = self._one() if len(message) == RECORD.itemsize else self._block()
        ctypes.memmove(sample.payload_ptr, bytes(message), len(message))
        sample.assume_init().send()

    def _send_and_ring(self, message: Any) -> None:
        self._send(message)
        self._ring()

    def paced(self, pace: Pace) -> None:
        self.send = self._send_and_ring if pace.wait == "block" else self._send
        super().paced(pace)

    def blast(self, blast: Blast) -> None:
        self.send = self._send
        super().blast(blast)


class _IceoryxReceiver(PythonReceiver):
    def __init__(self, directory: str) -> None:
        services = _Services(directory)
        self._services = services
        self._one = services.one.subscriber_builder().create().receive
        self._block = services.block.subscriber_builder().create().receive
        self._sleep = services.bell.listener_builder().create().blocking_wait
        super().__init__(self._wait, self._poll, receive_block=self._spin_block)

    def _poll(self) -> bytes | None:
        sample = self._one()
        return None if sample is None else ctypes.string_at(sample.payload_ptr, RECORD.itemsize)

    def _wait(self) -> bytes:
        while (message := self._poll()) is None:
            self._sleep()
        return message

    def _spin_block(self) -> bytes:
        while (sample := self._block()) is None:
            pass
        return ctypes.string_at(sample.payload_ptr, BLOCK * RECORD.itemsize)

    def blast(self, blast: Blast) -> float:
        self.receive = self._spin
        try:
            return super().blast(blast)
        finally:
            self.receive = self._wait


# ---- all of them ----


def _one_by_one(count: int) -> Blast:
    return Blast("single", count)


def _packed(count: int) -> Blast:
    return Blast("packed", count, BLOCK, packed=True)


def _pipelined(count: int) -> Blast:
    return Blast("pipelined", count, PIPELINE)


BOTH = ("block", "spin")
CONTENDERS = (
    Contender(
        "ring",
        "our ring, compiled ends",
        transport_ring.place,
        transport_ring.CompiledSender,
        transport_ring.CompiledReceiver,
        (_one_by_one(2_560_000), Blast("packed", 51_200_000, BLOCK)),
        BOTH,
        helped=False,
    ),
    Contender(
        "ring_python",
        "our ring, ends in Python",
        transport_ring.place,
        transport_ring.python_sender,
        transport_ring.python_receiver,
        (_one_by_one(256_000), _packed(2_560_000)),
        BOTH,
        helped=False,
    ),
    Contender(
        "mp_queue",
        "multiprocessing.Queue",
        _queue_place,
        _queue_sender,
        _queue_receiver,
        (_one_by_one(64_000), _packed(1_280_000)),
        BOTH,
    ),
    Contender(
        "mp_pipe",
        "multiprocessing.Pipe, send_bytes",
        _pipe_place,
        _pipe_sender,
        _pipe_receiver,
        (_one_by_one(128_000), _packed(5_120_000)),
        BOTH,
        helped=False,
    ),
    Contender(
        "seqpacket",
        "AF_UNIX SOCK_SEQPACKET",
        _socket_place,
        _socket_sender,
        _socket_receiver,
        (_one_by_one(256_000), _packed(5_120_000)),
        BOTH,
        helped=False,
    ),
    Contender(
        "zmq_push",
        "pyzmq PUSH/PULL ipc",
        _zmq_place,
        partial(_zmq_sender, "PUSH"),
        partial(_zmq_receiver, "PULL"),
        (_one_by_one(256_000), _packed(5_120_000)),
        BOTH,
    ),
    Contender(
        "zmq_pub",
        "pyzmq PUB/SUB ipc",
        _zmq_place,
        partial(_zmq_sender, "XPUB"),
        partial(_zmq_receiver, "SUB"),
        (_one_by_one(256_000), _packed(5_120_000)),
        BOTH,
    ),
    Contender(
        "redis_pubsub",
        "Redis pub/sub",
        _redis_place,
        _pubsub_sender,
        _pubsub_receiver,
        (_one_by_one(2_560), _pipelined(25_600), _packed(256_000)),
    ),
    Contender(
        "redis_stream",
        "Redis Streams",
        _redis_place,
        _stream_sender,
        _stream_receiver,
        (_one_by_one(2_560), _pipelined(25_600), _packed(256_000)),
    ),
    Contender(
        "nats",
        "NATS core, nats-py",
        _nats_place,
        _NatsSender,
        _NatsReceiver,
        (_one_by_one(51_200), _packed(1_280_000)),
    ),
    Contender(
        "iceoryx2",
        "iceoryx2",
        _iceoryx_place,
        _IceoryxSender,
        _IceoryxReceiver,
        (_one_by_one(128_000), _packed(2_560_000)),
        BOTH,
        helped=False,
    ),
)
