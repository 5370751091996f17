"""``hft capture`` beside a simulated venue, and the simulator playing back what it wrote: same frames, same ticks."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import Config, FeedConfig, HealthConfig, SimulatorConfig
from hft_engine.feed.capture_file import Capture, CaptureError
from hft_engine.feed.capturing import Capturing
from hft_engine.feed.simulator.scenario import Drop, Mute
from hft_engine.feed.simulator.serving import RunningVenue
from support.engine import hft
from support.live_engine import configuration, of_the_venue, running
from support.waiting import wait_for

KEY = "secret-key-12345"
MARKET = SimulatorConfig(api_key=KEY, instruments=4, ticks_per_s=1_000.0)
SAME = ("ts_venue_ns", "venue_sequence", "kind", "flags", "price", "size", "bid_size", "ask_size")


def config_of(url: str, symbols: tuple[str, ...], directory: Path, **changes: object) -> Config:
    feed = FeedConfig(
        url=url,
        api_key=KEY,
        channels=("T", "Q"),
        symbols=symbols,
        health=HealthConfig(session="always"),
        **changes,
    )  # type: ignore[arg-type]
    return configuration(feed, directory)


def captured(market: RunningVenue, file: Path, directory: Path, drop: bool = False) -> list[str]:
    """A capture of some seconds of the venue's data, all that it sent; what was told."""
    told: list[str] = []
    stop = threading.Event()
    capturing = Capturing(config_of(market.url, market.symbols, directory), file, told.append)
    thread = threading.Thread(target=capturing.run, args=(stop.is_set,))
    thread.start()
    try:
        wait_for(lambda: capturing.frames > 200, "data")
        if drop:
            market.inflict(Drop())
            wait_for(lambda: market.counts.connections == 2, "back")
            before = capturing.frames
            wait_for(lambda: capturing.frames > before + 50, "more data")
        market.inflict(Mute())
        time.sleep(0.3)
    finally:
        stop.set()
        thread.join()
    assert capturing.connections == 1 + drop
    return told


@pytest.mark.parametrize("name", ["day.capture", "day.capture.zst"])
def test_a_capture_played_back_gives_the_same_frames_and_the_same_ticks(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    with (
        RunningVenue(MARKET) as market,
        running(config_of(market.url, market.symbols, tmp_path / "live")) as live,
    ):
        live.until(lambda: live.state == "live", "live")
        holder = threading.Thread(target=captured, args=(market, file, tmp_path))
        holder.start()
        while holder.is_alive():
            live.cycle()
        holder.join()
        live.until_quiet()
        symbols = market.symbols
        first = {symbol: live.instruments.find(symbol) for symbol in symbols}
        seen = of_the_venue(live.ticks())
    frames = [
        frame for frame in Capture(file) if frame.direction == "received" and b'"status"' not in frame.payload
    ]
    assert len(frames) > 50
    stamps = np.array([(frame.ts_recv_ns, frame.ts_mono_ns) for frame in frames])
    assert (np.diff(stamps, axis=0) >= 0).all() and abs(int(stamps[-1, 0]) - time.time_ns()) < 60 * 10**9

    tape = SimulatorConfig(api_key=KEY, source=str(file), speed=0.0)
    with RunningVenue(tape) as again, running(config_of(again.url, symbols, tmp_path / "again")) as engine:
        engine.until(lambda: engine.count("events") and again.venue.source.finished, "played")
        engine.until_quiet()
        played = of_the_venue(engine.ticks())
        second = {symbol: engine.instruments.find(symbol) for symbol in symbols}
        assert engine.count("rejected") == engine.count("frames_rejected") == 0
        assert again.counts.frames == len(frames)
    for symbol in symbols:  # ids are given in the order in which symbols come
        ours, theirs = (
            seen[seen["instrument_id"] == first[symbol]],
            played[played["instrument_id"] == second[symbol]],
        )
        assert len(theirs) > 20
        ours = ours[len(ours) - len(theirs) :]  # the capture began later
        for field in SAME:
            assert np.array_equal(ours[field], theirs[field]), (symbol, field)


def test_connections_are_numbered_and_the_key_is_in_no_frame(tmp_path: Path) -> None:
    file = tmp_path / "day.capture"
    with RunningVenue(MARKET) as market:
        told = captured(market, file, tmp_path, drop=True)
    frames = list(Capture(file))
    assert {frame.connection for frame in frames} == {0, 1}
    assert any("connection lost" in text for text in told)
    sent = [frame.payload for frame in frames if frame.direction == "sent"]
    assert sent.count(b'{"action":"auth","params":"***"}') == 2
    assert KEY.encode() not in file.read_bytes()
    header = Capture(file).header
    assert (header.venue, header.url) == ("polygon", market.url)


def test_the_command_says_what_it_wrote_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", KEY)
    file = tmp_path / "x.capture.zst"
    with RunningVenue(MARKET) as market:
        options = ["--set", f"feed.url={market.url}", "--set", f"engine.data_dir={tmp_path / 'data'}"]
        done = hft("capture", str(file), "--seconds", "2", *options, timeout_s=100)
        assert done.returncode == 0, done.stderr
        assert "feed: live" in done.stdout and "1 connections" in done.stdout
        assert len(list(Capture(file))) > 3
        again = hft("capture", str(file), "--seconds", "2", *options, timeout_s=100)
    assert again.returncode == 2 and "nothing is overwritten" in again.stderr
    assert KEY not in done.stdout + done.stderr + again.stderr


def test_a_name_that_could_not_be_played_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"name it with \.capture or"):
        Capturing(config_of("ws://127.0.0.1:9/stocks", ("AAPL",), tmp_path), tmp_path / "x.bin", print)
    assert not list(tmp_path.iterdir())
