"""What the engine is given to do: synthetic ticks, their frames, and a model of a realistic size."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hft_engine.config.schema import IndicatorConfig, RuleConfig, SimulatorConfig
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import compute
from hft_engine.inference.model import ModelMetadata, write_model
from hft_engine.records import TickKind, join_ticks

INSTRUMENTS = 100
START_NS = 1_760_000_400_000_000_000  # 2025-10-09 09:00 UTC; any instant of an open session
TREES, LEAVES = 100, 31

# Bars every few trades and short windows, so that every input of the model is known within the warm-up.
INDICATORS = IndicatorConfig(bar="ticks", ticks_per_bar=10, sma=5, rsi=5)
MODEL_FEATURES = (
    *(name for name in feature_schema(INDICATORS).names if name.startswith("tick_")),
    "vwap",
    "vwap_deviation",
    "spread_bps",
    "quote_imbalance",
    "size_z",
    "seconds_since_tick",
    "bar_sma",
    "bar_sma_deviation",
    "bar_rsi",
    "bar_return_1",
    "bar_return_5",
)
assert len(MODEL_FEATURES) == 30


def _rule(name: str, feature: str, sign: float, enter: float, full: float) -> RuleConfig:
    """Buys above ``enter`` (sign 1) or sells below its negative (sign -1); re-arms at the other side's."""
    return RuleConfig(
        name=name,
        feature=feature,
        side="buy" if sign > 0 else "sell",
        when="above" if sign > 0 else "below",
        enter=sign * enter,
        release=-sign * enter,
        full=sign * full,
    )


# Each instrument's trades alternate between two prices and its quotes between two imbalances, and each rule re-arms
# at the other value: in the load of ``alternating_frames`` every tick gives exactly one signal.
_UP, _FULL_UP = 1e-5, 1e-3
_HEAVY, _FULL_HEAVY = 0.1, 0.9
RULES = (
    _rule("uptick", "tick_return_1", 1.0, _UP, _FULL_UP),
    _rule("downtick", "tick_return_1", -1.0, _UP, _FULL_UP),
    _rule("bid_heavy", "quote_imbalance", 1.0, _HEAVY, _FULL_HEAVY),
    _rule("ask_heavy", "quote_imbalance", -1.0, _HEAVY, _FULL_HEAVY),
)
TRADE_RULES = RULES[:2]
TRADE_EVERY = 3  # ticks of an instrument: one trade, two quotes


def market_ticks(
    count: int, instruments: int = INSTRUMENTS, seed: int = 7
) -> tuple[tuple[str, ...], np.ndarray]:
    """(symbols, TICK_DTYPE[count]) of the demo's synthetic market: trades and quotes only, in time order."""
    settings = SimulatorConfig(instruments=instruments, ticks_per_s=20_000.0, seed=seed)
    market = SyntheticMarket(settings, START_NS)
    parts: list[np.ndarray] = []
    have = 0
    while have < count:
        block = market.block()
        kinds = block["kind"]
        parts.append(block[(kinds == TickKind.TRADE) | (kinds == TickKind.QUOTE)])
        have += len(parts[-1])
    return market.symbols, join_ticks(tuple(parts))[:count]


def frames_of(symbols: tuple[str, ...], ticks: np.ndarray, events_per_frame: int) -> list[bytes]:
    """The ticks as the venue would send them, so many events in each frame."""
    events = Encoder(symbols).encode(ticks)
    starts = range(0, len(events), events_per_frame)
    return [b"[" + b",".join(events[i : i + events_per_frame]) + b"]" for i in starts]


def websocket_frame(payload: bytes) -> bytes:
    """A whole text message of at most 65,535 bytes, as a server sends it."""
    length = len(payload)
    header = bytes((0x81, length)) if length < 126 else bytes((0x81, 126)) + length.to_bytes(2, "big")
    return header + payload


def alternating_ticks(
    count: int, rate: float, start_ns: int = START_NS, instruments: int = INSTRUMENTS
) -> np.ndarray:
    """TICK_DTYPE[count] on the schedule of an open-loop load; tick i is of instrument i modulo ``instruments``."""
    from hft_engine.records import TICK_DTYPE

    number = np.arange(count)
    instrument, turn = number % instruments, number // instruments
    is_trade = (turn + instrument) % TRADE_EVERY == 0
    price = np.round(20.0 + 3.0 * instrument, 2)
    ticks = np.zeros(count, TICK_DTYPE)
    ticks["instrument_id"], ticks["venue_sequence"] = instrument, number + 1
    ticks["ts_venue_ns"] = start_ns + (number * (1e9 / rate)).astype(np.int64)
    ticks["tape"] = 1
    ticks["kind"] = np.where(is_trade, TickKind.TRADE, TickKind.QUOTE)
    seen_trades = (turn + instrument) // TRADE_EVERY
    _fill_trades(ticks, np.flatnonzero(is_trade), price, seen_trades % 2)
    # of an instrument's two quotes between trades the first is heavy on one side, the second on the other
    _fill_quotes(ticks, np.flatnonzero(~is_trade), price, (turn + instrument) % TRADE_EVERY == 1)
    return ticks


def _fill_trades(ticks: np.ndarray, rows: np.ndarray, price: np.ndarray, parity: np.ndarray) -> None:
    ticks["price"][rows] = np.round(price[rows] * (1.0 + 5e-4 * parity[rows]), 2)
    ticks["size"][rows] = 1.0 + (rows * 7919) % 500
    ticks["trade_id"][rows] = rows + 1
    ticks["exchange"][rows] = 4


def _fill_quotes(ticks: np.ndarray, rows: np.ndarray, price: np.ndarray, bid_heavy: np.ndarray) -> None:
    ticks["bid"][rows], ticks["ask"][rows] = price[rows], np.round(price[rows] + 0.02, 2)
    ticks["bid_size"][rows] = np.where(bid_heavy[rows], 300.0, 100.0)
    ticks["ask_size"][rows] = np.where(bid_heavy[rows], 100.0, 300.0)
    ticks["exchange"][rows], ticks["exchange_ask"][rows] = 4, 7


def model_rows(count: int) -> np.ndarray:
    """float64[count, 30]: the model's columns of market features, complete rows only."""
    _, ticks = market_ticks(3 * count)
    features, _ = compute(ticks, INDICATORS, INSTRUMENTS)
    names = feature_schema(INDICATORS).names
    columns = [names.index(name) for name in MODEL_FEATURES]
    values: np.ndarray = np.ascontiguousarray(features["values"][:, columns])
    return values[~np.isnan(values).any(axis=1)][-count:]


def _labels(rows: np.ndarray, learnable: bool, seed: int) -> np.ndarray:
    """0 or 1 for each row, at random or, ``learnable``, from a noisy sum of its columns."""
    rng = np.random.default_rng(seed)
    if not learnable:
        return rng.integers(0, 2, len(rows))
    spread = rows.std(axis=0)
    scaled = (rows - rows.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    score = scaled @ rng.normal(size=rows.shape[1])
    return (score + rng.normal(0.0, score.std(), len(rows)) > 0.0).astype(np.int64)


def train_model(
    path: Path,
    rows: np.ndarray,
    learnable: bool = False,
    seed: int = 5,
    indicators: IndicatorConfig = INDICATORS,
) -> str:
    """A binary model of TREES x LEAVES, another for each ``seed``, written with its metadata. Returns its text.

    Of random labels it learns rare rows: its trees are lopsided, most rows meet few decisions. Of ``learnable`` ones,
    which a noisy sum of the columns gives, it learns what a model in earnest does: more decisions a row.
    ``indicators``: of the engine that it is for.
    """
    import lightgbm

    labels = _labels(rows, learnable, seed)
    settings = {
        "objective": "binary",
        "num_leaves": LEAVES,
        "min_data_in_leaf": 5,
        "learning_rate": 0.05,
        "num_threads": 1,
        "deterministic": True,
        "seed": 5,
        "verbose": -1,
    }
    data = lightgbm.Dataset(rows, labels, feature_name=list(MODEL_FEATURES), free_raw_data=False)
    booster = lightgbm.train(settings, data, TREES)
    text = str(booster.model_to_string())
    write_model(path, text, _metadata(len(rows), settings, indicators))
    return text


def _metadata(rows: int, settings: dict[str, object], indicators: IndicatorConfig) -> ModelMetadata:
    import lightgbm

    return ModelMetadata(
        name="benchmark",
        version="1",
        sha256="",
        feature_schema_hash=feature_schema(indicators).hash,
        features=MODEL_FEATURES,
        label="random",
        horizon="none",
        training_data="synthetic market, random labels: it has the size of a model and predicts nothing",
        training_start="2025-10-09",
        training_end="2025-10-09",
        training_rows=rows,
        metrics={},
        params=dict(settings),
        created=datetime.now(UTC).date().isoformat(),
        lightgbm_version=str(lightgbm.__version__),
    )
