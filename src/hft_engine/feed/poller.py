"""A polled venue as a connection: a thread asks over HTTP, what it gets comes out of ``Link`` like a socket's messages.

The thread is the only one that waits. Answers lie in a bounded queue; an eventfd wakes the feed. Failed calls are tried
again with the feed's own backoff; after FAILURES_MAX in a row the connection is over, and the session decides when the
next one is opened: that is the circuit breaker.
"""

import contextlib
import logging
import os
import threading
import time
from collections import deque
from random import Random
from typing import cast
from urllib.parse import urlsplit

import msgspec
import requests

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.backoff import Backoff
from hft_engine.feed.budget import CallBudget
from hft_engine.feed.frames import FrameReader, Opcode, StreamWord
from hft_engine.feed.masking import Mask
from hft_engine.feed.poll_schedule import PollSchedule
from hft_engine.feed.transport import LOOPBACK, TransportError, place
from hft_engine.feed.venues.base import Venue
from hft_engine.feed.venues.polled import Pause, PolledVenue, Request

FAILURES_MAX = 3  # calls in a row before the connection counts as lost
ANSWERS_MAX = 64  # waiting for a feed that is busy; then the thread waits too
NS_PER_S, NS_PER_MS = 1_000_000_000, 1_000_000
ENVELOPE_BYTES_MAX = 1_024  # what a message adds to an answer
READ_BYTES = 65_536
_WHOLE_TEXT = 0x80 | int(Opcode.TEXT)
logging.getLogger("urllib3").setLevel(
    logging.WARNING
)  # at DEBUG it writes every address, and with it the key


class PolledConnection:
    """See ``dialing.Link``."""

    encrypted = True  # compiled code only waits for it; ``read`` brings the bytes

    def __init__(self, venue: PolledVenue, config: FeedConfig) -> None:
        self.frames = FrameReader(config.frame_bytes_max + ENVELOPE_BYTES_MAX)
        self._words = self.frames.words.data
        self.controls = 0
        self._pinged = False
        self._rest = b""  # of an answer that did not fit into one read
        self._poller = Poller(venue, config)
        self._words[StreamWord.FD] = self._poller.bell

    def fileno(self) -> int:
        return self._poller.bell

    @property
    def ts_recv_ns(self) -> int:
        return self._words[StreamWord.TS_RECV_NS]

    @property
    def ts_mono_ns(self) -> int:
        return self._words[StreamWord.TS_MONO_NS]

    @property
    def bytes_read(self) -> int:
        return self._words[StreamWord.BYTES_READ]

    def read(self) -> bool:
        self._answer_ping()
        if not self._rest:
            answer = self._poller.answer()
            if answer is None:
                return False
            message, ts_recv_ns, ts_mono_ns = answer
            self._rest = _framed(message)
            self._words[StreamWord.TS_RECV_NS], self._words[StreamWord.TS_MONO_NS] = ts_recv_ns, ts_mono_ns
        space = self.frames.space()
        part = self._rest[: len(space)]
        space[: len(part)] = part
        self._rest = self._rest[len(part) :]
        self._words[StreamWord.BYTES_READ] += len(part)
        self.frames.filled(len(part))
        return True

    def _answer_ping(self) -> None:
        if self._pinged and self._poller.alive:
            self._pinged = False
            self.controls += 1
            self._words[StreamWord.TS_MONO_NS] = time.monotonic_ns()

    def next_message(self) -> bytes | None:
        found = self.frames.next()
        return None if found is None else found[1]

    def check(self) -> None:
        failure = self._poller.failure
        if failure is not None:
            raise TransportError(failure)

    def send(self, text: str) -> None:
        request = msgspec.json.decode(text, type=Request)
        self._poller.change(request)

    def ping(self) -> None:
        """Answered at the next ``read``, as a venue's answer would be: whoever pings looks for it there."""
        self._pinged = True

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self._poller.stop()


class PollDialer:
    """See ``dialing.Opening``: there is nothing to open but the thread."""

    def __init__(self, venue: Venue, config: FeedConfig) -> None:
        self._connection: PolledConnection | None = PolledConnection(cast(PolledVenue, venue), config)

    def result(self) -> PolledConnection | None:
        connection, self._connection = self._connection, None
        return connection

    def abandon(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def join(self, timeout_s: float) -> None:
        pass


class Poller:
    """The thread. ``failure``: why it ended, for people; ``bell``: an eventfd, readable when there are answers."""

    def __init__(self, venue: PolledVenue, config: FeedConfig) -> None:
        self._venue = venue
        self._config = config
        self._schedule = PollSchedule(config.poll.every_ms * NS_PER_MS, _budget(config))
        self._mask = Mask(config.api_key, venue.url(config))
        self._backoff = Backoff(config.reconnect, Random())
        self._answers: deque[tuple[bytes, int, int]] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self.failure: str | None = None
        self._silent = False  # the bell is gone
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="feed-poller", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self.failure is None and self._thread.is_alive()

    def change(self, request: Request) -> None:
        with self._wake:
            if request.action == "subscribe":
                self._schedule.add(request.pairs)
            else:
                self._schedule.remove(request.pairs)
            self._wake.notify()

    def answer(self) -> tuple[bytes, int, int] | None:
        """(message, UTC ns, CLOCK_MONOTONIC ns) of the oldest answer, or None."""
        with self._wake:
            if not self._answers:
                self._quiet_bell()
                return None
            self._wake.notify()
            return self._answers.popleft()

    def stop(self) -> None:
        """The thread ends by itself, after its call at the latest. Waits for nothing."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
            if not self._silent:
                self._silent = True
                os.close(self.bell)

    def _ring(self) -> None:
        with self._wake:
            if not self._silent:
                os.eventfd_write(self.bell, 1)

    def _quiet_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.bell)

    # ---- the thread

    def _run(self) -> None:
        try:
            with requests.Session() as session:
                session.trust_env = (urlsplit(self._venue.url(self._config)).hostname or "") not in LOOPBACK
                while (pair := self._wait_for_pair()) is not None:
                    self._poll(session, pair)
        except TransportError as error:
            self.failure = str(error)
            self._ring()

    def _wait_for_pair(self) -> str | None:
        """The next pair to ask for, when it is time; None: stop."""
        with self._wake:
            while not self._stopping:
                now_ns = time.monotonic_ns()
                pair, wait_ns = self._schedule.next(now_ns)
                if len(self._answers) >= ANSWERS_MAX:
                    pair, wait_ns = None, -1
                if pair is not None:
                    self._schedule.asked(pair, now_ns)
                    return pair
                self._wake.wait(None if wait_ns < 0 else wait_ns / NS_PER_S)
        return None

    def _poll(self, session: requests.Session, pair: str) -> None:
        try:
            body = self._fetch(session, pair)
        except (requests.RequestException, _CallError) as error:
            self._failed(error)
            return
        self._backoff.reset()
        stamps = time.time_ns(), time.monotonic_ns()
        message = self._venue.message(pair, self._mask.data(body))
        pause = self._venue.trouble(pair, body)
        with self._wake:
            self._heed(pair, pause, stamps[1])
            self._answers.append((message, *stamps))
        self._ring()

    def _heed(self, pair: str, pause: Pause | None, now_ns: int) -> None:
        if pause is None:
            self._schedule.answered(pair)
            return
        self._schedule.pause(now_ns + pause.pause_s * NS_PER_S)
        if pause.pair_rests:
            self._schedule.rest(pair, now_ns)

    def _fetch(self, session: requests.Session, pair: str) -> bytes:
        query = self._venue.query(pair, self._config)
        timeout_s = self._config.connect_timeout_ms / 1_000
        limit = self._config.frame_bytes_max
        with session.get(
            query.url, params=query.parameters, timeout=timeout_s, allow_redirects=False, stream=True
        ) as answer:
            if answer.status_code != requests.codes.ok:
                raise _CallError(f"HTTP {answer.status_code}")
            body = bytearray()
            for part in answer.iter_content(READ_BYTES):
                body += part
                if len(body) > limit:
                    raise _CallError(f"an answer of more than {limit} bytes (feed.frame_bytes_max)")
        return bytes(body)

    def _failed(self, error: Exception) -> None:
        delay_ms = self._backoff.delay_ms()
        where, why = place(self._venue.url(self._config)), _reason(error)
        if self._backoff.attempts >= FAILURES_MAX:
            raise TransportError(f"{FAILURES_MAX} calls in a row to {where} failed, the last one: {why}")
        with self._wake:
            self._schedule.pause(time.monotonic_ns() + delay_ms * NS_PER_MS)


class _CallError(Exception):
    """An answer that is none."""


def _budget(config: FeedConfig) -> CallBudget:
    poll = config.poll
    limits = [(poll.calls_per_second, NS_PER_S), (poll.calls_per_minute, 60 * NS_PER_S)]
    if poll.calls_per_day:
        limits.append((poll.calls_per_day, 86_400 * NS_PER_S))
    return CallBudget(limits)


def _framed(message: bytes) -> bytes:
    """As a websocket server's text frame, for the same reader."""
    size = len(message)
    if size < 126:
        return bytes((_WHOLE_TEXT, size)) + message
    if size < 65_536:
        return bytes((_WHOLE_TEXT, 126)) + size.to_bytes(2, "big") + message
    return bytes((_WHOLE_TEXT, 127)) + size.to_bytes(8, "big") + message


def _reason(error: Exception) -> str:
    """In words of our own: a library's text quotes the address, and that holds the key."""
    if isinstance(error, _CallError):
        return str(error)
    if isinstance(error, requests.Timeout):
        return "no answer in time; check the network and feed.connect_timeout_ms"
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS failed; is feed.url's https:// or http:// right?"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused; check the http_proxy and https_proxy variables"
    if isinstance(error, requests.ConnectionError):
        return "no connection; check feed.url and the network"
    return f"no HTTP ({type(error).__name__})"
