"""The line that the trading agent's log gets every ten seconds: is data coming, are signals going, how late."""

import time
from pathlib import Path

from hft_engine.feed.states import FEED_STATES
from hft_engine.shm.counters import Stats
from hft_engine.shm.histogram_view import summary
from hft_engine.shm.ring_file import RingView
from hft_engine.topology import DTYPES, Topology

PERIOD_S = 10.0


class Summary:
    """Reads the run's segments; ``due_line`` may be called as often as one likes."""

    def __init__(self, run_dir: Path, topology: Topology) -> None:
        self._stats = {
            role: Stats.attach(run_dir / f"{role}.stats", writable=False)
            for role in (topology.source, "signals")
        }
        self._source = topology.source
        self._rings = {
            entry.name: RingView(run_dir / entry.file, DTYPES[entry.dtype])
            for entry in topology.rings
            if entry.name in ("ticks", "signals")
        }
        self._before = dict.fromkeys(self._rings, 0)
        self._due_s = time.monotonic() + PERIOD_S

    def due_line(self) -> str | None:
        """The line, once a period."""
        if time.monotonic() < self._due_s:
            return None
        self._due_s += PERIOD_S
        return f"{self._state()}, {self._counted('ticks')}, {self._counted('signals')}{self._latency()}"

    def _state(self) -> str:
        state = self._stats[self._source].counters().get("state")
        return self._source if state is None else f"feed {FEED_STATES[state]}"

    def _counted(self, name: str) -> str:
        now = self._rings[name].published
        rate = (now - self._before[name]) / PERIOD_S
        self._before[name] = now
        return f"{now:,} {name} (+{rate:,.1f}/s)"

    def _latency(self) -> str:
        stats = self._stats["signals"]
        if "tick_to_signal" not in stats.histogram_names:
            return ""
        of = summary(stats.histogram("tick_to_signal"))
        return f", tick to signal p50 {of['p50']:.0f} us, p99 {of['p99']:.0f} us" if of["count"] else ""
