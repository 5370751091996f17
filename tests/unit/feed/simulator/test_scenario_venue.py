"""A scenario at a venue over a real socket: what the client misses is what the truth says, to the tick."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websocket

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.command import main
from hft_engine.feed.simulator.scenario import (
    AuthFailure,
    Close,
    Drop,
    Duplicate,
    Fault,
    HalfFrame,
    HalfOpen,
    Halt,
    Kick,
    Loss,
    Missing,
    Mute,
    Plan,
    Reorder,
    Scenario,
    SlowConsumerKill,
    UpgradeRefusal,
)
from hft_engine.feed.simulator.serving import RunningVenue
from support.sim_clients import (
    close_code,
    connect,
    ends_without_close_frame,
    login,
    receive,
    subscribe,
    until_quiet,
    using,
)
from support.sim_markets import recorded, steady_ticks
from support.waiting import wait_for

CONFIG = SimulatorConfig(api_key="KEY", instruments=5, ticks_per_s=500.0)
CONTIGUOUS = "contiguous"


@contextmanager
def venue_of(*steps: Fault, count: int = 900, speed: float = 0.0, **more: object) -> Iterator[RunningVenue]:
    """A venue with ``count`` trades of three symbols."""
    scenario = Scenario(sequence=CONTIGUOUS, steps=steps, **more)  # type: ignore[arg-type]
    with RunningVenue(CONFIG, scenario=scenario, source=recorded(steady_ticks(count), speed)) as running:
        yield running


def gaps(events: list[dict]) -> int:
    """Missing sequence numbers of each symbol up to its highest."""
    seen: dict[str, set[int]] = {}
    for event in events:
        seen.setdefault(event["sym"], set()).add(event["q"])
    return sum(max(numbers) - len(numbers) for numbers in seen.values())


def test_loss_duplicates_and_reordering_are_known_exactly() -> None:
    steps = (Loss(share=0.2), Duplicate(share=0.05), Reorder(share=0.05))
    with venue_of(*steps) as running, using(login(running)) as client:
        subscribe(client, "T.*")
        events = until_quiet(client)
        running.inflict(steps[-1], begins=False)  # what it keeps back comes
        events += until_quiet(client)
        truth = running.truth.counts
        assert truth["published"] == 900
        assert (
            len(events) == truth["published"] - truth["lost"] + truth["duplicated"] == running.counts.events
        )
        assert min(truth[fate] for fate in ("lost", "duplicated", "reordered")) > 10
        lost = {(int(t["instrument_id"]), int(t["venue_sequence"])) for t in running.truth.ticks_of("lost")}
        got = {(("AAPL", "MSFT", "SPY").index(event["sym"]), event["q"]) for event in events}
        assert lost | got == {(i, n) for i in range(3) for n in range(1, 301)} and not lost & got


def test_steps_by_count_hit_the_same_ticks_every_time() -> None:
    def lost() -> list[int]:
        with venue_of(Missing(ticks=30, after_ticks=512)) as running, using(login(running)) as client:
            subscribe(client, "T.*")
            assert gaps(until_quiet(client)) == 30
            return running.truth.ticks_of("lost")["trade_id"].tolist()

    assert lost() == lost() == list(range(512, 542))


def test_what_comes_while_nobody_is_there_is_unheard() -> None:
    with venue_of(Drop(after_ticks=50), count=4_000, speed=10.0) as running:
        with using(login(running)) as client:
            subscribe(client, "T.*")
            first: list[dict] = []
            with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionResetError)):
                while True:
                    first += receive(client)
        wait_for(lambda: running.truth.counts["unheard"] > 20, "ticks for nobody")
        with using(login(running)) as client:
            subscribe(client, "T.*")
            second = until_quiet(client, 1.0)
        truth = running.truth.counts
        assert len(first) + len(second) + truth["unheard"] + truth["undelivered"] == truth["published"]
        assert gaps(first + second) == truth["unheard"] + truth["undelivered"]


def test_a_half_open_connection_is_silent_for_pings_too() -> None:
    with RunningVenue(CONFIG) as running, using(login(running)) as client:
        subscribe(client, "Q.*")
        receive(client)
        running.inflict(HalfOpen())
        until_quiet(client)
        client.ping()
        client.settimeout(0.3)
        with pytest.raises(websocket.WebSocketTimeoutException):
            client.recv_data(control_frame=True)
        assert running.truth.counts["undelivered"] > 0


@pytest.mark.parametrize("step", [HalfOpen(lasts_s=0.1), HalfFrame(lasts_s=0.1), Drop(), SlowConsumerKill()])
def test_connections_end_without_a_close_frame(step: Fault) -> None:
    with RunningVenue(CONFIG) as running, using(login(running)) as client:
        subscribe(client, "Q.*")
        running.inflict(step)
        assert ends_without_close_frame(client)
        assert running.counts.slow_consumer_kills == isinstance(step, SlowConsumerKill)


@pytest.mark.parametrize(("step", "code"), [(Close(code=1012), 1012), (Kick(), 1008)])
def test_connections_end_with_a_close_code(step: Fault, code: int) -> None:
    with RunningVenue(CONFIG) as running, using(login(running)) as client:
        running.inflict(step)
        assert close_code(client) == code


def test_only_the_oldest_or_newest_connection_can_be_meant() -> None:
    with RunningVenue(CONFIG) as running, using(login(running)) as old, using(login(running)) as new:
        running.inflict(Close(which="newest", code=1011))
        assert close_code(new) == 1011
        running.inflict(Close(which="oldest", code=1012))
        assert close_code(old) == 1012


def test_the_right_key_is_refused_so_many_times() -> None:
    scenario = Scenario(steps=(AuthFailure(count=2),))
    with RunningVenue(CONFIG, scenario=scenario) as running:
        for _ in range(2):
            with using(connect(running)) as client:
                receive(client)
                client.send('{"action":"auth","params":"KEY"}')
                assert receive(client)[0]["status"] == "auth_failed"
                assert ends_without_close_frame(client)
        with using(login(running)):
            assert running.counts.auth_failures == 2


def test_upgrades_are_refused_with_the_status_of_the_scenario() -> None:
    with RunningVenue(CONFIG, scenario=Scenario(steps=(UpgradeRefusal(status=503, count=1),))) as running:
        with pytest.raises(websocket.WebSocketBadStatusException, match="503"):
            connect(running)
        with using(login(running)):
            pass


def test_a_plan_can_shrink_and_grow_again() -> None:
    plan = Plan(channels=("T",))
    with RunningVenue(CONFIG) as running, using(login(running)) as client:
        running.inflict(plan)
        assert subscribe(client, "A.AAPL") == ["not authorized"]
        running.inflict(plan, begins=False)
        assert subscribe(client, "A.AAPL") == ["subscribed to: A.AAPL"]


def test_a_halted_symbol_quotes_its_halt_and_its_end_and_has_no_bar_between() -> None:
    step = Halt(symbols=("AAPL",), at_s=1_000)
    with RunningVenue(CONFIG, scenario=Scenario(steps=(step,))) as running, using(login(running)) as client:
        assert subscribe(client, "Q.AAPL,T.AAPL")
        running.inflict(step)
        halt = next(event for event in until(client, "AAPL") if event.get("c") == 43)
        assert halt["ev"] == "Q"
        assert until_quiet(client) == []
        running.inflict(step, begins=False)
        assert next(iter(until(client, "AAPL")))["c"] == 16


def until(client: websocket.WebSocket, symbol: str) -> Iterator[dict]:
    while True:
        yield from (event for event in receive(client) if event["sym"] == symbol)


def test_the_truth_file_has_a_line_per_tick_and_the_totals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "truth.jsonl"
    with file.open("wb") as out:
        from hft_engine.feed.simulator.serving import make_venue

        venue = make_venue(
            CONFIG,
            scenario=Scenario(steps=(Mute(symbols=("MSFT",)),)),
            source=recorded(steady_ticks(30)),
            truth_file=out,
        )
        assert venue.truth is not None
        venue.truth.publish(10)
        venue.truth.note("lost", steady_ticks(2))
        venue.truth.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["fate"], line["channel"], line["symbol"], line["sequence"]) for line in lines[:2]] == [
        ("lost", "T", "AAPL", 1000),
        ("lost", "T", "MSFT", 1007),
    ]
    assert lines[-1] == {"totals": {"published": 10, "lost": 2}, "open_max": 0}


def test_the_command_refuses_an_unknown_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["polygon", "--scenario", "none-such"]) == 1
    assert "half-open" in capsys.readouterr().err


def test_time_of_a_step_counts_from_the_first_client() -> None:
    with venue_of(Close(at_s=0.3), count=9_000, speed=1.0) as running:
        time.sleep(0.4)
        with using(login(running)) as client:
            assert subscribe(client, "T.AAPL") == ["subscribed to: T.AAPL"]
            assert close_code(client) == 1001
