"""The report as one HTML page: no script, no other file, the curves as inline SVG."""

import html
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hft_engine import __version__
from hft_engine.backtest.report import Report, duration_text, summary_rows
from hft_engine.backtest.trades import Trade

WIDTH, HEIGHT, DRAWDOWN_HEIGHT = 960, 280, 110
LEFT, RIGHT, TOP, BOTTOM = 84, 12, 12, 26  # margins of a chart
LINES = 5  # on the vertical axis
TRADES_SHOWN = 200

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667080; --rule: #d9dee5; --paper: #ffffff;
  --line: #1f6feb; --gain: #1a7f37; --loss: #c0392b; --fill: #c0392b22; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #98a2b1; --rule: #343b46; --paper: #14171c;
  --line: #6ea8fe; --gain: #56c271; --loss: #ff7b6b; --fill: #ff7b6b33; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p.soft, caption, .axis { color: var(--soft); fill: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem; margin: 1.2rem 0; }
.card { border: 1px solid var(--rule); border-radius: 8px; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.2rem; font-variant-numeric: tabular-nums; } .card span { color: var(--soft); }
.gain { color: var(--gain); } .loss { color: var(--loss); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { font-weight: 600; } td.n, th.n { text-align: right; } table.facts th { width: 9.5rem; font-weight: 400;
  color: var(--soft); }
svg { width: 100%; height: auto; display: block; } svg text { font-size: 12px; }
.wide { overflow-x: auto; }
"""


def page_of(report: Report) -> str:
    """A whole HTML document."""
    title = f"Backtest of {report.strategy}"
    ts = np.array([point[0] for point in report.equity], np.float64)
    equity = np.array([point[1] for point in report.equity], np.float64)
    fall = (equity / np.maximum.accumulate(equity) - 1.0) * 100.0
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_text(report.first_utc)} to {_text(report.last_utc)} UTC · {report.ticks:,} ticks · '
        f"{_text(', '.join(Path(path).name for path in report.paths))} · hft_engine {__version__}</p>",
        _cards(report),
        "<h2>Equity</h2>",
        _chart(ts, equity, HEIGHT, "var(--line)", filled=False, unit=""),
        "<h2>Drawdown, % of the highest equity before</h2>",
        _chart(ts, fall, DRAWDOWN_HEIGHT, "var(--loss)", filled=True, unit=" %"),
        "<h2>Figures</h2>",
        _facts(summary_rows(report)),
        "<h2>Assumptions of the paper venue</h2>",
        _facts(report.assumptions.items()),
        "<h2>Profit by instrument, closed, after fees</h2>",
        _facts((symbol, f"{profit:+,.2f}") for symbol, profit in report.by_symbol.items()),
        f"<h2>Trades{_shown(report.trades)}</h2>",
        _trades(report.trades[-TRADES_SHOWN:]),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(title)}</title>'
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head>'
        f"<body>{''.join(body)}</body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _cards(report: Report) -> str:
    m = report.metrics
    cards = [
        ("profit after fees", f"{m.profit:+,.2f}", _sign(m.profit)),
        ("return", f"{m.profit_share:+.3%}", _sign(m.profit)),
        ("largest drawdown", f"{m.drawdown_share:.3%}", ""),
        ("Sharpe ratio, a year", "-" if m.sharpe is None else f"{m.sharpe:.2f}", ""),
        ("trades won", "-" if m.win_rate is None else f"{m.win_rate:.1%} of {m.trades:,}", ""),
        ("in the market", f"{m.exposure:.1%}", ""),
    ]
    parts = (
        f'<div class="card"><span>{name}</span><b class="{kind}">{value}</b></div>'
        for name, value, kind in cards
    )
    return f'<div class="cards">{"".join(parts)}</div>'


def _sign(value: float) -> str:
    return "gain" if value > 0 else "loss" if value < 0 else ""


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows)
    return f'<table class="facts">{lines or "<tr><td>none</td></tr>"}</table>'


def _shown(trades: Sequence[Trade]) -> str:
    return f" (the last {TRADES_SHOWN} of {len(trades):,})" if len(trades) > TRADES_SHOWN else ""


def _trades(trades: Sequence[Trade]) -> str:
    if not trades:
        return "<p>No position was opened and closed again.</p>"
    numbers = ("quantity", "entry", "exit", "profit", "held")
    head = "<th>closed, UTC</th><th>instrument</th><th>side</th>" + "".join(
        f'<th class="n">{n}</th>' for n in numbers
    )
    rows = "".join(map(_trade, trades))
    return f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _trade(trade: Trade) -> str:
    closed = datetime.fromtimestamp(trade.closed_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"<tr><td>{closed}</td><td>{_text(trade.symbol)}</td><td>{trade.side}</td>"
        f'<td class="n">{trade.quantity:g}</td><td class="n">{trade.entry:,.4f}</td>'
        f'<td class="n">{trade.exit:,.4f}</td><td class="n {_sign(trade.profit)}">{trade.profit:+,.2f}</td>'
        f'<td class="n">{duration_text(trade.held_s)}</td></tr>'
    )


# ---- charts ---------------------------------------------------------------------------------------------------


def _chart(ts: np.ndarray, values: np.ndarray, height: int, colour: str, filled: bool, unit: str) -> str:
    low, high = float(values.min()), float(values.max())
    margin = (high - low) * 0.04 or max(abs(high) * 1e-6, 1e-6)
    low, high = (low - margin, 0.0) if filled else (low - margin, high + margin)
    x = _scaled(ts, float(ts.min()), float(ts.max()), LEFT, WIDTH - RIGHT)
    y = _scaled(values, low, high, height - BOTTOM, TOP)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    area = ""
    if filled:
        area = f'<polygon fill="var(--fill)" points="{LEFT},{TOP} {points} {x[-1]:.1f},{TOP}"/>'
    lines = _levels(low, high, height, unit) + _times(ts, height)
    curve = f'<polyline fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round" points="{points}"/>'
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{lines}{area}{curve}</svg>'


def _scaled(values: np.ndarray, low: float, high: float, first: float, last: float) -> np.ndarray:
    if high == low:
        return np.full(len(values), (first + last) / 2.0)
    return first + (values - low) / (high - low) * (last - first)


def _levels(low: float, high: float, height: int, unit: str) -> str:
    """Lines across at round values."""
    step = _round_step((high - low) / LINES)
    decimals = max(0, -int(np.floor(np.log10(step))))
    parts = []
    for level in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step:
        y = float(_scaled(np.array([level]), low, high, height - BOTTOM, TOP)[0])
        label = f"{level + 0.0:,.{decimals}f}{unit}"
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--rule)"/>'
            f'<text class="axis" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    return "".join(parts)


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least ``rough``."""
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * n for n in (1, 2, 5, 10) if power * n >= rough * (1 - 1e-9)))


def _times(ts: np.ndarray, height: int) -> str:
    first, last = float(ts.min()), float(ts.max())
    form = (
        "%Y-%m-%d" if last - first > 3 * 86_400e9 else "%m-%d %H:%M" if last - first > 600e9 else "%H:%M:%S"
    )
    parts = []
    for share, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        when = datetime.fromtimestamp((first + (last - first) * share) / 1e9, UTC).strftime(form)
        x = LEFT + (WIDTH - RIGHT - LEFT) * share
        parts.append(f'<text class="axis" x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{when}</text>')
    return "".join(parts)
