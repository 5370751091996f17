"""The feature set as data: which slot of a feature vector holds what. No numba here: any program may read it.

A vector has ``FEATURES_MAX`` slots: the built-in features in the order below, then the user's, then NaN.

``tick_*`` follow every eligible trade, ``bar_*`` every built bar of ``indicators.bar``; between two such events
they keep their value. All are NaN until their window is full. ``price`` below is the trade's price or the bar's
close.

| name | value |
|---|---|
| sma, ema_fast, ema_slow | means of the price, in its unit; EMA seeded with the SMA of its first window |
| rsi | Wilder's, 0..100; 50 where the price did not move at all |
| macd, macd_signal, macd_histogram | difference of the EMAs, its EMA, the difference of these; price units |
| bollinger_upper, _middle, _lower | SMA plus, minus ``bollinger_width`` population standard deviations |
| sma_deviation | price / sma - 1 |
| ema_spread | ema_fast / ema_slow - 1 |
| macd_ratio | macd_histogram / price |
| bollinger_position | (price - lower) / (upper - lower); NaN where the band has no width |
| bollinger_bandwidth | (upper - lower) / middle |
| return_1, _5, _20 | ln(price / price so many events ago) |
| volatility | square root of the sum of the last ``volatility`` squared returns |
| bar_atr, bar_atr_ratio | Wilder's average true range; the same / close |
| vwap, vwap_deviation | since the session's start; last price / vwap - 1 |
| spread_bps | (ask - bid) / mid, in 1/10,000 |
| quote_imbalance | (bid size - ask size) / (bid size + ask size) |
| size_z | (size - mean) / population standard deviation of the ``size_window`` trades before it |
| seconds_since_tick | event time since the instrument's previous trade or quote |
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from hft_engine.config.schema import IndicatorConfig
from hft_engine.records import FEATURES_MAX

FEATURES_VERSION = 1  # raised when the meaning of any built-in feature changes

PRICE_FEATURES = (
    "sma",
    "ema_fast",
    "ema_slow",
    "rsi",
    "macd",
    "macd_signal",
    "macd_histogram",
    "bollinger_upper",
    "bollinger_middle",
    "bollinger_lower",
    "sma_deviation",
    "ema_spread",
    "macd_ratio",
    "bollinger_position",
    "bollinger_bandwidth",
    "return_1",
    "return_5",
    "return_20",
    "volatility",
)
OTHER_FEATURES = (
    "bar_atr",
    "bar_atr_ratio",
    "vwap",
    "vwap_deviation",
    "spread_bps",
    "quote_imbalance",
    "size_z",
    "seconds_since_tick",
)
BUILT_IN_FEATURES = (
    *(f"tick_{name}" for name in PRICE_FEATURES),
    *(f"bar_{name}" for name in PRICE_FEATURES),
    *OTHER_FEATURES,
)
EXTENSIONS_MAX = FEATURES_MAX - len(BUILT_IN_FEATURES)

assert EXTENSIONS_MAX > 0
assert len(set(BUILT_IN_FEATURES)) == len(BUILT_IN_FEATURES)


class FeatureError(ValueError):
    """The configuration asks for a feature set that cannot be."""


@dataclass(frozen=True)
class FeatureSchema:
    """Names of the used slots in order; ``hash``: SHA-256 hex over version, names and every parameter."""

    names: tuple[str, ...]
    hash: str
    version: int = FEATURES_VERSION

    def index(self, name: str) -> int:
        """The slot of a feature. Raises FeatureError naming what there is."""
        try:
            return self.names.index(name)
        except ValueError:
            raise FeatureError(f"no feature is called {name!r}; there are: {', '.join(self.names)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __len__(self) -> int:
        return len(self.names)


def feature_schema(config: IndicatorConfig) -> FeatureSchema:
    """The feature set that a configuration gives. Imports the user's extension files, if there are any.

    Raises FeatureError for periods that contradict each other or too many features, ExtensionError for an
    extension that cannot be loaded.
    """
    check_periods(config)
    names = (*BUILT_IN_FEATURES, *_extension_names(config.extensions))
    _check_names(names)
    return FeatureSchema(names, _hash(names, config))


def check_periods(config: IndicatorConfig) -> None:
    """Raises FeatureError where MACD could not be computed."""
    if config.ema_fast >= config.ema_slow:
        raise FeatureError(
            f"indicators.ema_fast ({config.ema_fast}) must be smaller than "
            f"indicators.ema_slow ({config.ema_slow}): MACD is their difference"
        )


def _extension_names(specs: Sequence[str]) -> list[str]:
    if not specs:
        return []
    from hft_engine.indicators.extension import load_extensions

    return [extension.name for extension in load_extensions(specs)]


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FeatureError(
            f"indicators.extensions: the name {twice[0]!r} is taken; give the indicator another"
        )
    if len(names) > FEATURES_MAX:
        raise FeatureError(
            f"indicators.extensions: {len(names) - len(BUILT_IN_FEATURES)} indicators, "
            f"but a feature vector has room for {EXTENSIONS_MAX}"
        )


def _hash(names: Sequence[str], config: IndicatorConfig) -> str:
    parameters = {key: getattr(config, key) for key in config.__struct_fields__ if key != "extensions"}
    text = json.dumps(
        {"version": FEATURES_VERSION, "names": list(names), "parameters": parameters}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()
