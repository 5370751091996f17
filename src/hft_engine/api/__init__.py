"""The engine's feeds for programs, by the names of docs/api.md."""

from hft_engine.runtime import kernelcache

kernelcache.use()  # before anything imports numba: compiled kernels are kept between runs

from hft_engine.api.collector import (  # noqa: E402
    CollectorError,
    CollectorFactory,
    PolygonWebsocketCollector,
)
from hft_engine.api.collector_config import CollectorConfig  # noqa: E402
from hft_engine.api.finnhub import FinnhubRealTime, webhook_is_genuine  # noqa: E402
from hft_engine.api.option_signals import RealtimeSignal, Thresholds  # noqa: E402
from hft_engine.api.polygon_websocket import (  # noqa: E402
    OptionsAggregate,
    OptionsDataStreamer,
    OptionsQuote,
    OptionsTrade,
    PolygonOptionsWebSocketClient,
)
from hft_engine.api.real_time_feed import (  # noqa: E402
    DataFeedProvider,
    RealTimeDataFeed,
    UnknownProviderError,
    VenueProvider,
)
from hft_engine.api.realtime_data_provider import RealtimeDataProvider  # noqa: E402
from hft_engine.api.realtime_integration import (  # noqa: E402
    RealtimeOptionsMonitor,
    TradingAgentWebSocketIntegration,
    TradingOrchestrator,
)
from hft_engine.api.schema import RecordType  # noqa: E402
from hft_engine.api.stores.store import StoreError  # noqa: E402
from hft_engine.api.stream import StreamError, stream_async  # noqa: E402

__all__ = [
    "CollectorConfig",
    "CollectorError",
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
    "StoreError",
    "StreamError",
    "Thresholds",
    "TradingAgentWebSocketIntegration",
    "TradingOrchestrator",
    "UnknownProviderError",
    "VenueProvider",
    "stream_async",
    "webhook_is_genuine",
]
