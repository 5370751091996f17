"""Events as the wire has them, checked against frames observed from the real venue and against our own decoder."""

import json
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.decode import FrameDecoder
from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.options import VenueOptions
from hft_engine.feed.simulator.source import SyntheticSource
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

DATA = Path(__file__).parents[3] / "data/polygon"
START_NS = 1_700_000_040_000_000_000


@pytest.fixture(scope="module")
def source() -> SyntheticSource:
    config = SimulatorConfig(instruments=5, ticks_per_s=200.0)
    return SyntheticSource(config, SyntheticMarket(config, START_NS))


@pytest.fixture(scope="module")
def ticks(source: SyntheticSource) -> np.ndarray:
    """62 s, every kind among them."""
    return join_ticks([source.take(START_NS + ms * 1_000_000, 10**6) for ms in range(0, 62_000, 50)])


def events_of(ticks: np.ndarray, source: SyntheticSource, options: VenueOptions) -> list[dict]:
    return [json.loads(event) for event in Encoder(source.symbols, options).encode(ticks)]


def documented_and_observed() -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for line in (DATA / "documented-examples.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["path"].startswith(("/stocks/", "/business/stocks")):
            found.setdefault(entry["frame"][0]["ev"], []).extend(entry["frame"])
    for line in (DATA / "observed-frames.jsonl").read_text().splitlines():
        for event in json.loads(json.loads(line)["frame"]):
            if not event.get("sym", "").startswith("O:"):
                found.setdefault(event["ev"], []).append(event)
    return found


@pytest.mark.parametrize("channel", ["T", "Q", "A", "AM", "FMV", "LULD"])
def test_an_event_has_the_keys_and_types_that_real_ones_have(
    source: SyntheticSource, ticks: np.ndarray, channel: str
) -> None:
    real = documented_and_observed()[channel]
    ours = [event for event in events_of(ticks, source, VenueOptions()) if event["ev"] == channel]
    assert ours
    known: dict[str, set[type]] = {}
    for event in real:
        for key, value in event.items():
            known.setdefault(key, set()).add(_json_type(value))
    optional = {"c", "i", "dv", "dav"}  # absent from some real events
    for event in ours:
        assert set(event) <= set(known)
        assert set(known) - set(event) <= optional
        assert all(_json_type(value) in known[key] for key, value in event.items())


def _json_type(value: object) -> type:
    return float if isinstance(value, int) else type(value)


def test_units_of_time_are_those_of_the_wire(source: SyntheticSource, ticks: np.ndarray) -> None:
    for tick, event in zip(ticks, events_of(ticks, source, VenueOptions()), strict=True):
        ts = int(tick["ts_venue_ns"])
        if event["ev"] in ("FMV", "LULD"):
            assert event["t"] == ts
        elif event["ev"] in ("A", "AM"):
            assert (event["e"], event["e"] - event["s"]) == (
                ts // 10**6,
                1_000 if event["ev"] == "A" else 60_000,
            )
        else:
            assert event["t"] == ts // 10**6


def test_our_decoder_gets_back_what_was_encoded(source: SyntheticSource, ticks: np.ndarray) -> None:
    instruments = InstrumentTable.private(10)
    for symbol in source.symbols:
        instruments.id_of(symbol)
    decoder = FrameDecoder(instruments, venue_id=0, frame_bytes_max=10_000_000)
    count = decoder.decode(b"[" + b",".join(Encoder(source.symbols).encode(ticks)) + b"]", 0, 0)
    assert (count, decoder.rejected) == (len(ticks), 0)
    fields = {
        TickKind.TRADE: (
            "price",
            "size",
            "trade_id",
            "conditions",
            "exchange",
            "tape",
            "flags",
            "venue_sequence",
        ),
        TickKind.QUOTE: ("bid", "ask", "bid_size", "ask_size", "exchange", "exchange_ask", "conditions"),
        TickKind.BAR_SECOND: ("open", "high", "low", "close", "volume", "vwap", "day_volume", "ts_start_ns"),
        TickKind.BAR_MINUTE: (
            "open",
            "high",
            "low",
            "close",
            "volume",
            "day_vwap",
            "day_open",
            "ts_venue_ns",
        ),
        TickKind.FMV: ("price", "ts_venue_ns"),
        TickKind.LULD: ("upper", "lower", "tape", "ts_venue_ns"),
    }
    for kind, names in fields.items():
        rows = ticks["kind"] == kind
        for name in ("kind", "instrument_id", *names):
            assert np.array_equal(ticks[name][rows], decoder.rows[:count][name][rows]), (kind, name)


def trade(size: float = 100.0) -> np.ndarray:
    tick = np.zeros(1, TICK_DTYPE)
    tick["kind"], tick["ts_venue_ns"], tick["price"], tick["size"] = TickKind.TRADE, START_NS + 5, 10.5, size
    tick["trade_id"] = 42
    return tick


def encode_one(tick: np.ndarray, **options: object) -> dict:
    return dict(json.loads(Encoder(("AAPL",), VenueOptions(**options)).encode(tick)[0]))


def test_a_trade_without_conditions_has_no_c() -> None:
    assert "c" not in encode_one(trade())


def test_a_fractional_size_is_cut_in_s_and_exact_in_ds() -> None:
    event = encode_one(trade(size=0.006))
    assert (event["s"], event["ds"]) == (0, "0.006")
    assert "ds" not in encode_one(trade(size=7.0))


def test_oddities_of_the_wire_can_be_switched_on() -> None:
    event = encode_one(trade(), trade_id_as_number_every=1, time_in_ns_every=1, newer_fields=True)
    assert event["i"] == 42
    assert event["t"] == START_NS + 5
    assert (event["ds"], event["pt"], event["zz_new"]) == ("100.0", START_NS // 10**6, "new")
    bar = np.zeros(1, TICK_DTYPE)
    bar["kind"], bar["volume"], bar["venue_sequence"] = TickKind.BAR_MINUTE, 120.0, 10
    text = Encoder(("AAPL",), VenueOptions(bar_average_as_float_every=1, newer_fields=True)).encode(bar)[0]
    assert b'"z":12.0' in text
    assert b'"dv":"120.0"' in text
    assert b'"v":0,' in Encoder(("AAPL",), VenueOptions(bar_without_volume_every=1)).encode(bar)[0]


def test_every_nth_is_odd_and_the_others_are_not() -> None:
    encoder = Encoder(("AAPL",), VenueOptions(trade_id_as_number_every=3))
    ids = [json.loads(encoder.encode(trade())[0])["i"] for _ in range(6)]
    assert ids == ["42", "42", 42, "42", "42", 42]
