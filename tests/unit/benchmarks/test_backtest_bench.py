import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks import harness
from benchmarks.load import backtest, backtest_peers
from benchmarks.load.backtest_bare import count_crosses
from benchmarks.load.backtest_data import Dataset, load
from benchmarks.load.backtest_peers import (
    BARE,
    NAUTILUS_TRADER,
    OURS,
    Contender,
    ContenderError,
    Environment,
    Worker,
)

NOWHERE = Path("/nonexistent")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load(NOWHERE, ticks_min=2_000).first(2_000)


@pytest.fixture
def file(data: Dataset, tmp_path: Path) -> Path:
    data.write(tmp_path / "ticks.npz")
    return tmp_path / "ticks.npz"


def _crosses_by_sides(prices: np.ndarray, from_first: bool) -> int:
    def ema(period: int) -> np.ndarray:
        values = [prices[0] if from_first else float(np.mean(prices[:period]))]
        for price in prices[1 if from_first else period :]:
            values.append(values[-1] + (price - values[-1]) * 2.0 / (period + 1.0))
        return np.array(values)[-(len(prices) - 25) :]

    spread = ema(12) / ema(26) - 1.0
    sides = np.sign(spread[np.abs(spread) >= 1e-9])
    return int(np.count_nonzero(np.diff(sides))) + 1


@pytest.mark.parametrize("from_first", [False, True])
def test_the_plain_loop_counts_the_changes_of_sides(from_first: bool) -> None:
    prices = 100.0 + np.cumsum(np.random.default_rng(3).normal(0.0, 0.05, 3_000))
    assert count_crosses(prices, 12, 26, 1e-9, from_first) == _crosses_by_sides(prices, from_first) > 50


def test_without_the_recorded_day_the_recording_of_this_repository_is_used(data: Dataset) -> None:
    assert "binance" in data.description
    assert len(data.price) == len(data.ts_ns) == len(data.size) == 2_000
    assert data.digits == 1
    assert np.all(np.diff(data.ts_ns) >= 0)


def test_where_recordings_are_too_short_ticks_are_synthetic_and_it_says_so() -> None:
    made = load(NOWHERE, ticks_min=5_000)
    assert "synthetic" in made.description and str(NOWHERE) in made.description
    assert len(made.price) >= 5_000


@pytest.mark.parametrize("contender", [OURS, BARE], ids=["engine", "bare loop"])
def test_a_contender_replays_every_tick_and_gives_the_crosses_of_the_plain_loop(
    contender: Contender, data: Dataset, file: Path
) -> None:
    with Worker(contender, file, backtest.RULE) as worker:
        done = worker.replay()
    backtest.check(contender, done, data)
    assert done["rate"] > 0 and done["crosses"] > 10


@pytest.mark.parametrize("peer", backtest_peers.OTHERS[:-1], ids=lambda peer: peer.title)
def test_a_peer_whose_environment_is_there_agrees_with_the_plain_loop(
    peer: Contender, data: Dataset, file: Path
) -> None:
    assert peer.environment is not None
    if not peer.environment.is_ready():
        pytest.skip("not prepared")
    with Worker(peer, file, backtest.RULE) as worker:
        backtest.check(peer, worker.replay(), data)


def test_a_contender_that_lost_a_tick_or_a_cross_is_refused(data: Dataset) -> None:
    crosses = backtest.expected_crosses(data, from_first=False)
    with pytest.raises(RuntimeError, match="1999 ticks"):
        backtest.check(BARE, {"ticks": 1_999, "crosses": crosses}, data)
    with pytest.raises(RuntimeError, match="crosses, expected"):
        backtest.check(BARE, {"ticks": 2_000, "crosses": crosses + 1}, data)


def test_a_peer_without_its_environment_is_left_out_with_the_remedy(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    report = harness.Report("backtest", harness.options("A sample.", ["--quick", "--runs", "1"]))
    monkeypatch.setattr(backtest, "add_figures", lambda report, runs: None)
    assert backtest.run(report, data, (NAUTILUS_TRADER, BARE)) == 0
    shown = capsys.readouterr().out
    assert "Left out: nautilus_trader: no environment in" in shown
    assert "--prepare" in shown
    assert json.loads(shown.splitlines()[-1])["benchmark"] == "backtest"


def test_figures_name_each_peer_and_the_target_is_ten_times_nautilus_trader() -> None:
    def done(rate: float) -> list[dict[str, float]]:
        return [{"rate": rate, "peak_mb": 100.0}]

    rates = zip(
        (*backtest_peers.OF_OURS, NAUTILUS_TRADER, BARE), (1.0, 12.0, 9.0, 1.0, 2.0, 40.0), strict=True
    )
    report = harness.Report("backtest", harness.options("A sample.", ["--runs", "1"]))
    backtest.add_figures(report, {contender: done(rate) for contender, rate in rates})
    by_name = {result["name"]: result for result in report.results}
    against = by_name["replay_ema_cross_ticks_per_s"]
    assert (against["reference_name"], against["ratio"], against["target"], against["met"]) == (
        "nautilus_trader",
        6.0,
        20.0,
        False,
    )
    assert by_name["ema_cross_to_bare_loop_ticks_per_s"]["ratio"] == 0.3
    assert by_name["ema_cross_trading_ticks_per_s"]["ratio"] == 0.75
    assert by_name["ema_cross_compact_ticks_per_s"]["reference"] == 12.0


def test_an_environment_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ContenderError, match="sample"):
        Environment("sample", "sample").prepare(str(tmp_path / "no-python"))
    assert not Environment("sample", "sample").is_ready()


def test_a_contender_that_fails_is_left_out_with_what_it_said(file: Path) -> None:
    broken = Contender("broken", "broken", "no_such_module")
    with pytest.raises(ContenderError, match="No module named 'no_such_module'"), Worker(broken, file, {}):
        pass
