"""The health monitor: ns a tick and µs a look; with --ticks FOLDER of LEAN's ticks, false alarms of its limits.

    feed's turn:  ticks published since the last look -> facts of their cells; cells whose time has come -> states

Predicted: a tick costs two cache lines of its cell, a division and some forty instructions, 20 to 40 ns; a look that
finds nothing due reads 8 bytes a channel of each instrument, 2,000 instruments: 48 KB, 3 to 6 µs.
"""

import argparse
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from hft_engine.config.schema import HealthConfig
from hft_engine.feed.health.cells import CELL_DTYPE, limits_of
from hft_engine.feed.health.judge import limit_of
from hft_engine.feed.health.monitor import HealthMonitor
from hft_engine.feed.health.observe import learn
from hft_engine.records import TICK_DTYPE, TickKind

TICKS = 1 << 16
ROUNDS = 7
MS = 1_000_000
SESSION_MS = (34_200_000, 57_600_000)  # 09:30 to 16:00 in New York


def market(instruments: int, seed: int = 7) -> np.ndarray:
    random = np.random.default_rng(seed)
    ticks = np.zeros(TICKS, TICK_DTYPE)
    ticks["kind"] = np.where(random.random(TICKS) < 0.8, int(TickKind.QUOTE), int(TickKind.TRADE))
    ticks["instrument_id"] = random.integers(0, instruments, TICKS)
    ticks["venue_id"] = 1
    ticks["venue_sequence"] = np.arange(1, TICKS + 1)
    ticks["bid"], ticks["ask"] = 10.0, 10.1
    ticks["ts_mono_ns"] = 10**9 + np.cumsum(random.integers(0, 10_000, TICKS))
    ticks["ts_recv_ns"] = ticks["ts_mono_ns"] + 10**18
    ticks["ts_venue_ns"] = ticks["ts_recv_ns"] - 20 * MS
    return ticks


def cost(instruments: int) -> tuple[float, float]:
    """(ns a tick, µs a look without ticks), the least of ROUNDS."""
    ticks = market(instruments)
    monitor = HealthMonitor(HealthConfig(session="always"), max(instruments, 2), [(1, False)])
    now_ns, a_tick, a_look = int(ticks["ts_mono_ns"][-1]), [], []
    for _ in range(ROUNDS):
        monitor.position = 0
        begin = time.perf_counter_ns()
        monitor.watch(ticks, TICKS, now_ns, now_ns + 10**18)
        a_tick.append((time.perf_counter_ns() - begin) / TICKS)
        begin = time.perf_counter_ns()
        for _ in range(100):
            monitor.watch(ticks, TICKS, now_ns, now_ns + 10**18)
        a_look.append((time.perf_counter_ns() - begin) / 100_000)
    return min(a_tick), min(a_look)


@njit
def _alarms(
    stamps_ns: np.ndarray, cells: np.ndarray, limits: Any, factor: float, least_ns: int
) -> tuple[int, np.ndarray]:
    cell, count, found = cells[0], 0, np.zeros(len(stamps_ns))
    for i in range(len(stamps_ns)):
        known = cell.gaps >= limits.samples_min
        found[i] = limit_of(cell, factor, least_ns)
        count += known and stamps_ns[i] - cell.last_mono_ns > found[i]
        learn(cell, stamps_ns[i], limits)
    return count, found


def false_alarms(path: Path, factor: float) -> tuple[int, float]:
    """(silences longer than the limit in the regular session, median limit in s)."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).splitlines()
    stamps_ms = np.array([int(line.split(b",", 1)[0]) for line in lines], np.int64)
    stamps_ms = stamps_ms[(stamps_ms >= SESSION_MS[0]) & (stamps_ms < SESSION_MS[1])]
    limits = limits_of(HealthConfig())[0]
    count, found = _alarms(stamps_ms * MS, np.zeros(1, CELL_DTYPE), limits, factor, 1_000 * MS)
    return count, float(np.median(found)) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ticks", type=Path, help="folder of <symbol>/<day>_{trade,quote}.zip")
    arguments = parser.parse_args()
    for instruments in (50, 2_000, 20_000):
        a_tick, a_look = cost(instruments)
        print(f"{instruments:6,} instruments: {a_tick:5.1f} ns a tick, {a_look:7.1f} µs a look")
    if arguments.ticks:
        for path in sorted(arguments.ticks.glob("*/*.zip")):
            shown = (
                f"{factor} q: {count} at {limit_s:.1f} s"
                for factor in (3, 5, 8)
                for count, limit_s in [false_alarms(path, factor)]
            )
            print(f"{path.parent.name} {path.stem:16} {'   '.join(shown)}")


if __name__ == "__main__":
    main()
