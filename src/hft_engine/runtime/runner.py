"""The duty cycle: do_work of every actor of a process, heartbeat, control messages, wait.

``Runner.step`` is one cycle and can be driven by hand (simulation, tests, the inline replay); ``run`` loops it
until it is told to stop.
"""

import functools
import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from hft_engine.runtime.actor import Actor, ActorContext, BaseActor, ControlError
from hft_engine.runtime.chain import Chain, NativeCall
from hft_engine.runtime.limits import CONTROL_POLL_NS, CYCLE_LONG_NS, STOP_DRAIN_S, TEND_NS
from hft_engine.runtime.messages import Command, Event, Ping, Reply, SetLogLevel, Stop
from hft_engine.runtime.wait import FdWait, Input, RingWait, nap
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, words_view
from hft_engine.shm.doorbell import new_bells

_HEARTBEAT, _CYCLES, _MAX = layout.V_HEARTBEAT_NS, layout.V_CYCLES, layout.V_CYCLE_NS_MAX
_LONG, _WORK = layout.V_LONG_CYCLES, layout.V_WORK


class ActorRun:
    """One actor in a runner."""

    def __init__(self, actor: Actor, ctx: ActorContext, reads_rings: bool = False) -> None:
        self.actor = actor
        self.ctx = ctx
        self.reads_rings = reads_rings
        self.waits_on_fd = getattr(type(actor), "wait_fd", None) is not BaseActor.wait_fd
        self._vitals = words_view(ctx.stats.vitals)
        ctx.stats.declare(actor.counters, actor.histograms)

    def start(self, pid: int) -> None:
        vitals = self.ctx.stats.vitals
        vitals[layout.V_PID] = pid
        vitals[layout.V_STARTED_NS] = vitals[_HEARTBEAT] = time.monotonic_ns()
        self.ctx.stats.state = ActorState.STARTING
        self.actor.on_start(self.ctx)

    def alive_at(self, now_ns: int) -> None:
        """What it was silent before, it was starting, which ``supervisor.start_deadline_ms`` limits."""
        self._vitals[_HEARTBEAT] = now_ns

    def stop(self) -> None:
        self.ctx.stats.state = ActorState.STOPPING
        try:
            self.actor.on_stop()
            self.ctx.stats.state = ActorState.STOPPED
        except Exception:
            self.ctx.stats.state = ActorState.FAILED
            raise

    def beat(self, now_ns: int, cycles: int, cycle_ns_max: int, long_cycles: int, work: int) -> None:
        vitals = self._vitals
        vitals[_HEARTBEAT] = now_ns
        vitals[_CYCLES] += cycles
        vitals[_WORK] += work
        vitals[_LONG] += long_cycles
        if cycle_ns_max > vitals[_MAX]:
            vitals[_MAX] = cycle_ns_max


class ControlPort:
    """The runner's view of the control plane; ``runtime.process`` gives the real one, simulations none."""

    def receive(self) -> tuple[str, Command] | None:
        return None

    def reply(self, role: str, reply: Reply) -> None:
        return None

    def event(self, event: Event) -> None:
        return None


class Runner:
    def __init__(
        self,
        runs: Sequence[ActorRun],
        inputs: Sequence[Input] = (),
        mode: str = "park",
        bells: np.ndarray | None = None,
        bell: int = 0,
        control: ControlPort | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> None:
        self._runs = list(runs)
        self._by_role = {run.actor.role: run for run in runs}
        self._control = control or ControlPort()
        self._stop_requested = stop_requested
        self._stopping = False
        self._control_due_ns = 0
        self._tend_due_ns = 0
        self._later: list[tuple[str, int, Future[object]]] = []  # role, command id, the reply to come
        self._inputs, self._mode, self._bells, self._bell = inputs, mode, bells, bell
        self._ring_wait = RingWait(mode, inputs, bells, bell) if bells is not None and inputs else None
        self._fd_wait = FdWait(mode)
        self._fd_actor = next((run.actor for run in runs if run.waits_on_fd), None)

    def start(self, pid: int = 0) -> None:
        """on_start of every actor, in order."""
        for i, run in enumerate(self._runs):
            run.start(pid)
            now_ns = time.monotonic_ns()
            for started in self._runs[: i + 1]:
                started.alive_at(now_ns)
            run.ctx.stats.state = ActorState.RUNNING

    def step(self) -> int:
        """One duty cycle without waiting; returns the work done."""
        work = self._step(self._runs)
        self._serve_control_if_due(time.monotonic_ns())
        return work

    def sweep(self) -> int:
        """``step``, but neighbours that are compiled cycle, in compiled code, until none of them has work left."""
        work = 0
        for runs, chain in self._neighbours:
            if chain is None:
                work += self._step(runs)
            else:
                chain.use(_calls(runs))
                work += self._tell(runs, chain.drain())
        self._serve_control_if_due(time.monotonic_ns())
        return work

    def _step(self, runs: Sequence[ActorRun]) -> int:
        total = 0
        before_ns = time.monotonic_ns()
        for run in runs:
            work = run.actor.do_work()
            now_ns = time.monotonic_ns()
            cycle_ns = now_ns - before_ns
            run.beat(now_ns, 1, cycle_ns, cycle_ns > CYCLE_LONG_NS, work)
            before_ns = now_ns
            total += work
        return total

    def run(self) -> None:
        """Cycle until told to stop, then ``on_stop`` in order."""
        try:
            chain = self._chain()
            while not (self._stopping or self._stop_requested()):
                if chain is None:
                    self._idle(self.step())
                else:
                    self._turn(chain)
            self._drain()
        finally:
            self.stop()

    def _drain(self) -> None:
        """What upstream published before it stopped is still dealt with, within STOP_DRAIN_S."""
        deadline_ns = time.monotonic_ns() + int(STOP_DRAIN_S * 1e9)
        readers = [run.actor for run in self._runs if run.reads_rings]
        while sum(actor.do_work() for actor in readers) and time.monotonic_ns() < deadline_ns:
            pass

    def stop(self) -> None:
        """on_stop of every actor, in order, each even when an earlier one failed."""
        failures: list[Exception] = []
        for run in self._runs:
            try:
                run.stop()
            except Exception as error:
                run.ctx.log.exception("on_stop failed")
                failures.append(error)
        if failures:
            raise failures[0]

    def _chain(self) -> Chain | None:
        """The stages as one compiled chain, where every actor of the process offers its own."""
        calls = _calls(self._runs)
        if self._bells is None or len(calls) < len(self._runs):
            return None
        chain = Chain(calls, self._inputs, self._bells, self._bell, self._mode)

        def let_through() -> None:
            chain.use(_calls(self._runs))  # a model may have been swapped since the turn began
            chain.let_through()

        for run in self._runs:
            run.ctx.let_through = let_through
        return chain

    @functools.cached_property
    def _neighbours(self) -> list[tuple[list[ActorRun], Chain | None]]:
        """The actors in order, those in a row that are compiled as one chain."""
        rows = [list(row) for _, row in itertools.groupby(self._runs, lambda run: run.actor.native() is None)]
        return [
            (row, Chain(calls, [], new_bells(), 0, "spin") if (calls := _calls(row)) else None)
            for row in rows
        ]

    def _turn(self, chain: Chain) -> None:
        chain.use(_calls(self._runs))
        report = chain.turn(min(run.actor.turn_ns for run in self._runs))
        now_ns = time.monotonic_ns()
        if chain.is_full(report) and now_ns < self._tend_due_ns:
            self._beat(self._runs, report, now_ns)
            for run in self._runs:
                run.actor.glance()
        else:
            self._tend_due_ns = now_ns + TEND_NS
            self._tell(self._runs, report)
        self._serve_control_if_due(time.monotonic_ns())

    def _tell(self, runs: Sequence[ActorRun], report: Sequence[int]) -> int:
        """What a chain of these actors did; returns the work done."""
        work = self._beat(runs, report, time.monotonic_ns())
        for run in runs:
            run.ctx.let_through()
            run.actor.tend()
        return work

    def _beat(self, runs: Sequence[ActorRun], report: Sequence[int], now_ns: int) -> int:
        cycles, cycle_ns_max, long_cycles, *works = report
        for run, work in zip(runs, works, strict=True):
            run.beat(now_ns, cycles, cycle_ns_max, long_cycles, work)
        return sum(works)

    def _serve_control_if_due(self, now_ns: int) -> None:
        if now_ns >= self._control_due_ns:
            self._control_due_ns = now_ns + CONTROL_POLL_NS
            self._serve_control()

    def _idle(self, work: int) -> None:
        fd = None if self._fd_actor is None else self._fd_actor.wait_fd()
        if fd is not None:
            if not (work and self._fd_actor.more):  # type: ignore[union-attr]
                self._fd_wait.idle(fd)
        elif self._ring_wait is not None:
            # A prompt wait ends at once when there is more, and costs less than a cycle that finds nothing. Who naps
            # and has taken all there was gathers first: a cycle for each few records would never end.
            gathers = self._ring_wait.gathers and not any(run.actor.more for run in self._runs)
            if not work or self._ring_wait.prompt or gathers:
                self._ring_wait.idle()
        elif not work:
            nap()

    def _serve_control(self) -> None:
        while (received := self._control.receive()) is not None:
            role, command = received
            reply = self._answer(self._by_role[role], command)
            if isinstance(reply.payload, Future):
                self._later.append((role, command.id, reply.payload))
            else:
                self._control.reply(role, reply)
        for role, identity, future in [each for each in self._later if each[2].done()]:
            self._later.remove((role, identity, future))
            self._control.reply(role, _outcome(identity, future.result))

    def _answer(self, run: ActorRun, command: Command) -> Reply:
        body = command.body
        if isinstance(body, Stop):
            self._stopping = True
            return Reply(command.id, True)
        if isinstance(body, Ping):
            return Reply(command.id, True, payload=run.actor.role)
        if isinstance(body, SetLogLevel):
            run.ctx.log.setLevel(body.level)
            return Reply(command.id, True)
        return _outcome(command.id, lambda: run.actor.on_control(body))


def _outcome(identity: int, ask: Callable[[], object]) -> Reply:
    try:
        return Reply(identity, True, payload=ask())
    except ControlError as refusal:
        return Reply(identity, False, str(refusal))


def _calls(runs: Sequence[ActorRun]) -> list[NativeCall]:
    """Of those actors that are compiled."""
    return [call for run in runs if (call := run.actor.native()) is not None]
