"""The duty cycle, driven by hand."""

import logging
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft_engine.config.schema import Config
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime import runner as runner_module
from hft_engine.runtime.actor import ActorContext, BaseActor, ControlError
from hft_engine.runtime.chain import ATTENTION, TURN_RECORDS, NativeCall, entry
from hft_engine.runtime.messages import Command, Ping, Reply, SetLogLevel, Stop, Subscribe
from hft_engine.runtime.runner import ActorRun, ControlPort, Runner
from hft_engine.runtime.wait import Input, RingWait
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, Stats
from hft_engine.shm.ring import Ring

DTYPE = np.dtype([("sequence", "<i8"), ("value", "<f8")])


class Copier(BaseActor):
    """Moves records from one ring to another."""

    role = "copier"
    counters = ("copied",)

    def on_start(self, ctx: ActorContext) -> None:
        self.ctx = ctx
        self.scratch = np.zeros(8, DTYPE)
        self.stopped = False

    def do_work(self) -> int:
        count = self.ctx.ring("in").poll(0, self.scratch, 8)
        if count:
            self.ctx.ring("out").publish_rows(self.scratch[:count].copy())
            self.ctx.counter("copied").add(count)
        return count

    def on_control(self, message: object) -> object:
        if isinstance(message, Subscribe):
            return list(message.symbols)
        return super().on_control(message)

    def on_stop(self) -> None:
        self.stopped = True


class Port(ControlPort):
    def __init__(self, *commands: Command) -> None:
        self.commands = list(commands)
        self.replies: list[Reply] = []

    def receive(self) -> tuple[str, Command] | None:
        return ("copier", self.commands.pop(0)) if self.commands else None

    def reply(self, role: str, reply: Reply) -> None:
        self.replies.append(reply)


def context(rings: dict[str, Ring]) -> ActorContext:
    return ActorContext(
        role="copier",
        config=Config(),
        log=logging.getLogger("test.copier"),
        instruments=InstrumentTable.private(4),
        stats=Stats.private(),
        rings=rings,
        feature_schema=None,  # type: ignore[arg-type]
        run_id="test",
        run_dir=Path(),
        data_dir=Path(),
        log_dir=Path(),
    )


@pytest.fixture
def rings() -> dict[str, Ring]:
    return {name: Ring.private(name, DTYPE, 64, ["copier"]) for name in ("in", "out")}


def test_step_works_beats_and_counts(rings: dict[str, Ring]) -> None:
    ctx = context(rings)
    runner = Runner([ActorRun(Copier(), ctx)])
    runner.start(pid=42)
    assert ctx.stats.state is ActorState.RUNNING
    rings["in"].publish_rows(np.zeros(3, DTYPE))
    assert runner.step() == 3
    assert runner.step() == 0
    vitals = ctx.stats.vitals
    assert vitals[layout.V_PID] == 42
    assert vitals[layout.V_CYCLES] == 2
    assert vitals[layout.V_WORK] == 3
    assert vitals[layout.V_HEARTBEAT_NS] > 0
    runner.stop()
    assert ctx.stats.state is ActorState.STOPPED


def test_no_time_that_a_start_took_counts_as_silence(rings: dict[str, Ring]) -> None:
    """Else a process whose extensions take longer to compile than ``hang_kill_ms`` is killed when it is ready."""
    ready_ns: list[int] = []

    class Slow(Copier):
        def on_start(self, ctx: ActorContext) -> None:
            super().on_start(ctx)
            ready_ns.append(time.monotonic_ns())

    contexts = [context(rings), context(rings)]
    Runner([ActorRun(Slow(), ctx) for ctx in contexts]).start()
    assert all(ctx.stats.vitals[layout.V_HEARTBEAT_NS] >= ready_ns[-1] for ctx in contexts)


def test_stop_drains_what_upstream_had_published(rings: dict[str, Ring]) -> None:
    actor = Copier()
    stop_at_once = Runner([ActorRun(actor, context(rings), reads_rings=True)], stop_requested=lambda: True)
    stop_at_once.start()
    rings["in"].publish_rows(np.zeros(30, DTYPE))
    stop_at_once.run()
    assert rings["out"].published == 30
    assert actor.stopped


@pytest.mark.parametrize(
    ("mode", "more", "gating", "work", "waits"),
    [
        ("nap", False, False, 3, 1),
        ("nap", False, False, 0, 1),
        ("nap", True, False, 3, 0),
        ("nap", False, True, 3, 0),  # a writer waits for us
        ("sleep", False, False, 3, 0),
    ],
)
def test_who_naps_and_took_all_there_was_gathers_before_the_next_cycle(
    mode: str, more: bool, gating: bool, work: int, waits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring.private("in", DTYPE, 64, ["copier"], gating=gating)
    actor = Copier()
    actor.more = more
    runner = Runner([ActorRun(actor, context({"in": ring}))], [Input(ring, 0)], mode, ring.bells, 0)
    waited: list[str] = []
    monkeypatch.setattr(RingWait, "idle", lambda wait: waited.append(mode))
    runner._idle(work)
    assert len(waited) == waits


def test_commands_are_answered(rings: dict[str, Ring]) -> None:
    port = Port(
        Command(1, Ping()),
        Command(2, Subscribe(("A",))),
        Command(3, SetLogLevel("DEBUG")),
        Command(4, Stop()),
    )
    ctx = context(rings)
    runner = Runner([ActorRun(Copier(), ctx)], control=port)
    runner.start()
    runner.run()  # ends by the Stop
    assert [(r.id, r.ok, r.payload) for r in port.replies] == [
        (1, True, "copier"),
        (2, True, ["A"]),
        (3, True, None),
        (4, True, None),
    ]
    assert ctx.log.level == logging.DEBUG


def test_command_that_is_not_understood_is_refused(rings: dict[str, Ring]) -> None:
    class Deaf(Copier):
        def on_control(self, message: object) -> object:
            raise ControlError("no")

    port = Port(Command(1, Subscribe(())))
    runner = Runner([ActorRun(Deaf(), context(rings))], control=port)
    runner.start()
    runner.step()
    assert [(r.ok, r.error) for r in port.replies] == [(False, "no")]


@pytest.mark.parametrize("mode", ["spin", "yield", "park", "sleep"])
def test_a_wait_ends_when_a_record_is_there(mode: str, rings: dict[str, Ring]) -> None:
    wait = RingWait(mode, [Input(rings["in"], 0)], rings["in"].bells, 0)
    rings["in"].publish_rows(np.zeros(1, DTYPE))
    wait.idle()  # returns: there is a record
    rings["in"].poll(0, np.zeros(1, DTYPE), 1)
    wait.idle()  # returns too: waits are bounded


def test_a_reply_that_comes_later_is_sent_when_it_is_there(rings: dict[str, Ring]) -> None:
    replies = [Future(), Future()]

    class Slow(Copier):
        def on_control(self, message: object) -> object:
            return replies[0] if message == Subscribe(("A",)) else replies[1]

    port = Port(Command(1, Subscribe(("A",))), Command(2, Subscribe(("B",))), Command(3, Ping()))
    runner = Runner([ActorRun(Slow(), context(rings))], control=port)
    runner.start()
    runner._serve_control()
    assert [reply.id for reply in port.replies] == [3]
    replies[1].set_result({"tick": 7})
    runner._serve_control()
    replies[0].set_exception(ControlError("no such file"))
    runner._serve_control()
    runner._serve_control()
    assert [(r.id, r.ok, r.error, r.payload) for r in port.replies[1:]] == [
        (2, True, "", {"tick": 7}),
        (1, False, "no such file", None),
    ]


class Thinker(BaseActor):
    """Compiled, and in its ``tend`` asks for what came meanwhile; from then on it offers another call."""

    role = "thinker"

    def __init__(self) -> None:
        self.words = np.zeros(2, np.int64)
        self.calls = [NativeCall(COUNTED.address, self.words, 0, step) for step in (1, 100)]
        self.seen: list[int] = []

    def on_start(self, ctx: ActorContext) -> None:
        self.ctx = ctx

    def do_work(self) -> int:
        return 0

    def native(self) -> NativeCall:
        return self.calls[0]

    def tend(self) -> None:
        del self.calls[:-1]  # as where a model was swapped
        before = int(self.words[0])
        self.ctx.let_through()
        self.seen.append(int(self.words[0]) - before)


def call_counted(wiring: Any, words: int, reader: int, step: int) -> int:
    wiring[0] += step
    return 0


COUNTED = entry(call_counted)


def test_who_tends_lets_through_what_came_by_the_stages_as_they_are_by_then(rings: dict[str, Ring]) -> None:
    actor = Thinker()
    bells = rings["in"].bells
    runner = Runner([ActorRun(actor, context(rings))], [], "spin", bells, 0)
    runner._stop_requested = lambda: len(actor.seen) == 2
    runner.start()
    runner.run()
    assert actor.seen == [100, 100]


class Loaded(BaseActor):
    """Compiled, and has more to do than a turn takes; notes what is left to Python."""

    role = "loaded"

    def __init__(self) -> None:
        self.words = np.array([TURN_RECORDS], np.int64)
        self.notes: list[str] = []

    def on_start(self, ctx: ActorContext) -> None:
        return None

    def do_work(self) -> int:
        return 0

    def native(self) -> NativeCall:
        return NativeCall(SAID.address, self.words, 0)

    def glance(self) -> None:
        self.notes.append("glance")
        if self.notes.count("glance") == 3:
            self.words[0] = ATTENTION

    def tend(self) -> None:
        self.notes.append("tend")


def call_said(wiring: Any, words: int, reader: int, argument: int) -> int:
    return wiring[0]


SAID = entry(call_said)


@pytest.mark.parametrize(
    ("tend_ns", "notes"), [(1 << 62, ["tend", "glance", "glance", "glance", "tend"]), (0, ["tend"] * 5)]
)
def test_under_load_python_has_its_part_no_oftener_than_it_may_or_where_a_stage_asks(
    rings: dict[str, Ring], monkeypatch: pytest.MonkeyPatch, tend_ns: int, notes: list[str]
) -> None:
    monkeypatch.setattr(runner_module, "TEND_NS", tend_ns)
    actor = Loaded()
    runner = Runner([ActorRun(actor, context(rings))], [], "spin", rings["in"].bells, 0)
    runner._stop_requested = lambda: len(actor.notes) == len(notes)
    runner.start()
    runner.run()
    assert actor.notes == notes
