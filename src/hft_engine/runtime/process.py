"""Inside an actor process: map the segments, make the actors, run their duty cycles until told to stop."""

import gc
import importlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine import records
from hft_engine.runtime import placement
from hft_engine.runtime.actor import Actor, ActorContext, FatalError
from hft_engine.runtime.instruments_file import open_instruments
from hft_engine.runtime.linux import fine_timers, steady_heap
from hft_engine.runtime.logs import logger
from hft_engine.runtime.messages import Command, Event, Reply
from hft_engine.runtime.plan import BELLS_FILE, EXIT_FATAL, INSTRUMENTS_FILE, ProcessPlan, RolePlan
from hft_engine.runtime.runner import ActorRun, ControlPort, Runner
from hft_engine.runtime.wait import Input
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, Stats, words_view
from hft_engine.shm.ring import Ring
from hft_engine.shm.segment import Segment, SegmentError

HOPELESS = (FatalError, SegmentError)  # no restart makes room in shared memory, or changes what a segment is


def load(spec: str) -> Any:
    """The object that "module:name" names."""
    module, name = spec.split(":")
    return getattr(importlib.import_module(module), name)


class _SocketPort(ControlPort):
    """Control messages over the process's one DEALER socket."""

    def __init__(self, run_dir: Path, process: str) -> None:
        from hft_engine.runtime.control import Peer  # its context starts threads: never before the fork

        self._peer = Peer(run_dir, process)

    def receive(self) -> tuple[str, Command] | None:
        while (message := self._peer.receive()) is not None:
            if isinstance(message, Command):
                return message.target, message
        return None

    def reply(self, role: str, reply: Reply) -> None:
        self._peer.send(reply)

    def event(self, event: Event) -> None:
        self._peer.send(event)

    def close(self) -> None:
        self._peer.close()


class Attachments:
    """The run's segments, as this process maps them."""

    def __init__(self, plan: ProcessPlan) -> None:
        run_dir = Path(plan.run_dir)
        self.bells = Segment.attach(run_dir / BELLS_FILE).words
        self.instruments = open_instruments(run_dir / INSTRUMENTS_FILE, writable=True)
        wanted = {name for role in plan.roles for name in role.rings}
        self.rings = {
            entry.name: Ring.attach(run_dir / entry.file, getattr(records, entry.dtype), self.bells)
            for entry in plan.rings
            if entry.name in wanted
        }
        roles = {role.role for role in plan.roles}
        for entry in plan.rings:
            if entry.writer in roles:
                self.rings[entry.name].recover()


class _Stopping:
    """Told to stop: by SIGTERM, or by the word in shared memory."""

    def __init__(self, bells: np.ndarray, bell: int) -> None:
        self._words = words_view(bells)
        self._word = layout.stop_word(bell)
        self._signalled = False
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signalled = True

    def __call__(self) -> bool:
        return self._signalled or self._words[self._word] != 0


def _context(plan: ProcessPlan, role: RolePlan, attached: Attachments, port: _SocketPort) -> ActorContext:
    run_dir = Path(plan.run_dir)

    def emit(kind: str, text: str) -> None:
        port.event(Event(time.time_ns(), role.role, kind, text))

    return ActorContext(
        role=role.role,
        config=plan.config,
        log=logger(
            role.role, Path(plan.log_dir), plan.config.engine.log_level, role.log or None, run_dir=run_dir
        ),
        instruments=attached.instruments,
        stats=Stats.attach(run_dir / f"{role.role}.stats"),
        rings={name: attached.rings[name] for name in role.rings},
        feature_schema=load(plan.schema_factory)(plan.config),
        run_id=plan.run_id,
        run_dir=run_dir,
        data_dir=Path(plan.data_dir),
        log_dir=Path(plan.log_dir),
        emit=emit,
        session_dir=_path(plan.session_dir),
        history_dir=_path(plan.history_dir),
        open_ticks=load(plan.ticks_factory)(plan.config, plan.run_id),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None


def _prepare(plan: ProcessPlan, log: logging.Logger) -> None:
    fine_timers()
    os.sched_setaffinity(0, plan.cpus)
    gc.collect()
    gc.freeze()
    if plan.hot:
        gc.disable()
        placement.go_first()
    else:
        steady_heap()
        os.nice(placement.BACKGROUND_NICE)
        placement.give_way()
    if plan.realtime and not placement.go_before_all():
        log.warning(
            "engine.actors: %s is to run in real time, which this user may not; it runs as others do. "
            "Remedy: setcap cap_sys_nice=ep, or LimitRTPRIO=1 of its service, or realtime: false",
            plan.name,
        )


def _report(run: ActorRun, port: _SocketPort, error: BaseException) -> None:
    run.ctx.stats.state = ActorState.FAILED
    kind = "fatal" if isinstance(error, HOPELESS) else "crash"
    text = str(error) if kind == "fatal" else f"{type(error).__name__}: {error}"
    run.ctx.log.critical("%s: %s", kind, text, exc_info=kind == "crash")
    port.event(Event(time.time_ns(), run.actor.role, kind, text))


def run(payload: bytes) -> int:
    """The life of an actor process; returns its exit status."""
    plan = msgspec.msgpack.decode(payload, type=ProcessPlan)
    attached = Attachments(plan)
    stopping = _Stopping(attached.bells, plan.bell)
    port = _SocketPort(Path(plan.run_dir), plan.name)
    runs: list[ActorRun] = []
    try:
        for role in plan.roles:
            actor: Actor = load(role.factory)(**role.arguments)
            runs.append(ActorRun(actor, _context(plan, role, attached, port), bool(role.reads)))
        runner = _runner(plan, runs, attached, port, stopping)
        runner.start(os.getpid())
        _prepare(plan, runs[0].ctx.log)
        runner.run()
        return 0
    except HOPELESS as error:
        _report(runs[-1] if len(runs) == 1 else _failed(runs), port, error)
        return EXIT_FATAL
    except Exception as error:
        if not runs:
            raise
        _report(_failed(runs), port, error)
        return 1
    finally:
        port.close()
        sys.stdout.flush()


def _failed(runs: list[ActorRun]) -> ActorRun:
    """The run that was starting or working when it happened: the last that is not merely waiting."""
    starting = [run for run in runs if run.ctx.stats.state in (ActorState.STARTING, ActorState.FAILED)]
    return (starting or runs)[0]


def _runner(
    plan: ProcessPlan, runs: list[ActorRun], attached: Attachments, port: _SocketPort, stopping: _Stopping
) -> Runner:
    inputs = [
        Input(attached.rings[name], attached.rings[name].reader(role.role))
        for role in plan.roles
        for name in role.reads
    ]
    return Runner(runs, inputs, plan.mode, attached.bells, plan.bell, port, stopping)
