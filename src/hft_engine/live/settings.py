"""``config/live_trading_config.json`` as closed structs, and the engine's configuration that it means."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from hft_engine.config.document import read_document
from hft_engine.config.errors import ConfigError
from hft_engine.config.load import config_from, key_variables, variable
from hft_engine.config.schema import DEFAULT_RULES, Config, Fraction, Period

PLACEHOLDERS = ("YOUR_API_KEY_HERE", "YOUR_API_KEY")  # of the template: no key
REGULAR, EXTENDED = "09:30-16:00", "04:00-20:00"
INTERVAL_S_MIN, INTERVAL_S_MAX = 0.01, 86_400.0
# A polled venue is silent between two answers.
_POLLED = {"channels": ["T"], "quiet_after_ms": 20_000, "dead_after_ms": 25_000}
_FEEDS: dict[str, dict[str, Any]] = {"alphavantage": _POLLED, "finnhub": {"channels": ["T"]}}


class _Section(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Email(_Section, frozen=True):
    enabled: bool = False
    smtp_server: str = "smtp.gmail.com"
    smtp_port: Annotated[int, Meta(gt=0, le=65_535)] = 587
    username: str = ""
    password: str = ""
    from_email: str = ""


class Sms(_Section, frozen=True):
    enabled: bool = False


class NotificationSettings(_Section, frozen=True):
    enabled: bool = False
    throttle_period: Annotated[float, Meta(ge=0.0)] = 300.0  # seconds: at most one message in so long
    status_period: Annotated[float, Meta(ge=0.0)] = 3_600.0  # seconds between two status lines; 0: none
    email: Email = Email()
    sms: Sms = Sms()


class MarketHours(_Section, frozen=True):
    """``session``: other hours than the regular ones of the zone, as ``feed.health.session``: always, XNYS, ..."""

    timezone: str = "America/New_York"
    include_extended_hours: bool = False
    session: str | None = None


class LiveSettings(_Section, frozen=True):
    """``engine``: sections as in config/engine.yaml, for all that has no key here; they win."""

    provider: str = "alphavantage"
    api_key: str = ""
    tickers: Annotated[tuple[str, ...], Meta(min_length=1)] = ("AAPL", "GOOGL", "MSFT", "AMZN", "META")
    update_interval: Annotated[float, Meta(ge=INTERVAL_S_MIN, le=INTERVAL_S_MAX)] = 60.0  # seconds
    signal_threshold: Fraction = 0.7
    window_size: Period = 100
    ensemble_method: Literal["dynamic_ensemble", "model", "rules"] = "dynamic_ensemble"
    notifications: NotificationSettings = NotificationSettings()
    notification_recipients: tuple[str, ...] = ()
    market_hours: MarketHours = MarketHours()
    engine: dict[str, dict[str, Any]] = {}


def read_settings(
    path: Path,
    provider: str | None = None,
    tickers: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> LiveSettings:
    """The file, with what the command line and UPDATE_INTERVAL say in the place of what it says. Raises ConfigError."""
    document = read_document(path)
    given: dict[str, Any] = {"provider": provider, "tickers": list(tickers) if tickers is not None else None}
    given["update_interval"] = _interval(variable("UPDATE_INTERVAL", env))
    data = {**document.data, **{key: value for key, value in given.items() if value is not None}}
    of_the_file = document.data.get("provider", LiveSettings().provider)
    if data.get("api_key") in PLACEHOLDERS or data.get("provider", of_the_file) != of_the_file:
        data.pop("api_key", None)  # of another provider, or of none
    try:
        settings = msgspec.convert(data, LiveSettings)
    except msgspec.ValidationError as error:  # its text holds types and places, no values of ours
        raise ConfigError([f"{path}: {error}"]) from None
    problems = _notification_problems(settings)
    if problems:
        raise ConfigError([f"{path}: {problem}" for problem in problems])
    return settings


def _interval(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ConfigError([f"UPDATE_INTERVAL: {text!r} is no number of seconds; 60 is one"]) from None


def _notification_problems(settings: LiveSettings) -> list[str]:
    """What stands between these settings and a message that arrives."""
    notifications, email = settings.notifications, settings.notifications.email
    if not notifications.enabled:
        return []
    found = []
    if notifications.sms.enabled:
        found.append(
            "notifications.sms.enabled: there is no gateway for text messages; set it to false, and name the address "
            "by which your carrier takes e-mail for a number in notification_recipients"
        )
    if not email.enabled:
        return [
            *found,
            "notifications.enabled: no channel is; set notifications.email.enabled, or this to false",
        ]
    if "@" not in email.from_email:
        found.append("notifications.email.from_email: give the address that messages come from")
    if not settings.notification_recipients or not all(
        "@" in each for each in settings.notification_recipients
    ):
        found.append("notification_recipients: give the addresses that messages go to, [me@example.org]")
    return found


def mail_settings(settings: LiveSettings, env: Mapping[str, str] | None = None) -> Email:
    """With the password of SMTP_PASSWORD in the environment or in .env, where that is set."""
    email = settings.notifications.email
    return msgspec.structs.replace(email, password=variable("SMTP_PASSWORD", env) or email.password)


def session_of(hours: MarketHours) -> str:
    """As ``feed.health.session`` says it."""
    if hours.session is not None:
        return hours.session
    return f"{EXTENDED if hours.include_extended_hours else REGULAR} {hours.timezone}"


def engine_config(
    settings: LiveSettings,
    source: str,
    log_level: str | None = None,
    env: Mapping[str, str] | None = None,
    *,
    dotenv_path: Path | None = Path(".env"),
) -> Config:
    """The engine's configuration; ``source`` names the settings in errors. The environment's key wins over theirs,
    ``log_level`` over its LOG_LEVEL.

    Raises ConfigError.
    """
    sections = _merged(_sections(settings), settings.engine)
    config = config_from(sections, source, (), env, dotenv_path=dotenv_path)
    if log_level is not None:
        engine = msgspec.structs.replace(config.engine, log_level=log_level)
        config = msgspec.structs.replace(config, engine=engine)
    if not config.feed.api_key and settings.provider != "generic":
        names = " or ".join(key_variables(settings.provider))
        raise ConfigError(
            [f"{source}: api_key: no key of {settings.provider}: set {names} in the environment or in .env"]
        )
    return config


def _sections(settings: LiveSettings) -> dict[str, Any]:
    window = settings.window_size
    return {
        "engine": {"name": "live", "layout": "inline"},
        "feed": {
            "venue": settings.provider,
            "api_key": settings.api_key,
            "symbols": list(settings.tickers),
            "poll": {"every_ms": round(settings.update_interval * 1_000)},
            "health": {"session": session_of(settings.market_hours)},
            **_FEEDS.get(settings.provider, {}),
        },
        "indicators": {"bar": "minute", "sma": window, "volatility": window, "size_window": window},
        "signals": {"strength_min": settings.signal_threshold, "rules": _rules(settings.ensemble_method)},
    }


def _rules(method: str) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = msgspec.to_builtins(DEFAULT_RULES)
    of_model = {"model": (True,), "rules": (False,)}.get(method, (True, False))
    return [rule for rule in rules if rule["feature"].startswith("probability") in of_model]


def _merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in more.items():
        inside = merged.get(key)
        both = isinstance(inside, dict) and isinstance(value, dict)
        merged[key] = _merged(inside, value) if both and inside is not None else value
    return merged


def shown(settings: LiveSettings) -> str:
    """One line of JSON without any secret, for a log."""
    data = msgspec.to_builtins(settings)
    facts = ("provider", "tickers", "update_interval", "signal_threshold", "window_size", "ensemble_method")
    return json.dumps({key: data[key] for key in facts})
