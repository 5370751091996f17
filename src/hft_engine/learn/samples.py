"""The training set: rows of features by the engine's own kernels, with the bars that labels are made of.

One row an instrument and bar, exactly the record that ``inference.evaluate: bars`` gives to a model live: the features
at an instrument's first trade or quote with a new bar. Of stored bars, where there are no ticks, the features after
each bar (``indicators.offline.features_of_bars``). Nothing is computed here.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hft_engine.config.schema import Config, IndicatorConfig
from hft_engine.feed.recorded_bars import CSV_SUFFIXES, DATABASE_SUFFIXES, stored_bars
from hft_engine.indicators.features import FeatureSchema, feature_schema
from hft_engine.indicators.offline import OfflineIndicators, features_of_bars
from hft_engine.instruments import InstrumentTable
from hft_engine.learn.cleaning import Counts, interpolated
from hft_engine.learn.errors import TrainingError
from hft_engine.records import BarKind, TickFlag
from hft_engine.replay import open_source

# Features in the price's own unit, or the clock: a model that learned them would know an instrument by its price.
_AVERAGES = ("sma", "ema_fast", "ema_slow", "macd", "macd_signal", "macd_histogram")
_BANDS = ("bollinger_upper", "bollinger_middle", "bollinger_lower")
NOT_LEARNED = frozenset(
    [
        *(f"{basis}_{name}" for basis in ("tick", "bar") for name in (*_AVERAGES, *_BANDS)),
        "bar_atr",
        "vwap",
        "trade_rate",
    ]
)
CLOCK_DAYS_MIN = 5
_DAY_NS = 86_400_000_000_000
_BAR_KINDS = {"second": BarKind.SECOND, "minute": BarKind.MINUTE, "ticks": BarKind.TICKS}
SUFFIXES = "sessions (folders), *.csv, *.csv.gz, *.db, *_trade.zip and *_quote.zip, *.jsonl.gz"


@dataclass(frozen=True)
class Samples:
    """Sorted by series, then time.

    ``rows`` float64[n, features] by ``names``; ``ts_ns`` int64[n]: UTC ns when the row was known; ``series`` int64[n]:
    index into ``symbols``; ``bars`` float64[n, 5]: OHLC and volume of the bar that just ended; ``usable`` bool[n]: may
    be a sample, false where the bar was
    filled in or the data were unfit. ``counts``: what was cleaned.
    """

    names: tuple[str, ...]
    rows: np.ndarray
    ts_ns: np.ndarray
    series: np.ndarray
    symbols: tuple[str, ...]
    bars: np.ndarray
    usable: np.ndarray
    schema: FeatureSchema
    source: str
    counts: Counts = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ts_ns)

    @property
    def close(self) -> np.ndarray:
        return self.bars[:, 3]

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each series that has any, in order."""
        return np.unique(self.series, return_counts=True)[1]

    def column(self, name: str) -> np.ndarray:
        """float64[n]; NaN where nobody computed the feature."""
        return self.rows[:, self.names.index(name)] if name in self.names else np.full(len(self), np.nan)

    def by_series(self) -> Iterable[slice]:
        ends = np.cumsum(self.lengths)
        return (slice(int(a), int(b)) for a, b in zip(ends - self.lengths, ends, strict=True))

    @property
    def data_hash(self) -> str:
        """SHA-256 hex over everything that is learned from."""
        digest = hashlib.sha256(" ".join(self.names).encode())
        for array in (self.rows, self.ts_ns, self.series, self.bars):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def read_samples(
    config: Config, paths: Sequence[str], progress: Callable[[int], None] = lambda permille: None
) -> Samples:
    """The training set of recorded data: stored bars, else ticks of files or a session.

    Raises TrainingError where there is nothing, and what the readers raise.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise TrainingError(
            f"{', '.join(paths) or 'no path'}: nothing to learn from; name files or folders of: {SUFFIXES}"
        )
    if all(_holds_bars(file) for file in files):
        return of_bars(config.indicators, files)
    mixed = [str(file) for file in files if _holds_bars(file)]
    if mixed:
        raise TrainingError(f"{mixed[0]} holds bars, others ticks; train on one kind at a time")
    instruments = InstrumentTable.private(config.engine.instruments_max)
    source = open_source([str(file) for file in files], instruments)
    source_name = ", ".join(file.name for file in files)
    return of_ticks(
        config.indicators, source, instruments, source_name, int(getattr(source, "count", 0)), progress
    )


def _files(path: Path) -> list[Path]:
    """The recordings at a path: itself, or what lies in a folder that is no session."""
    from hft_engine.persistence.journal import is_journal

    if not path.exists():
        raise TrainingError(f"{path}: no such file or folder; name recorded data: {SUFFIXES}")
    if path.is_file() or is_journal(path):
        return [path]
    endings = (*CSV_SUFFIXES, *DATABASE_SUFFIXES)
    return sorted(file for file in path.iterdir() if file.name.endswith(endings))


def _holds_bars(path: Path) -> bool:
    return path.is_file() and path.name.endswith((*CSV_SUFFIXES, *DATABASE_SUFFIXES))


def of_bars(config: IndicatorConfig, files: Sequence[Path]) -> Samples:
    """The training set of stored bars. Raises RecordingError, TrainingError."""
    schema = feature_schema(config)
    counts: Counts = {"interpolated": 0, "unusable_bars": 0}
    parts: list[tuple[np.ndarray, ...]] = []
    symbols: list[str] = []
    for file in files:
        for symbol, (stamps, bars) in stored_bars(file).items():
            parts.append(_series_of_bars(len(symbols), stamps, bars, config, counts))
            symbols.append(symbol)
    source = ", ".join(file.name for file in files)
    if not any(len(part[0]) for part in parts):
        raise TrainingError(
            f"{', '.join(str(file) for file in files)}: no bar with four positive prices inside, "
            f"{counts['unusable_bars']} without; nothing to learn from"
        )
    rows, ts_ns, series, table, usable = (np.concatenate(column) for column in zip(*parts, strict=True))
    return learnable(
        Samples(schema.names, rows, ts_ns, series, tuple(symbols), table, usable, schema, source, counts)
    )


def _series_of_bars(
    number: int, stamps: np.ndarray, bars: np.ndarray, config: IndicatorConfig, counts: Counts
) -> tuple[np.ndarray, ...]:
    table, filled = interpolated(bars)
    good = np.isfinite(table[:, 3])
    counts["interpolated"] += int(filled.sum())
    counts["unusable_bars"] += int((~good).sum())
    stamps, table, filled = stamps[good], table[good], filled[good]
    values = features_of_bars(table[:, 0], table[:, 1], table[:, 2], table[:, 3], table[:, 4], stamps, config)
    width = len(feature_schema(config))
    return values[:, :width], stamps, np.full(len(stamps), number), table, ~filled


def of_ticks(
    config: IndicatorConfig,
    source: Iterable[np.ndarray],
    instruments: InstrumentTable,
    name: str,
    total: int = 0,
    progress: Callable[[int], None] = lambda permille: None,
) -> Samples:
    """The training set of ticks (chunks of TICK_DTYPE), through the indicator stage that runs live."""
    stage = OfflineIndicators(config, instruments.capacity, on_bars=True)
    features, bars, done = [], [], 0
    for chunk in source:
        computed = stage.feed(chunk)
        features.append(computed.features)
        bars.append(computed.bars)
        done += len(chunk)
        if total:
            progress(min(1000, 1000 * done // total))
    if not features:
        raise TrainingError(f"{name}: no tick inside, nothing to learn from")
    return learnable(
        of_records(np.concatenate(features), np.concatenate(bars), config, instruments.symbol_of, name)
    )


def of_records(
    features: np.ndarray,
    bars: np.ndarray,
    config: IndicatorConfig,
    symbol_of: Callable[[int], str],
    name: str,
) -> Samples:
    """Each feature record (FEATURE_DTYPE) with the newest bar (BAR_DTYPE) that its instrument had when it was made; a
    column for each slot of the feature set. Raises TrainingError where no bar is over."""
    schema = feature_schema(config)
    bars = bars[of_kind(bars, config)]
    order = np.lexsort((features["source_sequence"], features["instrument_id"]))
    features = features[order]
    bars = bars[np.lexsort((bars["source_sequence"], bars["instrument_id"]))]
    at = np.searchsorted(record_key(bars), record_key(features), side="right") - 1
    own = (at >= 0) & (bars["instrument_id"][at] == features["instrument_id"]) if len(bars) else at >= 0
    features, at = features[own], at[own]
    if not len(features):
        raise TrainingError(
            f"{name}: no bar of indicators.bar={config.bar} is over; record longer, or choose shorter bars"
        )
    ids, series = np.unique(features["instrument_id"], return_inverse=True)
    unfit = (features["flags"] & int(TickFlag.UNFIT)) != 0
    table = np.column_stack([bars[column][at] for column in ("open", "high", "low", "close", "volume")])
    return Samples(
        schema.names,
        np.array(features["values"][:, : len(schema)]),
        np.array(features["ts_venue_ns"]),
        series.astype(np.int64),
        tuple(symbol_of(int(i)) for i in ids),
        table,
        ~unfit,
        schema,
        name,
        {"unfit": int(unfit.sum())},
    )


def of_kind(bars: np.ndarray, config: IndicatorConfig) -> np.ndarray:
    """bool[n]: bars (BAR_DTYPE) that rows are made of."""
    return np.asarray((bars["kind"] == _BAR_KINDS[config.bar]) & np.isfinite(bars["close"]))


def row_ns_of(samples: Samples) -> int:
    """The usual step from row to row of a series."""
    steps = np.concatenate([np.diff(samples.ts_ns[part]) for part in samples.by_series()] or [np.zeros(0)])
    return int(np.median(steps)) if len(steps) else 0


def joined(parts: Sequence[Samples], name: str) -> Samples:
    """Several recordings as one set: a symbol in each is a series of its own. All of one feature set."""
    firsts = np.cumsum([0, *(len(part.symbols) for part in parts)])
    counts: Counts = {}
    for part in parts:
        for what, number in part.counts.items():
            counts[what] = counts.get(what, 0) + number
    return replace(
        parts[0],
        rows=np.concatenate([part.rows for part in parts]),
        ts_ns=np.concatenate([part.ts_ns for part in parts]),
        series=np.concatenate([part.series + first for part, first in zip(parts, firsts, strict=False)]),
        symbols=tuple(symbol for part in parts for symbol in part.symbols),
        bars=np.concatenate([part.bars for part in parts]),
        usable=np.concatenate([part.usable for part in parts]),
        source=name,
        counts=counts,
    )


def record_key(records: np.ndarray) -> np.ndarray:
    """Orders by instrument, then by the tick that caused the record."""
    return records["instrument_id"].astype(np.int64) * (1 << 40) + records["source_sequence"]


def learnable(samples: Samples) -> Samples:
    """With the columns that may be learned from: no price, some value somewhere, and the time of day only of data of
    several days: within one it would number the rows."""
    span_ns = int(samples.ts_ns.max() - samples.ts_ns.min())
    refused = NOT_LEARNED if span_ns >= CLOCK_DAYS_MIN * _DAY_NS else NOT_LEARNED | {"time_of_day"}
    keep = [
        i
        for i, name in enumerate(samples.names)
        if name not in refused and not name.startswith("(") and np.isfinite(samples.rows[:, i]).any()
    ]
    names = tuple(samples.names[i] for i in keep)
    return replace(samples, names=names, rows=np.ascontiguousarray(samples.rows[:, keep]))
