"""Notifications of live trading: to a real mail server on loopback, and what stands in their way."""

import json
import logging
from pathlib import Path

import pytest

from hft_engine.config.errors import ConfigError
from hft_engine.live import notify
from hft_engine.live.mail import Mailer, MailError
from hft_engine.live.notify import LINES_MAX, Kind, Notifications
from hft_engine.live.settings import Email, LiveSettings, NotificationSettings, mail_settings, read_settings
from support.mail_server import MailServer, serving_mail
from support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = ROOT / "config/live_trading_config.json"
PASSWORD = "app-password-4711"
TO = ("me@example.org", "you@example.org")
LOG = logging.getLogger("test-notifications")


def email(mail: MailServer, **changes: object) -> Email:
    fields = {"username": "", "password": "", **changes}
    return Email(
        enabled=True, smtp_server=mail.host, smtp_port=mail.port, from_email="hft@example.org", **fields
    )  # type: ignore[arg-type]


def test_a_message_arrives_as_it_was_sent() -> None:
    with serving_mail(MailServer(password=PASSWORD)) as mail:
        Mailer(email(mail, username="hft", password=PASSWORD), TO).send("1 signal", "AAPL - buy\n.dot\n")
    (found,) = mail.messages
    assert (found["Subject"], found["From"], found["To"]) == ("1 signal", "hft@example.org", ", ".join(TO))
    assert found.get_content().splitlines() == ["AAPL - buy", ".dot"]


@pytest.mark.parametrize(
    ("mail", "changes", "words"),
    [
        (MailServer(password="another"), {"username": "hft", "password": PASSWORD}, "app password"),
        (MailServer(refused=TO), {}, "does not take mail for me@example.org, you@example.org"),
        (MailServer(refused=TO[1:]), {}, "does not take mail for you@example.org"),
        (MailServer(busy=1), {}, "SMTPDataError"),
        (
            MailServer(password=PASSWORD, host="127.0.0.2"),
            {"username": "hft", "password": PASSWORD},
            "offers no TLS",
        ),
    ],
)
def test_what_is_refused_is_told_with_the_place_and_without_the_password(
    mail: MailServer, changes: dict[str, object], words: str
) -> None:
    with serving_mail(mail), pytest.raises(MailError, match=words) as error:
        Mailer(email(mail, **changes), TO).send("s", "b")
    assert f"{mail.host}:{mail.port}" in str(error.value) and PASSWORD not in str(error.value)


def test_a_server_that_is_not_there_is_told() -> None:
    with serving_mail(MailServer()) as mail:
        pass
    with pytest.raises(MailError, match=f"{mail.port}: .*refused"):
        Mailer(email(mail), TO).send("s", "b")


class Channel:
    """Keeps what it is given; ``failures``: how many it refuses first."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[tuple[str, str]] = []
        self.failures = failures

    def send(self, subject: str, body: str) -> None:
        if self.failures:
            self.failures -= 1
            raise MailError("the server is busy")
        self.sent.append((subject, body))


def test_the_first_goes_at_once_and_what_comes_meanwhile_in_one_message() -> None:
    channel = Channel()
    notifications = Notifications(channel.send, 3_600.0, LOG)
    notifications.start()
    notifications.add(Kind.SIGNAL, "AAPL - buy")
    wait_for(lambda: channel.sent, "the first")
    for i in range(3):
        notifications.add(Kind.SIGNAL, f"MSFT - sell {i}")
    notifications.add(Kind.ERROR, "feed: connection lost")
    assert len(channel.sent) == 1
    notifications.stop()  # what waits goes with it
    assert [subject for subject, _ in channel.sent] == [
        "live trading: 1 signal",
        "live trading: 3 signal, 1 error",
    ]
    lines = channel.sent[1][1].splitlines()
    assert [line.partition("UTC  ")[2] for line in lines] == [
        *(f"signal: MSFT - sell {i}" for i in range(3)),
        "error: feed: connection lost",
    ]


def test_the_next_message_goes_when_the_throttle_lets_it() -> None:
    channel = Channel()
    notifications = Notifications(channel.send, 0.05, LOG)
    notifications.start()
    for i in range(3):
        notifications.add(Kind.STATUS, str(i))
        wait_for(lambda i=i: len(channel.sent) == i + 1, f"message {i}")  # type: ignore[misc]
    notifications.stop()
    assert notifications.sent == 3


def test_what_was_not_sent_goes_later_in_its_order_and_the_failure_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = Channel(failures=3)
    notifications = Notifications(channel.send, 0.0, LOG, retry_s=0.05)
    notifications.start()
    notifications.add(Kind.SIGNAL, "first")
    wait_for(lambda: notifications.failed >= 1, "a failure")
    notifications.add(Kind.SIGNAL, "second")
    wait_for(lambda: channel.sent, "sent after all")
    notifications.stop()
    text = "".join(body for _, body in channel.sent)
    assert text.index("first") < text.index("second")
    assert caplog.text.count("was not sent: the server is busy") == 1
    assert (notifications.failed, notifications.dropped) == (3, 0)


def test_what_waits_is_bounded_and_what_gave_way_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "STOP_S", 5.0)
    channel = Channel()
    notifications = Notifications(channel.send, 0.0, LOG)
    for i in range(LINES_MAX + 7):
        notifications.add(Kind.SIGNAL, f"<{i}>")
    notifications.start()
    notifications.stop()
    (message,) = channel.sent
    assert message[0] == f"live trading: {LINES_MAX} signal"
    assert "<6>" not in message[1] and "<7>" in message[1] and "7 older lines gave way" in message[1]


def _settings(folder: Path, notifications: dict, recipients: list[str]) -> LiveSettings:
    data = json.loads(SHIPPED.read_text())
    path = folder / "live.json"
    path.write_text(
        json.dumps(data | {"notifications": notifications, "notification_recipients": recipients})
    )
    return read_settings(path)


GOOD = {"enabled": True, "email": {"enabled": True, "from_email": "hft@example.org"}}


@pytest.mark.parametrize(
    ("notifications", "recipients", "words"),
    [
        ({"enabled": True}, list(TO), "no channel is"),
        (GOOD, [], "notification_recipients"),
        (GOOD, ["me"], "notification_recipients"),
        (GOOD | {"email": {"enabled": True}}, list(TO), "from_email"),
        (GOOD | {"sms": {"enabled": True}}, list(TO), "no gateway for text messages"),
    ],
)
def test_settings_by_which_nothing_could_arrive_are_refused(
    tmp_path: Path, notifications: dict, recipients: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        _settings(tmp_path, notifications, recipients)


def test_the_password_of_the_environment_wins_over_the_files(tmp_path: Path) -> None:
    given = GOOD | {"email": GOOD["email"] | {"password": "of-the-file"}}  # type: ignore[operator]
    settings = _settings(tmp_path, given, list(TO))
    assert mail_settings(settings, {}).password == "of-the-file"
    assert mail_settings(settings, {"SMTP_PASSWORD": PASSWORD}).password == PASSWORD
    assert NotificationSettings().throttle_period == 300.0
