"""From a process's death to its successor having caught up, seen in shared memory every millisecond."""

import os
import signal
import time
from dataclasses import dataclass, field

from hft_engine.feed.states import FEED_STATES
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState
from hft_engine.views.run import RunView

LIVE = FEED_STATES.index("live")
CAUGHT_UP_S = 0.01  # a reader that is this much of the stream behind has caught up


@dataclass
class Kill:
    """One kill. Times: CLOCK_MONOTONIC ns, and ``utc_ns``; ``caught_up_ns`` 0 until it has."""

    role: str
    pid: int
    ns: int
    utc_ns: int
    ticks: int  # published when it happened
    running_ns: int = 0
    caught_up_ns: int = 0
    dying_ns: int = 50_000_000  # it may have gone on for so long

    @property
    def recovery_ms(self) -> float:
        return (self.caught_up_ns - self.ns) / 1e6


@dataclass
class Monitor:
    """Kills, and watches the recovery of each. ``look`` is called every millisecond or so."""

    view: RunView
    ticks_per_s: float
    kills: list[Kill] = field(default_factory=list)
    pending: list[Kill] = field(default_factory=list)

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> Kill:
        pid = self.pid_of(role)
        made = Kill(role, pid, time.monotonic_ns(), time.time_ns(), self.view.rings["ticks"].published)
        os.kill(pid, number)
        self.kills.append(made)
        self.pending.append(made)
        return made

    def pid_of(self, role: str) -> int:
        return int(self.view.stats[role].vitals[layout.V_PID])

    def can_be_killed(self, role: str) -> bool:
        """Whether it runs and has recovered from an earlier kill."""
        return self.view.stats[role].state == ActorState.RUNNING and role not in {
            k.role for k in self.pending
        }

    def look(self) -> None:
        now_ns = time.monotonic_ns()
        for kill in list(self.pending):
            if not kill.running_ns and self._runs_again(kill):
                kill.running_ns = now_ns
            if kill.running_ns and self._caught_up(kill):
                kill.caught_up_ns = now_ns
                self.pending.remove(kill)

    def _runs_again(self, kill: Kill) -> bool:
        return self.pid_of(kill.role) != kill.pid and self.view.stats[kill.role].state == ActorState.RUNNING

    def _caught_up(self, kill: Kill) -> bool:
        if kill.role == "feed":
            counters = self.view.counters("feed")
            live = counters["state"] == LIVE and counters["last_frame_mono_ns"] > kill.ns
            return live and self.view.rings["ticks"].published > kill.ticks
        slack = max(8, int(self.ticks_per_s * CAUGHT_UP_S))
        return all(lag <= slack for lag in self._lags(kill.role))

    def _lags(self, role: str) -> list[int]:
        lags = []
        for ring in self.view.rings.values():
            for i, reader in enumerate(ring.roles):
                if reader == role:
                    lags.append(ring.published - int(ring.reader_words(i)[layout.R_POSITION]))
        return lags


def percentile(values: list[float], percent: float) -> float:
    """Nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else 0.0


def table(kills: list[Kill]) -> str:
    """Recovery by role and of all, milliseconds."""
    lines = [f"{'killed':<14}{'times':>6}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}"]
    for role in [*dict.fromkeys(kill.role for kill in kills), "all"]:
        values = [kill.recovery_ms for kill in kills if role in ("all", kill.role)]
        figures = percentile(values, 50), percentile(values, 99), max(values, default=0.0)
        lines.append(f"{role:<14}{len(values):>6}" + "".join(f"{figure:>9.0f}" for figure in figures))
    return "\n".join(lines)
