"""The feed as it is configured: keys, connection, plan, what comes; and the vendor's REST side, asked for one bar.

The lines are the engine's own, driven until each has settled, so what is told is what a start would find.
"""

import time
from collections.abc import Callable, Iterator

from hft_engine.config.lines import line_configs
from hft_engine.config.redact import redacted_url
from hft_engine.config.schema import Config, FeedConfig
from hft_engine.doctor.findings import Finding, ok, problem, warning
from hft_engine.feed.actor import FeedActor, warm
from hft_engine.feed.alone import context_of
from hft_engine.feed.line import Line
from hft_engine.feed.repair.plan import Request
from hft_engine.feed.repair.repairer import rest_url_of
from hft_engine.feed.states import FeedState
from hft_engine.feed.venues import UnknownVenueError, venue_of
from hft_engine.runtime.actor import FatalError
from hft_engine.runtime.wait import nap

NS_PER_MS, DAY_NS = 1_000_000, 86_400_000_000_000
LAG_MS_MAX = (
    1_000.0  # of the least delay from the venue's stamp to us: beyond it a clock is off, or data are delayed
)
PROBE_SYMBOL = "SPY"
PROBE_DAYS = 5  # back: some of them were trading days
_AT_WORK = (FeedState.LIVE, FeedState.QUIET)


def examine(config: Config, seconds: float) -> Iterator[Finding]:
    """Each line for as long as ``seconds`` at most; with the demo's own venue there is nothing to connect to."""
    if config.simulator is not None:
        yield ok("feed", "the demo's own venue: it needs no key and no network")
        return
    unfit = list(_settings(config.feed))
    yield from unfit
    if not unfit:
        yield from _lines(config, seconds)
    yield from _rest(config.feed)


def _settings(feed: FeedConfig) -> Iterator[Finding]:
    for name, line in line_configs(feed).items():
        try:
            text = venue_of(line).problem(line)
        except UnknownVenueError as error:
            text = str(error)
        if text:
            yield problem(f"feed {name}", text, "see docs/feeds.md")


def _lines(config: Config, seconds: float) -> Iterator[Finding]:
    told: list[str] = []
    warm()
    context = context_of(config, "doctor", lambda kind, text: told.append(text) if kind == "feed" else None)
    actor = FeedActor()
    context.stats.declare(actor.counters, actor.histograms)
    try:
        actor.on_start(context)
        _drive(actor, seconds)
    except FatalError as error:
        yield problem(
            "feed", str(error), "what the venue says is the reason; a key is renewed at the vendor's"
        )
        return
    finally:
        states = [(line, line.session.state) for line in getattr(actor, "lines", [])]
        actor.on_stop()
    for line, state in states:
        yield from _line(line, state, told)
    yield from _data(context.stats.counters())


def _drive(actor: FeedActor, seconds: float) -> None:
    """Until every line is live and data came, or the time is over."""
    end_ns = time.monotonic_ns() + int(seconds * 1e9)
    while time.monotonic_ns() < end_ns:
        if not actor.do_work():
            nap()
        if all(line.is_live and line.counts()[2] for line in actor.lines):
            return


def _line(line: Line, state: FeedState, told: list[str]) -> Iterator[Finding]:
    area, session = f"feed {line.name}", line.session
    if state not in _AT_WORK:
        last = next(
            (text for text in reversed(told) if "lost" in text or "refused" in text), "nothing was answered"
        )
        text = f"{session.config.venue} is not reached: {state.name.lower()}; {last}"
        yield problem(
            area, text, "check feed.url, the network, and whether another program uses the connection"
        )
        return
    way = f", a ping takes {session.ping_ns / NS_PER_MS:,.1f} ms" if session.ping_ns else ""
    yield ok(area, f"{session.config.venue}: connected, {session.wanted} subscriptions{way}")
    if session.delayed:
        text = "the plan has no real-time data: the venue's delayed data are used"
        yield warning(area, text, "take a plan with real-time data, or leave it: feed.fallback_delayed")
    if session.acks_missing:
        text = f"{session.acks_missing} subscriptions were not confirmed"
        yield warning(
            area, text, "the plan may not have them, or a symbol is misspelt; hft status names them"
        )


def _data(counters: dict[str, int]) -> Iterator[Finding]:
    if not counters["events"]:
        yield warning(
            "data", "none came", "outside trading hours that is as it should be; look again in them"
        )
        return
    if counters["rejected"]:
        text = f"{counters['rejected']} of {counters['events'] + counters['rejected']:,} events were refused"
        yield warning("data", text, "they are kept in <data_dir>/quarantine, with the reason")
    offset_ms = counters["clock_offset_us"] / 1e3
    text = f"{counters['events']:,} ticks; the venue's stamps reach us after {offset_ms:,.1f} ms at least"
    if offset_ms < 0 or offset_ms > LAG_MS_MAX:
        yield warning("data", text, "set this machine's clock right (chrony); delayed data have 15 min here")
    else:
        yield ok("data", text)


def _rest(feed: FeedConfig, now_ns: Callable[[], int] = time.time_ns) -> Iterator[Finding]:
    """What the plan lets us fill gaps with."""
    url = rest_url_of(feed)
    if url is None:
        return
    from hft_engine.feed.repair.rest import AgainError, Aggregates, FailedError, RefusedError

    symbol = next((each for each in feed.symbols if each != "*"), PROBE_SYMBOL)
    end_ns = now_ns() // DAY_NS * DAY_NS
    start_ns = end_ns - PROBE_DAYS * DAY_NS
    client = Aggregates(url, feed.api_key, feed.repair.timeout_ms, 1)
    try:
        found = client.fetch(symbol, Request(0, "minute", start_ns, end_ns, ((start_ns, end_ns),)))
    except RefusedError as error:
        yield warning("REST", str(error), "without it gaps stay marked and are not filled: feed.repair")
    except (FailedError, AgainError) as error:
        yield warning("REST", str(error), "check feed.rest_url and the network")
    else:
        yield ok(
            "REST",
            f"{redacted_url(url)}: {len(found):,} minute bars of {symbol} in the last {PROBE_DAYS} days",
        )
    finally:
        client.close()
