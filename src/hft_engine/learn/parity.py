"""`hft parity`: whether the feature vectors that were live are what the session's ticks give, computed again twice.

*Again*: the compiled stage over the journal, outside of any engine; every bit must be the same. *Reference*: the plain
second implementation (``learn.reference``); it must agree within ``bound_of``, which leaves room for the order of
sums and for nothing else: a window off by one, a bar that was not over, another rule for what is unknown, or a detour
over float32 all lie far outside. What fails is named by feature.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from hft_engine.config.schema import Config
from hft_engine.indicators.features import feature_schema
from hft_engine.indicators.offline import OfflineIndicators
from hft_engine.learn.reference import Reference
from hft_engine.learn.reference.engine import plain_ticks
from hft_engine.persistence.feature_sample import FILE, Head, SampleError, read_sample
from hft_engine.recorded_session import RecordedSession
from hft_engine.runtime.schedule import MISSED
from hft_engine.verify import VerifyRefusedError, reasons, refusal


class Bound(NamedTuple):
    """How far a feature may be from its reference, in all: in parts of its value, plainly, in parts of the price."""

    relative: float = 1e-9
    absolute: float = 1e-13
    of_price: float = 0.0


_PRICE = Bound(absolute=0.0, of_price=1e-13)  # what cancels leaves an error by the size of what went in
# Variances are of rolling sums, which lose at most four digits (``indicators.kernels``), and of small differences of
# logarithms.
_VARIANCE = Bound(relative=1e-8)
_IN_WIDTHS = Bound(relative=1e-8, absolute=1e-10)  # a difference of prices by a deviation
_BOUNDS = {
    **dict.fromkeys(
        ("sma", "ema_fast", "ema_slow", "macd", "macd_signal", "macd_histogram", "bar_atr", "vwap"), _PRICE
    ),
    **dict.fromkeys(("bollinger_upper", "bollinger_middle", "bollinger_lower"), _PRICE),
    **dict.fromkeys(
        ("bollinger_bandwidth", "volatility", "mid_volatility", "mid_volatility_ratio"), _VARIANCE
    ),
    **dict.fromkeys(("bollinger_position", "size_z"), _IN_WIDTHS),
    "vwap_deviation": Bound(absolute=1e-12),  # a day of trades in one sum
    "mid_trend": Bound(absolute=1e-9),
    "market_return": Bound(absolute=2e-12),  # hundreds of differences of logarithms
    "market_residual": Bound(relative=1e-8, absolute=1e-11),
    "market_beta": Bound(relative=1e-8, absolute=1e-9),
}


class Example(msgspec.Struct, frozen=True):
    """The first vector in which a feature differs."""

    tick: int
    symbol: str
    live: float
    again: float
    reference: float


class FeatureParity(msgspec.Struct, frozen=True):
    """``unequal``: vectors in which it is not the same bits again; ``beyond``: in which it is further from the
    reference than the bound; ``worst``: largest distance in parts of the bound, -1 without a reference."""

    name: str
    unequal: int
    beyond: int
    worst: float
    first: Example | None

    @property
    def holds(self) -> bool:
        return not self.unequal and not self.beyond


class Parity(msgspec.Struct, frozen=True):
    """``vectors`` were compared, of ``sampled`` that were kept: one of ``every``."""

    session: str
    vectors: int
    sampled: int
    every: int
    ticks: int
    features: tuple[FeatureParity, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def differing(self) -> tuple[FeatureParity, ...]:
        return tuple(feature for feature in self.features if not feature.holds)

    @property
    def holds(self) -> bool:
        return self.vectors > 0 and not self.differing


def bound_of(name: str, reference: np.ndarray, price: np.ndarray) -> np.ndarray:
    """float64[n]: how far a feature may be from its reference's value; ``price`` float64[n] of the vectors."""
    short = name.removeprefix("tick_").removeprefix("bar_")
    bound = _BOUNDS.get(name) or _BOUNDS.get(short) or Bound()
    value, scale = np.nan_to_num(np.abs(reference)), np.nan_to_num(np.abs(price))
    return np.asarray(bound.relative * value + bound.absolute + bound.of_price * scale)


def check_parity(
    path: Path,
    vectors: int = 0,
    force: bool = False,
    progress: Callable[[int], None] = lambda permille: None,
) -> Parity:
    """Of a session with a sample (``persistence.feature_sample``); ``vectors``: the first so many, 0 = all.

    ``force``: compare where nothing can be proven, too; the reasons become notes. Raises SampleError,
    VerifyRefusedError, and what the session's readers raise.
    """
    started = time.perf_counter()
    session = RecordedSession(path)
    config = session.config()
    head, sample = read_sample(session.path / FILE)
    notes = [*reasons(session, config), *_of_sample(head, config)]
    if notes and not force:
        raise VerifyRefusedError(refusal(notes))
    chosen = sample[: vectors or len(sample)]
    comparison = Comparison(head.names, config, session.symbol)
    ticks = 0
    for chunk in _seen_ticks(session, int(chosen["source_sequence"][-1]) + 1 if len(chosen) else 0):
        comparison.take(chunk, chosen)
        ticks += len(chunk)
        progress(1000 * comparison.compared // max(1, len(chosen)))
    if comparison.compared < len(chosen):
        notes.append(f"{len(chosen) - comparison.compared:,} vectors have ticks that the journal lacks")
    return Parity(
        session.path.name,
        comparison.compared,
        len(sample),
        head.every,
        ticks,
        comparison.features(),
        tuple(notes),
        time.perf_counter() - started,
    )


def _of_sample(head: Head, config: Config) -> list[str]:
    """Raises SampleError for a sample of another set of features: nothing in it could be compared."""
    schema = feature_schema(config.indicators)
    if head.names != schema.names:
        raise SampleError(
            f"{FILE} holds other features than the session's configuration gives; use the code it was made by"
        )
    return (
        []
        if head.schema == schema.hash
        else [f"{FILE} was made with another feature set ({head.schema[:16]}...)"]
    )


def _seen_ticks(session: RecordedSession, end: int) -> Iterator[np.ndarray]:
    """The ticks below ``end`` that the live stage saw: not those by which it was lapped."""
    laps = [
        (int(event.data["from"]), int(event.data["to"]))
        for event in session.events
        if event.kind in MISSED and event.role == "indicators" and event.data.get("ring") == "ticks"
    ]
    for chunk in session.reader.ticks():
        sequences = chunk["sequence"]
        if len(chunk) == 0 or sequences[0] >= end:
            return
        seen = sequences < end
        for first, stop in laps:
            seen &= (sequences < first) | (sequences >= stop)
        yield chunk if seen.all() else chunk.view(f"V{chunk.itemsize}")[seen].view(chunk.dtype)


class Comparison:
    """Of the vectors of a sample with what their ticks give. ``take`` chunks of ticks in order, then ``features``."""

    def __init__(
        self,
        names: Sequence[str],
        config: Config,
        symbol: Callable[[int], str] = str,
        reference: Reference | None = None,
    ) -> None:
        instruments = config.engine.instruments_max
        self._names, self._symbol = names, symbol
        self._stage = OfflineIndicators(
            config.indicators, instruments, on_bars=config.inference.evaluate == "bars"
        )
        self._reference = reference or Reference(config.indicators, instruments)
        self._fed = 0
        self.compared = 0
        width = len(names)
        self._unequal, self._beyond = np.zeros(width, np.int64), np.zeros(width, np.int64)
        self._worst = np.full(width, -1.0)
        self._first: list[Example | None] = [None] * width

    def take(self, ticks: np.ndarray, sample: np.ndarray) -> None:
        """TICK_DTYPE rows, and the vectors (``sample_dtype``) among which theirs are."""
        sequences = ticks["sequence"]
        begin, end = np.searchsorted(sample["source_sequence"], (sequences[0], sequences[-1] + 1))
        live = sample[begin:end]
        computed = self._stage.feed(ticks).features
        again = computed["values"][:, : len(self._names)]
        at = sequences[computed["source_sequence"] - self._fed]  # the stage counts what it is given
        self._fed += len(ticks)
        found = np.isin(live["source_sequence"], at)
        live = live[found]
        again = again[np.searchsorted(at, live["source_sequence"])]
        reference = self._plain(ticks, live)
        self._compare(live, again, reference)
        self.compared += len(live)

    def features(self) -> tuple[FeatureParity, ...]:
        """What was found, feature by feature; those that the configuration leaves out are not in it."""
        found = zip(self._names, self._unequal, self._beyond, self._worst, self._first, strict=True)
        return tuple(
            FeatureParity(name, int(unequal), int(beyond), float(worst), first)
            for name, unequal, beyond, worst, first in found
            if not name.startswith("(")
        )

    def _plain(self, ticks: np.ndarray, live: np.ndarray) -> np.ndarray:
        """float64[n, features] of the reference."""
        wanted = np.isin(ticks["sequence"], live["source_sequence"]).tolist()
        rows = []
        for tick, is_wanted in zip(plain_ticks(ticks), wanted, strict=True):
            instrument = self._reference.take(tick)
            if is_wanted and instrument is not None:
                values = instrument.values()
                rows.append([values.get(name, np.nan) for name in self._names])
        return np.array(rows, np.float64).reshape(len(rows), len(self._names))

    def _compare(self, live: np.ndarray, again: np.ndarray, reference: np.ndarray) -> None:
        for k, name in enumerate(self._names):
            if name.startswith("("):
                continue
            mine = live["values"][:, k]
            unequal = (mine.view(np.uint64) != again[:, k].view(np.uint64)) & ~(
                np.isnan(mine) & np.isnan(again[:, k])
            )
            parts = np.zeros(len(mine))
            if name in self._reference.names:
                parts = _parts_of_bound(name, mine, reference[:, k], live["price"])
                self._worst[k] = max(self._worst[k], float(parts.max(initial=0.0)))
            wrong = unequal | (parts > 1.0)
            self._unequal[k] += int(unequal.sum())
            self._beyond[k] += int((parts > 1.0).sum())
            if self._first[k] is None and wrong.any():
                i = int(np.argmax(wrong))
                where = int(live["source_sequence"][i]), self._symbol(int(live["instrument_id"][i]))
                self._first[k] = Example(*where, float(mine[i]), float(again[i, k]), float(reference[i, k]))


def _parts_of_bound(name: str, mine: np.ndarray, reference: np.ndarray, price: np.ndarray) -> np.ndarray:
    """How often the bound goes into the difference; infinite where only one of the two is unknown."""
    apart = np.abs(mine - reference)
    alike = (mine == reference) | (np.isnan(mine) & np.isnan(reference))
    return np.where(alike, 0.0, np.where(np.isnan(apart), np.inf, apart / bound_of(name, reference, price)))
