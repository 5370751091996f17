"""Planted look-ahead is named; what comes with the engine is clean."""

import gzip
import json
from pathlib import Path

import pytest

from hft_engine.bias.detect import detect
from hft_engine.config.load import load_config
from support.engine import ROOT
from support.lean import write_day

pytestmark = pytest.mark.timeout(300)  # the kernels may have to be compiled first

CONFIG = ROOT / "tests" / "golden" / "replay.yaml"
PLANTS = """
import csv
import random
import numpy as np
from hft_engine.indicators.extension import indicator
from hft_engine.strategy import Strategy

with open("data/bars.csv", encoding="utf-8-sig") as file:
    CLOSES = np.array([float(row["close"]) for row in csv.DictReader(file)])

@indicator(name="next_close", state_size=1)
def next_close(state, tick, features):
    '''Peeks one bar ahead: the close of the bar after this trade's; a stored bar is four trades.'''
    at = int(state[0]) // 4 + 1
    state[0] += 1.0
    return CLOSES[at] if at < len(CLOSES) else np.nan

@indicator(name="this_close", state_size=1)
def this_close(state, tick, features):
    '''Honest: the close of the last bar that is over.'''
    at = int(state[0]) // 4 - 1
    state[0] += 1.0
    return CLOSES[at] if at >= 0 else np.nan

class Peek(Strategy):
    '''How much it trades depends on the close after the next one: read from the file, no feature moves.'''
    def on_start(self, ctx):
        self.count = 0
    def on_bar(self, ctx, bar):
        if bar.kind == 2:
            self.count += 1
            later = CLOSES[min(self.count + 1, len(CLOSES) - 1)]
            trade = ctx.buy if self.count % 2 else ctx.sell
            trade(bar.instrument_id, 1 + int(later * 100) % 50)

class Dice(Strategy):
    '''Knows nothing, but throws dice.'''
    def on_bar(self, ctx, bar):
        ctx.buy(bar.instrument_id, 1 + random.randrange(1_000))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with bars in a file, and the plants beside it."""
    stored = gzip.decompress((ROOT / "tests" / "data" / "bars" / "intraday.csv.gz").read_bytes())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bars.csv").write_bytes(b"".join(stored.splitlines(keepends=True)[:400]))
    (tmp_path / "plants.py").write_text(PLANTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_indicator_that_peeks_one_bar_ahead_and_a_strategy_that_reads_the_file_are_named(
    folder: Path,
) -> None:
    config = load_config(
        None,
        (
            "indicators.extensions=[plants.py:next_close, plants.py:this_close]",
            "execution.strategy=plants.py:Peek",
            "indicators.bar=minute",
        ),
    )
    report = detect(config, ["data/bars.csv"], cuts=1)
    found = {(finding.kind, finding.name.partition(".")[0]): finding for finding in report.findings}
    assert set(found) == {("feature", "next_close"), ("order", "accepted")}
    (cut,) = report.cuts
    peeked = found["feature", "next_close"]
    assert cut - 5 <= peeked.tick < cut, "the last bar before the cut is the first to know what comes after"
    assert peeked.instrument == "BARS" and peeked.before != peeked.after
    assert not report.unsteady


def test_dice_are_told_from_foresight(folder: Path) -> None:
    report = detect(load_config(None, ("execution.strategy=plants.py:Dice",)), ["data/bars.csv"], cuts=1)
    assert not report.findings
    assert {finding.kind for finding in report.unsteady} == {"order"}


def test_who_opens_the_recording_itself_is_named(folder: Path, tmp_path: Path) -> None:
    original = tmp_path / "data" / "bars.csv"
    (folder / "thief.py").write_text(
        "from hft_engine.strategy import Strategy\n"
        "class Thief(Strategy):\n"
        f"    def on_start(self, ctx):\n        open({str(original)!r}).close()\n"
    )
    report = detect(load_config(None, ("execution.strategy=thief.py:Thief",)), ["data/bars.csv"], cuts=1)
    assert [(finding.kind, finding.name) for finding in report.findings] == [("input", str(original))]


def test_what_comes_with_the_engine_is_clean(tmp_path: Path) -> None:
    paths = write_day(tmp_path, "abc", 5_000, seed=3)
    model = f"inference.model={ROOT / 'models' / 'demo' / 'direction.txt'}"
    report = detect(load_config(CONFIG, (model,)), paths, cuts=2)
    assert report.clean, json.dumps([f"{f.kind} {f.name}" for f in (*report.findings, *report.unsteady)])
    assert report.runs == 7
    assert min(report.compared.values()) > 20, report.compared
    remembering = {memory.name for memory in report.memories}
    assert "vwap" in remembering, "a session's average remembers its morning"
