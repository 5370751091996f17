"""``scripts/live_trading.py``: reads the short file, runs the engine, prints its signals."""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from hft_engine.config.load import key_variables
from hft_engine.live.mail import Mailer
from hft_engine.live.notify import Kind, Notifications
from hft_engine.live.settings import (
    LiveSettings,
    engine_config,
    mail_settings,
    read_settings,
    session_of,
    shown,
)

DEFAULT = Path("config/live_trading_config.json")
LOG_FILE = "live_trading"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
EXIT_ERROR = 2
REPORT_S_MIN = 60.0  # between two lines of the log that say how it goes
OPTION = "--api-key"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "path", type=click.Path(path_type=Path), default=DEFAULT, show_default=True)
@click.option(OPTION, help="Of the provider; wins over environment and file. Better: its variable, or .env.")
@click.option("--provider", help="In the place of the file's.")
@click.option("--tickers", help="Comma-separated; in the place of the file's.")
@click.option(
    "--log-level", type=click.Choice(LEVELS, case_sensitive=False), help="Default: LOG_LEVEL, else INFO."
)
def command(
    path: Path, api_key: str | None, provider: str | None, tickers: str | None, log_level: str | None
) -> None:
    """Print trading signals of live data until interrupted."""
    from hft_engine.config.errors import ConfigError

    names = None if tickers is None else [name.strip() for name in tickers.split(",") if name.strip()]
    try:
        settings = read_settings(path, provider, names)
        if api_key is not None:
            _begin_again_without_the_key(settings.provider, api_key)
        sys.exit(_run(settings, str(path), log_level.upper() if log_level else None))
    except ConfigError as error:
        _die(str(error))
    except Exception as error:
        if not type(error).__module__.startswith("hft_engine"):
            raise  # a fault of ours: the traceback belongs into the report
        _die(str(error))


def _die(text: str) -> None:
    click.echo(f"error: {text}", err=True)
    sys.exit(EXIT_ERROR)


def _run(settings: LiveSettings, source: str, log_level: str | None) -> int:
    config = engine_config(settings, source, log_level)
    from hft_engine.runtime import kernelcache

    kernelcache.use()  # before anything imports numba
    from hft_engine import starting
    from hft_engine.cli.options import say
    from hft_engine.feed.health.hours import hours_of
    from hft_engine.live.follow import Follower

    log = _log(Path(config.engine.log_dir), config.engine.log_level)
    log.info("settings: %s", shown(settings))
    hours = hours_of(session_of(settings.market_hours))
    with _notifications(settings, log) as notify:

        def handle(signal: dict[str, object]) -> None:
            text = signal_text(signal)
            print(f"Received signal: {text}", flush=True)
            notify(Kind.SIGNAL, text)

        follower = Follower(hours, handle, log, max(settings.update_interval, REPORT_S_MIN), notify)
        follower.status_s = settings.notifications.status_period
        return starting.foreground(config, say, on_ready=follower.ready, on_end=follower.ended)


def signal_text(signal: dict[str, object]) -> str:
    return (
        f"{signal['ticker']} - {signal['signal']}  Confidence: {signal['confidence']:.4f}  "
        f"Price: ${signal['price']:.2f}  ({signal['reason']})"
    )


@contextmanager
def _notifications(settings: LiveSettings, log: logging.Logger) -> Iterator[Callable[[Kind, str], None]]:
    """Where lines for people far away go; nowhere, where nobody wants them."""
    if not settings.notifications.enabled:
        yield lambda kind, text: None
        return
    mailer = Mailer(mail_settings(settings), settings.notification_recipients)
    notifications = Notifications(mailer.send, settings.notifications.throttle_period, log)
    notifications.start()
    try:
        yield notifications.add
    except Exception as error:
        notifications.add(Kind.ERROR, str(error))
        raise
    finally:
        notifications.stop()


def _log(folder: Path, level: str) -> logging.Logger:
    from hft_engine.runtime.logs import LOG_FORMAT, logger

    log = logger("live", folder, level, LOG_FILE)
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter(LOG_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S"))
    log.addHandler(console)
    return log


def _begin_again_without_the_key(provider: str, api_key: str) -> None:
    """The key goes into this process's environment: anybody may read arguments, for as long as the program runs."""
    environment = {**os.environ, key_variables(provider)[0]: api_key}
    os.execve(sys.executable, [sys.executable, *without_option(sys.orig_argv[1:], OPTION)], environment)


def without_option(arguments: Sequence[str], option: str) -> list[str]:
    """``arguments`` without each ``option VALUE`` and ``option=VALUE``."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument == option:
            skip = True
        elif not argument.startswith(f"{option}="):
            kept.append(argument)
    return kept
