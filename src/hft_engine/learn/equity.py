"""What acting on a model would have earned, after costs: simple on purpose, a comparison and no backtest.

A position of -1 to 1 times the capital is taken at a row's close and held to the next row's close of the same series;
whatever changes costs ``cost_bps``. The series share the capital equally. `hft backtest` trades with orders and fills.
"""

from typing import NamedTuple

import numpy as np

from hft_engine.learn.report import Equity
from hft_engine.learn.samples import Samples

POINTS_MAX = 400


class Curve(NamedTuple):
    """``ts_ns`` int64[p], ``equity`` float64[p]: sum of ln returns after costs; of the whole ``cost``, ``turnover``."""

    ts_ns: np.ndarray
    equity: np.ndarray
    cost: float
    turnover: float


def curves_of(samples: Samples, rows: np.ndarray, position: np.ndarray, cost_bps: float) -> Curve:
    """Of the tested ``rows`` of the samples, with a ``position`` each."""
    order = np.lexsort((samples.ts_ns[rows], samples.series[rows]))
    rows, position = rows[order], position[order]
    series, close = samples.series[rows], samples.close[rows]
    same = np.append(series[1:] == series[:-1], False)
    moves = np.where(same, np.log(np.roll(close, -1) / close), 0.0)
    before = np.where(np.concatenate(([False], same[:-1])), np.roll(position, 1), 0.0)
    traded = np.abs(position - before)
    paid = traded * cost_bps / 1e4
    count = len(np.unique(series))
    gained = (position * moves - paid) / count
    in_time = np.argsort(samples.ts_ns[rows], kind="stable")
    at = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), POINTS_MAX)).astype(int))
    return Curve(
        samples.ts_ns[rows][in_time][at],
        np.cumsum(gained[in_time])[at],
        float(paid.sum() / count),
        float(traded.sum() / count),
    )


def equity_of(curve: Curve) -> Equity:
    return Equity(round(float(curve.equity[-1]), 6), round(curve.cost, 6), round(curve.turnover, 3))
