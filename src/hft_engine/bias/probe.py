"""Runs of the detector, each a fork of one warm process: modules of the user are imported afresh every time.

    python -m hft_engine.bias.probe < plans      a MessagePack list of ProbePlan in, a list of ProbeEnd out

No thread may be started before the last fork, so nothing here makes a ZeroMQ context or a thread pool.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from hft_engine import inline
from hft_engine.bias.plan import Outcome, ProbeEnd, ProbePlan
from hft_engine.inline import InlineEngine
from hft_engine.runtime import kernelcache
from hft_engine.shm.ring import Ring

REPORT = ".end"  # beside a plan's output: the child's ProbeEnd


class _Tap:
    """Copies what a ring of this process got since the last look; nobody else runs meanwhile."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._seen = 0

    def take(self) -> np.ndarray:
        sequences = np.arange(self._seen, self._ring.published)
        self._seen = self._ring.published
        assert len(sequences) <= self._ring.capacity
        rows: np.ndarray = self._ring.slots[sequences & (self._ring.capacity - 1)]
        return rows


def observe(made: InlineEngine) -> Outcome:
    """Drive an inline engine to its end and keep all it puts out."""
    width = len(made.feature_names)
    taps = {name: _Tap(made.rings[name]) for name in ("features", "bars", "signals", "orders")}
    heads: list[np.ndarray] = []
    values: list[np.ndarray] = []
    kept: dict[str, list[np.ndarray]] = {"bars": [], "signals": [], "orders": []}

    def look() -> None:
        rows = taps["features"].take()
        if len(rows):
            columns = [
                rows[name].astype(np.int64) for name in ("source_sequence", "ts_venue_ns", "instrument_id")
            ]
            heads.append(np.stack(columns, axis=1))
            values.append(rows["values"][:, :width].copy())
        for name, parts in kept.items():
            if len(found := taps[name].take()):
                parts.append(found)

    made.run(each_step=look)
    look()
    parts = {name: _joined(rows, made.rings[name].dtype) for name, rows in kept.items()}
    return Outcome(
        np.concatenate(heads) if heads else np.zeros((0, 3), np.int64),
        np.concatenate(values) if values else np.zeros((0, width)),
        parts["bars"],
        parts["signals"],
        parts["orders"],
        tuple(made.instruments.symbols()),
    )


def _joined(parts: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype)


def _run(plan: ProbePlan) -> ProbeEnd:
    """In a child: the whole run, in its folder."""
    originals = {os.path.realpath(path): path for path in plan.inputs}
    opened: list[str] = []

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes):
            name = originals.get(os.path.realpath(os.fsdecode(arguments[0])))
            if name is not None and name not in opened:
                opened.append(name)

    random.seed()  # a fork would go on with its parent's numbers, and with those of the fork before it
    np.random.seed()
    os.chdir(plan.folder)
    sys.path.insert(0, "")
    sys.addaudithook(hook)
    try:
        with tempfile.TemporaryDirectory(prefix="hft-bias-") as scratch:
            engine = msgspec.structs.replace(plan.config.engine, data_dir=scratch, log_dir=scratch)
            config = msgspec.structs.replace(plan.config, engine=engine, simulator=None)
            arguments = {"paths": list(plan.paths), "speed": 0.0, "part": {"begin_ns": plan.begin_ns}}
            made = inline.make(config, "replay", False, {"replay": arguments})
            observe(made).write(Path(plan.output))
    except Exception as error:  # noqa: BLE001 - of the user's code: told by the parent
        return ProbeEnd(f"{type(error).__name__}: {error}", tuple(opened))
    return ProbeEnd("", tuple(opened))


def _fork(plan: ProbePlan) -> ProbeEnd:
    pid = os.fork()
    report = Path(plan.output + REPORT)
    if pid == 0:
        code = 1
        try:
            report.write_bytes(msgspec.msgpack.encode(_run(plan)))
            code = 0
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or not report.exists():
        return ProbeEnd(f"the run ended with status {status}", ())
    return msgspec.msgpack.decode(report.read_bytes(), type=ProbeEnd)


def main() -> int:
    kernelcache.use()
    plans = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[ProbePlan])
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a user's code prints goes to standard error
    inline.warm_up()
    ends = [_fork(plan) for plan in plans]
    with os.fdopen(answers, "wb") as stream:
        stream.write(msgspec.msgpack.encode(ends))
    return 0


if __name__ == "__main__":
    sys.exit(main())
