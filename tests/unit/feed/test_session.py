"""The session against transcripts of the venue, and against every way a connection can go."""

import json
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft_engine.config.schema import FeedConfig, ReconnectConfig
from hft_engine.feed.actions import Action, Close, Connect, Fatal, Ping, Report, Send
from hft_engine.feed.events import Status
from hft_engine.feed.session import FEED_STATES, FeedState, Session
from hft_engine.feed.venues.base import Meaning
from hft_engine.feed.venues.polygon import PAIRS_PER_MESSAGE_MAX, Polygon

SCRIPTS = {
    script["name"]: script["steps"]
    for script in json.loads(
        (Path(__file__).parents[2] / "data" / "polygon" / "session-scripts.json").read_text()
    )
}
MS = 1_000_000
KEY = "secret-key-12345"
CONFIG = FeedConfig(
    api_key=KEY,
    channels=("T", "Q"),
    symbols=("AAPL", "MSFT"),
    connect_timeout_ms=1_000,
    auth_timeout_ms=2_000,
    quiet_after_ms=2_000,
    dead_after_ms=5_000,
    reconnect=ReconnectConfig(initial_ms=400, cap_ms=3_000, stable_reset_ms=60_000),
)
PAIRS = ("T.AAPL", "T.MSFT", "Q.AAPL", "Q.MSFT")


class Longest(Random):
    """Draws the most it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Drive:
    """A session with its clock; ``actions`` are those of the last input, ``all`` of the whole life."""

    def __init__(self, **changes: object) -> None:
        self.config = msgspec.structs.replace(CONFIG, **changes)
        self.session = Session(Polygon(), self.config, Random(5))
        self.now_ms = 0
        self.actions: list[Action] = []
        self.all: list[Action] = []

    @property
    def now_ns(self) -> int:
        return self.now_ms * MS

    @property
    def state(self) -> FeedState:
        return self.session.state

    @property
    def reports(self) -> list[str]:
        return [action.text for action in self.all if isinstance(action, Report)]

    def sent(self) -> list[dict]:
        return [json.loads(action.text) for action in self.actions if isinstance(action, Send)]

    def _note(self, actions: list[Action]) -> "Drive":
        self.actions = actions
        self.all += actions
        return self

    def start(self) -> "Drive":
        return self._note(self.session.start(self.now_ns))

    def opened(self) -> "Drive":
        return self._note(self.session.opened(self.now_ns))

    def closed(self, reason: str = "gone") -> "Drive":
        return self._note(self.session.closed(self.now_ns, reason))

    def status(self, status: str, message: str = "") -> "Drive":
        return self._note(self.session.status(self.now_ns, Status(status, message)))

    def ack(self, *pairs: str) -> "Drive":
        for pair in pairs:
            self.status("success", f"subscribed to: {pair}")
        return self

    def data(self) -> "Drive":
        self.session.data(self.now_ns)
        return self

    def pong(self) -> "Drive":
        self.session.pong(self.now_ns)
        return self

    def after(self, duration_ms: int) -> "Drive":
        """Time passes, with a tick at the end."""
        self.now_ms += duration_ms
        return self._note(self.session.tick(self.now_ns))

    def live(self) -> "Drive":
        self.start().opened().status("connected").status("auth_success").ack(*PAIRS)
        assert self.state is FeedState.LIVE
        return self

    def reconnected(self) -> "Drive":
        """From BACKOFF to LIVE, without waiting longer than it asks."""
        while self.state is FeedState.BACKOFF:
            self.after(1)
        return self.opened().status("connected").status("auth_success").ack(*PAIRS)


@pytest.fixture
def drive() -> Drive:
    return Drive()


def test_state_names_are_in_order_of_their_numbers() -> None:
    assert FEED_STATES == (
        "connecting", "authenticating", "subscribing", "live", "quiet", "dead", "backoff", "failed", "stopped",
    )  # fmt: skip
    assert FEED_STATES[FeedState.LIVE] == "live"


# ---- transcripts


def _play(drive: Drive, steps: list) -> list[dict]:
    """Runs the venue's side of a transcript; returns what the session sent."""
    sent = []
    drive.start().opened()
    for kind, body in steps:
        if kind == "recv":
            for event in body:
                drive.status(event["status"], event["message"])
                sent += drive.sent()
        elif kind in ("abort", "close"):
            drive.closed(f"{kind} {body}")
        elif kind == "nothing":
            drive.after(2_000)
    return sent


def test_happy_path_sends_what_the_transcript_shows() -> None:
    drive = Drive(channels=("T", "A"), symbols=("AAPL",))
    sent = _play(drive, SCRIPTS["happy_path"][:-2])
    expected = [body for kind, body in SCRIPTS["happy_path"][:-2] if kind == "send"]
    expected[0]["params"] = KEY
    assert sent == expected
    assert drive.state is FeedState.LIVE
    assert (drive.session.acks, drive.session.acks_missing) == (2, 0)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("bad_key", "POLYGON_API_KEY"),
        ("plan_without_websocket", "plan"),
    ],
)
def test_refusals_are_fatal_and_name_the_remedy(drive: Drive, name: str, remedy: str) -> None:
    _play(drive, SCRIPTS[name])
    assert drive.state is FeedState.FAILED
    (fatal,) = [action for action in drive.all if isinstance(action, Fatal)]
    assert remedy in fatal.reason
    assert drive.after(1_000_000).actions == []


def test_a_plan_without_real_time_data_goes_on_with_delayed_data_and_says_so(drive: Drive) -> None:
    _play(drive, SCRIPTS["realtime_host_on_delayed_plan"])
    assert drive.state is FeedState.CONNECTING and drive.session.delayed
    assert drive.session.config.url == "wss://delayed.polygon.io/stocks"
    assert drive.all.index(Close()) < len(drive.all) - 1 - drive.all[::-1].index(Connect())
    assert any(text.startswith("DELAYED DATA") for text in drive.reports)
    drive.opened().status("connected").status("auth_success").ack(*PAIRS)
    assert drive.state is FeedState.LIVE
    drive.closed()
    assert drive.session.config.url == "wss://delayed.polygon.io/stocks"  # for the rest of its life


@pytest.mark.parametrize(
    "changes",
    [
        {"fallback_delayed": False},
        {"url": "ws://127.0.0.1:1/stocks"},
        {"url": "wss://delayed.polygon.io/stocks", "channels": ("T",)},
    ],
)
def test_without_delayed_data_to_go_to_the_refusal_is_fatal_and_names_the_remedy(changes: dict) -> None:
    drive = Drive(**changes)
    _play(drive, SCRIPTS["realtime_host_on_delayed_plan"])
    assert drive.state is FeedState.FAILED
    (fatal,) = [action for action in drive.all if isinstance(action, Fatal)]
    assert "wss://delayed.polygon.io/stocks" in fatal.reason


def test_a_plan_that_authorizes_nothing_goes_on_with_delayed_data(drive: Drive) -> None:
    drive.start().opened().status("connected").status("auth_success").status("error", "not authorized")
    drive.after(2_000)
    assert drive.session.delayed and drive.state is FeedState.CONNECTING


def test_a_plan_that_authorizes_something_stays_and_names_what_is_missing(drive: Drive) -> None:
    drive.start().opened().status("connected").status("auth_success").status("error", "not authorized")
    drive.ack("T.AAPL", "T.MSFT").after(2_000)
    assert drive.state is FeedState.LIVE and not drive.session.delayed
    assert any("Q.AAPL, Q.MSFT" in text and "not authorized" in text for text in drive.reports)


@pytest.mark.parametrize(
    ("url", "delayed"),
    [
        ("wss://socket.massive.com/options", "wss://delayed.massive.com/options"),
        ("wss://business.polygon.io/stocks", "wss://delayed-business.polygon.io/stocks"),
        ("wss://socket.example.com/stocks", None),
    ],
)
def test_the_vendor_s_hosts_of_delayed_data_are_known(url: str, delayed: str | None) -> None:
    assert Polygon().delayed_url(FeedConfig(url=url)) == delayed
    assert Polygon().delayed_url(FeedConfig(url=url, delayed_url="ws://h/x")) == "ws://h/x"


def test_old_servers_refusal_by_error_is_fatal_too(drive: Drive) -> None:
    drive.start().opened().status("connected").status("error", "authentication failed")
    assert drive.state is FeedState.FAILED


def test_auth_timeout_is_retried(drive: Drive) -> None:
    _play(drive, SCRIPTS["no_auth_sent"])
    assert drive.state is FeedState.BACKOFF


def test_channel_outside_the_plan_is_reported_and_the_session_stays(drive: Drive) -> None:
    _play(drive, SCRIPTS["channel_not_in_plan"])
    drive.status("error", "not authorized").ack("T.AAPL", "T.MSFT").after(2_000)
    assert drive.state is FeedState.LIVE
    assert drive.session.acks_missing == 2
    assert sum("says error: 'not authorized':" in text for text in drive.reports) == 1
    assert any("Q.AAPL, Q.MSFT" in text for text in drive.reports)


def test_unknown_topic_goes_live_after_the_time_for_acks(drive: Drive) -> None:
    _play(drive, SCRIPTS["unknown_topic_is_silent"])
    assert drive.state is FeedState.LIVE
    assert drive.session.acks_missing == len(PAIRS)
    assert any("4 subscriptions were not confirmed" in text for text in drive.reports)


def test_late_connection_cap_cools_down(drive: Drive) -> None:
    _play(drive, SCRIPTS["connection_cap_late_refusal"])
    assert drive.state is FeedState.BACKOFF
    assert sum(isinstance(action, Connect) for action in drive.all) == 1
    assert drive.after(59_900).state is FeedState.BACKOFF
    assert drive.after(200).actions == [Connect()]


def test_options_limit_is_reported_once_and_the_session_stays(drive: Drive) -> None:
    ((_, (refusal,)),) = SCRIPTS["options_quote_limit"][-1:]
    drive.live()
    for _ in range(27):
        drive.status(refusal["status"], refusal["message"])
    assert drive.state is FeedState.LIVE
    assert sum("Subscription limit" in text for text in drive.reports) == 1


# ---- the way up


def test_nothing_is_sent_before_the_greeting(drive: Drive) -> None:
    assert drive.start().actions == [Connect()]
    assert drive.opened().actions == []
    assert drive.status("connected").sent() == [{"action": "auth", "params": KEY}]


def test_acks_may_come_in_any_order_and_number(drive: Drive) -> None:
    drive.start().opened().status("connected").status("auth_success")
    drive.ack("Q.MSFT", "Q.MSFT", "T.AAPL", "X.UNASKED", "Q.AAPL")
    assert drive.state is FeedState.SUBSCRIBING
    assert drive.ack("T.MSFT").state is FeedState.LIVE
    assert drive.session.acks == 4


def test_data_before_the_acks_does_not_make_it_live(drive: Drive) -> None:
    drive.start().opened().status("connected").status("auth_success").data()
    assert drive.state is FeedState.SUBSCRIBING


def test_repeated_symbols_are_asked_for_once() -> None:
    drive = Drive(symbols=("AAPL", "AAPL", " AAPL"), channels=("T",))
    drive.start().opened().status("connected").status("auth_success")
    assert drive.sent() == [{"action": "subscribe", "params": "T.AAPL"}]


def test_many_pairs_go_in_several_messages() -> None:
    symbols = tuple(f"S{i}" for i in range(PAIRS_PER_MESSAGE_MAX + 1))
    drive = Drive(symbols=symbols, channels=("T",))
    drive.start().opened().status("connected").status("auth_success")
    parts = [message["params"].split(",") for message in drive.sent()]
    assert [len(part) for part in parts] == [PAIRS_PER_MESSAGE_MAX, 1]
    assert [pair for part in parts for pair in part] == [f"T.{symbol}" for symbol in symbols]


@pytest.mark.parametrize("changes", [{"api_key": ""}, {"channels": ()}, {"symbols": ()}])
def test_hopeless_configuration_fails_before_connecting(changes: dict) -> None:
    drive = Drive(**changes).start()
    assert drive.state is FeedState.FAILED
    assert [type(action) for action in drive.actions] == [Fatal]


@pytest.mark.parametrize(
    ("steps", "limit_ms"),
    [(("start",), 1_000), (("start", "opened"), 1_000), (("start", "opened", "greeted"), 2_000)],
)
def test_each_step_up_has_its_deadline(steps: tuple[str, ...], limit_ms: int) -> None:
    drive = Drive()
    for step in steps:
        drive.status("connected") if step == "greeted" else getattr(drive, step)()
    assert drive.after(limit_ms - 1).actions == []
    assert Close() in drive.after(1).actions
    assert drive.state is FeedState.BACKOFF


# ---- silence


def test_silence_is_probed_before_it_is_death(drive: Drive) -> None:
    drive.live()
    assert drive.after(1_999).actions == []
    assert drive.after(1).actions[-1] == Ping()
    assert drive.state is FeedState.QUIET
    assert drive.after(2_999).actions == []
    assert Close() in drive.after(1).actions
    assert drive.state is FeedState.BACKOFF


def test_a_quiet_market_with_answered_pings_stays_connected(drive: Drive) -> None:
    drive.live()
    pings = 0
    for _ in range(3_600):
        drive.after(100)
        if Ping() in drive.actions:
            pings += 1
            drive.pong()
    assert drive.state is FeedState.QUIET
    assert pings == pytest.approx(180, abs=2)  # every quiet_after_ms
    assert drive.session.losses == 0


def test_pings_go_out_while_data_flow_and_show_the_way_s_delay() -> None:
    drive = Drive(ping_every_ms=15_000).live()
    pings = 0
    for _ in range(600):
        drive.after(100).data()
        if Ping() in drive.actions:
            pings += 1
            drive.now_ms += 40
            drive.pong()
    assert drive.state is FeedState.LIVE
    assert (pings, drive.session.ping_ns) == (4, 40 * MS)


class Mute(Polygon):
    """A venue whose websocket layer answers no ping."""

    answers_pings = False
    silence_max_ms = 150_000


def test_a_venue_that_answers_no_pings_is_dead_after_its_own_silence() -> None:
    drive = Drive()
    drive.session = Session(Mute(), drive.config, Random(5))
    drive.live()
    for _ in range(1_499):
        assert Ping() not in drive.after(100).actions
    assert drive.state is FeedState.QUIET
    assert Close() in drive.after(100).actions
    assert any("no message for 150.0 s" in text for text in drive.reports)


def test_data_ends_quiet(drive: Drive) -> None:
    drive.live().after(2_000)
    assert drive.data().state is FeedState.LIVE
    assert drive.after(1_999).actions == []
    assert drive.after(1).actions[-1] == Ping()


def test_after_a_pause_of_ours_the_venue_gets_its_chance(drive: Drive) -> None:
    drive.live()
    assert Close() not in drive.after(60_000).actions
    assert drive.actions[-1] == Ping()
    assert drive.after(3_000).state is FeedState.BACKOFF


def test_quiet_is_reported_at_most_once_a_minute(drive: Drive) -> None:
    drive.live()
    for _ in range(20):
        drive.after(2_000).data()
    assert drive.session.quiets == 20
    assert sum(text.startswith("quiet") for text in drive.reports) == 1


# ---- loss and return


def test_reconnect_resubscribes_everything_and_counts_the_gap(drive: Drive) -> None:
    drive.live().after(500).data().after(300).closed()
    assert drive.after(0).actions == [Connect()]  # the first retry is immediate
    drive.after(200).opened().status("connected").status("auth_success")
    assert drive.sent() == [{"action": "subscribe", "params": ",".join(PAIRS)}]
    drive.ack(*PAIRS)
    session = drive.session
    assert (session.gaps, session.reconnects, session.losses) == (1, 1, 1)
    assert session.last_gap is not None
    assert (session.last_gap.start_ns, session.last_gap.end_ns) == (500 * MS, 1_000 * MS)


def test_a_gap_over_several_attempts_is_one_gap(drive: Drive) -> None:
    drive.live().closed()
    for _ in range(5):
        while drive.state is FeedState.BACKOFF:
            drive.after(1)
        drive.closed("refused")
    drive.reconnected()
    assert drive.session.gaps == 1
    assert drive.session.last_gap is not None and drive.session.last_gap.start_ns == 0
    assert drive.session.losses == 6


def test_no_gap_is_counted_before_the_first_live(drive: Drive) -> None:
    drive.start().closed()
    drive.reconnected()
    assert (drive.session.gaps, drive.session.reconnects) == (0, 0)


def test_silence_of_the_process_before_is_a_gap_too() -> None:
    session = Session(Polygon(), CONFIG, Random(1), last_data_ns=3 * MS)
    session.start(10 * MS)
    session.opened(10 * MS)
    for status, message in [("connected", ""), ("auth_success", "")]:
        session.status(20 * MS, Status(status, message))
    for pair in PAIRS:
        session.status(30 * MS, Status("success", f"subscribed to: {pair}"))
    assert session.last_gap == (3 * MS, 30 * MS)
    assert (session.gaps, session.reconnects) == (1, 1)


def _retry_ms(drive: Drive) -> int:
    before = drive.now_ms
    while drive.state is FeedState.BACKOFF:
        drive.after(1)
    return drive.now_ms - before


# The longest waits of the policy as shipped: at once, then twice as long each time, never more than 30 s.
LONGEST_WAITS_MS = (0, 500, 1_000, 2_000, 4_000, 8_000, 16_000, *[30_000] * 20)


def _lost_for_long() -> Drive:
    drive = Drive(reconnect=ReconnectConfig())
    drive.session = Session(Polygon(), drive.config, Longest())
    drive.live().closed()
    for wait_ms in LONGEST_WAITS_MS:
        assert drive.state is FeedState.BACKOFF
        if wait_ms:
            assert drive.after(wait_ms - 1).actions == []
            drive.after(1)
        else:
            drive.after(0)
        assert [type(action) for action in drive.actions] == [Connect], wait_ms
        drive.closed()
    return drive


def test_the_policy_as_shipped_waits_twice_as_long_each_time_and_never_more_than_30_s() -> None:
    _lost_for_long()


def test_the_cap_stays_until_a_connection_has_been_live_for_a_minute() -> None:
    drive = _lost_for_long().reconnected()
    drive.data().after(1_000).closed()
    assert drive.after(29_999).state is FeedState.BACKOFF, "one second is not stable"
    drive.after(1).opened().status("connected").status("auth_success").ack(*PAIRS)
    for _ in range(60):
        drive.after(1_000).data()
    drive.after(0).closed()
    assert [type(action) for action in drive.after(0).actions] == [Connect], "at once again"


def test_a_day_in_which_nothing_comes_but_pongs_is_no_loss_and_no_alarm() -> None:
    drive = Drive(channels=("AM",)).start().opened().status("connected").status("auth_success")
    drive.ack("AM.AAPL", "AM.MSFT")
    for _ in range(24 * 3_600):
        drive.after(1_000)
        if any(isinstance(action, Ping) for action in drive.actions):
            drive.pong()
    assert drive.state is FeedState.QUIET
    assert (drive.session.losses, drive.session.gaps) == (0, 0)
    assert not [a for a in drive.all if isinstance(a, Close) or (isinstance(a, Report) and a.fault)]
    assert drive.data().after(1).state is FeedState.LIVE


def test_backoff_starts_afresh_only_after_stable_live(drive: Drive) -> None:
    drive.live()
    waits = []
    for _ in range(12):  # a server that takes us in and throws us out
        drive.closed()
        waits.append(_retry_ms(drive))
        drive.opened().status("connected").status("auth_success").ack(*PAIRS)
    assert waits[0] <= 1 and max(waits) > 400
    for _ in range(61):
        drive.after(1_000).data()
    drive.closed()
    assert _retry_ms(drive) <= 1


def test_gives_up_after_the_configured_attempts() -> None:
    drive = Drive(reconnect=ReconnectConfig(attempts_max=3, initial_ms=10)).start()
    for _ in range(3):
        assert drive.state is FeedState.CONNECTING
        drive.closed("refused by host")
        _retry_ms(drive)
    assert drive.state is FeedState.FAILED
    assert any(isinstance(action, Fatal) and "refused by host" in action.reason for action in drive.all)


def test_close_and_late_messages_of_a_dropped_connection_are_ignored(drive: Drive) -> None:
    drive.live().closed()
    assert drive.closed("again").actions == []
    assert drive.status("max_connections").actions == []
    assert drive.session.losses == 1


def test_a_refused_upgrade_is_fatal_or_cools_down() -> None:
    drive = Drive().start()
    drive._note(drive.session.refused(drive.now_ns, "HTTP 429", for_good=False))
    assert drive.state is FeedState.BACKOFF and drive.after(59_900).state is FeedState.BACKOFF
    assert drive.after(200).actions == [Connect()]
    drive._note(drive.session.refused(drive.now_ns, "HTTP 401", for_good=True))
    assert drive.state is FeedState.FAILED and drive.actions == [Fatal("HTTP 401")]


def test_the_first_retry_waits_where_that_is_wanted() -> None:
    drive = Drive(reconnect=ReconnectConfig(immediate=False, initial_ms=30_000)).live().closed()
    assert 1_000 < _retry_ms(drive) <= 30_000


def test_stop_closes_and_nothing_follows(drive: Drive) -> None:
    drive.live()
    assert drive.session.stop() == [Close()]
    assert drive.state is FeedState.STOPPED
    assert drive.after(100_000).actions == drive.closed().actions == []


# ---- secrets


def test_the_key_appears_in_no_report_and_no_representation(drive: Drive) -> None:
    drive.start().opened().status("connected")
    assert KEY not in repr(drive.actions)
    drive.status("weird", f"what is {KEY}?").status("auth_failed", f"unknown key {KEY}")
    texts = [*drive.reports, *(action.reason for action in drive.all if isinstance(action, Fatal))]
    assert len(texts) == 2
    assert not any(KEY in text for text in texts)


# ---- anything at all

MESSAGES = st.sampled_from(
    [
        ("connected", ""), ("auth_success", ""), ("auth_failed", "x"), ("auth_timeout", ""),
        ("max_connections", ""),
        ("error", "not authorized"), ("error", "authentication failed"), ("error", "Subscription limit reached"),
        ("success", "subscribed to: T.AAPL"), ("success", "unsubscribed to: T.AAPL"), ("success", ""), ("new", "y"),
        *(("success", f"subscribed to: {pair}") for pair in PAIRS),
    ]
)  # fmt: skip
INPUTS = st.one_of(
    MESSAGES.map(lambda message: ("status", *message)),
    st.sampled_from([("opened",), ("closed",), ("data",), ("pong",)]),
    st.integers(0, 10_000).map(lambda ms: ("after", ms)),
)


@settings(deadline=None)
@given(st.lists(INPUTS, max_size=60))
def test_no_sequence_of_inputs_breaks_it(inputs: list[tuple]) -> None:
    drive = Drive().start()
    connects = 1
    for name, *arguments in inputs:
        getattr(drive, name)(*arguments)
        if name in ("data", "pong"):
            continue
        connects += drive.actions.count(Connect())
        if any(isinstance(action, Fatal) for action in drive.actions):
            assert drive.state is FeedState.FAILED
        if Connect() in drive.actions:
            assert drive.state is FeedState.CONNECTING
        if drive.state is FeedState.FAILED:
            assert Connect() not in drive.actions
    session = drive.session
    assert connects - 1 <= session.losses
    assert session.gaps <= session.reconnects <= session.connections
    assert 0 <= session.acks_missing <= len(PAIRS)


@pytest.mark.parametrize(
    ("status", "message", "meaning"),
    [
        ("success", "subscribed to: T.AAPL", Meaning.SUBSCRIBED),
        ("success", "unsubscribed to: T.AAPL", Meaning.UNSUBSCRIBED),
        ("success", "hello", Meaning.OTHER),
        ("error", "something new", Meaning.OTHER),
        ("", "", Meaning.OTHER),
    ],
)
def test_unknown_status_texts_are_no_error(status: str, message: str, meaning: Meaning) -> None:
    assert Polygon().verdict(Status(status, message)).meaning is meaning
