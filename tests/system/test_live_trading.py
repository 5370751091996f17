"""scripts/live_trading.py as a person runs it, with the file that ships, against a simulated Alpha Vantage."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.engine import ROOT, hft, settings
from support.mail_server import MailServer, serving_mail
from support.venue import venue
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

SCRIPT = str(ROOT / "scripts/live_trading.py")
SHIPPED = ROOT / "config/live_trading_config.json"
KEY = "secret-key-12345"
MAIL_PASSWORD = "app-password-4711"
TICKERS = ["AAPL", "GOOGL", "MSFT", "AMZN", "META"]
START_S = 170.0
SIGNAL = re.compile(r"^Received signal: (\w+) - (buy|sell)  Confidence: (\d\.\d{4})  Price: \$([\d.]+)", re.M)


def _rule(name: str, side: str, when: str, enter: float, release: float, full: float) -> dict[str, Any]:
    levels = {"enter": enter, "release": release, "full": full}
    return {"name": name, "feature": "tick_rsi", "side": side, "when": when, **levels}


def _file(folder: Path, url: str, **changes: object) -> Path:
    """The shipped settings, as fast as a test wants them: by the keys of the engine that they may carry."""
    data = json.loads(SHIPPED.read_text())
    data["market_hours"]["session"] = "always"
    budget = {"calls_per_second": 1_000, "calls_per_minute": 100_000, "calls_per_day": 0}
    rules = [_rule("low", "buy", "below", 45.0, 50.0, 35.0), _rule("high", "sell", "above", 55.0, 50.0, 65.0)]
    data["engine"] = {
        "engine": {"data_dir": str(folder / "data"), "log_dir": str(folder / "logs")},
        "feed": {"url": url, "poll": budget, "health": {"ticks": False}},
        "indicators": {"rsi": 3},
        "signals": {"cooldown_ms": 0, "rules": rules},
    }
    path = folder / "live.json"
    path.write_text(json.dumps(data | {"update_interval": 0.05} | changes))
    return path


@contextmanager
def _running(*options: str, key: str | None = KEY) -> Iterator["Running"]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment |= {"ALPHAVANTAGE_API_KEY": key} if key else {}
    process = subprocess.Popen(
        [sys.executable, SCRIPT, *options], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    running = Running(process)
    try:
        yield running
    finally:
        running.stop()


class Running:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.output = ""
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)

    def read(self) -> str:
        assert self.process.stdout is not None
        try:
            while data := os.read(self.process.stdout.fileno(), 65_536):
                self.output += data.decode()
        except BlockingIOError:
            pass
        return self.output

    def until(self, condition: str, count: int = 1) -> None:
        def found() -> bool:
            assert self.process.poll() is None or len(re.findall(condition, self.read())) >= count, (
                self.output
            )
            return len(re.findall(condition, self.read())) >= count

        wait_for(found, f"{count} times {condition} in\n{self.output}", START_S)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(30)
        if not self.process.stdout.closed:  # type: ignore[union-attr]
            self.read()
            self.process.stdout.close()  # type: ignore[union-attr]
        return code


def _written(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


def test_signals_of_the_shipped_settings_are_printed_and_the_key_appears_nowhere(tmp_path: Path) -> None:
    with venue(KEY, vendor="alphavantage") as url:
        path = _file(tmp_path, f"{url}/query")
        with _running("--config", str(path)) as live:
            live.until("Received signal", 20)
            status = hft("status", "--json", *settings(tmp_path))
            state = json.loads(status.stdout)
            code = live.stop()
    assert code == 0, live.output
    assert (state["feed"]["venue"], state["feed"]["state"]) == ("alphavantage", "live")
    assert state["feed"]["lines"][0]["held"] == len(TICKERS)
    found = SIGNAL.findall(live.output)
    assert {ticker for ticker, *_ in found} <= set(TICKERS)
    assert {side for _, side, *_ in found} == {"buy", "sell"}
    assert all(0.7 <= float(confidence) <= 1.0 and float(price) > 0 for *_, confidence, price in found)
    log = (tmp_path / "logs" / "live_trading.log").read_text()
    report = re.search(r"feed \w+: \d+ events.*; (\d+) signals, 0 outside market hours, (\d+) below", log)
    assert report is not None and int(report[1]) == len(found) and int(report[2]) > 0
    assert KEY not in live.output + _written(tmp_path / "logs") + _written(tmp_path / "data")


def test_the_options_win_over_the_file_and_the_key_leaves_the_arguments(tmp_path: Path) -> None:
    with venue(KEY, vendor="alphavantage") as url:
        path = _file(tmp_path, f"{url}/query", provider="polygon", api_key="a-wrong-key-of-the-file")
        options = ["--provider", "alphavantage", "--tickers", "IBM,NVDA", "--log-level", "debug"]
        with _running("--config", str(path), "--api-key", KEY, *options, key=None) as live:
            for ticker in ("IBM", "NVDA"):
                live.until(f"Received signal: {ticker} ")
            arguments = Path(f"/proc/{live.process.pid}/cmdline").read_bytes().decode()
            assert live.stop() == 0
    assert KEY not in arguments and "--tickers" in arguments
    assert {ticker for ticker, *_ in SIGNAL.findall(live.output)} == {"IBM", "NVDA"}
    assert KEY not in live.output + _written(tmp_path / "logs")


def _mailing(mail: MailServer) -> dict[str, object]:
    sender = {
        "smtp_server": mail.host,
        "smtp_port": mail.port,
        "from_email": "hft@example.org",
        "username": "hft",
    }
    settings = {
        "enabled": True,
        "throttle_period": 1,
        "status_period": 0.5,
        "email": sender | {"enabled": True},
    }
    return {"notifications": settings, "notification_recipients": ["me@example.org"]}


def test_signals_and_status_are_sent_to_whom_the_file_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", MAIL_PASSWORD)
    with venue(KEY, vendor="alphavantage") as url, serving_mail(MailServer(MAIL_PASSWORD)) as mail:
        path = _file(tmp_path, f"{url}/query", **_mailing(mail))
        with _running("--config", str(path)) as live:
            live.until("Received signal", 10)
            wait_for(lambda: len(mail.messages) >= 2, "two messages", 30)
            assert live.stop() == 0
    texts = [message.get_content() for message in mail.messages]
    sent = [
        line.partition("signal: ")[2] for text in texts for line in text.splitlines() if "signal: " in line
    ]
    printed = re.findall(r"^Received signal: (.*)$", live.output, re.M)
    assert sent == printed and len(sent) >= 10
    assert any("status: feed live: " in text for text in texts)
    assert all(message["To"] == "me@example.org" for message in mail.messages)
    shown = live.output + _written(tmp_path / "logs") + _written(tmp_path / "data") + "".join(texts)
    assert MAIL_PASSWORD not in shown and KEY not in shown


def test_outside_market_hours_signals_are_counted_and_not_printed(tmp_path: Path) -> None:
    closed = {"timezone": "America/New_York", "session": "00:00-00:01 Pacific/Kiritimati"}
    with venue(KEY, vendor="alphavantage") as url:
        path = _file(tmp_path, f"{url}/query", market_hours=closed)
        with _running("--config", str(path), "--log-level", "DEBUG") as live:
            live.until("outside market hours: ", 3)
            assert live.stop() == 0
    assert not SIGNAL.findall(live.output)


@pytest.mark.expects_errors("does not accept|apikey is invalid|ALPHAVANTAGE_API_KEY")
def test_a_refused_key_ends_it_with_the_remedy(tmp_path: Path) -> None:
    wrong = "another-key-98765"
    with venue(KEY, vendor="alphavantage") as url, serving_mail(MailServer()) as mail:
        path = _file(tmp_path, f"{url}/query", **_mailing(mail))
        data = json.loads(path.read_text())
        data["notifications"]["email"]["username"] = ""
        path.write_text(json.dumps(data))
        with _running("--config", str(path), key=wrong) as live:
            live.until("error: ")
            code = live.process.wait(60)
    assert code == 3
    assert any("ALPHAVANTAGE_API_KEY" in message.get_content() for message in mail.messages)
    assert not any(wrong in message.get_content() for message in mail.messages)
    assert "ALPHAVANTAGE_API_KEY" in live.output
    assert wrong not in live.output + _written(tmp_path / "logs")


@pytest.mark.parametrize(
    "change, words",
    [
        ({}, "ALPHAVANTAGE_API_KEY"),
        ({"update_intervall": 60}, "update_intervall"),
        ({"signal_threshold": 7}, r"signal_threshold"),
        ({"ensemble_method": "voting"}, "ensemble_method"),
        ({"provider": "iexcloud"}, "iexcloud"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_the_key(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    path = _file(tmp_path, "http://127.0.0.1:9/query", **change)
    with _running("--config", str(path), key=None) as live:
        assert live.process.wait(60) == 2
    assert "error: " in live.output and words in live.output
    assert "Traceback" not in live.output
