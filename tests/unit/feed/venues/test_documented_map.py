"""The worked example of docs/feeds.md does what it says."""

import json
import re
from pathlib import Path

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.venues import venue_of
from hft_engine.records import Side, TickKind
from support.decoding import DecoderBench

PAGE = (Path(__file__).parents[4] / "docs" / "feeds.md").read_text().partition("## Field maps")[2]
BLOCKS = dict(re.findall(r"```(json|yaml)\n(.*?)```", PAGE, re.DOTALL))


def test_the_documented_map_reads_the_documented_frames(tmp_path: Path) -> None:
    path = tmp_path / "map.yaml"
    path.write_text(BLOCKS["yaml"])
    config = FeedConfig(venue="generic", map=str(path), channels=("T", "Q"), symbols=("EURUSD",))
    venue = venue_of(config)
    bench = DecoderBench(lambda table: venue.decoder(table, config))
    fills, top, confirmed, refused = BLOCKS["json"].strip().splitlines()
    (trade,) = bench.rows(fills.encode())
    names = ("kind", "price", "size", "ts_venue_ns", "venue_sequence", "trade_id", "side")
    expected = (TickKind.TRADE, 1.0842, 1_000.0, 1_700_000_000_123_000_000, 77, 77, Side.BUY)
    assert tuple(trade[name] for name in names) == expected
    (quote,) = bench.rows(top.encode())
    assert [quote[name] for name in ("bid", "bid_size", "ask", "ask_size")] == [
        1.0841,
        5_000.0,
        1.0843,
        4_000.0,
    ]
    assert quote["ts_venue_ns"] == 1_700_000_000_125_000_000
    assert bench.symbol(trade) == bench.symbol(quote) == "EURUSD"
    bench.rows(confirmed.encode())
    assert (
        [status.message for status in bench.decoder.statuses] == [venue.pairs(config)[0]] == ["fills.EURUSD"]
    )
    bench.rows(refused.encode())
    assert [(status.status, status.message) for status in bench.decoder.statuses] == [
        ("error", "no such channel")
    ]
    assert json.loads(venue.subscribe_texts(venue.pairs(config))[0]) == {
        "op": "subscribe",
        "channels": ["fills.EURUSD", "top.EURUSD"],
    }
