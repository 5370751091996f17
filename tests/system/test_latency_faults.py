"""A stage that stands still for 200 ms shows in every tick due meanwhile, in the hop of that stage and in `hft lat`."""

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hft_engine.persistence.journal import JournalReader
from hft_engine.records import HOPS, TickKind, signal_hops
from hft_engine.views.run import RunView
from support.engine import Engine, demo, hft
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

STOP_S = 0.2
VENUE_STAMP_NS = 1_000_000  # the venue stamps in milliseconds
TICKS_MIN = 100  # due in the window; the load is 2,000 ticks/s in the mean
RULES = """[
 {name: up, feature: tick_return_1, side: buy, when: above, enter: 1.0e-7, release: -1.0e-7, full: 1.0e-3},
 {name: down, feature: tick_return_1, side: sell, when: below, enter: -1.0e-7, release: 1.0e-7, full: -1.0e-3},
 {name: heavy, feature: quote_imbalance, side: buy, when: above, enter: 0.05, release: -0.05, full: 0.9},
 {name: light, feature: quote_imbalance, side: sell, when: below, enter: -0.05, release: 0.05, full: -0.9},
]"""
SETTINGS = (
    "engine.layout=dedicated",
    "signals.cooldown_ms=0",
    "signals.strength_min=0.0",
    f"signals.rules={RULES}",
)


@dataclass
class Pause:
    """When a process stood still, CLOCK_MONOTONIC and UTC."""

    from_ns: int
    to_ns: int
    from_utc_ns: int
    to_utc_ns: int


def pause(pid: int) -> Pause:
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "stopped")
        began, began_utc = time.monotonic_ns(), time.time_ns()
        time.sleep(STOP_S)
    finally:
        ended, ended_utc = time.monotonic_ns(), time.time_ns()
        os.kill(pid, signal.SIGCONT)
    return Pause(began, ended, began_utc, ended_utc)


def last(run: RunView, name: str, count: int = 8_192) -> np.ndarray:
    return run.rings[name].last(count)


def wait_until_all_visible(run: RunView, ticks: np.ndarray) -> None:
    newest = ticks["sequence"].max()
    for name in ("features", "predictions"):
        wait_for(
            lambda name=name: last(run, name, 1)["source_sequence"][0] >= newest, f"{name} of the window"
        )


def due(run: RunView, stood: Pause) -> np.ndarray:
    """The ticks that left the socket while a stage stood still."""
    ticks = last(run, "ticks")
    ticks = ticks[(ticks["kind"] == TickKind.TRADE) | (ticks["kind"] == TickKind.QUOTE)]
    return ticks[(ticks["ts_publish_ns"] > stood.from_ns) & (ticks["ts_publish_ns"] < stood.to_ns)]


def lat(engine: Engine) -> dict[str, Any]:
    answer = hft("lat", "--json", *engine.options)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def max_us(engine: Engine, hop: str) -> float:
    return float(next(row for row in lat(engine)["hops"] if row["hop"] == hop)["last_minute"]["max"])


def check_stage(engine: Engine, run: RunView, role: str) -> None:
    """Of indicators or inference: every tick of the window has a record, and none was visible before the end."""
    stood = pause(engine.pid_of(role))
    ticks = due(run, stood)
    assert len(ticks) >= TICKS_MIN
    wait_until_all_visible(run, ticks)
    made = last(run, "features" if role == "indicators" else "predictions")
    made = made[np.isin(made["source_sequence"], ticks["sequence"])]
    assert made["source_sequence"].tolist() == ticks["sequence"].tolist()
    begin = made["ts_tick_ns"] if role == "indicators" else made["ts_feature_ns"]
    in_time = begin < stood.to_ns  # the stage before may itself have been late, for a moment
    assert np.count_nonzero(in_time) >= TICKS_MIN
    assert (made["ts_publish_ns"] >= stood.to_ns).all()
    spent = made["ts_publish_ns"] - begin
    assert (spent[in_time] >= stood.to_ns - begin[in_time]).all()
    assert max_us(engine, role) >= (stood.to_ns - begin.min()) / 1e3


def check_signals(engine: Engine, run: RunView) -> None:
    before = run.rings["signals"].published
    stood = pause(engine.pid_of("signals"))
    ticks = due(run, stood)
    wait_for(lambda: last(run, "signals", 1)["source_sequence"][0] > ticks["sequence"].max(), "later signals")
    signals = last(run, "signals", run.rings["signals"].published - before)
    late = signals[np.isin(signals["source_sequence"], ticks["sequence"])]
    assert len(late) >= TICKS_MIN // 10
    assert (late["ts_publish_ns"] >= stood.to_ns).all()
    hops = signal_hops(late)
    ready = late["ts_mono_ns"] + hops[:, :3].sum(axis=1)
    assert (hops[:, 3] >= stood.to_ns - ready).all()
    assert max_us(engine, "tick_to_signal") >= (stood.to_ns - late["ts_mono_ns"].min()) / 1e3


def check_feed(engine: Engine, run: RunView) -> None:
    """What waits in the socket has no stamp of ours yet: the venue's stamps show it."""
    stood = pause(engine.pid_of("feed"))
    wait_for(lambda: last(run, "ticks", 1)["ts_venue_ns"][0] > stood.to_utc_ns, "ticks of after the pause")
    ticks = last(run, "ticks")
    stamped = ticks["ts_venue_ns"]
    ticks = ticks[(stamped > stood.from_utc_ns + VENUE_STAMP_NS) & (stamped < stood.to_utc_ns)]
    assert len(ticks) >= TICKS_MIN
    assert (ticks["ts_recv_ns"] >= stood.to_utc_ns).all()
    assert max_us(engine, "venue_to_socket") >= 0.9 * STOP_S * 1e6


def check_sums(run: RunView) -> None:
    signals = last(run, "signals", 60_000)
    assert len(signals) > 500
    hops = signal_hops(signals)
    assert (hops >= 0).all()
    assert (hops.sum(axis=1) == signals["ts_publish_ns"] - signals["ts_mono_ns"]).all()
    first, ticks = run.rings["ticks"].read(0, 1 << 18)
    ticks = ticks[signals["source_sequence"] - first]
    assert (ticks["sequence"] == signals["source_sequence"]).all()
    assert (hops[:, 0] == ticks["ts_publish_ns"] - ticks["ts_mono_ns"]).all()


def check_slowest_are_in_the_journal(engine: Engine) -> None:
    slowest = lat(engine)["slowest"]["since_start"]
    assert len(slowest) == 16
    assert slowest[0]["total_ns"] >= 0.9 * STOP_S * 1e9
    (session,) = (engine.directory / "data" / "journal").iterdir()
    reader = JournalReader(session)
    ticks = np.concatenate([chunk.view("V128") for chunk in reader]).view(next(iter(reader)).dtype)
    for slow in slowest:
        assert list(slow["hops_ns"]) == list(HOPS)
        assert sum(slow["hops_ns"].values()) == slow["total_ns"]
        (tick,) = ticks[ticks["sequence"] == slow["source_sequence"]]
        assert reader.instruments[tick["instrument_id"]] == slow["symbol"]
        assert tick["ts_recv_ns"] == slow["ts_recv_ns"]
        assert tick["ts_publish_ns"] - tick["ts_mono_ns"] == slow["hops_ns"]["feed"]


def test_a_pause_of_any_stage_shows_in_every_tick_due_meanwhile(tmp_path: Path) -> None:
    with demo(tmp_path, *SETTINGS) as engine:
        engine.wait_for_signals(500)
        run = RunView(engine.run_dir())
        check_stage(engine, run, "indicators")
        check_stage(engine, run, "inference")
        check_signals(engine, run)
        check_feed(engine, run)
        check_sums(run)
        time.sleep(0.5)  # of the journal: persistence.journal_flush_ms
        check_slowest_are_in_the_journal(engine)


def test_latency_is_shown_while_an_actor_hangs(tmp_path: Path) -> None:
    with demo(tmp_path, *SETTINGS) as engine:
        engine.wait_for_signals()
        pid = engine.pid_of("signals")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert next(row for row in lat(engine)["hops"] if row["hop"] == "inference")["since_start"][
                "count"
            ]
        finally:
            os.kill(pid, signal.SIGCONT)
