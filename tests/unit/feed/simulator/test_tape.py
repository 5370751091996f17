"""A raw capture played back: frame for frame what was recorded."""

from pathlib import Path

import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.capture_file import CaptureWriter, Frame, Header
from hft_engine.feed.recorded import RecordingError
from hft_engine.feed.simulator.scenario import Drop, Mute, Scenario
from hft_engine.feed.simulator.serving import RunningVenue, make_venue
from hft_engine.feed.simulator.venue import VenueError
from support.sim_clients import ends_without_close_frame, login, subscribe, using
from support.waiting import wait_for

DATA = [b'[{"ev":"T","sym":"A","p":%d}]' % i for i in range(50)]
STATUS = b'[{"ev":"status","status":"success","message":"subscribed to: T.A"}]'


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    path = tmp_path / "day.capture.zst"
    with CaptureWriter(path, Header("polygon", "wss://socket.polygon.io/stocks", 1)) as capture:
        capture.write(Frame(900, 0, STATUS))
        capture.write(Frame(950, 0, b'{"action":"subscribe","params":"T.A"}', 0, "sent"))
        for i, payload in enumerate(DATA):
            capture.write(Frame(1_000 + i * 10_000_000, i, payload))
    return path


def config(tape: Path, speed: float) -> SimulatorConfig:
    return SimulatorConfig(api_key="KEY", source=str(tape), speed=speed)


@pytest.mark.parametrize("speed", [0.0, 10.0])
def test_every_data_frame_comes_as_it_was_and_nothing_else(tape: Path, speed: float) -> None:
    with RunningVenue(config(tape, speed)) as running, using(login(running)) as client:
        assert subscribe(client, "T.A") == ["subscribed to: T.A"]
        assert [client.recv_data()[1] for _ in DATA] == DATA
        wait_for(lambda: running.counts.frames == len(DATA), "all frames counted")


def test_connections_can_fail_while_it_plays(tape: Path) -> None:
    with RunningVenue(config(tape, 1.0), scenario=Scenario(steps=(Drop(after_ticks=10),))) as running:
        client = login(running)
        with using(client):
            subscribe(client, "T.A")
            assert ends_without_close_frame(client)


def test_faults_on_ticks_are_refused_with_the_reason(tape: Path) -> None:
    with pytest.raises(VenueError, match="raw capture"):
        make_venue(config(tape, 1.0), scenario=Scenario(steps=(Mute(),)))


def test_a_missing_capture_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"none\.capture"):
        make_venue(config(tmp_path / "none.capture", 1.0))
