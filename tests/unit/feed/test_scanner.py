"""The scanner against the decoder: it gives the decoder's very rows, or refuses and has done nothing.

HFT_FUZZ_FRAMES sets how many spoilt frames the long comparison takes (default 20,000); scripts/fuzz_decoders.py takes
a million.
"""

import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.scan_tables import SymbolTable, slot_of
from hft_engine.feed.scanner import Scanner
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.records import TICK_DTYPE, TickKind
from hft_engine.shm.histogram import new_counts
from support.decoders import VENUE_ID, Pair, Side
from support.fuzzing import Fuzz
from support.venue_frames import DATA, START_NS, market_frames, recorded_frames

TRADE = '{"ev":"T","sym":"AAPL","i":"5096","x":10,"p":161.87,"s":300,"c":[14,41],"t":1651684192462,"q":4009402,"z":3}'
DECIMAL_TRADE = (
    '{"ev":"T","sym":"AAPL","i":7,"x":4,"p":0.5,"s":0,"ds":"0.25","t":1651684192463,"q":9,"z":1,"trfi":12}'
)
QUOTE = (
    '{"ev":"Q","sym":"MSFT","bx":4,"bp":114.125,"bs":100,"ax":7,"ap":114.128,"as":160,"c":0,"i":[604],'
    '"t":1536036818784,"q":50385480,"z":3}'
)
BAR = (
    '{"ev":"A","sym":"FCX","v":4989,"av":4332125,"op":75.98,"vw":78.0894,"o":78.1,"c":78.08,"h":78.125,"l":78.07,'
    '"a":76.8404,"z":62,"s":1788877043000,"e":1788877044000,"dv":"4989.5","dav":"4332125.038360"}'
)
SEEDS = [
    f"[{TRADE}]", f"[{QUOTE}]", f"[{BAR}]", f"[{DECIMAL_TRADE}]", f"[{TRADE},{QUOTE},{DECIMAL_TRADE}]",
    f"[{BAR.replace('A', 'AM', 1)},{TRADE},{TRADE}]",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    Side(scanned=True).take(b"[]")


@pytest.fixture
def pair() -> Pair:
    return Pair().teach(*SEEDS)


@pytest.mark.parametrize("name", ["documented-examples.jsonl", "observed-frames.jsonl"])
def test_recorded_frames_give_the_decoders_rows(name: str) -> None:
    pair = Pair()
    frames = [json.loads(line)["frame"] for line in (DATA / name).read_text().splitlines()]
    texts = [
        frame if isinstance(frame, str) else json.dumps(frame, separators=(",", ":")) for frame in frames
    ]
    for text in texts:
        pair.take(text)
    plain = [text for text in texts if '"ev":"T"' in text or '"ev":"Q"' in text]
    taken = [pair.take(text) for text in plain]
    assert sum(taken) >= len(plain) / 2, [text for text, took in zip(plain, taken, strict=True) if not took]


def test_every_trade_quote_and_bar_of_the_simulated_market_is_taken_once_its_symbol_is_known() -> None:
    market = SyntheticMarket(SimulatorConfig(instruments=30, ticks_per_s=5_000.0, seed=3), START_NS)
    ticks = np.concatenate([market.block().view("V128") for _ in range(6)]).view(TICK_DTYPE)
    events = Encoder(market.symbols).encode(ticks)
    pair = Pair()
    for symbol in market.symbols:
        pair.take(TRADE.replace("AAPL", symbol).join("[]"))
    hot = np.isin(ticks["kind"], [TickKind.TRADE, TickKind.QUOTE, TickKind.BAR_SECOND, TickKind.BAR_MINUTE])
    assert hot.sum() > 1_000
    for event, is_hot in zip(events, hot, strict=True):
        assert pair.take(b"[" + event + b"]") or not is_hot, event
    wanted = [event for event, is_hot in zip(events, hot, strict=True) if is_hot]
    for start in range(0, len(wanted), 37):
        assert pair.take(b"[" + b",".join(wanted[start : start + 37]) + b"]")


@pytest.mark.parametrize("frame", SEEDS)
def test_plain_frames_are_taken(pair: Pair, frame: str) -> None:
    assert pair.take(frame)


def test_an_unknown_symbol_is_refused_until_the_decoder_met_it() -> None:
    pair = Pair()
    assert not pair.take(f"[{TRADE}]")
    assert pair.take(f"[{TRADE}]")  # the duplicate rule remembers across the two paths
    assert pair.scanned.scanner is not None and pair.scanned.scanner.duplicates == 1


def test_a_symbol_known_to_the_run_is_known_to_a_new_scanner() -> None:
    side = Side(True)
    side.decoder.instruments.id_of("AAPL")
    side.scanner = Scanner(side.ring, side.decoder, VENUE_ID, new_counts())
    assert side.take(f"[{TRADE}]".encode())


def test_a_frame_over_half_the_ring_is_left_to_the_decoder() -> None:
    pair = Pair(capacity=16).teach(*SEEDS)
    quotes = [QUOTE.replace("50385480", str(i)) for i in range(1, 10)]
    assert pair.take("[" + ",".join(quotes[:8]) + "]")
    assert pair.take("[" + ",".join(quotes[:9]) + "]") is False


REFUSALS = [
    (TRADE, "161.87", text)
    for text in (
        "0", "0.0", "-1", "-0", "-0.0", "+1", "01", "1.", ".5", "1e5", "1E400", "NaN", "null", '"161.87"', "true",
        "9007199254740993", "90071992547409.93", "0.1234567890123456789", "161.87x", "161.87 ", "1_0", "[1]", "",
    )
] + [
    (TRADE, "300", "-1"), (TRADE, "300", '"300"'), (TRADE, '"s":300,', ""), (TRADE, '"p":161.87,', ""),
    (TRADE, '"5096"', '"50a6"'), (TRADE, '"5096"', '" 5"'), (TRADE, '"5096"', "9" * 19), (TRADE, '"5096"', "-5"),
    (TRADE, "[14,41]", "[14,41,]"), (TRADE, "[14,41]", "[,14]"), (TRADE, "[14,41]", "[014]"),
    (TRADE, "[14,41]", "[1,2,3,4,5]"), (TRADE, "[14,41]", "[26]"), (TRADE, "[14,41]", "[999]"),
    (TRADE, "[14,41]", "[65535]"), (TRADE, "[14,41]", "null"), (TRADE, "[14,41]", "[14"), (TRADE, "[14,41]", "[1.0]"),
    (TRADE, '"x":10', '"x":65536'), (TRADE, '"x":10', '"x":10.0'), (TRADE, '"x":10', '"x":"10"'),
    (TRADE, '"x":10', '"x":10,"x":11'), (TRADE, '"x":10', '"\\u0078":10'), (TRADE, '"x":10', '"x":10,"new":{}'),
    (TRADE, '"x":10', '"x":10,"new":[]'), (TRADE, '"x":10', '"x":10,"new":01'), (TRADE, '"x":10', '"x":10,"new":"\n"'),
    (TRADE, '"x":10', '"x":10,"new":"\\u0020"'), (TRADE, '"x":10', '"x":10,"ev":"Q"'), (TRADE, '"x":10', '"x" :10'),
    (TRADE, "1651684192462", "1651684192"), (TRADE, "1651684192462", "1651684192462000"),
    (TRADE, "1651684192462", "9223372036855"), (TRADE, "4009402", "9" * 19),
    (TRADE, "AAPL", ""), (TRADE, "AAPL", "X" * 41), (TRADE, "AAPL", "AAPL\\u0000"),
    (TRADE, "AAPL", "AAPL\x00"), (TRADE, '"ev":"T"', '"ev":"TT"'), (TRADE, '"ev":"T"', '"ev":"status"'),
    (DECIMAL_TRADE, '"0.25"', '""'), (DECIMAL_TRADE, '"0.25"', '" 0.25"'), (DECIMAL_TRADE, '"0.25"', '"inf"'),
    (DECIMAL_TRADE, '"0.25"', "0.25"), (DECIMAL_TRADE, '"0.25"', '"1_0"'),
    (QUOTE, '"bp":114.125,', '"bp":null,'), (QUOTE, '"c":0', '"c":65535'), (QUOTE, "[604]", "[1,2,3,4]"),
    (BAR, '"o":78.1', '"o":0'), (BAR, "78.125", "78.01"), (BAR, "1788877044000", "1788877042000"),
    (BAR, '"z":62', '"otc":true'), (BAR, '"z":62', '"otc":1'), (BAR, "78.0894", "78.08940000000000001"),
]  # fmt: skip


@pytest.mark.parametrize(("event", "old", "new"), REFUSALS)
def test_what_is_not_plain_is_left_to_the_decoder(pair: Pair, event: str, old: str, new: str) -> None:
    assert old in event
    assert not pair.take(f"[{event.replace(old, new, 1)}]")
    assert not pair.take(f"[{QUOTE},{event.replace(old, new, 1)}]")


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "[[]]", TRADE, f" [{TRADE}]", f"[{TRADE}] ", f"[{TRADE}]\0", f"[{TRADE},]", f"[{TRADE}",
     f"[,{TRADE}]", f"[{TRADE}{TRADE}]", f"[{TRADE}, {TRADE}]", f"[{TRADE}]]", '[{"ev":"T"}]', '[{"ev":"T",}]'],
)  # fmt: skip
def test_frames_of_another_shape_are_left_to_the_decoder(pair: Pair, text: str) -> None:
    assert not pair.take(text)


@pytest.mark.parametrize(
    ("event", "old", "new"),
    [
        (TRADE, "161.87", "0.000001"), (TRADE, "161.87", "9007199254740991"), (TRADE, "161.87", "90071992547.40991"),
        (TRADE, "161.87", "1.0"), (TRADE, "[14,41]", "[]"), (TRADE, "[14,41]", "[12]"), (TRADE, "[14,41]", "[1,2,3,4]"),
        (TRADE, '"c":[14,41],', ""), (TRADE, '"5096"', '""'), (TRADE, '"5096"', '"0096"'), (TRADE, '"q":4009402,', ""),
        (TRADE, '"x":10', '"x":10,"a_long_field_name":"text","pt":1.5'), (TRADE, '"x":10', '"x":65535'),
        (DECIMAL_TRADE, '"s":0,', ""), (QUOTE, '"bp":114.125', '"bp":0'), (QUOTE, '"bp":114.125,', ""),
        (QUOTE, '"bs":100,', ""), (QUOTE, '"c":0,', ""), (QUOTE, '"c":0', '"c":65534'), (QUOTE, "[604]", "[1,2,3]"),
        (BAR, '"dav":"4332125.038360"', '"n":1'), (BAR, '"v":4989,', ""), (BAR, '"a":76.8404,', ""),
    ],
)  # fmt: skip
def test_plain_variants_are_taken(pair: Pair, event: str, old: str, new: str) -> None:
    assert old in event
    assert pair.take(f"[{event.replace(old, new, 1)}]")


def test_keys_are_found_in_any_order_and_none_twice(pair: Pair) -> None:
    texts = [
        '"sym":"MSFT"',
        '"bx":4',
        '"bp":114.125',
        '"as":160',
        '"t":1536036818784',
        '"new":1',
        '"q":50385480',
    ]
    for first in range(len(texts)):
        for order in (texts[first:] + texts[:first], texts[first::-1] + texts[:first:-1]):
            for _ in range(2):  # the second time it is the order of the time before
                assert pair.take('[{"ev":"Q",' + ",".join(order) + "}]")
            assert not pair.take('[{"ev":"Q",' + ",".join([*order, '"bx":4']) + "}]")


def test_a_stamp_like_the_last_one_is_the_same_time_and_one_that_begins_like_it_is_not(pair: Pair) -> None:
    last, other, short = "1651684192462", "1651684192463", "165168419246"

    def frame(*stamps: str) -> str:
        return "[" + ",".join(TRADE.replace(last, stamp) for stamp in stamps) + "]"

    assert pair.take(frame(last, last, other, other, last, short, short, other))
    for longer in (other + "0", other + ".0", other + "e0", other + '"'):
        assert pair.take(frame(other))
        assert not pair.take(frame(longer))


def _values(draw: st.DrawFn, text: str) -> str:
    event = json.loads(text)
    keys = draw(st.permutations([key for key in event if key != "ev"]))
    kept = [key for key in keys if draw(st.integers(0, 9))]
    number = st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.decimals(0, 10**6, places=4, allow_nan=False).map(str),
        st.integers(-5, 2**64).map(str),
    )
    parts = [
        f'"{key}":' + (draw(number) if draw(st.integers(0, 5)) == 0 else json.dumps(event[key]))
        for key in kept
    ]
    return "{" + ",".join([f'"ev":"{event["ev"]}"', *parts]).replace(" ", "") + "}"


@st.composite
def shuffled(draw: st.DrawFn) -> str:
    """Events with fields in any order, some left out, some numbers replaced."""
    chosen = draw(st.lists(st.sampled_from([TRADE, DECIMAL_TRADE, QUOTE, BAR]), min_size=1, max_size=3))
    return "[" + ",".join(_values(draw, event) for event in chosen) + "]"


@settings(max_examples=150, deadline=None)
@given(frames=st.lists(shuffled(), min_size=1, max_size=4))
def test_any_order_choice_and_number_gives_the_decoders_rows(frames: list[str]) -> None:
    pair = Pair().teach(*SEEDS)
    for frame in frames:
        pair.take(frame)


@pytest.fixture(scope="module")
def venue_frames() -> list[bytes]:
    return recorded_frames() + market_frames()


def test_spoilt_frames_give_the_decoders_rows_or_are_refused(venue_frames: list[bytes]) -> None:
    fuzz = Fuzz(venue_frames, os.environ.get("HFT_FUZZ_SEED", "11"))
    frames = int(os.environ.get("HFT_FUZZ_FRAMES", "20000"))
    while fuzz.frames < frames:
        fuzz.batch()
    assert not fuzz.differences
    assert 0.3 < fuzz.taken / fuzz.frames < 0.9
    assert fuzz.ticks > fuzz.frames / 2


def test_symbols_that_share_a_place_are_kept_apart() -> None:
    table = SymbolTable(512)
    symbols = [f"S{i}" for i in range(512)] + ["A" * 24, "A" * 25, 'A"', "É"]
    table.learn((symbol, i) for i, symbol in enumerate(symbols))
    entries = table.words.reshape(-1, 4)
    assert sorted(entries[entries[:, 3] > 0, 3] - 1) == list(range(513))
    table.learn([("S1", 1)])
    assert (entries[:, 3] > 0).sum() == 513


def test_places_lie_in_the_table() -> None:
    assert all(0 <= slot_of(word, 7) < 1 << 7 for word in range(0, 2**63, 2**53 + 12345))
