"""What models ask for, of a collector of this process and of none."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hft_engine.api import RealtimeDataProvider, RecordType
from hft_engine.api.recent import Recent
from hft_engine.api.schema import Aggregate, Quote
from hft_engine.api.stores.store import StoreError
from hft_engine.models.frames import bars_of
from support.stores import trade


class Kept:
    """The face of a collector, over its own memory."""

    def __init__(self) -> None:
        self.memory = Recent(100)
        self.latest, self.recent = self.memory.latest, self.memory.last


@pytest.fixture
def kept() -> Iterator[Kept]:
    source = Kept()
    RealtimeDataProvider.use(source)
    yield source
    RealtimeDataProvider.use(None)


def bar(number: int) -> Aggregate:
    return Aggregate(
        "AAPL", 10.0 + number, 12.0 + number, 9.0, 11.0 + number, 100.0, 10.5, 60_000 * (28_000_000 + number)
    )


def test_the_price_is_the_last_trades_else_a_bars_else_the_mid(kept: Kept) -> None:
    provider = RealtimeDataProvider
    assert provider.get_latest_price("AAPL") is None
    assert provider.get_latest_data("AAPL", RecordType.TRADE) is None
    kept.memory.add(RecordType.QUOTE, Quote("AAPL", 99.0, 101.0, 1.0, 1.0, "", 1))
    assert provider.get_latest_price("AAPL") == 100.0
    kept.memory.add(RecordType.MINUTE, bar(0))
    assert provider.get_latest_price("AAPL") == 11.0
    kept.memory.add(RecordType.TRADE, trade(7))
    assert provider.get_latest_price("AAPL") == trade(7).price
    assert provider.get_latest_data("AAPL") == trade(7)
    assert provider.get_multi_symbol_prices(["AAPL", "MSFT"]) == {"AAPL": trade(7).price, "MSFT": None}


def test_bars_come_as_a_frame_that_models_take(kept: Kept) -> None:
    for number in range(5):
        kept.memory.add(RecordType.MINUTE, bar(number))
    frame = RealtimeDataProvider.get_ohlcv_dataframe("AAPL", limit=3)
    assert list(frame.columns) == ["timestamp", "open", "high", "low", "close", "volume"]
    assert frame["close"].tolist() == [13.0, 14.0, 15.0]
    bars = bars_of(frame)
    assert bars.ts_ns.tolist() == [bar(number).timestamp * 1_000_000 for number in (2, 3, 4)]
    assert bars.volume.tolist() == [100.0] * 3


def test_before_anything_came_a_frame_is_empty_with_its_columns(kept: Kept) -> None:
    frame = RealtimeDataProvider.get_ohlcv_dataframe("AAPL", limit=30)
    assert frame.empty and "close" in frame.columns
    assert RealtimeDataProvider.get_recent_dataframe("AAPL", RecordType.QUOTE).empty


def test_records_come_as_a_list_or_a_frame(kept: Kept) -> None:
    for number in range(4):
        kept.memory.add(RecordType.TRADE, trade(number))
    assert RealtimeDataProvider.get_recent_data("AAPL", limit=2) == [trade(2), trade(3)]
    frame = RealtimeDataProvider.get_recent_dataframe("AAPL", limit=2)
    assert frame["price"].tolist() == [trade(2).price, trade(3).price]
    assert frame["conditions"].tolist() == [["12", "37"]] * 2


def test_without_pandas_the_extra_is_named(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(StoreError, match=r"pip install 'hft-engine\[frames\]'"):
        RealtimeDataProvider.get_ohlcv_dataframe("AAPL")


def test_without_a_collector_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hft_engine.api.realtime_data_provider.latest_started", lambda: None)
    with pytest.raises(StoreError, match=r"no collector was started.*cache\.backend: redis"):
        RealtimeDataProvider.get_latest_price("AAPL")
