"""The simulated venue, whose clock steps when it is told: one number of milliseconds a line on standard input.

Only the difference between the venue's clock and ours shows on the wire: a step of the one is a step of the other.
"""

import os
import sys
import threading
import time
from typing import Any

import numpy as np

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.simulator.serving import make_venue, serve
from hft_engine.feed.simulator.source import open_source


class SteppingSource:
    """A source whose venue times are off by ``offset_ns``; when ticks are due does not change."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.offset_ns = 0
        self.symbols, self.paced, self.description = source.symbols, source.paced, source.description
        self.with_bars = True

    @property
    def finished(self) -> bool:
        return self._source.finished

    def start(self, now_ns: int) -> None:
        self._source.start(now_ns)

    def take(self, now_ns: int, limit: int) -> np.ndarray:
        ticks = self._source.take(now_ns, limit).copy()
        ticks["ts_venue_ns"] += self.offset_ns
        return ticks


def main() -> None:
    api_key, ticks_per_s, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    config = SimulatorConfig(api_key=api_key, ticks_per_s=ticks_per_s, seed=seed)
    source = SteppingSource(open_source(config, time.time_ns()))
    stop = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            source.offset_ns += int(float(line) * 1e6)
            print("stepped", flush=True)
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    venue = make_venue(config, source=source)
    serve(venue, stop=stop, on_ready=lambda address: print(address.url, flush=True))
    os._exit(0)


if __name__ == "__main__":
    main()
