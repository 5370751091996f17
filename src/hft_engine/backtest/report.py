"""The report of a backtest: what was assumed, what came out. As an object for JSON, and as text."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from hft_engine.backtest.metrics import Metrics, metrics_of
from hft_engine.backtest.trades import Trade, trades_of
from hft_engine.config.schema import Config, ExecutionConfig
from hft_engine.execution.ledger import Ledger
from hft_engine.records import OrderStatus, Refusal
from hft_engine.replay import ReplayResult

SAMPLES_SHOWN = 1_000  # points of the equity curve in JSON and page


class Report(msgspec.Struct, frozen=True):
    paths: tuple[str, ...]
    strategy: str
    parameters: dict[str, float]
    assumptions: dict[str, str]
    first_utc: str
    last_utc: str
    layout: str
    ticks: int
    bars: int
    signals: int
    signal_hash: str
    fills: int
    fill_hash: str
    orders: int
    refused: int
    refusals: dict[str, int]  # by rule
    cancelled: int
    expired: int
    latched: bool
    equity_first: float
    equity_last: float
    cash: float
    positions: dict[str, float]  # still held
    metrics: Metrics
    by_symbol: dict[str, float]  # realised profit after fees
    trades: tuple[Trade, ...]
    equity: tuple[tuple[int, float], ...]  # (UTC ns, currency), thinned to SAMPLES_SHOWN
    seconds: float
    ticks_per_s: float


def report_of(config: Config, paths: Sequence[str], result: ReplayResult, ledger: Ledger) -> Report:
    """``config`` must have an ``execution`` section, that of the run."""
    execution, closing, fills = config.execution, ledger.closing, ledger.fills
    assert execution is not None
    money = closing.price_tick * closing.size_tick
    symbols = {holding.instrument_id: holding.symbol for holding in closing.holdings}
    trades = trades_of(fills, symbols, closing.price_tick, closing.size_tick)
    ts_ns, equity, gross = _curve(ledger, money)
    turnover = sum(int(p) * int(q) for p, q in zip(fills["price"], fills["quantity"], strict=True)) * money
    return Report(
        paths=tuple(paths),
        strategy=execution.strategy,
        parameters=execution.parameters,
        assumptions=assumptions(execution),
        first_utc=_utc(closing.first_ns),
        last_utc=_utc(closing.last_ns),
        layout=result.layout,
        ticks=result.ticks,
        bars=result.bars,
        signals=result.signals,
        signal_hash=result.signal_hash,
        fills=len(fills),
        fill_hash=fill_hash(fills),
        orders=closing.orders,
        refused=closing.refused,
        refusals=_refusals(ledger.orders),
        cancelled=closing.cancelled,
        expired=closing.expired,
        latched=closing.latched,
        equity_first=closing.start_cash * money,
        equity_last=closing.equity * money,
        cash=closing.cash * money,
        positions={h.symbol: h.position * closing.size_tick for h in closing.holdings if h.position},
        metrics=metrics_of(ts_ns, equity, gross, trades, closing.fees * money, turnover),
        by_symbol={h.symbol: (h.realised - h.fees) * money for h in closing.holdings},
        trades=tuple(trades),
        equity=_thinned(ts_ns, equity),
        seconds=result.seconds,
        ticks_per_s=result.ticks_per_s,
    )


def fill_hash(fills: np.ndarray) -> str:
    """16 hex digits over all fills; zeros without one."""
    return f"{int(fills[-1]['chain_hash']) if len(fills) else 0:016x}"


def assumptions(config: ExecutionConfig) -> dict[str, str]:
    """What the paper venue takes for granted, in words."""
    risk = config.risk
    queue = {
        "through": "fills at its limit only when a trade or the other side's quote goes beyond it",
        "estimate": "fills at its limit when reached by the other side's quote, or by trades at its price after those "
        "in front of it; the size shown when it came is in front, none of it cancelled",
    }
    loss = f", loss {risk.loss_max:,.2f} of the run" if risk.loss_max else ""
    return {
        "latency": f"{config.latency_ms} ms of event time from a decision until the venue knows; the same for a cancel",
        "market orders": "fill whole at the instrument's first tick after that, at the quote's other side; where no "
        f"quote is known at the last trade and {config.half_spread_bps:g} bp against them",
        "limit orders": f"waiting: {queue[config.queue]} (queue: {config.queue})",
        "fees": f"{config.fee_per_unit:g} a unit and {config.fee_bps:g} bp of the notional, rounded up, each fill",
        "impact": "none: our orders move no market and are never too large for it",
        "money": f"whole numbers: price tick {config.price_tick:g}, size tick {config.size_tick:g}; no interest, "
        "no margin, short selling without cost",
        "valuation": "the last trade, before the first one the middle of the quote",
        "risk gate": f"order {risk.order_size_max:g} units, {risk.order_notional_max:,.0f} notional; position "
        f"{risk.position_max:g}; collar {risk.collar_bps:g} bp; signal {risk.signal_age_max_ms} ms old; "
        f"{risk.working_max} open orders{loss}",
    }


def text_of(report: Report) -> str:
    """For a terminal."""
    lines = [f"{name:<15}{value}" for name, value in summary_rows(report)]
    lines += ["", "assumptions"]
    lines += [f"  {name:<15}{value}" for name, value in report.assumptions.items()]
    return "\n".join(lines)


def summary_rows(report: Report) -> list[tuple[str, str]]:
    """(name, value), what a person looks at first at the top."""
    m = report.metrics
    held = ", ".join(f"{quantity:g} {symbol}" for symbol, quantity in report.positions.items())
    refused = "".join(f" ({count:,} {rule})" for rule, count in report.refusals.items())
    return [
        ("strategy", f"{report.strategy} {report.parameters or ''}".strip()),
        ("period", f"{report.first_utc} to {report.last_utc} UTC"),
        ("profit", f"{m.profit:+,.2f} ({m.profit_share:+.3%}) after {m.fees:,.2f} fees"),
        ("equity", f"{report.equity_first:,.2f} to {report.equity_last:,.2f}"),
        (
            "drawdown",
            f"{m.drawdown:,.2f} ({m.drawdown_share:.3%}), longest {duration_text(m.drawdown_s)}",
        ),
        ("Sharpe ratio", number_text(m.sharpe, "{:.2f} a year")),
        (
            "trades",
            f"{m.trades:,}, {number_text(m.win_rate, '{:.1%}')} won, profit factor {number_text(m.profit_factor)}",
        ),
        (
            "a trade",
            f"won {number_text(m.win_mean)}, lost {number_text(m.loss_mean)}, held {duration_text(m.held_mean_s)}",
        ),
        ("exposure", f"{m.exposure:.1%} of the time, {m.gross_mean:,.2f} on average"),
        ("turnover", f"{m.turnover:,.2f}"),
        (
            "orders",
            f"{report.orders:,}: {report.fills:,} fills, {report.refused:,} refused{refused}, "
            f"{report.cancelled:,} cancelled, {report.expired:,} expired",
        ),
        ("still held", held or "nothing"),
        *([("LATCHED", "new orders were latched off")] if report.latched else []),
        ("signals", f"{report.signals:,}, hash {report.signal_hash}"),
        ("fills", f"{report.fills:,}, hash {report.fill_hash}"),
        (
            "run",
            f"{report.ticks:,} ticks, {report.bars:,} bars in {report.seconds:.2f} s: "
            f"{report.ticks_per_s:,.0f} ticks/s, layout {report.layout}",
        ),
    ]


def number_text(value: float | None, form: str = "{:,.2f}") -> str:
    return "-" if value is None else form.format(value)


def duration_text(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def fields(report: Report) -> dict[str, Any]:
    """For JSON."""
    built: dict[str, Any] = msgspec.to_builtins(report)
    return built


def _curve(ledger: Ledger, money: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ts_ns, equity, gross) of the samples and the end."""
    samples, closing = ledger.samples, ledger.closing
    gross = sum(abs(h.position * h.mark) for h in closing.holdings)
    ts_ns = np.append(samples["ts_ns"], closing.last_ns)
    return (
        ts_ns,
        np.append(samples["equity"], closing.equity) * money,
        np.append(samples["gross"], gross) * money,
    )


def _thinned(ts_ns: np.ndarray, equity: np.ndarray) -> tuple[tuple[int, float], ...]:
    at = np.unique(np.linspace(0, len(ts_ns) - 1, min(len(ts_ns), SAMPLES_SHOWN)).astype(np.int64))
    return tuple(zip(ts_ns[at].tolist(), np.round(equity[at], 6).tolist(), strict=True))


def _refusals(orders: np.ndarray) -> dict[str, int]:
    refused = orders["reason"][orders["status"] == OrderStatus.REFUSED]
    reasons, counts = np.unique(refused, return_counts=True)
    return {
        Refusal(int(reason)).name.lower(): int(count) for reason, count in zip(reasons, counts, strict=True)
    }


def _utc(ts_ns: int) -> str:
    return datetime.fromtimestamp(ts_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
