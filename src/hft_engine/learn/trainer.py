"""The trainer: every so often a training, in a process of its own that is watched from here.

A training that hangs, takes more memory than it may, crashes or cannot write is counted and told, and the next one
comes in its time. The work itself is that of ``learn.worker``, which lives from cycle to cycle and so reads each tick
once. Its log is ``logs/model_trainer.log``.
"""

import contextlib
import os
import subprocess
import sys
import time

import msgspec

from hft_engine.learn.protocol import Step, Work
from hft_engine.runtime.actor import ActorContext, BaseActor
from hft_engine.runtime.plan import INSTRUMENTS_FILE

WORKER = "hft_engine.learn.worker"
REGISTRY = "models"  # below the data directory
TOLD_EVERY_S = 2.0  # progress, in the log
_READ_BYTES = 65_536
_KILLED_S = (
    2.5  # the kernel frees what a training took, and on a busy machine that takes more than one second
)
_LAST_LINES = 3  # of what a worker that died had to say


class Worker:
    """The process, and what it says, without ever waiting for it."""

    def __init__(self, work: Work) -> None:
        self._steps = msgspec.json.Decoder(Step)
        self._pending, self._said = b"", b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        self._send(msgspec.json.encode(work) + b"\n")

    def begin(self) -> None:
        self._send(b"cycle\n")

    def steps(self) -> list[Step]:
        self._said = (self._said + _read(self._process.stderr))[-_READ_BYTES:]
        *lines, self._pending = (self._pending + _read(self._process.stdout)).split(b"\n")
        return [self._steps.decode(line) for line in lines]

    @property
    def ended(self) -> str:
        """Why it is no more; empty while it lives."""
        code = self._process.poll()
        if code is None:
            return ""
        told = self._said.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
        return " | ".join([f"ended with {f'signal {-code}' if code < 0 else f'status {code}'}", *told])

    def kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(
            subprocess.TimeoutExpired
        ):  # it is dying; whoever is its parent then takes it up
            self._process.wait(_KILLED_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), data)  # less than a pipe holds
        except (BlockingIOError, BrokenPipeError):
            return  # it is dead or hangs, which is seen


def _read(stream: object) -> bytes:
    try:
        return os.read(stream.fileno(), _READ_BYTES)  # type: ignore[attr-defined]
    except BlockingIOError:
        return b""


class TrainerActor(BaseActor):
    """``permille``: of the running cycle, -1 between two."""

    role = "trainer"
    counters = (
        "cycles",
        "cycles_failed",
        "trainings_failed",
        "not_trained",
        "registered",
        "to_shadow",
        "rows",
        "permille",
    )

    def on_start(self, ctx: ActorContext) -> None:
        self._ctx = ctx
        self._interval_s = float(ctx.config.learning.interval_s)
        self._limit_s = float(ctx.config.learning.cycle_limit_s)
        self._worker: Worker | None = None
        self._due_s = time.monotonic() + self._interval_s
        self._began_s: float | None = None
        self._told_s = 0.0
        self._permille = ctx.counter("permille")
        self._permille.set(-1)
        ctx.log.info("the first training begins in %.0f s", self._interval_s)

    def do_work(self) -> int:
        now_s = time.monotonic()
        if self._began_s is None:
            if now_s < self._due_s:
                return 0
            self._begin(now_s)
        assert self._worker is not None
        steps = self._worker.steps()
        for step in steps:
            self._take(step, now_s)
        if self._began_s is not None:
            self._watch(now_s)
        return len(steps)

    def on_stop(self) -> None:
        self._drop_worker()

    def _begin(self, now_s: float) -> None:
        self._began_s = now_s
        self._due_s = max(self._due_s + self._interval_s, now_s)
        self._permille.set(0)
        if self._worker is None:
            self._worker = Worker(self._work())
        self._worker.begin()
        self._ctx.log.info("training begins")

    def _work(self) -> Work:
        ctx, config = self._ctx, self._ctx.config
        journal = config.persistence.journal and ctx.session_dir is not None
        return Work(
            os.getpid(),
            config,
            str(ctx.session_dir) if journal else "",
            str(ctx.run_dir / INSTRUMENTS_FILE),
            str(ctx.data_dir / REGISTRY),
            str(ctx.data_dir / config.persistence.sqlite_file),
        )

    def _take(self, step: Step, now_s: float) -> None:
        match step.kind:
            case "progress":
                self._progress(step, now_s)
            case "registered":
                self._ctx.counter("registered").add()
                self._ctx.counter("to_shadow").add(int(step.status == "shadow"))
                self._ctx.event("model_trained", f"{step.text} ({step.status})")
            case "not_trained":
                self._ctx.counter("not_trained").add()
                self._ctx.event("not_trained", step.text)
            case "failed":
                self._ctx.counter("trainings_failed").add()
                self._ctx.event("training_failed", step.text)
            case "done":
                self._end("cycles", now_s)

    def _progress(self, step: Step, now_s: float) -> None:
        self._permille.set(int(1000 * step.share))
        self._ctx.counter("rows").set(step.rows)
        if now_s - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            self._ctx.log.info("%3.0f %% %s", 100 * step.share, step.text)

    def _watch(self, now_s: float) -> None:
        assert self._worker is not None and self._began_s is not None
        why = self._worker.ended
        if not why and now_s - self._began_s > self._limit_s:
            why = f"took longer than learning.cycle_limit_s ({self._limit_s:.0f} s); killed"
        if why:
            self._ctx.counter("trainings_failed").add()
            self._ctx.event("training_failed", f"the training process {why}")
            self._end("cycles_failed", now_s)
            self._drop_worker()

    def _end(self, counter: str, now_s: float) -> None:
        assert self._began_s is not None
        self._ctx.counter(counter).add()
        took_s, self._began_s = now_s - self._began_s, None
        self._permille.set(-1)
        self._ctx.log.info("training ended after %.1f s; the next in %.0f s", took_s, self._due_s - now_s)

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None
