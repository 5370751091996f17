"""A run directory with real segments, as the supervisor and actors would leave them, and no engine."""

import os
import time

import numpy as np

from hft_engine import records
from hft_engine.config.redact import redacted
from hft_engine.config.schema import Config, RingsConfig
from hft_engine.instruments import INSTRUMENT_DTYPE, InstrumentTable
from hft_engine.runtime.plan import INSTRUMENTS_FILE
from hft_engine.runtime.rundir import Manifest, RunDirectory
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState, Stats
from hft_engine.shm.doorbell import new_bells
from hft_engine.shm.histogram import record_one
from hft_engine.shm.ring import Ring
from hft_engine.shm.ring_file import create_ring
from hft_engine.shm.segment import Segment
from hft_engine.topology import DTYPES, build

RINGS = RingsConfig(ticks=64, bars=64, features=64, predictions=64, signals=1_024)


class FakeRun:
    def __init__(self, root, source="feed", pid=None):
        self.config = Config(rings=RINGS)
        self.topology = build(self.config, source)
        self.directory = RunDirectory.create(str(root), "test")
        self.path = self.directory.path
        self._segments()
        self.directory.write_manifest(self._manifest(source, pid or os.getpid()))
        self.rings = {
            entry.name: Ring.attach(self.path / entry.file, DTYPES[entry.dtype], new_bells())
            for entry in self.topology.rings
        }
        self.stats = {role: Stats.attach(self.path / f"{role}.stats") for role in self.roles}
        for role in self.roles:
            self.beat(role)
        self.stats["supervisor"].declare(["engine_state", "restarts.feed"], ())
        self.stats["supervisor"].counter("engine_state").set(1)
        self.stats["signals"].declare(("weak",), ("signals", "tick_to_signal"))

    @property
    def roles(self):
        return [role.name for role in self.topology.roles] + ["supervisor"]

    def _segments(self):
        capacity = self.config.engine.instruments_max
        size = layout.PAGE_BYTES + capacity * INSTRUMENT_DTYPE.itemsize
        with Segment.create(self.path / INSTRUMENTS_FILE, size) as segment:
            segment.words[layout.W_CAPACITY] = capacity
        words = Segment.attach(self.path / INSTRUMENTS_FILE).words
        rows = words.view(np.uint8)[layout.PAGE_BYTES :][: capacity * INSTRUMENT_DTYPE.itemsize]
        self.instruments = InstrumentTable(rows.view(INSTRUMENT_DTYPE), words[16:17])
        for entry in self.topology.rings:
            readers = [(role, 0) for role in entry.readers]
            create_ring(self.path / entry.file, DTYPES[entry.dtype], entry.capacity, readers, False)
        for role in self.roles:
            Stats.create(self.path / f"{role}.stats")

    def _manifest(self, source, pid):
        return Manifest(
            run_id=self.directory.run_id,
            name="test",
            pid=pid,
            layout="dedicated",
            source=source,
            venue="demo",
            started_utc_ns=time.time_ns(),
            started_mono_ns=time.monotonic_ns() - 90_000_000_000,
            data_dir="/nowhere",
            log_dir="/nowhere",
            processes={p.name: tuple(role.name for role in p.roles) for p in self.topology.processes},
            rings=self.topology.rings,
            rules=tuple(rule.name for rule in self.config.signals.rules),
            config=redacted(self.config),
        )

    def beat(self, role, age_ms=0, pid=None, state=ActorState.RUNNING):
        stats = self.stats[role]
        stats.vitals[layout.V_HEARTBEAT_NS] = time.monotonic_ns() - age_ms * 1_000_000
        stats.vitals[layout.V_PID] = pid or os.getpid()
        stats.state = state

    def latency(self, *values_ns):
        for value in values_ns:
            record_one(self.stats["signals"].histogram("tick_to_signal"), value)

    def signals(self, count, symbol="AAPL"):
        rows = np.zeros(count, records.SIGNAL_DTYPE)
        rows["instrument_id"] = self.instruments.id_of(symbol)
        rows["side"], rows["price"], rows["strength"] = 1, 101.5, 0.75
        rows["probability"] = np.nan
        rows["ts_venue_ns"] = 1_700_000_000_123_000_000
        rows["ts_publish_ns"] = 12_500
        self.rings["signals"].publish_rows(rows)
