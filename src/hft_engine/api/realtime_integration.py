"""``RealtimeOptionsMonitor`` and what hangs on it: signals of streams, positions watched, an orchestrator's methods."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from statistics import stdev
from typing import Any, Protocol

from hft_engine.api.option_signals import RealtimeSignal, SignalDetector, Thresholds
from hft_engine.api.polygon_websocket import OptionsDataStreamer, OptionsRecord, OptionsTrade
from hft_engine.api.schema import RecordType
from hft_engine.feed.option_symbol import is_option_symbol

SIGNALS_KEPT = 1_000

SignalHandler = Callable[[RealtimeSignal], None]


class RealtimeOptionsMonitor:
    """Arguments besides ``thresholds``: as ``OptionsDataStreamer``'s. ``signals``: the latest, oldest first."""

    def __init__(
        self,
        api_key: str | None = None,
        url: str | None = None,
        *,
        thresholds: Thresholds | None = None,
        **settings: Any,
    ) -> None:
        self.streamer = OptionsDataStreamer(api_key, url, **settings)
        self.signals: deque[RealtimeSignal] = deque(maxlen=SIGNALS_KEPT)
        self._detector = SignalDetector(thresholds)
        self._handlers: list[SignalHandler] = []
        client = self.streamer.client
        client.set_trade_handler(lambda trade: self._told(self._detector.trade(trade)))
        client.set_quote_handler(lambda quote: self._told(self._detector.quote(quote)))
        client.set_fmv_handler(lambda value: self._told(self._detector.fair_value(value)))

    def add_signal_handler(self, handler: SignalHandler) -> None:
        """On the feed's thread; what it raises is logged and counted (``handler_errors``)."""
        self._handlers.append(handler)

    def start_monitoring(
        self,
        tickers: Sequence[str],
        include_trades: bool = True,
        include_quotes: bool = True,
        include_aggregates: bool = True,
        include_fmv: bool = False,
    ) -> bool:
        """True when the venue is live; else ``streamer.client.problem`` says why."""
        return self.streamer.start_streaming(
            tickers, include_trades, include_quotes, include_aggregates, include_fmv
        )

    def stop_monitoring(self) -> None:
        self.streamer.stop_streaming()

    def get_stats(self) -> dict[str, Any]:
        """As ``OptionsDataStreamer.get_streaming_stats``, and ``signals``: how many are kept."""
        return {**self.streamer.get_streaming_stats(), "signals": len(self.signals)}

    def get_analysis(self, ticker: str) -> dict[str, Any]:
        """``trades``, ``quotes``: summaries. ``volatility``: standard deviation of the log returns between trades;
        ``liquidity``: contracts at the best bid and ask; ``impact``: mean |change of price| a contract; None while too
        little has come. ``signals``: the latest ten.
        """
        client = self.streamer.client
        trades, quotes = self.streamer.get_trade_summary(ticker), self.streamer.get_quote_summary(ticker)
        volatility, impact = _moves(client.recent(ticker, RecordType.TRADE))
        return {
            "ticker": ticker,
            "trades": trades,
            "quotes": quotes,
            "volatility": volatility,
            "liquidity": quotes["bid_size"] + quotes["ask_size"] if quotes["count"] else None,
            "impact": impact,
            "signals": [signal for signal in list(self.signals) if signal.ticker == ticker][-10:],
        }

    def _told(self, signals: list[RealtimeSignal]) -> None:
        self.signals.extend(signals)
        for signal in signals:
            for handler in self._handlers:
                handler(signal)


def _moves(records: list[OptionsRecord]) -> tuple[float | None, float | None]:
    trades = [record for record in records if isinstance(record, OptionsTrade) and record.price > 0.0]
    pairs = list(pairwise(trades))
    returns = [math.log(later.price / earlier.price) for earlier, later in pairs]
    volume = sum(later.size for _, later in pairs)
    moved = sum(abs(later.price - earlier.price) for earlier, later in pairs)
    return stdev(returns) if len(returns) > 1 else None, moved / volume if volume else None


class TradingAgent(Protocol):
    """What the integration wants of yours."""

    def get_current_positions(self) -> Iterable[Any]:
        """Symbols, or mappings or objects with ``ticker`` or ``symbol``."""
        ...


class TradingAgentWebSocketIntegration:
    """Watches an agent's option positions. ``monitor`` None: one with the key of the environment."""

    def __init__(self, trading_agent: TradingAgent, monitor: RealtimeOptionsMonitor | None = None) -> None:
        self.trading_agent = trading_agent
        self.monitor = monitor or RealtimeOptionsMonitor()

    def start_position_monitoring(self, positions: Iterable[Any] | None = None) -> bool:
        """``positions`` None: the agent's. True when the venue is live. Raises ValueError where none is an option."""
        held = self.trading_agent.get_current_positions() if positions is None else positions
        tickers = [ticker for ticker in map(_ticker_of, held) if is_option_symbol(ticker)]
        if not tickers:
            raise ValueError("no position is an option: there is nothing to watch")
        return self.monitor.start_monitoring(tickers)

    def stop_position_monitoring(self) -> None:
        self.monitor.stop_monitoring()

    def get_position_analysis(self, ticker: str) -> dict[str, Any]:
        """See ``RealtimeOptionsMonitor.get_analysis``."""
        return self.monitor.get_analysis(ticker)


class TradingOrchestrator:
    """The websocket methods of the source document's orchestrator; it has no others."""

    def __init__(self, trading_agent: TradingAgent, monitor: RealtimeOptionsMonitor | None = None) -> None:
        self._integration = TradingAgentWebSocketIntegration(trading_agent, monitor)

    def start_websocket_monitoring(self) -> bool:
        """Of the agent's positions as they are now; again: of those that were added since."""
        return self._integration.start_position_monitoring()

    def stop_websocket_monitoring(self) -> None:
        self._integration.stop_position_monitoring()

    def get_websocket_stats(self) -> dict[str, Any]:
        return self._integration.monitor.get_stats()

    def get_position_realtime_analysis(self, ticker: str) -> dict[str, Any]:
        return self._integration.get_position_analysis(ticker)


def _ticker_of(position: Any) -> str:
    if isinstance(position, str):
        return position
    for name in ("ticker", "symbol"):
        found = position.get(name) if isinstance(position, dict) else getattr(position, name, None)
        if found is not None:
            return str(found)
    raise ValueError(f"a position of type {type(position).__name__} has neither ticker nor symbol")
