"""The engine's feeds for programs, by the names of docs/api.md."""

from hft_engine.runtime import kernelcache

kernelcache.use()  # before anything imports numba: compiled kernels are kept between runs

from hft_engine.api.real_time_feed import (  # noqa: E402
    DataFeedProvider,
    RealTimeDataFeed,
    UnknownProviderError,
    VenueProvider,
)
from hft_engine.api.schema import RecordType  # noqa: E402

__all__ = ["DataFeedProvider", "RealTimeDataFeed", "RecordType", "UnknownProviderError", "VenueProvider"]
