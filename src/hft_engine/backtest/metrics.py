"""What a report says of an equity curve and its round trips. Each formula stands at its name in ``Metrics``.

E is the equity, sampled at every ``execution.equity_every_ms`` of event time at which ticks came, and once at the end;
a return is E[i] / E[i - 1] - 1. A year has 252 days of trading.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from hft_engine.backtest.trades import Trade

DAYS_A_YEAR = 252
_DAY_NS = 86_400_000_000_000


class Metrics(msgspec.Struct, frozen=True):
    """Money in currency, shares as fractions; None where there is nothing to compute it from."""

    profit: float  # E[end] - E[0], after fees
    profit_share: float  # of E[0]
    drawdown: float  # largest of max(E[0..i]) - E[i]
    drawdown_share: float  # largest of 1 - E[i] / max(E[0..i])
    drawdown_s: float  # longest time from a high to the next equal or higher E, or to the end
    sharpe: float | None  # mean / standard deviation (n - 1) of the returns * sqrt(252 * samples a day)
    exposure: float  # share of the samples at which something was held
    gross_mean: float  # mean value of what was held
    trades: int  # round trips that ended
    win_rate: float | None  # of them, with a profit after fees
    profit_factor: float | None  # profits of those / losses of the others
    win_mean: float | None
    loss_mean: float | None
    held_mean_s: float | None
    fees: float
    turnover: float  # price * quantity of all fills


def metrics_of(
    ts_ns: np.ndarray,
    equity: np.ndarray,
    gross: np.ndarray,
    trades: Sequence[Trade],
    fees: float,
    turnover: float,
) -> Metrics:
    """``ts_ns`` int64[n], ``equity`` and ``gross`` float64[n] in currency, n >= 1."""
    peak = np.maximum.accumulate(equity)
    profits = [trade.profit for trade in trades]
    wins, losses = [p for p in profits if p > 0], [p for p in profits if p <= 0]
    profit = float(equity[-1] - equity[0])
    return Metrics(
        profit=profit,
        profit_share=profit / float(equity[0]),
        drawdown=float(np.max(peak - equity)),
        drawdown_share=float(np.max(1.0 - equity / peak)),
        drawdown_s=_longest_below(ts_ns, equity, peak),
        sharpe=sharpe_of(ts_ns, equity),
        exposure=float(np.mean(gross > 0)),
        gross_mean=float(np.mean(gross)),
        trades=len(trades),
        win_rate=_ratio(len(wins), len(trades)),
        profit_factor=_ratio(sum(wins), -sum(losses)),
        win_mean=_ratio(sum(wins), len(wins)),
        loss_mean=_ratio(sum(losses), len(losses)),
        held_mean_s=_ratio(sum(trade.held_s for trade in trades), len(trades)),
        fees=fees,
        turnover=turnover,
    )


def sharpe_of(ts_ns: np.ndarray, equity: np.ndarray) -> float | None:
    """Annualised, without a riskless rate; None of fewer than three samples or an equity that never moved."""
    if len(equity) < 3:
        return None
    returns = equity[1:] / equity[:-1] - 1.0
    deviation = float(np.std(returns, ddof=1))
    if deviation == 0.0:
        return None
    days = len(np.unique(ts_ns[1:] // _DAY_NS))
    return float(np.mean(returns)) / deviation * math.sqrt(DAYS_A_YEAR * len(returns) / days)


def _longest_below(ts_ns: np.ndarray, equity: np.ndarray, peak: np.ndarray) -> float:
    at_peak = np.append(np.flatnonzero(equity >= peak), len(equity) - 1)
    return float(np.max(np.diff(ts_ns[at_peak]), initial=0)) / 1e9


def _ratio(above: float, below: float) -> float | None:
    return above / below if below else None
