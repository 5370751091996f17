"""The venue as a program: ``python -m hft_engine.feed.simulator``."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import RecordingError
from hft_engine.feed.simulator.command import main
from hft_engine.feed.simulator.serving import Address, RunningVenue, make_venue, serve

CUT = Path(__file__).parents[3] / "data/binance/usdm_btcusdt_20240808_cut.jsonl.gz"
SRC = Path(__file__).parents[4] / "src"


def test_it_says_where_it_serves_and_ends_at_sigterm_with_its_counts() -> None:
    command = [sys.executable, "-m", "hft_engine.feed.simulator", "--source", str(CUT), "--speed", "0"]
    environment = {**os.environ, "PYTHONPATH": str(SRC), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert "4002 trades and 19998 quotes" in process.stdout.readline()
        serving = process.stdout.readline()
        assert "serving ws://127.0.0.1:" in serving and " and http://127.0.0.1:" in serving
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "0 connections" in rest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source", "nope.zip"], "no such file"),
        (["--instruments", "0"], "instruments"),
        (["--speed", "fast"], "--speed"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_wrong_arguments_end_with_one_clear_message(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) != 0
    assert words in capsys.readouterr().err


def test_a_port_in_use_ends_with_one_clear_message(capsys: pytest.CaptureFixture[str]) -> None:
    with RunningVenue(SimulatorConfig()) as venue:
        assert main(["--port", str(venue.port)]) == 1
    assert f"127.0.0.1:{venue.port} is in use" in capsys.readouterr().err


def test_serve_blocks_until_stopped_and_returns_the_counts() -> None:
    stop = threading.Event()
    addresses: list[Address] = []

    def ready(address: Address) -> None:
        addresses.append(address)
        stop.set()

    counts = serve(make_venue(SimulatorConfig()), on_ready=ready, stop=stop)
    assert len(addresses) == 1
    assert counts.connections == 0


def test_an_unreadable_source_is_refused_before_anything_listens() -> None:
    with pytest.raises(RecordingError):
        make_venue(SimulatorConfig(source="nope.jsonl"))


def test_a_running_venue_leaves_no_thread() -> None:
    before = threading.active_count()
    with RunningVenue(SimulatorConfig()):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_without_the_extra_there_is_no_rest_side_unless_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "hft_engine.feed.simulator.rest.front", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as where it is not installed
    with RunningVenue(SimulatorConfig()) as taken:
        assert main(["--rest", "--port", "0"]) == 1
        assert "pip install 'hft-engine[web]'" in capsys.readouterr().err
        monkeypatch.setattr("hft_engine.feed.simulator.command.find_spec", lambda name: None)
        assert main(["--port", str(taken.port)]) == 1  # and no further than that
    said = capsys.readouterr()
    assert "no REST side" in said.out and "is in use" in said.err


def test_the_simulator_needs_no_compiler_and_without_rest_no_web_server() -> None:
    unwanted = "{'numba', 'starlette', 'uvicorn'}"
    code = f"import sys, hft_engine.feed.simulator.command; sys.exit(len({unwanted} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(SRC)})
