"""``hft stream`` as a person runs it, beside a simulated venue."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.serving import RunningVenue
from support.engine import ROOT

pytestmark = pytest.mark.timeout(120)

KEY = "secret-key-12345"
CONFIG = SimulatorConfig(api_key=KEY, instruments=3, ticks_per_s=2_000.0)


@contextmanager
def streaming(*options: str, key: str = KEY) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "hft_engine", "stream", *options], cwd=ROOT, text=True,
        env={**os.environ, "POLYGON_API_KEY": key}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_it_prints_trades_and_quotes_until_it_is_interrupted() -> None:
    with RunningVenue(CONFIG) as venue:
        symbols = ",".join(venue.symbols[:2])
        with streaming("--symbols", symbols, "--realtime", "--url", venue.url) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(200)]
            process.send_signal(signal.SIGINT)
            _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert {tuple(line.split()[:2]) for line in lines} == {(s, c) for s in venue.symbols[:2] for c in "TQ"}
    assert all(
        ("price=" in line and "size=" in line) or ("bid=" in line and "ask=" in line) for line in lines
    )
    assert "Traceback" not in told and KEY not in told


def test_a_refused_key_ends_it_with_the_remedy() -> None:
    with (
        RunningVenue(CONFIG) as venue,
        streaming("--symbols", "AAPL", "--url", venue.url, key="wrong-key-1") as process,
    ):
        out, told = process.communicate(timeout=60)
    assert process.returncode == 2 and out == ""
    assert "POLYGON_API_KEY" in told and "Traceback" not in told and "wrong-key-1" not in told


def test_a_key_in_the_address_is_refused() -> None:
    with streaming("--symbols", "AAPL", "--url", "ws://127.0.0.1:9/?token=secret-token-1") as process:
        _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "***" in told and "secret-token-1" not in told
