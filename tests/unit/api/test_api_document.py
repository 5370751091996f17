"""Every example of docs/api.md, as it stands, against the simulated vendors that it names."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import hft_engine
from hft_engine import api
from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.records import TickKind
from support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
TEXT = (ROOT / "docs/api.md").read_text()
BLOCKS = [block for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL) if "\n\n" in block]
CONTRACT = "O:SPY251220P00550000"
MARKET = SimulatorConfig(api_key="demo", instruments=8, ticks_per_s=2_000.0)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY", "FINNHUB_API_KEY", "ALPHAVANTAGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def _addresses(block: str, venues: ExitStack) -> Iterator[tuple[str, str]]:
    """What stands in a block, and where it is in this test."""
    for port, vendor in (("8765", "polygon"), ("8767", "polygon-options"), ("8768", "finnhub")):
        if port in block:
            key = "demo-key" if vendor == "finnhub" else "demo"
            market = SimulatorConfig(
                api_key=key, instruments=MARKET.instruments, ticks_per_s=MARKET.ticks_per_s
            )
            running = venues.enter_context(RunningVenue(market, vendor))
            yield re.search(rf"ws://127.0.0.1:{port}[^\"]*", block)[0], running.url  # type: ignore[index]
            if vendor == "polygon-options":
                yield CONTRACT, running.symbols[0]
    if "8766" in block:
        running = venues.enter_context(RunningVenue(MARKET, "alphavantage", rest=True))
        history = running.history
        assert history is not None
        # A free key asks again after a minute where its first question came before the first trade.
        wait_for(
            lambda: all(history.last(s, TickKind.TRADE) is not None for s in running.symbols),
            "trades of each",
        )
        yield "http://127.0.0.1:8766", running.rest_url


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_runs_and_prints_data(block: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as venues:
        for shown, real in _addresses(block, venues):
            assert shown in block
            block = block.replace(shown, real)
        exec(compile(block, "docs/api.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert printed and "None" not in printed


def test_the_document_names_all_that_can_be_imported() -> None:
    assert len(BLOCKS) >= 7
    assert all(re.search(rf"\b{name}\b", TEXT) for name in api.__all__)
    assert set(hft_engine.PUBLIC) <= set(api.__all__)
