"""The supervisor: starts the actor processes, restarts the dead and the hung, answers commands, stops in order.

It never touches a record. Liveness is read from shared memory (heartbeats) and from the kernel (pidfds), not from
messages: a jammed control plane must neither look like a dead actor nor hide one.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import zmq

from hft_engine.config.schema import SupervisorConfig
from hft_engine.runtime.forkserver import ForkServer, ForkServerError
from hft_engine.runtime.limits import (
    DISK_PATIENCE_S,
    KILLED_GONE_S,
    SUPERVISOR_EXIT_S,
    SUPERVISOR_POLL_MS,
)
from hft_engine.runtime.linux import readable, steady_heap, waits_for_disk
from hft_engine.runtime.messages import Event
from hft_engine.runtime.plan import EXIT_FATAL, ProcessPlan
from hft_engine.runtime.policy import HangPolicy, RestartPolicy
from hft_engine.runtime.switchboard import Switchboard
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, Counter, Stats

ENTRY = "hft_engine.runtime.process:run"
COLD_S = 5.0  # kernels that are compiled already are loaded sooner, on a busy machine too
STALLED_S = 0.5  # a longer gap in our own loop means that the machine stood still: judge nobody by it
ENGINE_STATES = ("starting", "running", "stopping", "failed")


class EngineState(IntEnum):
    STARTING, RUNNING, STOPPING, FAILED = range(4)


class Child:
    """One actor process as the supervisor sees it."""

    def __init__(
        self, plan: ProcessPlan, stats: dict[str, Stats], policy: RestartPolicy, hang: HangPolicy
    ) -> None:
        self.plan = plan
        self.name = plan.name
        self.roles = [role.role for role in plan.roles]
        self.stats = stats
        self.policy = policy
        self.hang = hang
        self.payload = msgspec.msgpack.encode(plan)
        self.pid = 0
        self.pidfd = -1
        self.started_s = 0.0

    @property
    def alive(self) -> bool:
        return self.pidfd >= 0

    @property
    def running(self) -> bool:
        return self.alive and all(stats.state == ActorState.RUNNING for stats in self.stats.values())

    def heartbeat_age_s(self, now_ns: int) -> float:
        """Of the actor that is silent longest."""
        return max((now_ns - int(s.vitals[layout.V_HEARTBEAT_NS])) / 1e9 for s in self.stats.values())

    def mark(self, state: ActorState) -> None:
        for stats in self.stats.values():
            stats.state = state


class Supervisor:
    def __init__(
        self,
        config: SupervisorConfig,
        plans: Sequence[ProcessPlan],
        stop_order: Sequence[str],
        make_fork_server: Callable[[], ForkServer],
        run_dir: Path,
        bells: np.ndarray,
        log: logging.Logger,
        say: Callable[[str], None],
    ) -> None:
        self._config = config
        self._make_fork_server = make_fork_server
        self._bells = bells
        self._log = log
        self._say = say
        self._own = Stats.attach(run_dir / "supervisor.stats")
        self.children = {plan.name: self._child(plan, run_dir) for plan in plans}
        self._stop_order = list(stop_order)
        self._process_of = {role: child.name for child in self.children.values() for role in child.roles}
        self._declare()
        self._board = Switchboard(
            run_dir, self._process_of, log, self._event_count, self.request_stop, self._on_restart
        )
        self._stop_requested = False
        self._wake_r, self._wake_w = socket.socketpair()
        self._server: ForkServer | None = None
        self.exit_code = 0
        self.reason = ""

    # ---- life -------------------------------------------------------------------------------------------------

    def run(
        self,
        on_ready: Callable[[], None] = lambda: None,
        finished: Callable[[], bool] = lambda: False,
        each_second: Callable[[], None] = lambda: None,
    ) -> int:
        """Start everything, watch until told to stop (or ``finished``), stop everything. Returns the exit code."""
        self._catch_signals()
        steady_heap()
        try:
            self._state.set(EngineState.STARTING)
            self._start_fork_server()
            if not self._stop_requested:
                self._start_children()
            if not self._stop_requested:
                self._state.set(EngineState.RUNNING)
                self.announce("engine", "running")
                on_ready()
            self._watch(finished, each_second)
        except ForkServerError as error:
            self._fail(str(error), 4)
        finally:
            self._stop_all()
        return self.exit_code

    def request_stop(self, reason: str = "") -> None:
        """Leave the watch loop and stop in order."""
        if not self._stop_requested:
            self._log.info("stopping: %s", reason)
        self._stop_requested = True

    def announce(self, kind: str, text: str, role: str = "supervisor") -> None:
        """An event of our own."""
        self._board.on_event(Event(time.time_ns(), role, kind, text))

    # ---- start ------------------------------------------------------------------------------------------------

    def _child(self, plan: ProcessPlan, run_dir: Path) -> Child:
        stats = {role.role: Stats.attach(run_dir / f"{role.role}.stats") for role in plan.roles}
        config = self._config
        restarts = RestartPolicy(config.restarts_max, config.restart_window_s)
        limits_s = config.heartbeat_limit_ms / 1e3, config.hang_kill_ms / 1e3
        return Child(plan, stats, restarts, HangPolicy(*limits_s, max(DISK_PATIENCE_S, *limits_s)))

    def _declare(self) -> None:
        names = ["engine_state", "events", "hung"] + [f"restarts.{role}" for role in self._process_of]
        self._own.declare(names, ())
        self._own.vitals[layout.V_PID] = os.getpid()
        self._own.vitals[layout.V_STARTED_NS] = time.monotonic_ns()
        self._state: Counter = self._own.counter("engine_state")
        self._hung = self._own.counter("hung")
        self._event_count = self._own.counter("events")

    def _catch_signals(self) -> None:
        self._wake_w.setblocking(False)
        signal.set_wakeup_fd(self._wake_w.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda n, frame: self.request_stop(signal.Signals(n).name))

    def _start_fork_server(self) -> None:
        self._server = self._make_fork_server()
        started = time.monotonic()
        for step in self._server.warming(self._abandoned):
            if time.monotonic() - started > COLD_S:
                self._say(
                    f"  compiling kernels, first start only: {step.module} ({step.index + 1}/{step.total})"
                )
        self._log.info("fork server ready after %.2f s, pid %d", time.monotonic() - started, self._server.pid)

    def _abandoned(self) -> bool:
        """Answers commands while kernels compile, which takes long at first; whether to stop."""
        self._board.serve()
        return self._stop_requested

    def _start_children(self) -> None:
        """In start order; the source only when everybody who reads is running."""
        *readers, source = self.children.values()
        for child in readers:
            self._spawn(child)
        self._await_running([child for child in readers if not child.plan.optional])
        if not self._stop_requested:
            self._spawn(source)
            self._await_running([source])

    def _await_running(self, children: Sequence[Child]) -> None:
        while not self._stop_requested and not all(child.running for child in children):
            self._turn()

    def _spawn(self, child: Child) -> None:
        assert self._server is not None
        child.mark(ActorState.NEW)
        child.pid, child.pidfd = self._server.spawn(child.name, ENTRY, child.payload)
        child.started_s = time.monotonic()
        self._log.info("started %s, pid %d", child.name, child.pid)

    # ---- watch ------------------------------------------------------------------------------------------------

    def _watch(self, finished: Callable[[], bool], each_second: Callable[[], None]) -> None:
        due_s = time.monotonic()
        while not self._stop_requested:
            self._turn()
            if finished():
                self.request_stop("finished")
            if time.monotonic() >= due_s:
                due_s += 1.0
                each_second()

    def _turn(self) -> None:
        """Wait for anything to happen, at most SUPERVISOR_POLL_MS, and deal with it."""
        before_s = time.monotonic()
        self._poll()
        self._own.vitals[layout.V_HEARTBEAT_NS] = time.monotonic_ns()
        self._board.serve()
        self._check_fork_server()
        self._check_exits()
        if time.monotonic() - before_s < STALLED_S:
            self._check_heartbeats()

    def _poll(self) -> None:
        poller = zmq.Poller()
        poller.register(self._board.socket, zmq.POLLIN)
        poller.register(self._wake_r.fileno(), zmq.POLLIN)
        for child in self.children.values():
            if child.alive:
                poller.register(child.pidfd, zmq.POLLIN)
        if self._server is not None:
            poller.register(self._server.pidfd, zmq.POLLIN)
        for source, _ in poller.poll(SUPERVISOR_POLL_MS):
            if source == self._wake_r.fileno():
                self._wake_r.recv(4096)

    def _check_exits(self) -> None:
        for child in self.children.values():
            if child.alive and _readable(child.pidfd):
                self._on_exit(child, self._reap(child))

    def _reap(self, child: Child) -> int:
        assert self._server is not None
        try:
            status = self._server.reap(child.pid)
        except ForkServerError:
            status = -signal.SIGKILL  # it died with the fork server
        os.close(child.pidfd)
        child.pidfd = -1
        return status

    def _on_exit(self, child: Child, status: int) -> None:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        self._board.serve()  # its last words
        if status != EXIT_FATAL and child.policy.allow(time.monotonic()):
            self.announce("restart", f"{child.name} (pid {child.pid}) ended with {how}; started again")
            for role in child.roles:
                self._own.counter(f"restarts.{role}").add()
            self._spawn(child)
            return
        child.mark(ActorState.FAILED)
        limit = f"{self._config.restarts_max} restarts in {self._config.restart_window_s} s"
        last = self._board.last_error or "none"
        if child.plan.optional:
            why = "" if status == EXIT_FATAL else f" again after {limit}"
            self.announce("role_lost", f"{child.name} ended with {how}{why}; the engine goes on without it")
        elif status == EXIT_FATAL:
            self._fail(self._board.last_error or f"{child.name} gave up; see its log", EXIT_FATAL)
        else:
            self._fail(f"{child.name} ended with {how} again after {limit}; last error: {last}", 4)

    def _check_fork_server(self) -> None:
        if self._server is not None and not self._server.alive():
            self.announce(
                "restart", f"fork server (pid {self._server.pid}) died; starting all processes again"
            )
            self._server.close()
            for child in self.children.values():
                if child.alive:
                    readable(child.pidfd, 2.0)  # PDEATHSIG: they are going
            self._start_fork_server_again()

    def _start_fork_server_again(self) -> None:
        dead = [child for child in self.children.values() if child.alive]
        self._start_fork_server()
        if self._stop_requested:
            return
        for child in dead:
            os.close(child.pidfd)
            child.pidfd = -1
            self._on_exit(child, -signal.SIGKILL)

    def _check_heartbeats(self) -> None:
        now_ns, now_s = time.monotonic_ns(), time.monotonic()
        hung = 0
        for child in self.children.values():
            if not child.alive:
                continue
            if child.running:
                age_s = child.heartbeat_age_s(now_ns)
                hung += age_s * 1e3 > self._config.heartbeat_limit_ms
                waited = child.hang.waits
                if child.hang.is_hung(now_s, age_s, partial(waits_for_disk, child.pid)):
                    self._kill(child, f"no heartbeat for {age_s:.1f} s")
                elif child.hang.waits and not waited:
                    text = f"{child.name} (pid {child.pid}) has waited {age_s:.1f} s for the disk; it is left alone"
                    self.announce("slow_disk", text)
            elif (now_s - child.started_s) * 1e3 > self._config.start_deadline_ms:
                self._kill(child, f"not running {self._config.start_deadline_ms} ms after its start")
        self._hung.set(hung)

    def _kill(self, child: Child, why: str) -> None:
        self.announce("hang", f"{child.name} (pid {child.pid}): {why}; killed")
        signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
        readable(child.pidfd, 1.0)

    def _fail(self, reason: str, code: int) -> None:
        self.reason = reason
        self.exit_code = code
        self._state.set(EngineState.FAILED)
        self._log.critical("%s", reason)
        self.request_stop("failed")

    # ---- messages ---------------------------------------------------------------------------------------------

    def _on_restart(self, role: str) -> str:
        """Kill the process of a role; it is started again like any that died. Returns why not, if not."""
        name = self._process_of.get(role)
        if name is None:
            return f"no role {role!r}; there are: {', '.join(self._process_of)}"
        if self.children[name].alive:
            self._kill(self.children[name], "restart was asked for")
        return ""

    # ---- stop -------------------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Along the data's flow, each with a deadline, then by force."""
        if self.exit_code == 0:
            self._state.set(EngineState.STOPPING)
        end_s = time.monotonic() + SUPERVISOR_EXIT_S - KILLED_GONE_S * (len(self.children) + 1)
        for name in self._stop_order:
            child = self.children[name]
            if child.alive:
                self._stop_child(child, end_s)
        if self._server is not None:
            self._server.close()
        self._board.close()
        signal.set_wakeup_fd(-1)
        self._wake_r.close()
        self._wake_w.close()

    def _stop_child(self, child: Child, end_s: float) -> None:
        self._bells[layout.stop_word(child.plan.bell)] = 1
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGTERM)
        deadline_s = max(0.0, min(self._config.stop_deadline_ms / 1e3, end_s - time.monotonic()))
        if not readable(child.pidfd, deadline_s):
            self._log.error(
                "%s did not stop within %.1f s%s; killed",
                child.name,
                deadline_s,
                ", it waits for the disk" if waits_for_disk(child.pid) else "",
            )
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            readable(child.pidfd, KILLED_GONE_S)
        status = self._reap(child)
        self._log.info("stopped %s, status %d", child.name, status)


def _readable(fd: int) -> bool:
    return readable(fd, 0)
