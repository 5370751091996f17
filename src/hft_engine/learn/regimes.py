"""Regimes found in a training set without any label: states of a hidden Markov model, named by what prices do there.

The emissions are what tells regimes apart: order flow, volatility against its usual, spread against its usual; of
stored bars, which have no quotes, the move against volatility and volatility against its usual. A row's label is its
*smoothed* state, which knows what came afterwards; the regime model learns to tell it from the features of the moment.
"""

import numpy as np

from hft_engine.learn.hmm import fit_hmm
from hft_engine.learn.labels import UNKNOWN, Labels
from hft_engine.learn.samples import Samples

REGIMES = ("ranging", "trend_up", "trend_down", "volatile")
RANGING, TREND_UP, TREND_DOWN, VOLATILE = range(len(REGIMES))
LOOK_AHEAD = 30  # rows after which a smoothed state hardly changes any more: the label counts as known then
STATES = 8  # of the hidden Markov model: some regimes look different in one instrument and another
TREND_SHARE = 0.5  # of the strongest trend's mean move over deviation: a state of less ranges
USUAL_ROWS = 300  # half-life of the usual volatility of stored bars
EMISSION_LIMIT = 5.0  # of a standardised emission
_SCALE_MIN = 1e-12


def label_regimes(samples: Samples, fit: np.ndarray, seed: int) -> Labels:
    """The regime of each row. The model of the states is fitted to the rows ``fit`` (bool[n]) alone, and their own
    states are smoothed over them alone; the other rows' are smoothed over the whole series.
    """
    emissions = emissions_of(samples)
    known = np.isfinite(emissions[fit]).all(axis=1)
    if len(np.unique(emissions[fit][known], axis=0)) < STATES:  # too few rows, or a price that stands still
        return Labels(np.full(len(samples), UNKNOWN, np.int64), np.full(len(samples), UNKNOWN, np.int64))
    emissions = standardised(emissions, fit)
    lengths = _lengths(samples.series[fit])
    model = fit_hmm(emissions[fit], lengths, STATES, seed)
    names = names_of(model.smoothed(emissions[fit], lengths), moves_of(samples)[fit])
    classes = np.full(len(samples), UNKNOWN, np.int64)
    classes[:] = names[model.smoothed(emissions, samples.lengths).argmax(axis=1)]
    classes[fit] = names[model.smoothed(emissions[fit], lengths).argmax(axis=1)]
    known = np.arange(len(samples)) + LOOK_AHEAD
    for part in samples.by_series():
        known[part] = np.where(known[part] < part.stop, known[part], UNKNOWN)
        classes[part][known[part] < 0] = UNKNOWN
    return Labels(classes, known)


def emissions_of(samples: Samples) -> np.ndarray:
    """float64[n, d], missing values NaN."""
    columns = (
        [
            samples.column("imbalance_mean"),
            samples.column("mid_volatility_ratio"),
            samples.column("spread_ratio"),
        ]
        if {"imbalance_mean", "mid_volatility_ratio", "spread_ratio"} <= set(samples.names)
        else [
            _over(samples.column("bar_return_20"), samples.column("bar_volatility")),
            _volatility_ratio(samples),
        ]
    )
    return np.column_stack([columns[0], *(np.log(np.clip(column, 1e-3, 1e3)) for column in columns[1:])])


def _over(values: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    """NaN where the divisor is 0."""
    return np.asarray(values / np.where(divisor > 0.0, divisor, np.nan))


def _volatility_ratio(samples: Samples) -> np.ndarray:
    """Of stored bars: volatility against its own fading mean until the row."""
    volatility = samples.column("bar_volatility")
    usual = np.full(len(samples), np.nan)
    fade = 0.5 ** (1.0 / USUAL_ROWS)
    for part in samples.by_series():
        total = weight = 0.0
        for i, value in enumerate(volatility[part].tolist(), part.start):
            if value == value:
                total, weight = fade * total + value, fade * weight + 1.0
            usual[i] = total / weight if weight else np.nan
    return volatility / np.maximum(usual, _SCALE_MIN)


def standardised(emissions: np.ndarray, fit: np.ndarray) -> np.ndarray:
    """By the rows ``fit``; what is missing is usual."""
    centre = np.nanmedian(emissions[fit], axis=0)
    scale = np.maximum(np.nanstd(emissions[fit], axis=0), _SCALE_MIN)
    return np.clip(np.nan_to_num((emissions - centre) / scale), -EMISSION_LIMIT, EMISSION_LIMIT)


def _lengths(series: np.ndarray) -> np.ndarray:
    return np.unique(series, return_counts=True)[1]


def moves_of(samples: Samples) -> np.ndarray:
    """float64[n]: ln return of each row, in standard deviations of its series."""
    moves = np.zeros(len(samples))
    for part in samples.by_series():
        own = np.diff(np.log(samples.close[part]), prepend=np.log(samples.close[part.start]))
        moves[part] = np.clip(own / max(float(own.std()), _SCALE_MIN), -10.0, 10.0)
    return moves


def names_of(smoothed: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """int64[states]: the regime of each state. The one of the widest moves is volatile; of the others those trend whose
    mean move over its deviation is at least ``TREND_SHARE`` of the strongest one's, up or down; the others range."""
    weight = smoothed.sum(axis=0) + 1e-12
    mean = smoothed.T @ moves / weight
    deviation = np.sqrt(np.maximum(smoothed.T @ moves**2 / weight - mean**2, _SCALE_MIN))
    strength = mean / deviation
    wild = np.arange(len(mean)) == deviation.argmax()
    names = np.full(len(mean), RANGING, np.int64)
    names[~wild & (strength >= TREND_SHARE * max(strength[~wild].max(), 0.0)) & (strength > 0.0)] = TREND_UP
    names[~wild & (strength <= TREND_SHARE * min(strength[~wild].min(), 0.0)) & (strength < 0.0)] = TREND_DOWN
    names[wild] = VOLATILE
    return names
