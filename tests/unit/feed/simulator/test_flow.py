"""From ticks to outboxes: one connection gets what each of several does, faults looked for or not."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from hft_engine.feed.simulator.encode import Encoder
from hft_engine.feed.simulator.flow import TickFlow
from hft_engine.feed.simulator.scenario import CALM, Lag, Scenario
from hft_engine.feed.simulator.session import Outbox
from hft_engine.feed.simulator.truth import Truth
from support.sim_markets import SYMBOLS, recorded, steady_ticks

PAIRS = {("T", "AAPL"), ("T", "SPY"), ("A", "*")}


class Listener(SimpleNamespace):
    """As much of a session as a flow knows of it."""

    def __init__(self, pairs: set[tuple[str, str]]) -> None:
        self.lost: list[bytes] = []
        super().__init__(pairs=pairs, outbox=Outbox(self.lost.extend))


def heard(listeners: Sequence[Listener], truth: Truth | None = None) -> list[list[bytes]]:
    source = recorded(steady_ticks(600))
    flow = TickFlow(source, Encoder(SYMBOLS), CALM, None, truth)
    flow.rebuild(listeners)  # type: ignore[arg-type]
    source.start(1)
    while not source.finished:
        flow.pump(1, 100, listeners)  # type: ignore[arg-type]
    return [list(listener.outbox._events) for listener in listeners]


@pytest.mark.parametrize("watched", [False, True])
def test_one_gets_what_each_of_two_gets(watched: bool) -> None:
    def truth() -> Truth | None:
        return Truth(SYMBOLS) if watched else None

    (alone,) = heard([Listener(PAIRS)], truth())
    first, second, other = heard([Listener(PAIRS), Listener(PAIRS), Listener({("T", "MSFT")})], truth())
    assert alone == first == second and len(alone) == 400 + 5 * 3
    assert len(other) == 200 and all(b'"sym":"MSFT"' in event for event in other)


def test_what_waits_is_counted_in_bytes_and_given_up_when_the_box_is_closed() -> None:
    listener = Listener(PAIRS)
    (events,) = heard([listener])
    assert listener.outbox.bytes_waiting == sum(map(len, events))
    listener.outbox.close()
    listener.outbox.extend([b"late"])
    listener.outbox.put(b"later")
    assert listener.lost == [*events, b"late", b"later"] and listener.outbox.bytes_waiting == 0


def test_what_a_lag_releases_when_nobody_is_there_any_more_is_unheard() -> None:
    step, truth = Lag(delay_ms=1_000), Truth(SYMBOLS)
    source = recorded(steady_ticks(30))
    flow = TickFlow(source, Encoder(SYMBOLS), Scenario(steps=(step,)), None, truth)
    flow.begin(step)
    listener = Listener({("T", "*")})
    flow.rebuild([listener])  # type: ignore[list-item]
    source.start(1)
    flow.pump(1, 100, [listener])  # type: ignore[list-item]
    assert not listener.outbox._events
    flow.rebuild([])
    flow.pump(2_000_000_000, 100, [])
    assert truth.counts == {"published": 30, "unheard": 30}
