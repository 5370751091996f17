"""The venue as an actor: driven by hand, one duty cycle after the other, against a real client."""

import json
import logging
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import websocket

from hft_engine.config.schema import Config, SimulatorConfig
from hft_engine.feed.simulator.actor import SimulatorActor
from hft_engine.feed.simulator.serving import RunningVenue
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime.actor import Actor, ActorContext, FatalError
from hft_engine.shm.counters import Stats


def context(tmp_path: Path, config: SimulatorConfig | None) -> ActorContext:
    return ActorContext(
        role="simulator",
        config=Config(simulator=config),
        log=logging.getLogger("test.simulator"),
        instruments=InstrumentTable.private(1),
        stats=Stats.private(),
        rings={},
        feature_schema=SimpleNamespace(),  # type: ignore[arg-type]
        run_id="test",
        run_dir=tmp_path,
        data_dir=tmp_path,
        log_dir=tmp_path,
    )


def free_port() -> int:
    with RunningVenue(SimulatorConfig()) as venue:
        return venue.port


@pytest.fixture
def ctx(tmp_path: Path) -> ActorContext:
    made = context(tmp_path, SimulatorConfig(port=free_port(), api_key="k", ticks_per_s=500.0))
    made.stats.declare(SimulatorActor.counters, SimulatorActor.histograms)
    return made


@pytest.fixture
def actor(ctx: ActorContext) -> Iterator[SimulatorActor]:
    made = SimulatorActor()
    made.on_start(ctx)
    yield made
    made.on_stop()


def port_of(ctx: ActorContext) -> int:
    assert ctx.config.simulator is not None
    return ctx.config.simulator.port


class Client(threading.Thread):
    """Logs in, subscribes to all quotes, reads so many frames, the three of the handshake included."""

    def __init__(self, port: int, frames: int = 8) -> None:
        super().__init__()
        self.port = port
        self.frames = frames
        self.events = 0

    def run(self) -> None:
        socket = websocket.create_connection(f"ws://127.0.0.1:{self.port}/stocks", timeout=40)
        try:
            for request in ({"action": "auth", "params": "k"}, {"action": "subscribe", "params": "Q.*"}):
                socket.send(json.dumps(request))
            for _ in range(self.frames):
                self.events += sum(event["ev"] == "Q" for event in json.loads(socket.recv()))
        except (OSError, websocket.WebSocketException):
            pass  # refused: no events
        finally:
            socket.shutdown()


def step_until_done(actor: SimulatorActor, client: Client, seconds: float = 20.0) -> int:
    deadline = time.monotonic() + seconds
    work = 0
    while client.is_alive() and time.monotonic() < deadline:
        work += actor.do_work()
    client.join(1)
    return work


def test_it_is_an_actor_and_serves_clients_from_its_duty_cycle(
    ctx: ActorContext, actor: SimulatorActor
) -> None:
    assert isinstance(actor, Actor)
    client = Client(port_of(ctx))
    client.start()
    work = step_until_done(actor, client)
    assert client.events > 0
    assert work >= client.events
    assert ctx.counter("connections").value == 1
    assert ctx.counter("events").value >= client.events
    assert ctx.counter("frames").value >= 5


def test_counters_go_on_after_a_restart_on_the_same_port(ctx: ActorContext) -> None:
    for life in (1, 2):
        actor = SimulatorActor()
        actor.on_start(ctx)
        client = Client(port_of(ctx))
        client.start()
        step_until_done(actor, client)
        actor.on_stop()
        assert ctx.counter("connections").value == life


def test_a_duty_cycle_does_not_wait(actor: SimulatorActor) -> None:
    given_up = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    for _ in range(50):
        actor.do_work()
    given_up = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - given_up
    assert given_up < 25  # who waits gives its core away, each time


def test_no_thread_is_left_and_the_port_is_free_after_the_stop(ctx: ActorContext) -> None:
    threads = threading.active_count()
    actor = SimulatorActor()
    actor.on_start(ctx)
    actor.do_work()
    actor.on_stop()
    actor.on_stop()
    assert threading.active_count() == threads
    assert ctx.config.simulator is not None
    with RunningVenue(ctx.config.simulator):
        pass


def test_a_port_in_use_is_fatal_and_says_so(ctx: ActorContext) -> None:
    assert ctx.config.simulator is not None
    with RunningVenue(ctx.config.simulator), pytest.raises(FatalError, match="is in use"):
        SimulatorActor().on_start(ctx)


def test_a_missing_recording_is_fatal_and_says_so(ctx: ActorContext, tmp_path: Path) -> None:
    assert ctx.config.simulator is not None
    ctx.config = Config(simulator=msgspec.structs.replace(ctx.config.simulator, source="no/such.jsonl.gz"))
    with pytest.raises(FatalError, match="no such file"):
        SimulatorActor().on_start(ctx)


def test_a_missing_scenario_is_fatal_and_says_so(ctx: ActorContext) -> None:
    assert ctx.config.simulator is not None
    ctx.config = Config(simulator=msgspec.structs.replace(ctx.config.simulator, scenario="no-such"))
    with pytest.raises(FatalError, match="half-open"):
        SimulatorActor().on_start(ctx)


def test_a_scenario_goes_wrong_in_the_duty_cycle(ctx: ActorContext, tmp_path: Path) -> None:
    plot = tmp_path / "plot.yaml"
    plot.write_text("steps: [{fault: auth-failure, count: 1}, {fault: drop, after_ticks: 500}]")
    assert ctx.config.simulator is not None
    ctx.config = Config(simulator=msgspec.structs.replace(ctx.config.simulator, scenario=str(plot)))
    actor = SimulatorActor()
    actor.on_start(ctx)
    refused, admitted = Client(port_of(ctx)), Client(port_of(ctx))
    for client in (refused, admitted):
        client.start()
        step_until_done(actor, client)
    dropped = Client(port_of(ctx), frames=10_000)
    dropped.start()
    step_until_done(actor, dropped)
    actor.on_stop()
    assert ctx.counter("auth_failures").value == 1
    assert refused.events == 0 and admitted.events > 0
    assert not dropped.is_alive() and dropped.events > 0


def test_it_refuses_to_start_without_its_section(ctx: ActorContext) -> None:
    ctx.config = Config()
    with pytest.raises(FatalError, match="section 'simulator'"):
        SimulatorActor().on_start(ctx)
