"""``hft doctor`` at simulated venues: what works is said, what does not is named with its remedy."""

import socket
from pathlib import Path

import msgspec
import pytest

from hft_engine.config.schema import (
    ActorTuning,
    Config,
    EngineConfig,
    ExecutionConfig,
    FeedConfig,
    HealthConfig,
    SimulatorConfig,
)
from hft_engine.doctor import command, feeds, machine
from hft_engine.doctor.findings import Finding, Level
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.runtime import placement

KEY = "secret-key-12345"
MARKET = SimulatorConfig(api_key=KEY, instruments=4, ticks_per_s=1_000.0)
WAIT_S = 20.0


def config_of(directory: Path, url: str, key: str = KEY, symbols: tuple[str, ...] = ("AAPL",)) -> Config:
    feed = FeedConfig(
        url=url, api_key=key, channels=("T", "Q"), symbols=symbols, health=HealthConfig(session="always")
    )
    folders = {"data_dir": str(directory / "data"), "log_dir": str(directory / "logs")}
    return Config(engine=EngineConfig(**folders), feed=feed)


def of_area(found: list[Finding], area: str) -> Finding:
    (only,) = [finding for finding in found if finding.area == area]
    return only


def test_a_feed_that_works_is_ok_with_its_figures(tmp_path: Path) -> None:
    with RunningVenue(MARKET) as market:
        found = list(feeds.examine(config_of(tmp_path, market.url, symbols=market.symbols), WAIT_S))
    assert "8 subscriptions" in of_area(found, "feed main").text
    data = of_area(found, "data")
    assert "ticks; the venue's stamps reach us after" in data.text
    assert all(finding.level is not Level.PROBLEM for finding in found)


def test_a_refused_key_is_a_problem_and_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = "another-key-67890"
    with RunningVenue(MARKET) as market:
        assert command.run(config_of(tmp_path, market.url, key=wrong), WAIT_S, as_json=True) == 1
    shown = capsys.readouterr().out
    told = msgspec.json.decode(shown)
    assert not told["works"]
    assert any(each["level"] == "problem" and "auth" in each["text"] for each in told["findings"])
    assert wrong not in shown


def test_a_missing_key_names_where_to_put_it(tmp_path: Path) -> None:
    found = list(feeds.examine(config_of(tmp_path, "ws://127.0.0.1:1/", key=""), WAIT_S))
    assert "POLYGON_API_KEY" in of_area(found, "feed main").text
    assert of_area(found, "feed main").level is Level.PROBLEM


def test_a_venue_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    found = list(feeds.examine(config_of(tmp_path, f"ws://127.0.0.1:{port}/"), 1.0))
    finding = of_area(found, "feed main")
    assert finding.level is Level.PROBLEM
    assert "nothing listens there" in finding.text


def test_a_silent_venue_is_a_warning(tmp_path: Path) -> None:
    quiet = msgspec.structs.replace(MARKET, ticks_per_s=0.001)
    with RunningVenue(quiet) as market:
        found = list(feeds.examine(config_of(tmp_path, market.url, symbols=market.symbols), 1.5))
    assert of_area(found, "data").level is Level.WARNING


def test_the_demo_needs_no_network(tmp_path: Path) -> None:
    config = msgspec.structs.replace(config_of(tmp_path, ""), simulator=MARKET)
    assert [finding.level for finding in feeds.examine(config, WAIT_S)] == [Level.OK]


def test_a_machine_without_room_and_a_strategy_that_is_not_there_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "STATS_MB", 1e9)
    monkeypatch.setattr(machine, "DISK_MB_MIN", 1e12)
    config = msgspec.structs.replace(
        config_of(tmp_path, ""), execution=ExecutionConfig(strategy="no_such_strategy")
    )
    found = list(machine.examine(config))
    for area in ("configuration", "shared memory", "disk"):
        finding = of_area(found, area)
        assert finding.level is Level.PROBLEM
        assert finding.remedy
    assert "no_such_strategy" in of_area(found, "configuration").text


@pytest.mark.parametrize(("granted", "level"), [(True, Level.OK), (False, Level.WARNING)])
def test_whether_an_actor_may_run_in_real_time_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: bool, level: Level
) -> None:
    monkeypatch.setattr(placement, "go_before_all", lambda: granted)
    config = config_of(tmp_path, "")
    assert not [finding for finding in machine.examine(config) if finding.area == "real time"]
    actors = {"compute": ActorTuning(wait="park", realtime=True), "feed": ActorTuning()}
    engine = msgspec.structs.replace(config.engine, actors=actors)
    finding = of_area(list(machine.examine(msgspec.structs.replace(config, engine=engine))), "real time")
    assert finding.level is level
    assert finding.text.startswith("compute in real time (engine.actors)")
