"""What one burst of ``load.overload`` showed: latency of what came, loss, memory, and how soon all was normal again."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.load.overload_load import EVENTS, Phase
from benchmarks.load.overload_watch import Look

WINDOW_NS = 100_000_000
WINDOWS = 3  # in a row: back to normal


@dataclass(frozen=True)
class Part:
    """A phase as it was played: its first tick's number, when that was due, and by the venue's time, ns."""

    phase: Phase
    first: int
    t0_ns: int
    venue_ns: int = 0

    @property
    def end_ns(self) -> int:
        return self.t0_ns + int(self.phase.ticks / self.phase.rate * 1e9)

    def due_ns(self, ticks: np.ndarray) -> np.ndarray:
        frames = (ticks - self.first) // EVENTS
        due: np.ndarray = self.t0_ns + (frames * (EVENTS * 1e9 / self.phase.rate)).astype(np.int64)
        return due

    def dated(self, signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(signals of ticks that the venue dates within the phase, when they were due to the millisecond)."""
        since = signals["ts_venue_ns"] - self.venue_ns
        rows = signals[(since >= 0) & (since < self.end_ns - self.t0_ns)]
        return rows, self.t0_ns + rows["ts_venue_ns"] - self.venue_ns

    def numbered(self, signals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(signals of the phase's ticks, when they were due), where every tick of the schedule came to the ring."""
        since = signals["source_sequence"] - self.first
        rows = signals[(since >= 0) & (since < self.phase.ticks)]
        return rows, self.due_ns(rows["source_sequence"])

    def offered(self, until_ns: int) -> int:
        """Ticks due by then."""
        elapsed = min(max(0, until_ns - self.t0_ns), self.end_ns - self.t0_ns)
        return int(elapsed * self.phase.rate / 1e9)

    def waiting(self, look: Look) -> int:
        """Ticks that were due by then and are no signal's yet: at the venue, in the socket, in rings."""
        return self.first + self.offered(look.ns) - look.taken + look.lag()


def offered(parts: Sequence[Part], until_ns: int) -> int:
    return sum(part.offered(until_ns) for part in parts)


@dataclass
class Burst:
    """What one factor showed. ``delivered``: (when published, ns; latency from due, ns; from the socket's stamp, ns)
    of every signal whose tick was due in one of ``parts``: calm, burst, calm."""

    factor: float
    parts: tuple[Part, ...]
    looks: list[Look]
    delivered: np.ndarray
    lost: int

    @property
    def normal_ns(self) -> float:
        """p99 of the calm before the burst, its first window left out."""
        calm = self.parts[0]
        return self._p99_ns(calm.t0_ns + WINDOW_NS, calm.end_ns)

    def _p99_ns(self, begin_ns: int, end_ns: int) -> float:
        """Of what was published in [begin, end); infinite where nothing was."""
        at, late, _ = self.delivered
        first, last = np.searchsorted(at, [begin_ns, end_ns])
        return float(np.percentile(late[first:last], 99.0)) if last > first else float("inf")

    def windows(self) -> list[tuple[int, float]]:
        """(end of a window, p99 of what was delivered in it)."""
        at, late, _ = self.delivered
        start = self.parts[0].t0_ns
        number = (at - start) // WINDOW_NS
        edges = np.searchsorted(number, np.arange(number[-1] + 2)) if len(number) else np.zeros(1, np.int64)
        return [
            (start + (i + 1) * WINDOW_NS, float(np.percentile(late[a:b], 99.0)))
            for i, (a, b) in enumerate(itertools.pairwise(edges))
            if b > a
        ]

    @property
    def recovery_ms(self) -> float:
        """From the end of the burst to the beginning of WINDOWS normal ones; without any all the time watched."""
        burst, end_ns = self.parts[1], self.parts[-1].end_ns
        for begin_ns in range(burst.end_ns, end_ns - WINDOWS * WINDOW_NS + 1, WINDOW_NS):
            if self._p99_ns(begin_ns, begin_ns + WINDOWS * WINDOW_NS) <= self.normal_ns:
                return (begin_ns - burst.end_ns) / 1e6
        return (end_ns - burst.end_ns) / 1e6

    def in_burst(self) -> np.ndarray:
        """Columns of ``delivered`` published during the burst."""
        burst = self.parts[1]
        at = self.delivered[0]
        chosen: np.ndarray = self.delivered[:, (at >= burst.t0_ns) & (at < burst.end_ns)]
        return chosen

    def percentile_ms(self, percent: float, from_socket: bool = False) -> float:
        values = self.in_burst()[2 if from_socket else 1]
        return float(np.percentile(values, percent)) / 1e6 if len(values) else float("nan")

    @property
    def memory_mb(self) -> tuple[float, float]:
        """(before the burst, most until the end)."""
        burst = self.parts[1]
        before = [look.private_mb + look.shared_mb for look in self.looks if look.ns < burst.t0_ns]
        later = [look.private_mb + look.shared_mb for look in self.looks if look.ns >= burst.t0_ns]
        return max(before), max(later)

    @property
    def lost_share(self) -> float:
        return self.lost / self.parts[1].phase.ticks


def burst_of(
    factor: float, parts: tuple[Part, ...], looks: list[Look], signals: np.ndarray, sheds: bool = False
) -> Burst:
    columns = []
    for part in parts:
        rows, due_ns = part.dated(signals) if sheds else part.numbered(signals)
        at = rows["ts_publish_ns"]
        columns.append(np.stack([at, at - due_ns, at - rows["ts_mono_ns"]]))
    delivered = np.concatenate(columns, axis=1)
    delivered = delivered[:, np.argsort(delivered[0], kind="stable")]
    end_ns = parts[-1].end_ns + WINDOW_NS
    shown = [look for look in looks if parts[0].t0_ns <= look.ns <= end_ns]
    return Burst(factor, parts, shown, delivered, shown[-1].lost() - shown[0].lost())


@dataclass
class Second:
    """A stretch of a burst, for the table."""

    phase: str
    offered: int
    sent: int
    taken: int
    lost: int
    lag: int
    slowest: str
    delivered: int
    p50_ms: float
    p99_ms: float
    memory_mb: tuple[float, float]


def seconds_of(burst: Burst) -> list[Second]:
    """The burst second by second, from its calm on."""
    begin, end = burst.parts[0].t0_ns, burst.parts[-1].end_ns
    made = []
    for start in range(begin, end, 1_000_000_000):
        looks = [look for look in burst.looks if start <= look.ns < start + 1_000_000_000]
        if len(looks) > 1:
            made.append(_second(burst, looks))
    return made


def _second(burst: Burst, looks: list[Look]) -> Second:
    first, last = looks[0], looks[-1]
    at, late, _ = burst.delivered
    late = late[(at >= first.ns) & (at < last.ns)]
    per_s = 1e9 / (last.ns - first.ns)
    p50, p99 = np.percentile(late, [50.0, 99.0]) / 1e6 if len(late) else (float("nan"), float("nan"))
    worst = max((look.slowest for look in looks), key=lambda reader: reader.lag)
    return Second(
        phase=next(part.phase.name for part in reversed(burst.parts) if part.t0_ns <= last.ns),
        offered=int((offered(burst.parts, last.ns) - offered(burst.parts, first.ns)) * per_s),
        sent=int((last.sent - first.sent) * per_s),
        taken=int((last.taken - first.taken) * per_s),
        lost=int((last.lost() - first.lost()) * per_s),
        lag=max(look.lag() for look in looks),
        slowest=f"{worst.role} ({worst.ring}) {worst.lag:,}",
        delivered=int(len(late) * per_s),
        p50_ms=float(p50),
        p99_ms=float(p99),
        memory_mb=(last.private_mb, last.shared_mb),
    )
