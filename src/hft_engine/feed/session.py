"""The session with a venue as a state machine: no socket, no clock. Events go in, what to do comes out.

    start -> CONNECTING -greeting-> AUTHENTICATING -auth_success-> SUBSCRIBING -acks, or time-> LIVE
    LIVE -silence-> QUIET, a ping is sent;  QUIET -data-> LIVE;  QUIET -no pong either-> DEAD
    any of them -connection lost-> DEAD -> BACKOFF -time-> CONNECTING
    AUTHENTICATING, SUBSCRIBING -no real-time data in the plan-> CONNECTING, to the venue's delayed data
    refused key or plan, nothing to subscribe to, attempts used up: FAILED, for good

Every time is CLOCK_MONOTONIC nanoseconds and comes from the caller. Inputs return the actions to carry out,
in order. After ``Close`` the caller drops the connection; it need not report that as ``closed``.
"""

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

import msgspec

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.actions import Action, Close, Connect, Fatal, Ping, Report, Send
from hft_engine.feed.backoff import Backoff
from hft_engine.feed.events import Status
from hft_engine.feed.masking import Mask
from hft_engine.feed.states import FEED_STATES, FeedState
from hft_engine.feed.venues.base import Meaning, Venue, Verdict

__all__ = ["FEED_STATES", "FeedState", "Gap", "Session"]

NS_PER_MS = 1_000_000
QUIET_REPORT_NS = 60_000 * NS_PER_MS  # a thin market flips between LIVE and QUIET all day
REPORTS_MAX = 32  # different venue messages reported per connection
PATIENCE_MIN_MS = 100  # for an answer to a ping, whatever dead_after_ms says
PAIRS_NAMED_MAX = 10  # in a message for people


class Gap(NamedTuple):
    """No data came in between (CLOCK_MONOTONIC nanoseconds): what the venue published then is lost."""

    start_ns: int
    end_ns: int


class Session:
    """One venue's session over as many connections as it takes. Counts are plain attributes.

    ``last_data_ns``: when the process before this one saw data last; its silence until LIVE is a gap too.
    """

    def __init__(
        self, venue: Venue, config: FeedConfig, rng: Random, last_data_ns: int | None = None
    ) -> None:
        self.state = FeedState.STOPPED
        self.connections = 0  # connections that became LIVE
        self.reconnects = 0  # of them those that followed another
        self.losses = 0  # connections lost and attempts failed
        self.gaps = 0
        self.last_gap: Gap | None = None
        self.gap_ns_total = 0
        self.quiets = 0
        self.acks = 0
        self.acks_missing = 0  # pairs without acknowledgement in the present connection
        self.delayed = False  # on the venue's delayed data, as the plan has no other
        self.ping_ns = 0  # from the latest ping to its pong
        self._venue = venue
        self._config = config
        self._mask = Mask(config.api_key, venue.url(config), venue.delayed_url(config))
        self._backoff = Backoff(config.reconnect, rng)
        self._pairs = venue.pairs(config)
        self._pending: set[str] = set()
        self._due_ns = 0  # what it means depends on the state
        self._seen_ns = 0  # last data
        self._alive_ns = 0  # last data or pong
        self._probe_ns: int | None = None  # when the ping was sent that silence depends on
        self._pinged_ns = 0  # when the latest ping was sent
        self._pong_due = False
        self._acks_due_ns = 0  # of pairs added while LIVE
        self._unauthorized = ""  # what the venue said when it refused some pair of this connection
        self._live_since_ns = 0
        self._gap_start_ns = last_data_ns
        self._cooling = False  # the venue said that the account's connections are used up
        self._reported: set[str] = set()
        self._quiet_report_due_ns = 0

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is subscribed to, or will be as soon as there is a connection."""
        return self._config.symbols

    @property
    def config(self) -> FeedConfig:
        """What to connect with: symbols and address are those of now."""
        return self._config

    @property
    def wanted(self) -> int:
        """Pairs subscribed to, confirmed or not."""
        return len(self._pairs)

    # ---- inputs

    def change(self, now_ns: int, symbols: Sequence[str]) -> list[Action]:
        """From now on subscribe to exactly these symbols, on this connection and on every later one."""
        before = self._pairs
        self._config = msgspec.structs.replace(self._config, symbols=tuple(symbols))
        self._pairs = self._venue.pairs(self._config)
        if self.state not in (FeedState.SUBSCRIBING, FeedState.LIVE, FeedState.QUIET):
            return []
        added = [pair for pair in self._pairs if pair not in before]
        removed = [pair for pair in before if pair not in self._pairs]
        self._pending.difference_update(removed)
        if self._venue.acknowledges:
            self._pending.update(added)
        self._acks_due_ns = now_ns + self._config.auth_timeout_ms * NS_PER_MS
        self.acks_missing = len(self._pending)
        texts = self._venue.unsubscribe_texts(removed) + self._venue.subscribe_texts(added)
        return [Send(text) for text in texts]

    def start(self, now_ns: int) -> list[Action]:
        problem = self._venue.problem(self._config)
        return self._fail(problem) if problem else self._connect(now_ns)

    def opened(self, now_ns: int) -> list[Action]:
        """The websocket handshake is done."""
        if self.state is not FeedState.CONNECTING:
            return []
        self._due_ns = now_ns + self._config.connect_timeout_ms * NS_PER_MS
        return [] if self._venue.greets else self._authenticate(now_ns)

    def closed(self, now_ns: int, reason: str) -> list[Action]:
        """The connection is lost, or the attempt failed."""
        if self.state in (FeedState.BACKOFF, FeedState.FAILED, FeedState.STOPPED):
            return []
        return self._lose(now_ns, reason)

    def refused(self, now_ns: int, reason: str, for_good: bool) -> list[Action]:
        """The venue does not take the connection. ``for_good``: no later one either; else too many are open."""
        if for_good:
            return self._fail(reason)
        self._cooling = True
        return self.closed(now_ns, reason)

    def data(self, now_ns: int) -> None:
        """A data frame came. Called for every frame: keep it cheap."""
        self._seen_ns = self._alive_ns = now_ns
        if self.state is FeedState.QUIET:
            self.state = FeedState.LIVE
            self._probe_ns = None

    def pong(self, now_ns: int) -> None:
        """The peer's websocket layer answered, or pinged us."""
        self._alive_ns = now_ns
        self._probe_ns = None
        if self._pong_due:
            self._pong_due = False
            self.ping_ns = now_ns - self._pinged_ns

    def status(self, now_ns: int, status: Status) -> list[Action]:
        """A status message came."""
        self._seen_ns = self._alive_ns = now_ns
        if self.state in (FeedState.BACKOFF, FeedState.FAILED, FeedState.STOPPED):
            return []
        verdict = self._venue.verdict(status)
        match verdict.meaning:
            case Meaning.GREETED:
                return self._authenticate(now_ns) if self.state is FeedState.CONNECTING else []
            case Meaning.AUTHENTICATED:
                return self._subscribe(now_ns) if self.state is FeedState.AUTHENTICATING else []
            case Meaning.SUBSCRIBED:
                return self._acknowledged(now_ns, verdict.subject)
            case Meaning.UNSUBSCRIBED:
                return []
            case Meaning.REFUSED:
                return [Close(), *self._fail(f"{self._quote(status)}: {verdict.advice}")]
            case Meaning.DELAYED_ONLY:
                return self._fall_back(now_ns, f"{self._quote(status)}: {verdict.advice}")
            case Meaning.NOT_AUTHORIZED:
                self._unauthorized = self._quote(status)
                return self._report_once(self._unauthorized, verdict.advice)
            case Meaning.CONNECTION_CAP:
                return self._cool_down(now_ns, status, verdict)
            case _:
                return self._report_once(self._quote(status), verdict.advice)

    def tick(self, now_ns: int) -> list[Action]:
        """Time passed. Call it at least every 200 ms."""
        match self.state:
            case FeedState.LIVE | FeedState.QUIET:
                return self._watch(now_ns)
            case FeedState.CONNECTING if now_ns >= self._due_ns:
                return self._drop(now_ns, self._late("connect", self._config.connect_timeout_ms))
            case FeedState.AUTHENTICATING if now_ns >= self._due_ns:
                return self._drop(now_ns, self._late("answer to the key", self._config.auth_timeout_ms))
            case FeedState.SUBSCRIBING if now_ns >= self._due_ns:
                nothing = len(self._pending) == len(self._pairs)
                if nothing and self._unauthorized and self._delayed_url() is not None:
                    return self._fall_back(now_ns, f"{self._unauthorized}, and confirmed no subscription")
                return self._go_live(now_ns)
            case FeedState.BACKOFF if now_ns >= self._due_ns:
                return self._connect(now_ns)
        return []

    def stop(self) -> list[Action]:
        if self.state is FeedState.FAILED:
            return []
        self.state = FeedState.STOPPED
        return [Close()]

    # ---- transitions

    def _connect(self, now_ns: int) -> list[Action]:
        self.state = FeedState.CONNECTING
        self._due_ns = now_ns + self._config.connect_timeout_ms * NS_PER_MS
        self._reported.clear()
        self._unauthorized = ""
        return [Connect()]

    def _delayed_url(self) -> str | None:
        """Where to go on with delayed data; None where that is not wanted, not possible, or so already."""
        if self.delayed or not self._config.fallback_delayed:
            return None
        return self._venue.delayed_url(self._config)

    def _fall_back(self, now_ns: int, refusal: str) -> list[Action]:
        url = self._delayed_url()
        if url is None:
            return [Close(), *self._fail(refusal)]
        self.delayed = True
        if self.state in (FeedState.LIVE, FeedState.QUIET):
            self._gap_start_ns = self._seen_ns
        self._config = msgspec.structs.replace(self._config, url=url)
        text = (
            f"DELAYED DATA from now on, minutes behind the market: {refusal}; going on with the venue's delayed "
            "data. To stop instead: feed.fallback_delayed: false"
        )
        return [Close(), Report(text, fault=True), *self._connect(now_ns)]

    def _authenticate(self, now_ns: int) -> list[Action]:
        if not self._venue.authenticates:
            return self._subscribe(now_ns)
        self.state = FeedState.AUTHENTICATING
        self._due_ns = now_ns + self._config.auth_timeout_ms * NS_PER_MS
        return [Send(self._venue.auth_text(self._config.api_key))]

    def _subscribe(self, now_ns: int) -> list[Action]:
        self.state = FeedState.SUBSCRIBING
        self._due_ns = now_ns + self._config.auth_timeout_ms * NS_PER_MS
        self._pending = set(self._pairs) if self._venue.acknowledges else set()
        sends: list[Action] = [Send(text) for text in self._venue.subscribe_texts(self._pairs)]
        return sends if self._pending else sends + self._go_live(now_ns)

    def _acknowledged(self, now_ns: int, pair: str) -> list[Action]:
        if pair in self._pending:
            self._pending.discard(pair)
            self.acks += 1
            self.acks_missing = len(self._pending)
        done = self.state is FeedState.SUBSCRIBING and not self._pending
        return self._go_live(now_ns) if done else []

    def _go_live(self, now_ns: int) -> list[Action]:
        self.state = FeedState.LIVE
        self._live_since_ns = self._seen_ns = self._alive_ns = now_ns
        self._probe_ns, self._pinged_ns, self._pong_due = None, now_ns, False
        self._acks_due_ns = 0
        self.reconnects += self.connections > 0 or self._gap_start_ns is not None
        self.connections += 1
        self.acks_missing = len(self._pending)
        held = len(self._pairs) - len(self._pending)
        actions: list[Action] = [Report(f"live: {held} of {len(self._pairs)} subscriptions confirmed")]
        if self._pending:
            actions.append(Report(self._missing_text(), fault=True))
        return actions + self._close_gap(now_ns)

    def _close_gap(self, now_ns: int) -> list[Action]:
        if self._gap_start_ns is None:
            return []
        self.last_gap = Gap(self._gap_start_ns, now_ns)
        self._gap_start_ns = None
        self.gaps += 1
        length_ns = self.last_gap.end_ns - self.last_gap.start_ns
        self.gap_ns_total += length_ns
        return [Report(f"gap of {length_ns / 1e9:.3f} s: what the venue sent in it is lost", fault=True)]

    def _watch(self, now_ns: int) -> list[Action]:
        if now_ns - self._live_since_ns >= self._config.reconnect.stable_reset_ms * NS_PER_MS:
            self._backoff.reset()
        return self._watch_acks(now_ns) + self._watch_silence(now_ns)

    def _watch_acks(self, now_ns: int) -> list[Action]:
        """Of pairs that were added while LIVE."""
        if not self._acks_due_ns or now_ns < self._acks_due_ns:
            return []
        self._acks_due_ns = 0
        return [Report(self._missing_text(), fault=True)] if self._pending else []

    def _watch_silence(self, now_ns: int) -> list[Action]:
        if self._venue.silence_max_ms and now_ns - self._seen_ns >= self._venue.silence_max_ms * NS_PER_MS:
            return self._drop(now_ns, f"no message for {(now_ns - self._seen_ns) / 1e9:.1f} s")
        quiet_ns = self._config.quiet_after_ms * NS_PER_MS
        if now_ns - self._seen_ns < quiet_ns:
            return self._keep_alive(now_ns)
        reports = self._enter_quiet(now_ns)
        if not self._venue.answers_pings:
            return reports
        if self._probe_ns is not None:
            # From the ping, not from the last data: after a pause of our own the venue gets its chance.
            patience_ms = max(self._config.dead_after_ms - self._config.quiet_after_ms, PATIENCE_MIN_MS)
            if now_ns - self._probe_ns < patience_ms * NS_PER_MS:
                return reports
            return self._drop(now_ns, f"neither data nor pong for {(now_ns - self._alive_ns) / 1e9:.1f} s")
        if now_ns - self._alive_ns < quiet_ns:
            return reports
        self._probe_ns = now_ns
        return [*reports, *self._ping(now_ns)]

    def _keep_alive(self, now_ns: int) -> list[Action]:
        """A ping now and then while data flow: it shows how long the way is."""
        every_ns = self._config.ping_every_ms * NS_PER_MS
        due = every_ns and self._venue.answers_pings and now_ns - self._pinged_ns >= every_ns
        return self._ping(now_ns) if due else []

    def _ping(self, now_ns: int) -> list[Action]:
        self._pinged_ns, self._pong_due = now_ns, True
        return [Ping()]

    def _enter_quiet(self, now_ns: int) -> list[Action]:
        if self.state is not FeedState.LIVE:
            return []
        self.state = FeedState.QUIET
        self.quiets += 1
        return self._report_quiet(now_ns)

    def _report_quiet(self, now_ns: int) -> list[Action]:
        if now_ns < self._quiet_report_due_ns:
            return []
        self._quiet_report_due_ns = now_ns + QUIET_REPORT_NS
        return [
            Report(f"quiet: no data for {self._config.quiet_after_ms} ms, asking whether the venue is there")
        ]

    def _drop(self, now_ns: int, reason: str) -> list[Action]:
        return [Close(), *self._lose(now_ns, reason)]

    def _lose(self, now_ns: int, reason: str) -> list[Action]:
        was_live = self.state in (FeedState.LIVE, FeedState.QUIET)
        self.state = FeedState.DEAD
        self.losses += 1
        if was_live:
            self._gap_start_ns = self._seen_ns
        delay_ms = self._delay_ms()
        if self._backoff.exhausted:
            tried = self._backoff.attempts
            return self._fail(f"gave up after {tried} attempts (feed.reconnect.attempts_max): {reason}")
        self.state = FeedState.BACKOFF
        self._due_ns = now_ns + delay_ms * NS_PER_MS
        return [Report(f"connection lost: {reason}; next attempt in {delay_ms} ms", fault=True)]

    def _delay_ms(self) -> int:
        delay_ms = self._backoff.delay_ms()
        if self._cooling:
            self._cooling = False
            return max(delay_ms, self._config.reconnect.connection_cap_cooldown_ms)
        return delay_ms

    def _cool_down(self, now_ns: int, status: Status, verdict: Verdict) -> list[Action]:
        self._cooling = True
        return self._drop(now_ns, f"{self._quote(status)}: {verdict.advice}")

    def _fail(self, reason: str) -> list[Action]:
        self.state = FeedState.FAILED
        return [Fatal(reason)]

    # ---- texts

    def _report_once(self, text: str, advice: str) -> list[Action]:
        if text in self._reported or len(self._reported) >= REPORTS_MAX:
            return []
        self._reported.add(text)
        return [Report(f"{text}: {advice}" if advice else text, fault=True)]

    def _quote(self, status: Status) -> str:
        return self._mask.text(f"{self._venue.name} says {status.status}: {status.message!r}")

    def _late(self, what: str, limit_ms: int) -> str:
        return f"{what} took longer than {limit_ms} ms"

    def _missing_text(self) -> str:
        said = f"; {self._unauthorized}" if self._unauthorized else ""
        return (
            f"{len(self._pending)} subscriptions were not confirmed: {_some(sorted(self._pending))}{said}; the "
            "venue is silent about channels it does not know and refuses those outside the plan: see "
            "feed.channels"
        )


def _some(names: Sequence[str]) -> str:
    more = len(names) - PAIRS_NAMED_MAX
    return ", ".join(names[:PAIRS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
