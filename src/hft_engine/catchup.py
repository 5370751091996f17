"""Catching up with a session from disk: the newest checkpoint, then the journal, through the same actors.

Run as a process of its own (``python -m hft_engine.catchup``) before a resumed engine starts. The stages take the
checkpoint as they would after a death, the ticks that the journal has from there on go through them, on rings of this
process that lose nothing, and persistence stores what is not stored yet. At the end each stage leaves a checkpoint in
the new run's directory, and where each ring goes on is written beside it.
"""

import logging
import sys
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.config.schema import Config
from hft_engine.engine import feature_schema
from hft_engine.inline import warm_up
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.checkpoints import DiskCheckpoint, newest_checkpoint
from hft_engine.persistence.journal import JournalReader, Selection, session_dir
from hft_engine.records import BAR_DTYPE, FEATURE_DTYPE, PREDICTION_DTYPE, SIGNAL_DTYPE, TICK_DTYPE
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.checkpoint import SUFFIX, CheckpointFile
from hft_engine.runtime.process import load
from hft_engine.runtime.runner import ActorRun, Runner
from hft_engine.sessions import CONTINUATION, CatchUp, Continuation, RingStart
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring
from hft_engine.shm.ring_file import place_before
from hft_engine.topology import OPTIONAL_RINGS, RING_DTYPES, ROLES, Role

STAGES = ("indicators", "inference", "signals", "persistence")


class Session:
    """The session on disk, and the actors that go on with it, over rings of this process."""

    def __init__(self, config: Config, run_id: str, run_dir: Path) -> None:
        self._config, self._run_id, self._run_dir = config, run_id, run_dir
        self._folder = session_dir(Path(config.engine.data_dir), run_id)
        self._reader = JournalReader(self._folder, verify=False)
        self._instruments = InstrumentTable.private(config.engine.instruments_max)
        for symbol in self._reader.instruments:
            self._instruments.id_of(symbol)
        checkpoint = newest_checkpoint(self._folder)
        if checkpoint is not None:
            _lay_out(checkpoint, run_dir, config)
        self._starts = _starts(checkpoint)
        self.rings = {
            name: self._ring(name) for name in ("ticks", "bars", "features", "predictions", "signals")
        }
        self._actors = {name: load(ROLES[name].factory)() for name in STAGES}
        runs = [ActorRun(actor, self._context(ROLES[name]), True) for name, actor in self._actors.items()]
        self._runner = Runner(runs)
        self._last_recv_ns = 0

    def catch_up(self) -> Continuation:
        """Take the journal's ticks from the checkpoint on. Raises what the actors raise."""
        first = self.rings["ticks"].published
        self._runner.start()
        again = 0
        for chunk in self._reader.ticks(Selection(first=first)):
            for part in _runs(chunk):
                self._take(part)
                again += len(part)
        stored = {name: RingStart(self._actors["persistence"].next_stored(name)) for name in OPTIONAL_RINGS}
        self._runner.stop()
        return self._continuation(again, stored)

    def _take(self, rows: np.ndarray) -> None:
        ring = self.rings["ticks"]
        self._drain()
        if rows["sequence"][0] > ring.published:
            ring.jump(int(rows["sequence"][0]))  # a hole of the journal stays one
        for start in range(0, len(rows), ring.capacity >> 1):
            ring.publish_rows(rows[start : start + (ring.capacity >> 1)].copy())
            self._drain()
        self._last_recv_ns = int(rows["ts_recv_ns"][-1])

    def _drain(self) -> None:
        while self._runner.sweep():
            pass

    def _continuation(self, again: int, stored: dict[str, RingStart]) -> Continuation:
        rings = {name: _ring_start(ring) for name, ring in self.rings.items()} | stored
        signals = self.rings["signals"].published - self._starts["signals"].start
        return Continuation(rings, tuple(self._instruments.symbols()), again, signals, self._last_recv_ns)

    def _ring(self, name: str) -> Ring:
        dtype = _DTYPES[name]
        readers = [role for role in STAGES if name in ROLES[role].reads]
        start = self._starts[name]
        ring = Ring.private(
            name, dtype, getattr(self._config.rings, name), readers, gating=True, start=start.start
        )
        if start.before:
            place_before(ring.slots, start.start, np.frombuffer(start.before, dtype)[0])
        return ring

    def _context(self, role: Role) -> ActorContext:
        config = self._config
        return ActorContext(
            role=role.name,
            config=config,
            log=logging.getLogger(f"hft.{role.name}"),
            instruments=self._instruments,
            stats=Stats.private(),
            rings={name: self.rings[name] for name in (*role.reads, *role.writes) if name in self.rings},
            feature_schema=feature_schema(config),
            run_id=self._run_id,
            run_dir=self._run_dir,
            data_dir=Path(config.engine.data_dir),
            log_dir=Path(config.engine.log_dir),
            session_dir=self._folder,
        )


_DTYPES = {
    "ticks": TICK_DTYPE,
    "bars": BAR_DTYPE,
    "features": FEATURE_DTYPE,
    "predictions": PREDICTION_DTYPE,
    "signals": SIGNAL_DTYPE,
}
assert set(_DTYPES) == set(RING_DTYPES) - set(OPTIONAL_RINGS)


def _lay_out(checkpoint: DiskCheckpoint, run_dir: Path, config: Config) -> None:
    """The checkpoint's parts as the stages look for them."""
    for part in checkpoint.description.parts:
        state = checkpoint.states[part.role]
        path = run_dir / f"{part.role}{SUFFIX}"
        file = CheckpointFile.open(path, part.key, part.row_bytes, config.engine.instruments_max)
        file.put(state.facts, state.rows)


def _starts(checkpoint: DiskCheckpoint | None) -> dict[str, RingStart]:
    """Where the rings stood at the checkpoint; of the records before only what a stage looks up is there."""
    if checkpoint is None:
        return dict.fromkeys(_DTYPES, RingStart(0))
    from hft_engine.indicators.resume import Fact
    from hft_engine.signals.checkpoint import Fact as SignalFact

    stage, rules = checkpoint.states["indicators"].facts, checkpoint.states["signals"].facts
    features, source = int(stage[Fact.FEATURES]), int(stage[Fact.SOURCE])
    return {
        "ticks": RingStart(int(stage[Fact.TICKS])),
        "bars": RingStart(int(stage[Fact.BARS])),
        "features": RingStart(features, _record(FEATURE_DTYPE, source_sequence=source)),
        # one for each feature: what was lost on the way is not counted
        "predictions": RingStart(features, _record(PREDICTION_DTYPE, source_sequence=source)),
        "signals": RingStart(
            int(rules[SignalFact.SIGNALS]),
            _record(
                SIGNAL_DTYPE, chain_hash=rules[SignalFact.CHAIN : SignalFact.CHAIN + 1].view(np.uint64)[0]
            ),
        ),
    }


def _record(dtype: np.dtype, **fields: object) -> bytes:
    row = np.zeros(1, dtype)
    for name, value in fields.items():
        row[name] = value
    return row.tobytes()


def _ring_start(ring: Ring) -> RingStart:
    if not ring.published:
        return RingStart(0)
    return RingStart(ring.published, ring.record(ring.published - 1).tobytes())


def _runs(rows: np.ndarray) -> list[np.ndarray]:
    """``rows`` split where the sequence jumps."""
    return np.split(rows, np.flatnonzero(np.diff(rows["sequence"]) != 1) + 1)


def main() -> int:
    """Reads a ``CatchUp``, leaves a ``Continuation``; a failure is one line on stderr."""
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=CatchUp)
    run_dir = Path(request.run_dir)
    warm_up()
    try:
        continuation = Session(request.config, request.run_id, run_dir).catch_up()
    except Exception as error:
        if not type(error).__module__.startswith("hft_engine"):
            raise
        print(error, file=sys.stderr)
        return 1
    (run_dir / CONTINUATION).write_bytes(msgspec.msgpack.encode(continuation))
    return 0


if __name__ == "__main__":
    sys.exit(main())
