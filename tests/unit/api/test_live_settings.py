"""The short file of live trading: what it means to the engine, and what of it is refused."""

import json
from pathlib import Path

import pytest

from hft_engine.config.errors import ConfigError
from hft_engine.live.command import without_option
from hft_engine.live.settings import (
    LiveSettings,
    MarketHours,
    engine_config,
    read_settings,
    session_of,
    shown,
)

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "config/live_trading_config.json"
KEY = "secret-key-12345"
ENV = {"ALPHAVANTAGE_API_KEY": KEY}


def _file(folder: Path, **changes: object) -> Path:
    path = folder / "live.json"
    path.write_text(json.dumps(json.loads(SHIPPED.read_text()) | changes))
    return path


def test_the_shipped_file_has_the_documents_keys_and_values() -> None:
    data = json.loads(SHIPPED.read_text())
    assert {key: data[key] for key in data if not isinstance(data[key], dict)} == {
        "provider": "alphavantage", "api_key": "YOUR_API_KEY_HERE", "update_interval": 60, "signal_threshold": 0.7,
        "tickers": ["AAPL", "GOOGL", "MSFT", "AMZN", "META"], "window_size": 100,
        "ensemble_method": "dynamic_ensemble", "notification_recipients": [],
    }  # fmt: skip
    assert data["notifications"]["throttle_period"] == 300
    assert data["notifications"]["email"]["smtp_port"] == 587
    assert data["market_hours"] == {"timezone": "America/New_York", "include_extended_hours": False}


def test_each_key_of_it_is_one_of_the_engine() -> None:
    config = engine_config(read_settings(SHIPPED), "live.json", env=ENV, dotenv_path=None)
    feed, indicators, signals = config.feed, config.indicators, config.signals
    assert (feed.venue, feed.api_key, feed.channels) == ("alphavantage", KEY, ("T",))
    assert feed.symbols == ("AAPL", "GOOGL", "MSFT", "AMZN", "META")
    assert feed.poll.every_ms == 60_000
    assert feed.health.session == "09:30-16:00 America/New_York"
    assert (indicators.sma, indicators.volatility, indicators.size_window) == (100, 100, 100)
    assert signals.strength_min == 0.7
    assert {rule.name for rule in signals.rules} == {
        "model_up",
        "model_down",
        "rsi_oversold",
        "rsi_overbought",
    }


@pytest.mark.parametrize(
    "method, names",
    [("rules", {"rsi_oversold", "rsi_overbought"}), ("model", {"model_up", "model_down"})],
)
def test_an_ensemble_may_be_a_part_of_the_rules(method: str, names: set[str]) -> None:
    settings = LiveSettings(ensemble_method=method, api_key=KEY)  # type: ignore[arg-type]
    config = engine_config(settings, "live.json", env={}, dotenv_path=None)
    assert {rule.name for rule in config.signals.rules} == names


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    settings = read_settings(_file(tmp_path, api_key="of-alphavantage"), "finnhub", ["X", "Y"])
    assert (settings.provider, settings.tickers) == ("finnhub", ("X", "Y"))
    assert settings.api_key == ""  # the file's key is another provider's
    assert read_settings(_file(tmp_path, api_key=KEY)).api_key == KEY


def test_the_default_provider_said_again_is_no_other_one(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    path.write_text(json.dumps({"api_key": KEY}))
    assert read_settings(path, "alphavantage").api_key == KEY


def test_the_level_of_the_log_is_the_options_then_the_environments() -> None:
    settings = LiveSettings(api_key=KEY)
    env = {"LOG_LEVEL": "debug"}
    assert engine_config(settings, "x", env=env, dotenv_path=None).engine.log_level == "DEBUG"
    assert engine_config(settings, "x", "ERROR", env, dotenv_path=None).engine.log_level == "ERROR"


def test_sections_of_the_engine_win() -> None:
    settings = LiveSettings(
        api_key=KEY, engine={"indicators": {"sma": 7}, "feed": {"poll": {"calls_per_day": 0}}}
    )
    config = engine_config(settings, "x", env={}, dotenv_path=None)
    assert (config.indicators.sma, config.indicators.volatility) == (7, 100)
    assert (config.feed.poll.calls_per_day, config.feed.poll.every_ms) == (0, 60_000)


@pytest.mark.parametrize(
    "hours, session",
    [
        (MarketHours(), "09:30-16:00 America/New_York"),
        (MarketHours(include_extended_hours=True), "04:00-20:00 America/New_York"),
        (MarketHours(timezone="Europe/Berlin"), "09:30-16:00 Europe/Berlin"),
        (MarketHours(session="XNYS"), "XNYS"),
    ],
)
def test_market_hours_are_a_session(hours: MarketHours, session: str) -> None:
    assert session_of(hours) == session


@pytest.mark.parametrize(
    "change, words",
    [
        ({"update_intervall": 60}, "update_intervall"),
        ({"signal_threshold": 7}, "signal_threshold"),
        ({"window_size": 1_000}, "window_size"),
        ({"tickers": []}, "tickers"),
        ({"api_key": [KEY]}, "api_key"),
        ({"notifications": {"email": {"password": [KEY]}}}, "password"),
    ],
)
def test_what_cannot_be_is_refused_by_name_without_its_value(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        read_settings(_file(tmp_path, **change))
    assert KEY not in str(refused.value)


def test_without_a_key_the_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="ALPHAVANTAGE_API_KEY"):
        engine_config(read_settings(SHIPPED), "live.json", env={}, dotenv_path=None)


def test_what_is_shown_has_no_secret(tmp_path: Path) -> None:
    assert KEY not in shown(read_settings(_file(tmp_path, api_key=KEY)))


def test_the_key_leaves_the_arguments() -> None:
    arguments = ["x.py", "--api-key", KEY, "--tickers", "A", f"--api-key={KEY}"]
    assert without_option(arguments, "--api-key") == ["x.py", "--tickers", "A"]


def test_the_interval_of_the_environment_wins_over_the_files(tmp_path: Path) -> None:
    path = _file(tmp_path, update_interval=30)
    assert read_settings(path, env={}).update_interval == 30.0
    assert read_settings(path, env={"UPDATE_INTERVAL": "5"}).update_interval == 5.0
    with pytest.raises(ConfigError, match=r"UPDATE_INTERVAL: 'often'"):
        read_settings(path, env={"UPDATE_INTERVAL": "often"})
