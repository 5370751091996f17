"""Frames to rows: every documented and observed frame, spoilt ones, and anything at all."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft_engine.feed.conditions import unpack
from hft_engine.feed.decode import EVENT_BYTES_MIN, FrameDecoder
from hft_engine.feed.decoder import REASONS_MAX
from hft_engine.feed.events import to_ns
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind

DATA = Path(__file__).parents[2] / "data" / "polygon"
RECV_NS, MONO_NS = 1_700_000_000_000_000_001, 77
VENUE_ID = 3
TRADE = {
    "ev": "T", "sym": "AAPL", "i": "5096", "x": 10, "p": 161.87, "s": 300, "c": [14, 41],
    "t": 1651684192462, "q": 4009402, "z": 3,
}  # fmt: skip
QUOTE = {
    "ev": "Q", "sym": "MSFT", "bx": 4, "bp": 114.125, "bs": 100, "ax": 7, "ap": 114.128, "as": 160, "c": 0,
    "i": [604], "t": 1536036818784, "q": 50385480, "z": 3,
}  # fmt: skip
BAR = {
    "ev": "A", "sym": "FCX", "v": 4989, "av": 4332125, "op": 75.98, "vw": 78.0894, "o": 78.1, "c": 78.08,
    "h": 78.125, "l": 78.07, "a": 76.8404, "z": 62, "s": 1788877043000, "e": 1788877044000, "dv": "4989.5",
    "dav": "4332125.038360",
}  # fmt: skip
LULD = {
    "ev": "LULD",
    "T": "MSFT",
    "h": 218.96,
    "l": 198.11,
    "i": [21],
    "z": 3,
    "t": 1788877046310003385,
    "q": 9,
}
FMV = {"ev": "FMV", "fmv": 509.917, "sym": "MSFT", "t": 1760646477151120843}
KINDS = {
    "T": TickKind.TRADE,
    "Q": TickKind.QUOTE,
    "A": TickKind.BAR_SECOND,
    "AM": TickKind.BAR_MINUTE,
    "FMV": TickKind.FMV,
    "LULD": TickKind.LULD,
}
IGNORED = {"NOI", "LV", "V"}


class Bench:
    """A decoder with its instrument table."""

    def __init__(self, instruments_max: int = 64) -> None:
        self.instruments = InstrumentTable.private(instruments_max)
        self.decoder = FrameDecoder(self.instruments, VENUE_ID, 1_000_000)

    def rows(self, *events: object) -> np.ndarray:
        return self.raw(json.dumps(events))

    def raw(self, frame: bytes | str) -> np.ndarray:
        count = self.decoder.decode(frame, RECV_NS, MONO_NS)
        return self.decoder.rows[:count].copy()

    def symbol(self, row: np.void) -> str:
        return self.instruments.symbol_of(int(row["instrument_id"]))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def _frames(name: str) -> list[list[dict]]:
    lines = (DATA / name).read_text().splitlines()
    frames = [json.loads(line)["frame"] for line in lines]
    return [json.loads(frame) if isinstance(frame, str) else frame for frame in frames]


def _expected(event: dict) -> dict[str, object]:
    """The row of an event, computed independently of the decoder, field by field."""
    get = lambda name, default=math.nan: float(event.get(name, default))  # noqa: E731
    common = {"ts_recv_ns": RECV_NS, "ts_mono_ns": MONO_NS, "kind": KINDS[event["ev"]], "venue_id": VENUE_ID}
    codes = event.get("c", [])
    match event["ev"]:
        case "T":
            special = {
                "price": get("p"),
                "size": float(event.get("ds", event["s"])),
                "trade_id": int(event.get("i", 0)),
                "exchange": event.get("x", 0),
                "tape": event.get("z", 0),
                "unpacked": tuple(codes[:4]),
            }
        case "Q":
            special = {
                "bid": get("bp"), "ask": get("ap"), "bid_size": get("bs"), "ask_size": get("as"),
                "exchange": event["bx"], "exchange_ask": event["ax"], "tape": event.get("z", 0),
            }  # fmt: skip
        case "A" | "AM":
            special = {
                "open": get("o"), "high": get("h"), "low": get("l"), "close": get("c"), "vwap": get("vw"),
                "day_vwap": get("a"), "day_open": get("op"), "ts_start_ns": event["s"] * 1_000_000,
                "volume": float(event.get("dv", event.get("v", math.nan))),
                "day_volume": float(event.get("dav", event.get("av", math.nan))),
            }  # fmt: skip
        case "FMV":
            special = {"price": get("fmv")}
        case _:
            special = {
                "upper": get("h"),
                "lower": get("l"),
                "unpacked": tuple(event["i"]),
                "tape": event["z"],
            }
    sequence = 0 if event["ev"] in ("A", "AM", "FMV") else event.get("q", 0)
    return common | special | {"venue_sequence": sequence}


def _check(bench: Bench, row: np.void, event: dict) -> None:
    assert bench.symbol(row) == event.get("sym", event.get("T"))
    for field, value in _expected(event).items():
        found = unpack(int(row["conditions"])) if field == "unpacked" else row[field]
        same = found == value or (value != value and found != found)
        assert same, f"{event['ev']} {field}: {found} is not {value}"


@pytest.mark.parametrize("name", ["documented-examples.jsonl", "observed-frames.jsonl"])
def test_every_recorded_frame_decodes_field_by_field(bench: Bench, name: str) -> None:
    decoded = 0
    for frame in _frames(name):
        bench.decoder.repeats.recent[:] = 0  # one example is there twice
        rows = bench.rows(*frame)
        usable = [event for event in frame if event["ev"] in KINDS]
        assert len(rows) == len(usable)
        for row, event in zip(rows, usable, strict=True):
            _check(bench, row, event)
        decoded += len(rows)
    assert decoded > 8
    assert bench.decoder.rejected == bench.decoder.frames_rejected == 0


def test_kinds_known_but_unused_and_unknown_kinds_are_counted_apart(bench: Bench) -> None:
    kinds = [event["ev"] for frame in _frames("documented-examples.jsonl") for event in frame]
    for frame in _frames("documented-examples.jsonl"):
        bench.rows(*frame)
    assert bench.decoder.ignored_events == sum(kind in IGNORED for kind in kinds)
    assert bench.decoder.unknown_events == sum(kind not in IGNORED and kind not in KINDS for kind in kinds)
    assert bench.decoder.unknown_names == set(kinds) - IGNORED - set(KINDS)
    assert not bench.decoder.rejected


def test_mixed_frame_keeps_the_venues_order(bench: Bench) -> None:
    rows = bench.rows(TRADE, QUOTE, BAR, BAR | {"ev": "AM"}, FMV, LULD)
    assert rows["kind"].tolist() == [1, 2, 3, 4, 5, 6]
    for row, event in zip(rows, [TRADE, QUOTE, BAR, BAR | {"ev": "AM"}, FMV, LULD], strict=True):
        _check(bench, row, event)


def test_rows_do_not_show_what_an_earlier_frame_left(bench: Bench) -> None:
    bench.rows(BAR)
    (row,) = bench.rows(FMV)
    zeros = np.zeros(1, TICK_DTYPE)
    zeros["price"] = FMV["fmv"]
    assert row.tobytes()[48:] == zeros.tobytes()[48:]


def test_ev_need_not_come_first(bench: Bench) -> None:
    (row,) = bench.rows(dict(reversed(TRADE.items())))
    _check(bench, row, TRADE)


def test_one_unknown_kind_does_not_cost_its_neighbours(bench: Bench) -> None:
    rows = bench.rows(TRADE, {"ev": "ZZ", "p": [1]}, QUOTE)
    assert rows["kind"].tolist() == [TickKind.TRADE, TickKind.QUOTE]
    assert (bench.decoder.unknown_events, bench.decoder.rejected) == (1, 0)


@pytest.mark.parametrize(
    "spoilt",
    [
        TRADE | {"p": "many"},
        TRADE | {"p": None},
        TRADE | {"c": "x"},
        TRADE | {"p": [1]},
        {"p": 1.0},
        {"ev": 7},
        5,
        None,
        [],
    ],
)
def test_one_spoilt_event_does_not_cost_its_neighbours(bench: Bench, spoilt: object) -> None:
    rows = bench.rows(QUOTE, spoilt, TRADE | {"q": 1})
    assert rows["kind"].tolist() == [TickKind.QUOTE, TickKind.TRADE]
    assert (bench.decoder.rejected, len(bench.decoder.reasons)) == (1, 1)


@pytest.mark.parametrize(
    "event",
    [
        TRADE | {"p": 0},
        TRADE | {"p": -1.5},
        TRADE | {"s": -1},
        TRADE | {"t": 0},
        TRADE | {"t": -5},
        TRADE | {"t": 2**63},
        TRADE | {"sym": ""},
        TRADE | {"sym": "X" * 41},
        TRADE | {"x": 70_000},
        TRADE | {"x": -1},
        TRADE | {"z": 70_000},
        TRADE | {"q": 2**63},
        TRADE | {"ds": "nan"},
        TRADE | {"ds": "inf"},
        TRADE | {"ds": "-1"},
        TRADE | {"ds": "1,5"},
        {"ev": "T"},
        {"ev": "T", "sym": "A", "p": 1.0, "t": 1651684192462},
        QUOTE | {"bp": -1},
        QUOTE | {"as": -1},
        QUOTE | {"t": 0},
        {"ev": "Q", "sym": "A", "t": 1651684192462},
        BAR | {"o": 0},
        BAR | {"h": 1, "l": 2},
        BAR | {"dv": "-4"},
        BAR | {"dv": "inf"},
        BAR | {"e": 1, "s": 2},
        {"ev": "AM", "sym": "A"},
        FMV | {"fmv": 0},
        FMV | {"t": 0},
        LULD | {"l": 0},
        LULD | {"T": ""},
        {"ev": "LULD"},
    ],
)
def test_impossible_values_are_refused_and_counted(bench: Bench, event: dict) -> None:
    assert len(bench.rows(event)) == 0
    assert bench.decoder.rejected == 1
    assert bench.decoder.reasons
    assert len(bench.rows(TRADE | {"q": 1})) == 1
    assert bench.decoder.reasons == []


@pytest.mark.parametrize("text", ["1e400", "NaN", "Infinity", "-Infinity", "1" + "0" * 400])
def test_numbers_that_are_none_are_refused(bench: Bench, text: str) -> None:
    frame = json.dumps([TRADE]).replace("161.87", text)
    assert len(bench.raw(frame)) == 0
    assert bench.decoder.rejected + bench.decoder.frames_rejected == 1


@pytest.mark.parametrize(
    ("stamp", "expected_ns"),
    [
        (1_651_684_192, 1_651_684_192_000_000_000),
        (1_651_684_192_462, 1_651_684_192_462_000_000),
        (1_651_684_192_462_123, 1_651_684_192_462_123_000),
        (1_651_684_192_462_123_456, 1_651_684_192_462_123_456),
        (10**11 - 1, (10**11 - 1) * 10**9),
        (10**11, 10**17),
        (10**14, 10**17),
        (10**17, 10**17),
    ],
)
def test_unit_of_a_time_is_told_by_its_magnitude(bench: Bench, stamp: int, expected_ns: int) -> None:
    assert to_ns(stamp) == expected_ns
    if expected_ns < 2**63:
        (row,) = bench.rows(TRADE | {"t": stamp})
        assert row["ts_venue_ns"] == expected_ns


def test_decimal_size_wins_over_the_rounded_one(bench: Bench) -> None:
    (row,) = bench.rows(TRADE | {"s": 0, "ds": "0.25"})
    assert row["size"] == 0.25


@pytest.mark.parametrize(("sent", "kept"), [("5096", 5096), (7657, 7657), ("a1-b2", 0), ("", 0)])
def test_trade_id_may_be_text_or_number(bench: Bench, sent: object, kept: int) -> None:
    (row,) = bench.rows(TRADE | {"i": sent})
    assert row["trade_id"] == kept


def test_whole_numbers_written_as_floats_or_text_are_taken(bench: Bench) -> None:
    rows = bench.rows(TRADE | {"x": 10.0, "q": "5"}, BAR | {"z": 12.0, "v": 12.0})
    assert rows["kind"].tolist() == [TickKind.TRADE, TickKind.BAR_SECOND]
    assert (rows[0]["exchange"], rows[0]["venue_sequence"]) == (10, 5)


def test_extra_fields_are_skipped_whatever_they_hold(bench: Bench) -> None:
    (row,) = bench.rows(TRADE | {"pt": 1, "trfi": "x", "new": {"deep": [None]}, "trft": []})
    _check(bench, row, TRADE)


def test_an_empty_side_of_a_quote_is_nan(bench: Bench) -> None:
    zero, absent = bench.rows(QUOTE | {"bp": 0, "bs": 0}, {k: v for k, v in QUOTE.items() if k != "ap"})
    assert np.isnan(zero["bid"]) and zero["ask"] == QUOTE["ap"]
    assert np.isnan(absent["ask"]) and absent["bid"] == QUOTE["bp"]


def test_quote_keeps_its_condition_and_then_its_indicators(bench: Bench) -> None:
    (row,) = bench.rows(QUOTE)
    assert unpack(int(row["conditions"])) == (0, 604)
    (row,) = bench.rows({k: v for k, v in QUOTE.items() if k != "c"})
    assert [int(row["conditions"]) >> shift & 0xFFFF for shift in (0, 16)] == [0, 605]
    (row,) = bench.rows(QUOTE | {"i": [1, 2, 3, 4, 5]})
    assert unpack(int(row["conditions"])) == (0, 1, 2, 3)


def test_conditions_become_flags(bench: Bench) -> None:
    rows = bench.rows(
        *(TRADE | {"c": codes, "q": i + 1} for i, codes in enumerate([[14], [37], [12], [999]]))
    )
    expected = [
        TickFlag.NONE,
        TickFlag.NO_PRICE_UPDATE,
        TickFlag.EXTENDED_HOURS,
        TickFlag.CONDITION_UNKNOWN | TickFlag.NO_PRICE_UPDATE,
    ]
    assert rows["flags"].tolist() == expected
    assert bench.decoder.unknown_conditions == 1


def test_otc_bars_say_so(bench: Bench) -> None:
    (row,) = bench.rows(BAR | {"otc": True})
    assert row["flags"] == TickFlag.OTC


def test_a_trade_sent_twice_in_a_row_is_dropped_and_counted(bench: Bench) -> None:
    other = TRADE | {"sym": "TSLA"}
    assert len(bench.rows(TRADE, TRADE, other, TRADE | {"q": 5}, TRADE | {"q": 5, "i": "6"})) == 4
    assert bench.decoder.duplicates == 1


def test_quotes_bars_and_bands_that_come_again_are_dropped_and_counted(bench: Bench) -> None:
    for event in (QUOTE, BAR, LULD):
        assert len(bench.rows(event)) == 1
        assert len(bench.rows(event)) == 0
    assert bench.decoder.duplicates == 3
    assert len(bench.rows(QUOTE | {"q": 1}, QUOTE, BAR | {"vw": 1}, BAR)) == 3
    assert bench.decoder.duplicates == 4


def test_trades_without_sequence_are_never_duplicates(bench: Bench) -> None:
    bare = {key: value for key, value in TRADE.items() if key not in ("q", "i")}
    assert len(bench.rows(bare, bare)) == 2


def test_status_messages_are_handed_over_and_make_no_rows(bench: Bench) -> None:
    assert len(bench.rows({"ev": "status", "status": "auth_success", "message": "authenticated"})) == 0
    (status,) = bench.decoder.statuses
    assert (status.status, status.message) == ("auth_success", "authenticated")
    bench.rows(TRADE)
    assert bench.decoder.statuses == []


def test_a_lone_object_is_understood(bench: Bench) -> None:
    (row,) = bench.raw(json.dumps(TRADE))
    _check(bench, row, TRADE)


def test_symbols_beyond_the_table_are_refused_and_the_others_live() -> None:
    bench = Bench(instruments_max=1)
    rows = bench.rows(TRADE, TRADE | {"sym": "B"}, TRADE | {"q": 8})
    assert len(rows) == 2
    assert "instruments_max" in bench.decoder.reasons[0]


def test_smallest_acceptable_events_fit_the_staging_array() -> None:
    smallest = b'{"ev":"FMV","fmv":1,"sym":"A","t":1}'
    assert len(smallest) >= EVENT_BYTES_MIN
    limit = 10_000
    decoder = FrameDecoder(InstrumentTable.private(2), VENUE_ID, limit)
    count = limit // (len(smallest) + 1)
    events = [smallest.replace(b'"t":1', b'"t":%d' % (1 + i % 2)) for i in range(count)]
    assert decoder.decode(b"[" + b",".join(events) + b"]", 1, 1) == count


def test_reasons_are_bounded(bench: Bench) -> None:
    bench.rows(*([TRADE | {"p": 0}] * 100))
    assert bench.decoder.rejected == 100
    assert len(bench.decoder.reasons) == REASONS_MAX


def test_a_frame_cut_at_any_byte_is_counted_and_never_raises(bench: Bench) -> None:
    frame = json.dumps([TRADE, QUOTE, BAR, LULD, {"ev": "status", "status": "x"}]).encode()
    for end in range(len(frame)):
        before = bench.decoder.frames_rejected
        assert len(bench.raw(frame[:end])) == 0
        assert bench.decoder.frames_rejected == before + 1
    assert len(bench.raw(frame)) == 4


@pytest.mark.parametrize(
    "frame",
    [b"", b"null", b"[", b"\xff\xfe", b"[1", b'{"ev":"T"', b"[" * 100_000, '[{"ev":"T","sym":"\ud800"}]'],
    ids=range(8),
)
def test_garbage_is_counted_and_never_raises(bench: Bench, frame: bytes | str) -> None:
    assert len(bench.raw(frame)) == 0
    assert bench.decoder.frames_rejected + bench.decoder.rejected == 1
    assert bench.decoder.reasons


def test_broken_text_in_a_symbol_does_not_cost_the_neighbours(bench: Bench) -> None:
    frame = json.dumps([TRADE, QUOTE]).encode().replace(b"MSFT", b"MS\xffT")
    assert [bench.symbol(row) for row in bench.raw(frame)] == ["AAPL"]
    assert bench.decoder.rejected == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    sorted({*TRADE, *QUOTE, *BAR, *LULD, *FMV, "status", "message", "ds", "otc"} - {"ev"})
)
KIND_NAMES = st.sampled_from([*KINDS, *IGNORED, "status", "ZZ"])
EVENTS = st.builds(
    lambda kind, base, changes: base | changes | {"ev": kind},
    KIND_NAMES,
    st.sampled_from([TRADE, QUOTE, BAR, LULD, FMV]),
    st.dictionaries(NAMES, JSON, max_size=4),
)


@settings(deadline=None)
@given(st.lists(EVENTS, max_size=5))
def test_every_event_of_any_frame_is_accounted_for(events: list[dict]) -> None:
    bench = Bench()
    rows = bench.rows(*events)
    decoder = bench.decoder
    if decoder.frames_rejected:
        return  # NaN or infinity: no JSON
    accounted = len(rows) + decoder.rejected + decoder.ignored_events + decoder.unknown_events
    assert accounted + decoder.duplicates + len(decoder.statuses) == len(events)
    assert np.all(rows["ts_venue_ns"] > 0)
    trades = rows[rows["kind"] == TickKind.TRADE]
    assert np.all(trades["price"] > 0) and np.all(np.isfinite(trades["size"])) and np.all(trades["size"] >= 0)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(frame: bytes) -> None:
    Bench().raw(frame)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_flipped_byte_never_raises(position: int, value: int) -> None:
    frame = bytearray(json.dumps([TRADE, QUOTE, BAR]).encode())
    frame[position % len(frame)] = value
    Bench().raw(bytes(frame))
