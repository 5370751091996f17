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

# What is computed together, as bits. ``G_ATR`` is of bars, ``G_VWAP`` and ``G_SIZE`` are of trades.
G_SMA, G_EMA, G_MACD, G_RSI, G_BOLLINGER, G_RETURNS, G_VOLATILITY, G_ATR, G_VWAP, G_SIZE = (
    1 << bit for bit in range(10)
)
_GROUPS = (  # beginning of the name after ``tick_`` or ``bar_``, what is needed for it
    ("sma", G_SMA),
    ("ema", G_EMA),
    ("macd", G_EMA | G_MACD),
    ("rsi", G_RSI),
    ("bollinger", G_BOLLINGER),
    ("return", G_RETURNS),
    ("volatility", G_RETURNS | G_VOLATILITY),
    ("atr", G_ATR),
    ("vwap", G_VWAP),
    ("size", G_SIZE),
)

assert EXTENSIONS_MAX > 0
assert len(set(BUILT_IN_FEATURES)) == len(BUILT_IN_FEATURES)


class FeatureError(ValueError):
    """The configuration asks for a feature set that cannot be."""


@dataclass(frozen=True)
class FeatureSchema:
    """Names of the used slots in order; ``hash``: SHA-256 hex over version, names and every parameter.

    A slot that ``indicators.features`` leaves out has its name in parentheses, so that nobody finds it; the hash does
    not depend on that: what is computed has the same values.
    """

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
    tick, bar = groups_of(config)
    shown = tuple(name if _is_computed(name, tick, bar) else f"({name})" for name in names)
    return FeatureSchema(shown, _hash(names, config))


def groups_of(config: IndicatorConfig) -> tuple[int, int]:
    """(groups of trades, groups of bars) that ``config.features`` asks for. Raises FeatureError."""
    tick = bar = 0
    for name in BUILT_IN_FEATURES if config.features is None else config.features:
        if name not in BUILT_IN_FEATURES:
            raise FeatureError(
                f"indicators.features: no built-in feature is called {name!r}; there are: "
                f"{', '.join(BUILT_IN_FEATURES)}"
            )
        if name.startswith("bar_"):
            bar |= _group(name)
        else:
            tick |= _group(name)
    return tick, bar


def _group(name: str) -> int:
    """The groups that a feature needs; 0 for what is always computed."""
    stem = name.removeprefix("tick_").removeprefix("bar_")
    return next((group for start, group in _GROUPS if stem.startswith(start)), 0)


def _is_computed(name: str, tick: int, bar: int) -> bool:
    """Whether a feature is computed where these groups are."""
    if name not in BUILT_IN_FEATURES:
        return True  # an extension
    group = _group(name)
    return group & (bar if name.startswith("bar_") else tick) == group


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
    parameters = {
        key: getattr(config, key) for key in config.__struct_fields__ if key not in ("extensions", "features")
    }
    text = json.dumps(
        {"version": FEATURES_VERSION, "names": list(names), "parameters": parameters}, sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()
