"""hft_engine: a real-time market-data and machine-learning trading engine on shared memory."""

import importlib
from typing import Any

__version__ = "0.1.0"

# What of ``hft_engine.api`` may be imported from here; only then is it loaded, and with it the compiler.
PUBLIC = (
    "CollectorConfig",
    "CollectorFactory",
    "DataFeedProvider",
    "FinnhubRealTime",
    "OptionsAggregate",
    "OptionsDataStreamer",
    "OptionsQuote",
    "OptionsTrade",
    "PolygonOptionsWebSocketClient",
    "PolygonWebsocketCollector",
    "RealTimeDataFeed",
    "RealtimeDataProvider",
    "RealtimeOptionsMonitor",
    "RealtimeSignal",
    "RecordType",
    "TradingAgentWebSocketIntegration",
    "TradingOrchestrator",
    "stream_async",
)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module("hft_engine.api"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PUBLIC])
