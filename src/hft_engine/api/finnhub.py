"""``FinnhubRealTime``: ``subscribe_real_time`` as the source document has it, over the engine's feed.

Two things of that document are not done, because they are wrong (docs/api.md): no message is answered with a ping, and
``X-Finnhub-Secret`` goes onto no request. ``webhook_is_genuine`` is for the header that Finnhub sends to you.
"""

import threading
from typing import Any

from hft_engine.api.connection import LIVE, Connection, Listener
from hft_engine.api.summary import summary_of
from hft_engine.config.errors import ConfigError
from hft_engine.config.load import variable
from hft_engine.feed.states import FeedState
from hft_engine.feed.venues import finnhub
from hft_engine.feed.venues.finnhub import venue_symbol

DEMO = "demo"  # the documents' word for no key
OFF = ("false", "0", "no", "off")  # of REAL_TIME_MODE
CAP_FACTOR = 10  # the longest wait, in first waits
STABLE_FACTOR = 2  # live for so many longest waits, and the waits begin anew


def webhook_is_genuine(header: str | None, secret: str | None = None) -> bool:
    """Whether a webhook's ``X-Finnhub-Secret`` is yours: ``secret``, or FINNHUB_SECRET in the environment or in .env.

    Raises ConfigError where there is none.
    """
    secret = variable("FINNHUB_SECRET") if secret is None else secret
    if not secret:
        raise ConfigError(["FINNHUB_SECRET: no secret to compare with; set it in the environment or in .env"])
    return finnhub.webhook_is_genuine(header, secret)


class FinnhubRealTime:
    """``real_time_subscriptions``: in force; ``pending_subscriptions``: sent as soon as the venue is there.

    ``reconnect_delay``: seconds, the longest first wait, which doubles; ``max_retries``: 0 = never give up;
    ``ping_interval``: seconds between websocket pings. ``api_key`` None: FINNHUB_API_KEY. Raises ConfigError.
    """

    def __init__(
        self,
        api_key: str | None = None,
        url: str | None = None,
        *,
        reconnect_delay: float = 30.0,
        max_retries: int = 0,
        ping_interval: float = 15.0,
        **settings: Any,
    ) -> None:
        self.reconnect_delay = reconnect_delay
        first_ms = round(reconnect_delay * 1_000)
        cap_ms = max(first_ms * CAP_FACTOR, 6_000)
        reconnect = {
            "immediate": False, "initial_ms": first_ms, "factor": 2.0, "cap_ms": cap_ms,
            "stable_reset_ms": cap_ms * STABLE_FACTOR, "attempts_max": max_retries,
        }  # fmt: skip
        feed = {
            "venue": "finnhub", "url": url, "channels": ["T"], "reconnect": reconnect,
            "ping_every_ms": round(ping_interval * 1_000), **settings,
        }  # fmt: skip
        self._connection = Connection({"feed": feed}, api_key, source="finnhub")
        self._connection.listen_to_state(self._turned)
        self.api_key = self._connection.feed_config.api_key
        self.log = self._connection.log
        self.is_connected = False
        self.stopping = False
        self.real_time_subscriptions: set[str] = set()
        self.pending_subscriptions: set[str] = set()
        self._lock = threading.Lock()

    def subscribe_real_time(self, symbol: str) -> bool:
        """True: asked for. False: no key, or REAL_TIME_MODE=false, with a warning; or not connected yet: this connects,
        and then asks for it."""
        if not self.api_key or self.api_key == DEMO:
            self.log.warning("Real-time updates not available in demo mode")
            return False
        if variable("REAL_TIME_MODE").lower() in OFF:
            self.log.warning("Real-time updates are switched off: REAL_TIME_MODE")
            return False
        if not self.is_connected:
            self.log.warning("not connected, can't subscribe to %s yet", symbol)
            with self._lock:
                self.pending_subscriptions.add(symbol)
            self._setup_real_time_connection()
            return False
        if not self._connection.subscribe([symbol], wait_s=0):
            self.log.error("cannot subscribe to %s: %s", symbol, self._connection.problem)
            return False
        with self._lock:
            self.real_time_subscriptions.add(symbol)
        self.log.info("subscribed to real-time updates for %s", symbol)
        return True

    def unsubscribe_real_time(self, symbol: str) -> bool:
        with self._lock:
            self.pending_subscriptions.discard(symbol)
            self.real_time_subscriptions.discard(symbol)
        return self._connection.unsubscribe([symbol])

    def get_latest_data(self, symbol: str) -> dict[str, Any] | None:
        """``ticker`` (Finnhub's name), ``price``, ``size``, ``timestamp`` (UTC ms); None before a trade."""
        return summary_of(self._connection.recent, self._map_symbol_to_provider(symbol))

    def listen(self, listener: Listener) -> None:
        """``listener(type, record)`` on the feed's thread, for each trade."""
        self._connection.listen(listener)

    def disconnect(self) -> bool:
        """Ends the connection for good: no attempt follows."""
        self.stopping = True
        self._connection.close()
        self.is_connected = False
        return True

    @property
    def problem(self) -> str:
        """Why no data come, for people."""
        return self._connection.problem

    def status(self) -> dict[str, Any]:
        connection = self._connection
        return {"state": connection.state, "problem": connection.problem, "counters": connection.counters()}

    @staticmethod
    def _map_symbol_to_provider(symbol: str) -> str:
        """``STOCK:X`` is ``X``, ``FOREX:USD/JPY`` is ``OANDA:USD_JPY``, others stay."""
        return venue_symbol(symbol)

    def _setup_real_time_connection(self) -> None:
        """Begins to connect, with all that is pending and all that was subscribed to; does not wait."""
        if self.stopping:
            return
        with self._lock:
            wanted = sorted(self.pending_subscriptions | self.real_time_subscriptions)
        self._connection.subscribe(wanted, wait_s=0)

    def _turned(self, state: FeedState) -> None:
        """On the feed's thread, which reconnects by itself."""
        with self._lock:
            self.is_connected = state in LIVE
            if self.is_connected:  # a symbol that cannot be one was refused, and stays pending
                sent = self.pending_subscriptions & set(self._connection.symbols)
                self.real_time_subscriptions |= sent
                self.pending_subscriptions -= sent


__all__ = ["FinnhubRealTime", "webhook_is_genuine"]
