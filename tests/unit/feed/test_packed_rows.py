"""The decoder's compiled half: of plain events the very rows that Python makes, of any other nothing at all."""

import json

import msgspec
import numpy as np
import pytest

from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.events import Quote
from hft_engine.feed.scan_tables import EVENTS, FIELD_WORDS, FIELDS, KIND_WORDS, LENGTH, NEXT, packed_table
from hft_engine.feed.scan_text import REFUSED
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TickKind
from support.decoders import Pair

TRADE = {
    "ev": "T", "sym": "AAPL", "i": "5096", "x": 10, "p": 161.87, "s": 300, "c": [14, 41], "t": 1651684192462,
    "q": 4009402, "z": 3,
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
MINUTE = BAR | {"ev": "AM"}
STATUS = {"ev": "status", "status": "x"}
FMV = {"ev": "FMV", "fmv": 509.917, "sym": "MSFT", "t": 1760646477151120843}


def without(event: dict, *names: str) -> dict:
    return {name: value for name, value in event.items() if name not in names}


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.take(json.dumps([TRADE, QUOTE, BAR]))
    pair.packed = 0
    return pair


def packs(pair: Pair, *events: dict) -> bool:
    """Whether the compiled half takes the frame. Raises DifferenceError where it is not Python's."""
    before = pair.packed
    pair.take(json.dumps(events))  # with white space: the scanner leaves it
    return pair.packed > before


PLAIN = [
    TRADE, TRADE | {"i": 5096}, TRADE | {"i": ""}, TRADE | {"i": "0096"}, TRADE | {"i": 2**63 - 1},
    TRADE | {"i": "9" * 18}, TRADE | {"c": []}, TRADE | {"c": [1, 2, 3, 4]}, TRADE | {"c": None},
    TRADE | {"c": [12]}, without(TRADE, "c", "q", "x", "z"), TRADE | {"s": 0},
    TRADE | {"s": 0, "ds": "0.25"}, TRADE | {"ds": "12345678.25"}, without(TRADE | {"ds": "7"}, "s"),
    TRADE | {"p": 1e-300}, TRADE | {"p": 1.7e308}, TRADE | {"p": 9007199254740993}, TRADE | {"x": 65535},
    TRADE | {"x": 200}, TRADE | {"q": 2**63 - 1}, TRADE | {"q": 255}, TRADE | {"q": 256},
    TRADE | {"q": 65536}, TRADE | {"q": 2**32}, QUOTE, QUOTE | {"bp": 0}, QUOTE | {"bp": -0.0},
    QUOTE | {"ap": None}, without(QUOTE, "bp"), without(QUOTE, "bs", "as"), QUOTE | {"c": 65534},
    QUOTE | {"c": None}, QUOTE | {"i": []}, QUOTE | {"i": [1, 2, 3]}, without(QUOTE, "i"), BAR, MINUTE,
    BAR | {"otc": False}, without(BAR, "v", "dv"), without(BAR, "dv", "dav", "a", "op", "vw"),
]  # fmt: skip


@pytest.mark.parametrize("event", PLAIN, ids=range(len(PLAIN)))
def test_plain_events_are_taken(pair: Pair, event: dict) -> None:
    taken = packs(pair, event)
    # price -0.0 is one that only Python takes
    assert taken == (event.get("bp") is None or not np.signbit(event["bp"]))
    assert packs(pair, QUOTE, event, BAR) == taken


OTHERS = [
    TRADE | {"sym": "NEW"}, TRADE | {"sym": ""}, TRADE | {"sym": "AAPL\0"}, TRADE | {"sym": "A" * 33},
    TRADE | {"p": 0}, TRADE | {"p": -1.0}, without(TRADE, "p"), without(TRADE, "s"), TRADE | {"s": -1.0},
    TRADE | {"i": "a1"}, TRADE | {"i": "5096x"}, TRADE | {"i": -5}, TRADE | {"i": 2**63}, TRADE | {"i": "9" * 19},
    TRADE | {"c": [999]}, TRADE | {"c": [1, 2, 3, 4, 5]}, TRADE | {"c": [-1]}, TRADE | {"c": [65535]},
    TRADE | {"ds": ""}, TRADE | {"ds": "inf"}, TRADE | {"ds": "1e3"}, TRADE | {"ds": " 1"}, TRADE | {"ds": "1.5x"},
    TRADE | {"x": 65536}, TRADE | {"x": -1}, TRADE | {"q": -1}, TRADE | {"q": 2**63}, TRADE | {"q": 2**70},
    TRADE | {"t": 0}, TRADE | {"t": 1651684192}, TRADE | {"t": 1651684192462000000}, TRADE | {"t": -1},
    QUOTE | {"bs": -1.0}, QUOTE | {"bp": -1.0}, without(QUOTE, "bp", "ap"), QUOTE | {"c": 65535}, QUOTE | {"c": -1},
    QUOTE | {"i": [1, 2, 3, 4]}, BAR | {"otc": True}, BAR | {"o": 0}, BAR | {"h": 78.0}, BAR | {"e": 1788877042000},
    BAR | {"dv": "-1"}, BAR | {"vw": -1.0}, STATUS, FMV,
]  # fmt: skip


@pytest.mark.parametrize("event", OTHERS, ids=range(len(OTHERS)))
def test_what_is_not_plain_is_left_to_python_with_all_its_frame(pair: Pair, event: dict) -> None:
    assert not packs(pair, event)
    if event.get("sym") != "NEW":  # which is known now
        assert not packs(pair, QUOTE, event)


def test_a_frame_that_is_refused_counts_no_trade_as_seen(pair: Pair) -> None:
    assert not packs(pair, TRADE | {"q": 1}, STATUS)  # Python has taken the trade
    assert packs(pair, TRADE | {"q": 1}, TRADE | {"q": 2}, TRADE | {"q": 2})
    assert pair.alone.decoder.duplicates == 2


def test_every_number_of_events_is_taken(pair: Pair) -> None:
    for count in (1, 15, 16, 300):  # a list's length takes 1, 1, 3 and 3 bytes
        assert packs(pair, *[QUOTE | {"q": i + 1} for i in range(count)])


def test_a_frame_of_any_length_is_taken() -> None:
    decoder = FrameDecoder(InstrumentTable.private(2), 1, 1_000_000)
    for events in (1, 20_000, 1):
        frame = json.dumps([QUOTE | {"q": 0}] * events).encode()
        assert decoder.decode(frame, 1, 1) == events
        assert set(decoder.rows[:events]["kind"]) == {TickKind.QUOTE}
        assert decoder._packed.take([Quote(**_fields() | {"q": 0})] * events, 1, 1) == events


def _fields() -> dict:
    return {{"as": "as_"}.get(name, name): value for name, value in QUOTE.items() if name != "ev"} | {
        "bs": 100.0, "as_": 160.0, "i": (604,)
    }  # fmt: skip


def test_more_events_than_rows_are_left_to_python() -> None:
    decoder = FrameDecoder(InstrumentTable.private(2), 1, 320)  # 11 rows
    assert decoder.decode(json.dumps([QUOTE]).encode(), 1, 1) == 1
    assert decoder._packed.take([Quote(**_fields() | {"q": 0})] * 11, 1, 1) == 11
    assert decoder._packed.take([Quote(**_fields())] * 12, 1, 1) == REFUSED


def test_rows_carry_no_sequence_and_the_frames_stamps(pair: Pair) -> None:
    decoder = pair.alone.decoder
    pair.take(json.dumps([TRADE | {"ds": "0.25", "q": 77}, MINUTE]))
    assert pair.alone.packed.taken
    rows = decoder.rows[:2]
    assert (rows["sequence"] == 0).all()
    assert (rows["ts_mono_ns"] == 77).all() and rows["size"][0] == 0.25


def test_the_table_lays_events_out_as_msgspec_does() -> None:
    table = packed_table().reshape(len(FIELDS), -1, FIELD_WORDS)
    for kind, (event, entries) in enumerate(zip(EVENTS, table, strict=True)):
        fields = (entries[0, NEXT] - kind * KIND_WORDS) // FIELD_WORDS - 1
        assert fields == len(msgspec.structs.fields(event))
        # of an event of defaults each value is one byte, but for floats, which are nine
        floats = sum(field.default != field.default for field in msgspec.structs.fields(event))
        packed = len(msgspec.msgpack.encode(event()))
        assert entries[: fields + 1, LENGTH].sum() + fields + 8 * floats == packed
