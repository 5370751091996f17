"""No decoder raises, whatever a frame holds: cut at every byte, one byte changed, any JSON, anything at all."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.venues import venue_of
from hft_engine.feed.venues.fieldmap import shipped_maps
from hft_engine.records import TickKind
from support.decoding import DecoderBench
from support.recordings import Frame, cryptofeed_frames, hftbacktest_frames

DATA = Path(__file__).parents[3] / "data"
KINDS = [kind for kind in TickKind if kind is not TickKind.VOID]


class Case(NamedTuple):
    config: FeedConfig
    frames: list[bytes]


def _longest(frames: list[bytes], count: int = 12) -> list[bytes]:
    """Frames of different shapes, none so long that cutting it everywhere takes seconds."""
    shapes = {frame[:24]: frame for frame in frames if len(frame) < 1_500}
    return list(shapes.values())[:count]


def _recorded(read: Callable[..., object], name: str) -> list[bytes]:
    frames: list[Frame] = list(read(DATA / name))  # type: ignore[call-overload]
    return _longest([frame.text for frame in frames])


def _quoted(name: str) -> list[bytes]:
    lines = [json.loads(line)["frame"] for line in (DATA / name).read_text().splitlines()]
    return _longest([(frame if isinstance(frame, str) else json.dumps(frame)).encode() for frame in lines])


def _answers() -> list[bytes]:
    bodies = [json.loads((DATA / "alphavantage" / "global_quote.json").read_text())]
    bodies += [
        error["body"]
        for error in json.loads((DATA / "alphavantage" / "observed-error-bodies.json").read_text())
    ]
    answers = [{"function": "GLOBAL_QUOTE", "symbol": "A", "body": body} for body in bodies]
    values = {"1. open": "1", "2. high": "2", "3. low": "1", "4. close": "2", "5. volume": "9"}
    series = (
        {"Time Series (Daily)": {"2024-07-01": values}},
        {"Time Series (1min)": {"2024-07-01 10:00:00": values}},
    )
    answers += [{"function": "TIME_SERIES_DAILY", "symbol": "A", "body": series[0]}]
    answers += [{"function": "TIME_SERIES_INTRADAY", "symbol": "A", "body": series[1]}]
    return [json.dumps(answer).encode() for answer in answers]


SPOT = "binance/spot_btcusdt_20240808_cut.jsonl.gz"
FILES = {"kraken-v2": "cryptofeed/kraken.txt", "binance-usdm": "cryptofeed/binance.txt"}
CASES = [
    Case(FeedConfig(), _quoted("polygon/documented-examples.jsonl") + _quoted("polygon/observed-frames.jsonl")),
    Case(FeedConfig(venue="polygon-options"), _quoted("polygon/observed-frames.jsonl")),
    Case(FeedConfig(venue="finnhub"), _quoted("finnhub/observed-frames.jsonl")),
    Case(FeedConfig(venue="alphavantage"), _answers()),
    *(
        Case(
            FeedConfig(venue="generic", map=name),
            _recorded(cryptofeed_frames, FILES.get(name, f"cryptofeed/{name.replace('-', '_')}.txt")),
        )
        for name in shipped_maps()
    ),
    Case(FeedConfig(venue="generic", map="binance"), _recorded(hftbacktest_frames, SPOT)),
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.config.map or case.config.venue)


def _bench(case: Case) -> DecoderBench:
    config = case.config
    return DecoderBench(lambda table: venue_of(config).decoder(table, config))


OTHER_NUMBERS = {
    (TickKind.QUOTE,): ("bid", "ask", "bid_size", "ask_size"),
    (TickKind.BAR_SECOND, TickKind.BAR_MINUTE, TickKind.BAR_DAY): ("open", "high", "low", "close", "volume"),
    (TickKind.FMV,): ("price",),
    (TickKind.LULD,): ("upper", "lower"),
}


def _sound(rows: np.ndarray) -> None:
    """What the stages behind may rely on."""
    assert np.all(np.isin(rows["kind"], KINDS))
    assert np.all(rows["ts_venue_ns"] > 0)
    trades = rows[rows["kind"] == TickKind.TRADE]
    assert np.all(trades["price"] > 0) and np.all(np.isfinite(trades["price"]))
    assert np.all(trades["size"] >= 0) and np.all(np.isfinite(trades["size"]))
    for kind, names in OTHER_NUMBERS.items():
        for name in names:
            values = rows[np.isin(rows["kind"], kind)][name]
            assert not np.any(np.isinf(values)) and not np.any(values < 0), (name, values)


@each_case
def test_a_frame_cut_at_any_byte_is_counted(case: Case) -> None:
    bench = _bench(case)
    cuts = 0
    for frame in case.frames:
        for end in range(len(frame)):
            assert len(bench.rows(frame[:end])) == 0
            cuts += 1
    assert bench.decoder.frames_rejected == cuts > 0


@each_case
def test_a_changed_byte_raises_nothing_and_makes_no_unsound_tick(case: Case) -> None:
    bench, random = _bench(case), np.random.default_rng(11)
    for frame in case.frames:
        for place, value in zip(
            random.integers(0, len(frame), 300), random.integers(0, 256, 300), strict=True
        ):
            _sound(bench.rows(frame[:place] + bytes((int(value),)) + frame[place + 1 :]))


@each_case
def test_another_value_anywhere_raises_nothing_and_makes_no_unsound_tick(case: Case) -> None:
    bench, random = _bench(case), np.random.default_rng(12)
    for frame in case.frames:
        try:
            parsed = json.loads(frame)
        except ValueError:
            continue
        for _ in range(200):
            _sound(bench.rows(json.dumps(_with_other_value(parsed, random)).encode()))


OTHER_VALUES = [
    None, True, False, 0, -1, 1, 0.5, -0.5, 2**63, 2**64, 10**30, 1e300, "", "x", "0", "-1", "1e5", "nan", "inf", "1_0",
    "9" * 400, "\ud800", "\x00", "X" * 50, [], [[]], {}, {"a": 1}, [1, 2], "2024-01-01T00:00:00Z",
    "0001-01-01 00:00:00",
]  # fmt: skip


def _with_other_value(tree: object, random: np.random.Generator) -> object:
    """``tree`` with one of its parts replaced or taken away."""
    if isinstance(tree, dict) and tree and random.random() < 0.9:
        key = list(tree)[random.integers(len(tree))]
        if random.random() < 0.15:
            return {k: v for k, v in tree.items() if k != key}
        return tree | {key: _with_other_value(tree[key], random)}
    if isinstance(tree, list) and tree and random.random() < 0.9:
        place = int(random.integers(len(tree)))
        if random.random() < 0.15:
            return tree[:place] + tree[place + 1 :]
        return [*tree[:place], _with_other_value(tree[place], random), *tree[place + 1 :]]
    return OTHER_VALUES[random.integers(len(OTHER_VALUES))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@each_case
def test_any_json_and_any_bytes_raise_nothing(case: Case) -> None:
    bench = _bench(case)

    @given(JSON, st.binary(max_size=200))
    def take(tree: object, noise: bytes) -> None:
        for frame in (json.dumps(tree).encode(), noise, b"[" * 20_000):
            _sound(bench.rows(frame))

    take()
