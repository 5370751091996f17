"""``RealTimeDataFeed``: one name for every provider, those of the engine and your own."""

import functools
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, ClassVar

from hft_engine.api.provider import DataFeedProvider, Factory, VenueProvider
from hft_engine.feed.venues import venue_names

GROUP = "hft_engine.providers"  # entry points of other packages: a class or function that makes a provider
ALIASES = {"websocket": "generic"}  # the documents' word for whatever a field map describes


class UnknownProviderError(ValueError):
    """No provider has this name; the text says which there are."""


class RealTimeDataFeed:
    """``settings`` go to the provider: of a venue they are keys of the section ``feed`` (docs/feeds.md).

    ``api_key`` None: the venue's variable in the environment or in .env. ``callback(type, record)`` of ``add_listener``
    runs on the feed's thread. Raises UnknownProviderError, ConfigError.
    """

    _registered: ClassVar[dict[str, Factory]] = {}

    def __init__(
        self, provider_name: str = "alphavantage", api_key: str | None = None, **settings: Any
    ) -> None:
        self.provider_name = provider_name
        self.provider = _factory(provider_name, self._registered)(api_key, **settings)

    @classmethod
    def register_provider(cls, name: str, factory: Factory) -> None:
        """From now on ``RealTimeDataFeed(name, api_key)`` is ``factory(api_key)``. A name may be registered again."""
        cls._registered[name] = factory

    @classmethod
    def providers(cls) -> tuple[str, ...]:
        """All names there are: registered, of other packages, venues."""
        found = (*cls._registered, *entry_points(group=GROUP).names, *venue_names(), *ALIASES)
        return tuple(dict.fromkeys(found))

    @property
    def is_connected(self) -> bool:
        return self.provider.is_connected

    @property
    def problem(self) -> str:
        """Why it is not connected, for people."""
        return self.provider.problem

    def connect(self) -> bool:
        return self.provider.connect()

    def subscribe(self, tickers: list[str]) -> bool:
        return self.provider.subscribe(tickers)

    def get_latest_data(self, ticker: str) -> Any:
        return self.provider.get_latest_data(ticker)

    def disconnect(self) -> bool:
        return self.provider.disconnect()

    def add_listener(self, callback: Callable[..., None]) -> None:
        """Raises TypeError where the provider can only be asked."""
        if not isinstance(self.provider, VenueProvider):
            raise TypeError(f"{self.provider_name} can only be asked: it has no listeners")
        self.provider.listen(callback)

    def __enter__(self) -> "RealTimeDataFeed":
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.disconnect()


def _factory(name: str, registered: dict[str, Factory]) -> Factory:
    if name in registered:
        return registered[name]
    for entry in entry_points(group=GROUP, name=name):
        loaded: Factory = entry.load()
        return loaded
    venue = ALIASES.get(name, name)
    if venue not in venue_names():
        raise UnknownProviderError(
            f"no provider is called {name!r}; there are {', '.join(RealTimeDataFeed.providers())}. Your own: "
            "RealTimeDataFeed.register_provider"
        )
    return functools.partial(VenueProvider, venue)


__all__ = ["DataFeedProvider", "RealTimeDataFeed", "UnknownProviderError", "VenueProvider"]
