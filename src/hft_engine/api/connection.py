"""A venue's data for a program: subscriptions that come and go, listeners, the latest records. One feed at a time.

``RealTimeDataFeed``, the collector and the options client are this with the names of their documents.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine.api.feed_thread import LIVE, FeedThread
from hft_engine.api.recent import Recent
from hft_engine.api.schema import Record, RecordType, records_of
from hft_engine.config.errors import ConfigError
from hft_engine.config.load import config_from
from hft_engine.config.schema import Config, FeedConfig
from hft_engine.feed.states import FeedState
from hft_engine.feed.subscriptions import with_added
from hft_engine.feed.venues import UnknownVenueError, venue_of
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.messages import ControlError

Listener = Callable[[RecordType, Record], None]

INSTRUMENTS_MAX = 10_000
LISTENER_ERRORS_TOLD_MAX = 10  # each is counted, so many are logged with their traceback
SLACK_S = 2.0  # beyond the feed's own time-outs, for threads that have to be scheduled
# A polled venue is silent between two answers.
POLLED = {"quiet_after_ms": 20_000, "dead_after_ms": 25_000}
PLACEHOLDERS = ("", "YOUR_API_KEY", "YOUR_API_KEY_HERE", "YOUR_KEY")  # of documents and templates: no key
_SAMPLES = ("AAPL", "O:SPY261218C00700000")  # what settings are tried with before anything is subscribed to


class Connection:
    """``settings``: sections as in config/engine.yaml; ``feed`` says what to connect to, its ``symbols`` do not count.
    ``api_key`` wins over the environment, which wins over ``settings``.

    Raises ConfigError where they cannot work. ``is_live``, ``problem``: whether data come, and why not.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        api_key: str | None = None,
        *,
        source: str = "settings",
        kept: int = 100,
        stores: bool = False,
        env: Mapping[str, str] | None = None,
        dotenv_path: Path | None = Path(".env"),
    ) -> None:
        overrides = [] if api_key is None or api_key in PLACEHOLDERS else [f"feed.api_key={api_key}"]
        config = config_from(_filled(settings), source, overrides, env, dotenv_path=dotenv_path)
        engine = config.engine
        if "instruments_max" not in settings.get("engine", {}):
            engine = msgspec.structs.replace(engine, instruments_max=INSTRUMENTS_MAX)
        self.config = msgspec.structs.replace(config, engine=engine, feed=_polite(config.feed, settings))
        self.log = logging.getLogger(f"hft_engine.api.{self.feed_config.venue}")
        self.recent = Recent(kept)
        self.listener_errors = 0
        self.symbols: tuple[str, ...] = ()
        self._listeners: list[Listener] = []
        self._state_listeners: list[Callable[[FeedState], None]] = []
        self._stores = stores
        self._thread: FeedThread | None = None
        self._refusal = ""

    @property
    def feed_config(self) -> FeedConfig:
        return self.config.feed

    def listen(self, listener: Listener) -> None:
        """``listener(type, record)`` for each record, on the feed's thread: be quick. What it raises is logged."""
        self._listeners.append(listener)

    def listen_to_state(self, listener: Callable[[FeedState], None]) -> None:
        self._state_listeners.append(listener)

    # ---- subscriptions

    def check(self) -> str:
        """Why these settings cannot work whatever is subscribed to, or ""."""
        try:
            venue = venue_of(self.feed_config)
        except UnknownVenueError as error:
            return str(error)
        feed = self.feed_config
        problems = [venue.problem(msgspec.structs.replace(feed, symbols=(sample,))) for sample in _SAMPLES]
        self._refusal = "" if None in problems else str(problems[0])
        return self._refusal

    def subscribe(self, symbols: Iterable[str], wait_s: float | None = None) -> bool:
        """Adds symbols; connects with the first ones. True: the venue is live within ``wait_s`` (None: the feed's
        time-outs; 0: do not wait). False: ``problem`` says why; unless it failed for good the feed goes on trying.
        """
        before = self.symbols
        new = tuple(dict.fromkeys(symbol for symbol in symbols if symbol not in before))
        self.symbols = (*before, *new)  # state listeners look at them
        try:
            if self._thread is None or not self._thread.alive:
                self._open(self.symbols)
            elif new:
                self._thread.subscribe(new)
        except (ControlError, FatalError) as error:
            self.symbols = before
            self._refusal = str(error)
            self.log.warning("%s", error)
            return False
        self._refusal = ""
        assert self._thread is not None
        return self._thread.wait_until_live(self._patience_s if wait_s is None else wait_s)

    def unsubscribe(self, symbols: Iterable[str]) -> bool:
        """Gives symbols up; with the last one the connection."""
        gone = tuple(symbol for symbol in dict.fromkeys(symbols) if symbol in self.symbols)
        left = tuple(symbol for symbol in self.symbols if symbol not in gone)
        if not left:
            self.close()
        elif gone and self._thread is not None:
            try:
                self._thread.unsubscribe(gone)
            except ControlError as error:
                self._refusal = str(error)
                self.log.warning("%s", error)
                return False
        self.symbols = left
        return True

    def reopen(self, config: Config) -> None:
        """Goes on with other settings; where there is a connection it is made again. What comes meanwhile is lost."""
        was_open = self._thread is not None and self._thread.alive
        self.close()
        self.config = config
        if was_open:
            self._open(self.symbols)

    def close(self) -> None:
        if self._thread is not None:
            self._thread.stop()

    # ---- what is known

    @property
    def is_live(self) -> bool:
        return self._thread is not None and self._thread.is_live

    @property
    def is_open(self) -> bool:
        """Live, or trying to be."""
        return self._thread is not None and self._thread.alive

    @property
    def state(self) -> str:
        return "stopped" if self._thread is None else self._thread.state.name.lower()

    @property
    def problem(self) -> str:
        """Why no data come, for people; empty while they do."""
        return self._refusal or ("" if self._thread is None else self._thread.problem)

    def counters(self) -> dict[str, int]:
        """The feed's, of the present connection's life; empty before one."""
        return {} if self._thread is None else self._thread.counters()

    def events(self) -> list[str]:
        """The latest facts for people, oldest first."""
        return [] if self._thread is None else list(self._thread.events)

    def lines(self) -> list[dict[str, Any]]:
        """Of each connection to the venue: ``name, state, subscriptions, unconfirmed, ping_ms``; 250 ms old at most."""
        return [] if self._thread is None else self._thread.lines()

    def latencies(self) -> dict[str, dict[str, float]]:
        """Microseconds: ``venue_to_socket`` from the venue's stamp, by two clocks; ``feed`` from the socket to here."""
        return {} if self._thread is None else self._thread.latencies()

    @property
    def run_id(self) -> str:
        """Of the present or the last connection, by which its journal goes; "" before one."""
        return "" if self._thread is None else self._thread.run_id

    # ---- the feed's thread

    @property
    def _patience_s(self) -> float:
        feed = self.feed_config
        return (feed.connect_timeout_ms + 2 * feed.auth_timeout_ms) / 1_000 + SLACK_S

    def _open(self, symbols: tuple[str, ...]) -> None:
        """Raises ControlError for what is no symbol, FatalError for what the venue cannot have."""
        room = InstrumentTable.private(self.config.engine.instruments_max)
        with_added((), symbols, room)
        config = msgspec.structs.replace(
            self.config, feed=msgspec.structs.replace(self.feed_config, symbols=symbols)
        )

        def take(rows: np.ndarray) -> None:
            self._take(thread, rows)

        def turned(state: FeedState) -> None:
            self._turned(thread, state)

        self._thread = thread = FeedThread(config, take, turned, self._stores)
        thread.start()

    def _take(self, thread: FeedThread, rows: np.ndarray) -> None:
        for kind, record in records_of(rows, thread.instruments.symbol_of):
            self.recent.add(kind, record)
            for listener in self._listeners:
                self._hand(listener, kind, record)

    def _hand(self, listener: Listener, kind: RecordType, record: Record) -> None:
        try:
            listener(kind, record)
        except Exception:  # a user's code must not end the feed
            self.listener_errors += 1
            if self.listener_errors <= LISTENER_ERRORS_TOLD_MAX:
                self.log.exception("a handler of %s failed", kind.name)

    def _turned(self, thread: FeedThread, state: FeedState) -> None:
        if thread is not self._thread:
            return  # one that is over
        for listener in self._state_listeners:
            listener(state)


def _filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without keys that are a template's, and without symbols: those come by ``subscribe``."""
    data = dict(settings)
    feed = dict(data.get("feed", {}))
    if feed.get("api_key") in PLACEHOLDERS:
        feed.pop("api_key", None)
    return {**data, "feed": feed}


def _polite(feed: FeedConfig, settings: Mapping[str, Any]) -> FeedConfig:
    """A polled venue's patience, where nobody has set it."""
    given = settings.get("feed", {})
    try:
        polled = venue_of(feed).transport == "polling"
    except UnknownVenueError as error:
        raise ConfigError([str(error)]) from None
    unset = {key: value for key, value in POLLED.items() if key not in given}
    return msgspec.structs.replace(feed, **unset) if polled else feed


__all__ = ["LIVE", "Connection", "Listener"]
