"""A backtest is what live would have done: in every layout, whatever the pieces, and beside a real engine."""

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from hft_engine.backtest.page import page_of
from hft_engine.backtest.run import backtest, with_strategy
from hft_engine.config.load import load_config
from hft_engine.config.schema import Config
from support.engine import ROOT, hft
from support.lean import write_day

sys.path.append(str(ROOT / "scripts"))
import verify_backtest

RECORDED = str(ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz")
CONFIG = ROOT / "tests" / "golden" / "replay.yaml"
SETTINGS = (
    "execution.price_tick=0.01",
    "execution.size_tick=0.001",
    "execution.fee_bps=1",
    "execution.fee_per_unit=0",
    "execution.equity_every_ms=1000",
    "execution.parameters={quantity: 0.1, short: 1}",
)
COMPARED = ("ticks", "bars", "signals", "signal_hash", "orders", "fills", "fill_hash", "equity_last")
OWN_FILE = """
from hft_engine.strategy import Follow
class Mine(Follow):
    def on_fill(self, ctx, fill):
        assert fill.ts_venue_ns == ctx.now_ns
"""


def configuration(*more: str) -> Config:
    return with_strategy(load_config(CONFIG, (*SETTINGS, *more)))


@pytest.fixture(scope="module")
def inline() -> dict[str, Any]:
    report = backtest(configuration("engine.layout=inline"), [RECORDED])
    return {name: getattr(report, name) for name in COMPARED}


def test_a_report_and_its_page_say_what_was_assumed_and_what_came_out() -> None:
    report = backtest(configuration("engine.layout=inline"), [RECORDED])
    assert report.ticks == 24_000 and report.fills > 40 and report.metrics.trades > 40
    assert report.equity_last - report.equity_first == pytest.approx(report.metrics.profit)
    closed = sum(report.by_symbol.values())
    of_open = report.metrics.fees - sum(
        trade.fees for trade in report.trades
    )  # entered, and not closed again
    assert of_open >= 0.0
    assert sum(trade.profit for trade in report.trades) == pytest.approx(closed + of_open, abs=0.01)
    page = page_of(report)
    assert page.count("<svg") == 2 and "<script" not in page
    for said in (*report.assumptions.values(), report.fill_hash, report.signal_hash):
        assert said.replace("'", "&#x27;") in page


@pytest.mark.parametrize("layout", ["compact", "dedicated"])
def test_every_layout_fills_the_same(layout: str, inline: dict[str, Any]) -> None:
    report = backtest(configuration(f"engine.layout={layout}"), [RECORDED])
    assert {name: getattr(report, name) for name in COMPARED} == inline


def test_a_strategy_in_python_fills_what_the_compiled_one_does(
    tmp_path: Path, inline: dict[str, Any]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN_FILE)
    report = backtest(configuration("engine.layout=inline", f"execution.strategy={file}:Mine"), [RECORDED])
    assert {name: getattr(report, name) for name in COMPARED} == inline


def test_the_command_stores_orders_and_fills_and_takes_a_period(tmp_path: Path) -> None:
    database = tmp_path / "day.db"
    options = [part for setting in SETTINGS for part in ("--set", setting)]
    answer = hft(
        "backtest", RECORDED, "--config", str(CONFIG), *options, "--json", "--db", str(database),
        "--from", "2024-08-08T23:54:30", "--to", "2024-08-08T23:55:30",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    # The venue's clock, which the report tells, was a second ahead of the one that stamped the receipt.
    assert "2024-08-08 23:54:30" <= report["first_utc"] < report["last_utc"] <= "2024-08-08 23:55:32"
    assert 0 < report["ticks"] < 24_000
    connection = sqlite3.connect(database)
    orders, fills = (
        connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("orders", "fills")
    )
    last = connection.execute("SELECT chain_hash FROM fills ORDER BY sequence DESC LIMIT 1").fetchone()[0]
    connection.close()
    assert (fills, last) == (report["fills"], report["fill_hash"])
    assert orders == report["orders"] + report["fills"] + report["cancelled"] + report["expired"]


@pytest.mark.system
@pytest.mark.timeout(240)
def test_played_live_the_same_ticks_fill_the_same(tmp_path: Path) -> None:
    """The simulated venue, a websocket, every process; against backtests of the session's journal and of the files."""
    paths = write_day(tmp_path / "files", "abc", 6_000, seed=1)
    paths += write_day(tmp_path / "files", "xyz", 6_000, seed=2, price=40.0)
    arguments = verify_backtest._arguments(
        [*paths, "--layout", "dedicated", "--config", str(CONFIG), "--keep", str(tmp_path / "live"),
         "--set", "execution.parameters={quantity: 100, short: 1}"]
    )  # fmt: skip
    found = verify_backtest.verify(arguments)
    assert found["same"], found["differences"]
    assert found["rows"]["signals"] > 100 and found["rows"]["fills"] > 30, found["rows"]
