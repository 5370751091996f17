"""`hft journal`: what a person sees, within 80 columns, and what a program reads."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from hft_engine.cli import main
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalReader, JournalWriter, SegmentMetadata, session_dir
from hft_engine.persistence.journal.compression import compress_segment
from hft_engine.persistence.sinks.schema import TABLES
from hft_engine.records import SIGNAL_DTYPE, TICK_DTYPE, Side, TickKind
from hft_engine.runtime.session_events import EventLog

RUN = "hft-20261126T143000-abcd"
START_NS = 1_795_703_400_000_000_000  # 2026-11-26 14:30:00 UTC
SECOND_NS = 1_000_000_000


def make_ticks(first: int, count: int) -> np.ndarray:
    """A tick a second of two instruments in turn: trade, quote, minute bar."""
    rows = np.zeros(count, TICK_DTYPE)
    rows["sequence"] = np.arange(first, first + count)
    rows["instrument_id"] = rows["sequence"] % 2
    rows["kind"] = np.array([TickKind.TRADE, TickKind.QUOTE, TickKind.BAR_MINUTE])[rows["sequence"] % 3]
    rows["price"] = 100.0 + rows["sequence"]
    rows["size"] = 5.0
    rows["ts_recv_ns"] = START_NS + rows["sequence"] * SECOND_NS
    rows["ts_venue_ns"] = rows["ts_recv_ns"] - 1_000
    return rows


def make_signals(count: int) -> np.ndarray:
    rows = np.zeros(count, SIGNAL_DTYPE)
    rows["sequence"] = np.arange(count)
    rows["side"] = np.where(np.arange(count) % 2, Side.BUY, Side.SELL)
    rows["reason"] = np.arange(count) % 2
    rows["probability"] = np.nan
    rows["ts_recv_ns"] = START_NS + rows["sequence"] * SECOND_NS
    rows["ts_mono_ns"], rows["ts_publish_ns"] = 400, 900
    return rows


@pytest.fixture
def session(tmp_path: Path) -> Path:
    table = InstrumentTable.private(8)
    for symbol in ("AAPL", "MSFT"):
        table.id_of(symbol)
    rules = [{"name": "up"}, {"name": "down"}]
    about = SegmentMetadata(
        run_id=RUN,
        venue="demo",
        config_hash="c0ffee" * 8,
        code_version="0.1.0",
        config={"signals": {"rules": rules}},
    )
    path = session_dir(tmp_path, RUN)
    journal = JournalWriter(path, about, table, segment_bytes=40_000, flush_ms=1_000)
    for first in range(0, 600, 60):
        journal.append(make_ticks(first, 60))
    journal.append(make_ticks(610, 10))
    journal.append_signals(make_signals(12))
    journal.close()
    return path


@pytest.fixture
def hft(tmp_path: Path, run_root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        options = [] if arguments[0] == "cut" else ["--set", f"engine.data_dir={tmp_path}"]
        return CliRunner().invoke(main, ["journal", arguments[0], *options, *arguments[1:]])

    return run


def test_ls_fits_80_columns_and_says_what_a_session_holds(session, hft):
    out = hft("ls").stdout
    assert all(len(line) <= 80 for line in out.splitlines())
    line = out.splitlines()[1]
    assert line.split() == [RUN, "11-26", "14:30", "14:40:19", "610", "12", "0.1", "clean"]
    (found,) = json.loads(hft("ls", "--json").stdout)
    assert (found["session"], found["ticks"], found["signals"], found["state"]) == (RUN, 610, 12, "clean")


def test_ls_tells_a_torn_a_damaged_and_an_unreadable_session(session, hft, tmp_path):
    last = sorted(session.glob("*.hftj"))[-1]
    last.write_bytes(last.read_bytes()[:-10])
    assert "torn" in hft("ls").stdout
    other = session_dir(tmp_path, "other")
    other.mkdir()
    (other / "00000000.hftj").write_bytes(b"PAR1" * 100)
    assert "not a journal segment" in hft("ls").stderr
    data = bytearray(last.read_bytes())
    data[5_000] ^= 1
    last.write_bytes(data)
    assert "damaged" in hft("ls").stdout


def test_ls_without_a_session_says_so(hft, tmp_path):
    assert f"no session in {tmp_path / 'journal'}" in hft("ls").stdout


def test_info_tells_header_segments_holes_and_events(session, hft):
    log = EventLog(session, "feed")
    for sequence in (5, 9):
        log.record("reconnect", sequence)
    log.close()
    compress_segment(session / "00000000.hftj")
    out = hft("info", RUN[:12]).stdout
    assert all(len(line) <= 80 for line in out.splitlines()), out
    for part in (
        "clean",
        "610, sequences 0 to 619",
        "2: AAPL, MSFT",
        "c0ffee",
        "600 to 609",
        "feed reconnect 2",
    ):
        assert part in out
    assert "00000000.hftj.zst" in out and "00000001.hftj " in out
    found = json.loads(hft("info", RUN, "--json").stdout)
    assert found["holes"] == [[600, 610]]
    assert found["metadata"]["config"]["signals"]["rules"][0]["name"] == "up"
    assert [s["index"] for s in found["segment_list"]] == [True] * len(found["segment_list"])


def test_check_says_how_much_a_torn_tail_costs_and_that_the_rest_reads(session, hft):
    last = sorted(session.glob("*.hftj"))[-1]
    last.write_bytes(last.read_bytes()[:-10])
    answer = hft("check", RUN)
    assert answer.exit_code == 0
    assert f"torn tail: {last.name}: 22 bytes" in answer.stdout
    assert "hole: sequences 600 to 609" in answer.stdout


def test_a_damaged_segment_is_repaired_with_the_command_that_check_names(session, hft):
    first = session / "00000000.hftj"
    data = bytearray(first.read_bytes())
    data[9_000] ^= 1
    first.write_bytes(data)
    answer = hft("check", RUN)
    assert answer.exit_code == 1
    command = answer.stdout.partition("; hft journal ")[2].split()
    assert command[:2] == ["cut", str(first)]
    assert json.loads(hft("check", RUN, "--json").stdout)["damaged"] == ["hft journal " + " ".join(command)]
    assert "is kept in" in hft(*command).stdout
    assert hft("check", RUN).exit_code == 0


@pytest.mark.parametrize("name", ["nowhere", "no/such/folder"])
def test_a_session_that_is_not_there_is_named(hft, name):
    answer = hft("info", name)
    assert answer.exit_code == 2
    assert "`hft journal ls` lists" in answer.stderr


def test_a_beginning_that_two_sessions_share_is_refused(session, hft, tmp_path):
    other = session_dir(tmp_path, RUN + "-2")
    other.mkdir()
    (other / "00000000.hftj").write_bytes((session / "00000000.hftj").read_bytes())
    assert "more than one session" in hft("check", RUN[:5]).stderr
    assert hft("check", RUN).exit_code == 0


# ---- export


def table_of(path: Path):
    return pytest.importorskip("pyarrow.parquet").read_table(path)


def test_exported_ticks_are_the_journal_s(session, hft, tmp_path):
    answer = hft("export", RUN)
    assert answer.exit_code == 0, answer.output
    path = tmp_path / f"{RUN}-ticks.parquet"
    assert f"{path.name}: 610 ticks" in answer.stdout
    table = table_of(path)
    rows = np.concatenate([chunk.view("V128") for chunk in JournalReader(session)]).view(TICK_DTYPE)
    columns = table.to_pydict()
    assert columns["sequence"] == rows["sequence"].tolist()
    assert table["ts_recv"].cast("int64").to_pylist() == rows["ts_recv_ns"].tolist()
    assert columns["symbol"][:4] == ["AAPL", "MSFT", "AAPL", "MSFT"]
    assert columns["kind"][:3] == ["trade", "quote", "bar_minute"]
    assert columns["price"][:3] == [100.0, None, None]
    assert columns["bid"][:3] == [None, 101.0, None]
    assert columns["open"][:3] == [None, None, 102.0]
    assert not list(tmp_path.glob("*.draft"))


def test_a_part_by_time_and_symbol_is_exported(session, hft, tmp_path):
    out = tmp_path / "part.parquet"
    answer = hft(
        "export",
        RUN,
        "--from",
        "14:31",
        "--to",
        "2026-11-26T15:33:00+01:00",
        "--symbols",
        "MSFT",
        "--out",
        str(out),
    )
    assert answer.exit_code == 0, answer.output
    table = table_of(out)
    assert table["sequence"].to_pylist() == [s for s in range(60, 180) if s % 2]
    assert set(table["symbol"].to_pylist()) == {"MSFT"}


def test_exported_signals_have_the_names_of_rules_and_sides(session, hft, tmp_path):
    assert hft("export", RUN, "--what", "signals").exit_code == 0
    columns = table_of(tmp_path / f"{RUN}-signals.parquet").to_pydict()
    assert columns["sequence"] == list(range(12))
    assert (columns["side"][:2], columns["rule"][:2]) == (["sell", "buy"], ["up", "down"])
    assert (columns["probability"][0], columns["latency_ns"][0]) == (None, 500)


def test_exported_bars_come_from_the_run_s_database(session, hft, tmp_path):
    assert "market_data.db: is not there" in hft("export", RUN, "--what", "bars").stderr
    with closing(sqlite3.connect(tmp_path / "market_data.db")) as database:
        database.executescript(TABLES)
        for run, sequence in ((RUN, 0), (RUN, 1), ("another", 0)):
            start = START_NS + sequence * 60 * SECOND_NS
            row = (
                run,
                sequence,
                "AAPL",
                "minute",
                start,
                start + 60 * SECOND_NS,
                1.0,
                2.0,
                0.5,
                1.5,
                10.0,
                None,
                3,
                0,
                0,
                7,
            )
            database.execute(f"INSERT INTO bars VALUES ({','.join('?' * 16)})", row)
        database.commit()
    assert hft("export", RUN, "--what", "bars", "--from", "14:31").exit_code == 0
    (row,) = table_of(tmp_path / f"{RUN}-bars.parquet").to_pylist()
    assert (row["sequence"], row["symbol"], row["high"], row["vwap"]) == (1, "AAPL", 2.0, None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--symbols", "TSLA"], "has no symbol TSLA; it has AAPL, MSFT"),
        (["--from", "tomorrow"], "'tomorrow' is no time"),
        (["--from", "2027-01-01"], "no ticks in what was asked for"),
        (["--out", "nowhere/x.parquet"], "cannot be written"),
    ],
)
def test_an_export_that_cannot_be_is_refused_and_leaves_no_file(session, hft, tmp_path, arguments, told):
    answer = hft("export", RUN, *arguments)
    assert answer.exit_code == 2
    assert told in answer.stderr
    assert not list(tmp_path.glob("*.parquet*"))


def test_an_export_never_replaces_a_file(session, hft, tmp_path):
    (tmp_path / f"{RUN}-ticks.parquet").write_text("somebody's")
    assert "is there already" in hft("export", RUN).stderr


def test_without_pyarrow_the_extra_is_named(session, hft, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'hft-engine[parquet]'" in hft("export", RUN).stderr
