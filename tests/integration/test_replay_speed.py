"""A replay at a speed keeps the recording's pace, and gives the signals of a replay without one."""

import gzip
import json
from itertools import takewhile
from pathlib import Path

import pytest

from hft_engine.config.load import load_config
from hft_engine.config.schema import Config
from hft_engine.replay import at_full_speed, replay
from support.engine import hft

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"
CONFIG = ROOT / "tests" / "golden" / "replay.yaml"
SPAN_S = 3.0


@pytest.fixture
def short_recording(tmp_path: Path) -> tuple[Path, float]:
    """The first seconds of the shipped recording, and how many seconds they span exactly."""
    with gzip.open(RECORDING, "rt") as file:
        first = int(next(file).split(" ")[0])
        lines = list(takewhile(lambda line: int(line.split(" ")[0]) < first + SPAN_S * 1e9, file))
    path = tmp_path / "short.jsonl"
    path.write_text("".join(lines))
    return path, (int(lines[-1].split(" ")[0]) - int(lines[0].split(" ")[0])) / 1e9


def config() -> Config:
    return load_config(CONFIG, ("engine.layout=inline",))


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_speed_changes_when_and_not_what(speed: float, short_recording: tuple[Path, float]) -> None:
    path, span_s = short_recording
    seen: list[int] = []
    paced = replay(config(), [str(path)], speed=speed, progress=seen.append)
    at_once = replay(config(), [str(path)])
    assert paced.signals > 0
    assert paced.signal_hash == at_once.signal_hash
    assert (paced.ticks, paced.bars, paced.signals) == (at_once.ticks, at_once.bars, at_once.signals)
    assert paced.seconds >= span_s / speed
    assert seen == sorted(seen)
    assert any(0 < permille < 1000 for permille in seen)


@pytest.mark.system
def test_processes_keep_the_pace_too(short_recording: tuple[Path, float]) -> None:
    path, span_s = short_recording
    options = ("--json", "--layout", "compact", "--config", str(CONFIG))
    answer = hft("replay", str(path), "--speed", "2", *options)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert found["signal_hash"] == replay(config(), [str(path)]).signal_hash
    assert found["seconds"] >= span_s / 2


def test_at_full_speed_readers_nap_unless_told_otherwise() -> None:
    told = load_config(CONFIG, ("engine.actors={signals: {wait: spin}, inference: {cpus: [0]}}",))
    actors = at_full_speed(told).engine.actors
    assert actors["signals"].wait == "spin"
    assert (actors["inference"].wait, actors["inference"].cpus) == ("sleep", (0,))
    assert {"indicators", "publisher", "persistence"} <= {r for r, a in actors.items() if a.wait == "sleep"}
