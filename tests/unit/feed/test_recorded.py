"""Recorded files as ticks: made-up Lean zips, the shipped Binance cut, and files that must be refused."""

import gzip
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pytest

from hft_engine.feed.conditions import flags_of, unpack
from hft_engine.feed.recorded import CHUNK_TICKS_MAX, Recording, RecordingError, open_recording
from hft_engine.feed.recorded_lean import _new_york_midnight_ns
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind, join_ticks

BINANCE_CUT = Path(__file__).parents[2] / "data/binance/usdm_btcusdt_20240808_cut.jsonl.gz"
OPEN_MS = 34_200_000  # 09:30 in New York
OPEN_NS = int(datetime(2013, 10, 7, 13, 30, tzinfo=UTC).timestamp()) * 10**9  # the same, daylight-saving time


def lean_zip(folder: Path, kind: str, rows: list[str], symbol: str = "ibm", day: str = "20131007") -> Path:
    path = folder / symbol / f"{day}_{kind}.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{day}_{symbol}_{kind}.csv", "\n".join(rows))
    return path


def read(*paths: Path) -> tuple[np.ndarray, Recording, InstrumentTable]:
    instruments = InstrumentTable.private(10)
    recording = open_recording(paths, instruments)
    return join_ticks(list(recording)), recording, instruments


def test_a_lean_trade_has_utc_time_price_size_exchange_and_symbol(tmp_path: Path) -> None:
    ticks, recording, instruments = read(lean_zip(tmp_path, "trade", [f"{OPEN_MS + 54},1815200,283,P,1,0"]))
    (tick,) = ticks
    assert (tick["kind"], tick["price"], tick["size"], tick["exchange"]) == (
        TickKind.TRADE,
        181.52,
        283.0,
        11,
    )
    assert tick["ts_venue_ns"] == tick["ts_recv_ns"] == OPEN_NS + 54_000_000
    assert instruments.symbol_of(tick["instrument_id"]) == "IBM"
    assert recording.symbols == ("IBM",)
    assert recording.count == 1


@pytest.mark.parametrize(
    ("condition", "suspicious", "flags"),
    [
        ("1", 0, TickFlag.NONE),
        ("20", 0, TickFlag.NO_PRICE_UPDATE),
        ("20000001", 0, TickFlag.NO_PRICE_UPDATE),
        ("20002020", 0, TickFlag.NO_PRICE_UPDATE | TickFlag.EXTENDED_HOURS),
        ("2000", 0, TickFlag.EXTENDED_HOURS),
        ("AbC", 0, TickFlag.NO_PRICE_UPDATE),  # 0xabc has bit 0x20
        ("1", 1, TickFlag.NO_PRICE_UPDATE),
    ],
)
def test_lean_conditions_decide_what_a_print_may_move(
    tmp_path: Path, condition: str, suspicious: int, flags: TickFlag
) -> None:
    ticks, _, _ = read(lean_zip(tmp_path, "trade", [f"{OPEN_MS},1815200,283,P,{condition},{suspicious}"]))
    assert ticks["flags"][0] == flags
    assert flags_of(unpack(int(ticks["conditions"][0]))) == flags  # the same after a trip over the wire


def test_one_sided_quotes_become_the_best_bid_and_offer_over_exchanges(tmp_path: Path) -> None:
    rows = [
        f"{OPEN_MS},1000000,300,0,0,P,1,0",
        f"{OPEN_MS},0,0,1000500,200,P,1,0",
        f"{OPEN_MS + 1},1000100,100,0,0,Q,1,0",  # a better bid
        f"{OPEN_MS + 2},0,0,1000800,900,Q,1,0",  # a worse offer: nothing changes
        f"{OPEN_MS + 3},1000000,700,0,0,Q,1,0",  # back: P's bid of the same price was there first
    ]
    ticks, recording, _ = read(lean_zip(tmp_path, "quote", rows))
    assert ticks["bid"].tolist() == [100.0, 100.01, 100.0]
    assert ticks["ask"].tolist() == [100.05, 100.05, 100.05]
    assert ticks["bid_size"].tolist() == [300, 100, 300]
    assert ticks["exchange"].tolist() == [11, 12, 11]
    assert ticks["exchange_ask"].tolist() == [11, 11, 11]
    assert ticks["ts_venue_ns"].tolist() == [OPEN_NS, OPEN_NS + 1_000_000, OPEN_NS + 3_000_000]
    assert sum(recording.skipped.values()) == len(rows) - len(ticks)


def test_a_stale_quote_gives_way_to_the_newer_one_that_crosses_it(tmp_path: Path) -> None:
    rows = [
        f"{OPEN_MS},1000000,100,0,0,B,1,0",
        f"{OPEN_MS},0,0,1000200,100,B,1,0",
        f"{OPEN_MS + 5},1000300,100,0,0,P,1,0",  # above B's offer: B has gone
        f"{OPEN_MS + 5},0,0,1000400,100,P,1,0",
    ]
    ticks, _, _ = read(lean_zip(tmp_path, "quote", rows))
    assert [(t["bid"], t["ask"]) for t in ticks] == [(100.0, 100.02), (100.03, 100.04)]


def test_suspicious_quote_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        f"{OPEN_MS},1000000,100,0,0,B,1,0",
        f"{OPEN_MS},0,0,1000200,100,B,1,0",
        f"{OPEN_MS + 1},0,0,1000100,100,B,1,1",
    ]
    ticks, recording, _ = read(lean_zip(tmp_path, "quote", rows))
    assert len(ticks) == 1
    assert recording.skipped["suspicious quote rows"] == 1


def test_several_files_are_merged_by_time_in_chunks(tmp_path: Path) -> None:
    count = CHUNK_TICKS_MAX + 10
    trades = [f"{OPEN_MS + 2 * i},1000000,100,P,1,0" for i in range(count)]
    others = [f"{OPEN_MS + 2 * i + 1},500000,100,N,1,0" for i in range(count)]
    paths = [lean_zip(tmp_path, "trade", trades, "spy"), lean_zip(tmp_path, "trade", others, "bac")]
    ticks, recording, _ = read(*paths)
    assert recording.symbols == ("SPY", "BAC")
    assert [len(chunk) for chunk in recording] == [CHUNK_TICKS_MAX, CHUNK_TICKS_MAX, 20]
    assert np.array_equal(ticks["instrument_id"], np.arange(2 * count) % 2)
    assert np.all(np.diff(ticks["ts_recv_ns"]) == 1_000_000)


def test_iterating_twice_gives_the_same_and_a_changed_chunk_stays_private(tmp_path: Path) -> None:
    recording = open_recording(
        lean_zip(tmp_path, "trade", [f"{OPEN_MS},1000000,100,P,1,0"]), InstrumentTable.private(1)
    )
    for chunk in recording:
        chunk["price"] = 0.0
    assert next(iter(recording))["price"][0] == 100.0


def test_new_york_time_is_right_on_every_trading_day_of_two_decades() -> None:
    try:
        zone = ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError:
        pytest.skip("no time zone database here to compare with")
    day = date(1998, 1, 1)
    while day < date(2027, 1, 1):
        noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone)
        assert _new_york_midnight_ns(day) + 12 * 3600 * 10**9 == int(noon.timestamp()) * 10**9, day
        day += timedelta(days=1)


def test_the_shipped_binance_cut_reads_whole() -> None:
    ticks, recording, instruments = read(BINANCE_CUT)
    assert recording.count == len(ticks) == 24_000
    assert instruments.symbols() == ["BTCUSDT"]
    assert recording.skipped == {}
    first, second = ticks[0], ticks[1]
    assert (first["bid"], first["bid_size"], first["ask"], first["ask_size"]) == (
        61800.20,
        2.507,
        61800.30,
        2.510,
    )
    assert first["ts_recv_ns"] == 1723161255088169167
    assert first["ts_venue_ns"] == 1723161256313 * 10**6
    assert (second["price"], second["size"], second["trade_id"]) == (61800.30, 0.006, 5266583935)
    assert np.all(np.diff(ticks["ts_recv_ns"]) >= 0)
    quotes = ticks[ticks["kind"] == TickKind.QUOTE]
    assert np.all(quotes["bid"] < quotes["ask"])


def test_binance_frames_of_other_streams_are_counted(tmp_path: Path) -> None:
    lines = gzip.decompress(BINANCE_CUT.read_bytes()).splitlines(keepends=True)[:2]
    lines.insert(1, b'1723161255088169168 {"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate"}}\n')
    path = tmp_path / "three.jsonl"
    path.write_bytes(b"".join(lines))
    ticks, recording, _ = read(path)
    assert len(ticks) == 2
    assert recording.skipped == {"depth frames": 1}


def test_joining_keeps_the_layout_of_overlapping_fields() -> None:
    one = np.zeros(1, TICK_DTYPE)
    one["price"] = 5.0
    joined = join_ticks([one, one])
    assert joined.dtype == TICK_DTYPE
    assert joined["bid"].tolist() == [5.0, 5.0]


def refused(path: Path, *words: str) -> None:
    with pytest.raises(RecordingError) as caught:
        open_recording(path, InstrumentTable.private(10))
    for word in (path.name, *words):
        assert word in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "20131007_trade.zip", "no such file")


def test_an_unknown_kind_of_file_is_refused_naming_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "prices.xml"
    path.write_text("1,2,3")
    refused(path, "Lean", "Binance")


def test_a_broken_zip_is_refused(tmp_path: Path) -> None:
    path = lean_zip(tmp_path, "trade", [f"{OPEN_MS},1,1,P,1,0"] * 100)
    path.write_bytes(path.read_bytes()[:60])
    refused(path, "zip")


@pytest.mark.parametrize(
    "row", ["1,2,3", "1,2,3,P,1,0,7", "x,1000000,1,P,1,0", "1,1000000,,P,1,0", "1,1.5,1,P,1,0"]
)
def test_a_spoilt_lean_row_is_refused(tmp_path: Path, row: str) -> None:
    refused(lean_zip(tmp_path, "trade", [f"{OPEN_MS},1000000,100,P,1,0", row]))


def test_the_line_of_a_spoilt_number_is_named(tmp_path: Path) -> None:
    good = f"{OPEN_MS},1000000,100,P,1,0"
    refused(lean_zip(tmp_path, "trade", [good, good, f"{OPEN_MS},10x0000,100,P,1,0"]), "line 3", "10x0000")


def test_a_gzip_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(BINANCE_CUT.read_bytes()[:5_000])
    refused(path, "cannot be read to the end")


def test_a_line_that_is_no_frame_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('1 {"stream":"b@depth","data":{}}\nhello\n')
    refused(path, "line 2", "hello")


def test_a_file_without_a_tick_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    refused(path, "nothing to replay")


def test_no_file_at_all_is_refused() -> None:
    with pytest.raises(RecordingError, match="name at least one"):
        open_recording([], InstrumentTable.private(1))
