"""What is learned, as data: for each model its classes, its labels, and the position that its probabilities ask for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hft_engine.config.schema import Config
from hft_engine.learn import labels as lb
from hft_engine.learn.labels import Labels
from hft_engine.learn.regimes import LOOK_AHEAD, REGIMES, TREND_DOWN, TREND_UP, label_regimes
from hft_engine.learn.samples import Samples

PEAK_BEFORE, PEAK_AFTER = 2, 5  # rows around a peak that count as at it
DEAD_BAND = 0.25  # of fixed-horizon labels: a smaller share of the usual move is neither up nor down


@dataclass(frozen=True)
class Task:
    """``label(samples, config, fit)``: ``fit`` bool[n]: the rows that a labeller with parameters may learn them from.
    ``position(probabilities, threshold, horizon)``: -1..1 a row, held from the row's end to the next one's.
    ``text``: what the outputs are the probability of. ``reach``: rows after which a label is known.
    """

    name: str
    text: str
    classes: tuple[str, ...]
    label: Callable[[Samples, Config, np.ndarray], Labels]
    position: Callable[[np.ndarray, float, int], np.ndarray]
    reach: Callable[[Config], int]


def usual_move(samples: Samples, config: Config, rows: int) -> np.ndarray:
    """float64[n]: standard deviation of ln price over so many rows, from the last ``indicators.volatility`` returns."""
    per_row = samples.column("bar_volatility") / np.sqrt(config.indicators.volatility)
    return np.asarray(per_row * np.sqrt(rows))


def _in_each(samples: Samples, label: Callable[[slice], Labels]) -> Labels:
    """Labels of each series by itself, with ``known`` counted over all rows."""
    parts = []
    for part in samples.by_series():
        classes, known = label(part)
        parts.append(Labels(classes, np.where(known >= 0, known + part.start, -1)))
    return Labels(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _peaks(samples: Samples, config: Config, fit: np.ndarray) -> Labels:
    learning = config.learning
    prominence = learning.peak_prominence * usual_move(samples, config, config.indicators.volatility)
    return _in_each(
        samples,
        lambda part: lb.peaks(
            samples.close[part], prominence[part], learning.peak_reach, PEAK_BEFORE, PEAK_AFTER
        ),
    )


def _entries(samples: Samples, config: Config, fit: np.ndarray) -> Labels:
    """1 where a purchase would have gained the barrier's width and its costs before it lost as much."""
    learning = config.learning
    move = usual_move(samples, config, learning.prediction_horizon)
    cost = 2.0 * learning.cost_bps / 1e4

    def label(part: slice) -> Labels:
        if learning.entry_label == "fixed_horizon":
            return lb.fixed_horizon(
                samples.close[part], learning.prediction_horizon, DEAD_BAND * move[part] + cost
            )
        width = learning.barrier_width * move[part] + cost
        _, high, low, close, _ = samples.bars[part].T
        return lb.triple_barrier(high, low, close, width, learning.prediction_horizon)

    found = _in_each(samples, label)
    return Labels(
        np.where(found.classes >= 0, found.classes == lb.UP, lb.UNKNOWN).astype(np.int64), found.known
    )


def _regimes(samples: Samples, config: Config, fit: np.ndarray) -> Labels:
    return label_regimes(samples, fit, config.learning.seed)


def _out_at_peaks(probabilities: np.ndarray, threshold: float, horizon: int) -> np.ndarray:
    return np.where(probabilities[:, 1] >= threshold, 0.0, 1.0)


def _in_after_entries(probabilities: np.ndarray, threshold: float, horizon: int) -> np.ndarray:
    """Long for ``horizon`` rows after an entry."""
    entered = np.flatnonzero(probabilities[:, 1] >= threshold)
    position = np.zeros(len(probabilities))
    for ahead in range(horizon):
        position[np.minimum(entered + ahead, len(position) - 1)] = 1.0
    return position


def _with_the_trend(probabilities: np.ndarray, threshold: float, horizon: int) -> np.ndarray:
    regime = probabilities.argmax(axis=1)
    return (regime == TREND_UP).astype(float) - (regime == TREND_DOWN)


TASKS = {
    task.name: task
    for task in (
        Task(
            "peak_detection",
            "a peak of the price is at hand",
            ("no_peak", "peak"),
            _peaks,
            _out_at_peaks,
            lambda config: PEAK_BEFORE + config.learning.peak_reach,
        ),
        Task(
            "entry_timing",
            "a purchase now gains before it loses",
            ("wait", "enter"),
            _entries,
            _in_after_entries,
            lambda config: config.learning.prediction_horizon,
        ),
        Task(
            "market_regime",
            "the market's regime",
            REGIMES,
            _regimes,
            _with_the_trend,
            lambda config: LOOK_AHEAD,
        ),
    )
}
