"""Ticks that the recorded run's indicators did not see are not seen by a replay of it."""

from pathlib import Path

import numpy as np
from indicator_samples import market
from test_indicators_actor import Bench, without_stamps

from hft_engine.runtime.session_events import EventLog

FIRST, END = 700, 1_100


def lapped(tmp_path: Path, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    bench = Bench(tmp_path, features=4096, bars=4096)
    bench.context.history_dir = tmp_path / "session"
    bench.start()
    rows = market(2_000, 5, seed=3)
    for start in range(0, len(rows), chunk):
        bench.ticks.publish_rows(rows[start : start + chunk].copy())
        bench.run()
    return np.concatenate(bench.got[0]), np.concatenate(bench.got[1])


def test_a_recorded_lap_is_skipped_to_the_tick(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "session", "indicators")
    log.record("lap", END, {"ring": "ticks", "from": FIRST, "to": END})
    log.record("lap", 50, {"ring": "ticks", "from": 0, "to": 50, "out": True})  # seen, but forgotten
    log.close()
    features, bars = lapped(tmp_path, 333)
    sources = features["source_sequence"]
    assert not ((sources >= FIRST) & (sources < END)).any() and {FIRST - 1, END, 0} <= set(sources.tolist())
    again = lapped(tmp_path, 2_000)
    assert without_stamps(again[0]) == without_stamps(features)
    assert without_stamps(again[1]) == without_stamps(bars)
