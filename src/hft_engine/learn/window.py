"""The newest rows of a running engine, as samples: what the shadow scores on and the trainer learns from."""

from collections.abc import Callable

import numpy as np

from hft_engine.config.schema import IndicatorConfig
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.samples import Samples, of_kind, of_records, record_key
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, BarFlag

_SLACK = 1.25  # rows beyond the limit that are kept before the oldest go: not each addition copies all


class RowWindow:
    """Feature records and bars, at most ``rows_max`` records; the oldest go first."""

    def __init__(self, config: IndicatorConfig, symbol_of: Callable[[int], str], rows_max: int) -> None:
        self._config, self._symbol_of, self._rows_max = config, symbol_of, rows_max
        self.clear()

    def clear(self) -> None:
        self._features = np.zeros(0, FEATURE_DTYPE)
        self._bars = np.zeros(0, BAR_DTYPE)

    def __len__(self) -> int:
        return len(self._features)

    def add(self, features: np.ndarray, bars: np.ndarray) -> None:
        """In the order of their rings; copies."""
        if len(features):
            self._features = np.concatenate([self._features, features])
        if len(bars):
            self._bars = np.concatenate([self._bars, bars[of_kind(bars, self._config)]])
        if len(self._features) > self._rows_max * _SLACK:
            self._features = self._features[-self._rows_max :].copy()
            self._bars = self._bars[_still_needed(self._bars, self._features)].copy()

    def samples(self, name: str) -> Samples | None:
        """With a column for each slot of the feature set; None where no bar is over."""
        if not len(self._features):
            return None
        try:
            return of_records(self._features, self._bars, self._config, self._symbol_of, name)
        except TrainingError:
            return None


def _still_needed(bars: np.ndarray, features: np.ndarray) -> np.ndarray:
    """bool[n]: those that came since the oldest record, and of each instrument the newest before it."""
    later = bars["source_sequence"] >= features["source_sequence"][0]
    before = np.flatnonzero(~later)
    _, newest = np.unique(bars["instrument_id"][before][::-1], return_index=True)
    later[before[::-1][newest]] = True
    return np.asarray(later)


class RowPicker:
    """Of a ring of features those that are rows: an instrument's first record with a new bar.

    Where ``inference.evaluate`` is ``bars`` these are all. Revisions of bars make no row.
    """

    def __init__(self, config: IndicatorConfig, instruments: int) -> None:
        self._config = config
        self._rowed = np.full(instruments, -1, np.int64)  # the bar of each instrument's last row
        self._bars = np.zeros(0, BAR_DTYPE)  # that may still make one

    def pick(self, features: np.ndarray, bars: np.ndarray) -> np.ndarray:
        """``bars``: those that came since, at least all that were there when ``features`` were."""
        fresh = bars[of_kind(bars, self._config) & ((bars["flags"] & int(BarFlag.REVISION)) == 0)]
        self._bars = np.concatenate([self._bars, fresh])
        if not len(features) or not len(self._bars):
            return features[:0]
        ordered = self._bars[np.lexsort((self._bars["source_sequence"], self._bars["instrument_id"]))]
        at = np.searchsorted(record_key(ordered), record_key(features), side="right") - 1
        ids = features["instrument_id"]
        mine = (at >= 0) & (ordered["instrument_id"][at] == ids)
        sources = ordered["source_sequence"][at]
        rows = np.flatnonzero(mine & (sources > self._rowed[ids]))
        _, firsts = np.unique(record_key(ordered)[at[rows]], return_index=True)
        np.maximum.at(self._rowed, ids[rows], sources[rows])
        self._bars = self._bars[self._bars["source_sequence"] > self._rowed[self._bars["instrument_id"]]]
        return features[np.sort(rows[firsts])]
