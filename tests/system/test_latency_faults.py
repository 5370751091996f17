"""A stage that stands still for 200 ms shows in every tick due meanwhile, in the hop of that stage and in `hft lat`."""

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from hft_engine.persistence.journal import JournalReader
from hft_engine.records import HOPS, TICK_DTYPE, TickKind, signal_hops
from hft_engine.views.run import RunView
from support.engine import Engine, demo, hft
from support.realtime import may_run_in_real_time
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

STOP_S = 0.2
PATIENT = ("supervisor.hang_kill_ms=13000", "supervisor.stop_deadline_ms=14000")  # a command may take seconds
VENUE_STAMP_NS = 1_000_000  # the venue stamps in milliseconds
TICKS_MIN = 100  # due in the window; the load is 2,000 ticks/s in the mean
STAGES = {  # what each reads and makes, and where it says when what it read was visible
    "indicators": ("ticks", "features", "ts_tick_ns"),
    "inference": ("features", "predictions", "ts_feature_ns"),
}
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


def last(run: RunView, name: str, count: int = 1 << 15) -> np.ndarray:
    return run.rings[name].last(count)


def stand(
    engine: Engine, role: str, due: Callable[[Pause], np.ndarray], tries: int = 20
) -> tuple[Pause, np.ndarray]:
    """A pause, and the records that were due to the stage meanwhile. One that a busy machine gave few is no proof."""
    for _ in range(tries):
        stood = pause(engine.pid_of(role))
        records = due(stood)
        if len(records) >= TICKS_MIN:
            return stood, records
    raise AssertionError(f"{tries} times less than {TICKS_MIN} records were due to {role}")


def visible(run: RunView, name: str, stood: Pause) -> np.ndarray:
    """The records of market data that became visible on a ring while a stage stood still."""
    records = last(run, name)
    if name == "ticks":
        records = records[(records["kind"] == TickKind.TRADE) | (records["kind"] == TickKind.QUOTE)]
    return records[(records["ts_publish_ns"] > stood.from_ns) & (records["ts_publish_ns"] < stood.to_ns)]


def lat(engine: Engine) -> dict[str, Any]:
    answer = hft("lat", "--json", *engine.options)
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def max_us(engine: Engine, hop: str) -> float:
    return float(next(row for row in lat(engine)["hops"] if row["hop"] == hop)["last_minute"]["max"])


def check_stage(engine: Engine, run: RunView, role: str) -> None:
    """Of indicators or inference: all that was due has a record, and none of these was visible before the end."""
    source, target, begin = STAGES[role]
    stood, came = stand(engine, role, lambda stood: visible(run, source, stood))
    numbers = came["sequence" if source == "ticks" else "source_sequence"]
    wait_for(
        lambda: last(run, target, 1)["source_sequence"][0] >= numbers.max(), f"{target} of the window", 60
    )
    made = last(run, target)
    made = made[np.isin(made["source_sequence"], numbers)]
    assert made["source_sequence"].tolist() == numbers.tolist()
    assert made[begin].tolist() == came["ts_publish_ns"].tolist()
    assert (made["ts_publish_ns"] >= stood.to_ns).all()
    assert max_us(engine, role) >= (stood.to_ns - made[begin].min()) / 1e3


def check_signals(engine: Engine, run: RunView) -> None:
    before = run.rings["signals"].published
    stood, came = stand(engine, "signals", lambda stood: visible(run, "predictions", stood))
    numbers = came["source_sequence"]
    wait_for(lambda: last(run, "signals", 1)["source_sequence"][0] > numbers.max(), "later signals", 60)
    signals = last(run, "signals", run.rings["signals"].published - before)
    late = signals[np.isin(signals["source_sequence"], numbers)]
    assert len(late) >= TICKS_MIN // 10
    assert (late["ts_publish_ns"] >= stood.to_ns).all()
    hops = signal_hops(late)
    ready = late["ts_mono_ns"] + hops[:, :3].sum(axis=1)
    assert (hops[:, 3] >= stood.to_ns - ready).all()
    assert max_us(engine, "tick_to_signal") >= (stood.to_ns - late["ts_mono_ns"].min()) / 1e3


def check_feed(engine: Engine, run: RunView) -> None:
    """What waits in the socket has no stamp of ours yet: the venue's stamps show it."""

    def stamped(stood: Pause) -> np.ndarray:
        wait_for(lambda: last(run, "ticks", 1)["ts_venue_ns"][0] > stood.to_utc_ns, "ticks after it", 60)
        ticks = last(run, "ticks")
        when = ticks["ts_venue_ns"]
        return ticks[(when > stood.from_utc_ns + VENUE_STAMP_NS) & (when < stood.to_utc_ns)]

    stood, ticks = stand(engine, "feed", stamped)
    assert (ticks["ts_recv_ns"] >= stood.to_utc_ns).all()
    assert max_us(engine, "venue_to_socket") >= (stood.to_utc_ns - ticks["ts_venue_ns"].min()) / 1e3


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
    numbers = {slow["source_sequence"] for slow in slowest}
    wait_for(lambda: numbers <= set(journaled(session)["sequence"].tolist()), "the slowest in the journal")
    ticks, symbols = journaled(session), JournalReader(session).instruments
    for slow in slowest:
        assert list(slow["hops_ns"]) == list(HOPS)
        assert sum(slow["hops_ns"].values()) == slow["total_ns"]
        (tick,) = ticks[ticks["sequence"] == slow["source_sequence"]]
        assert symbols[tick["instrument_id"]] == slow["symbol"]
        assert tick["ts_recv_ns"] == slow["ts_recv_ns"]
        assert tick["ts_publish_ns"] - tick["ts_mono_ns"] == slow["hops_ns"]["feed"]


def check_real_time(engine: Engine, urgent: str, other: str) -> None:
    """That ``urgent`` alone goes before everything of normal priority, its main thread only; or says it may not."""
    policies = {
        role: [os.sched_getscheduler(thread.id) for thread in threads(engine, role)]
        for role in (urgent, other)
    }
    assert set(policies[other]) <= {os.SCHED_OTHER, os.SCHED_BATCH}
    main, *rest = policies[urgent]
    assert set(rest) <= {os.SCHED_OTHER, os.SCHED_BATCH}
    if may_run_in_real_time():
        assert main == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    else:
        assert main == os.SCHED_OTHER
        assert "which this user may not" in (engine.directory / "logs" / f"{urgent}.log").read_text()


def threads(engine: Engine, role: str) -> list[Any]:
    return sorted(psutil.Process(engine.pid_of(role)).threads(), key=lambda thread: thread.id)


def journaled(session: Path) -> np.ndarray:
    """All ticks that are in the journal so far."""
    return np.concatenate([chunk.view("V128") for chunk in JournalReader(session)]).view(TICK_DTYPE)


def test_a_pause_of_any_stage_shows_in_every_tick_due_meanwhile(tmp_path: Path) -> None:
    with demo(tmp_path, *SETTINGS) as engine:
        engine.wait_for_signals(500)
        run = RunView(engine.run_dir())
        check_stage(engine, run, "indicators")
        check_stage(engine, run, "inference")
        check_signals(engine, run)
        check_feed(engine, run)
        check_sums(run)
        check_slowest_are_in_the_journal(engine)


def test_latency_is_shown_while_an_actor_hangs(tmp_path: Path) -> None:
    with demo(tmp_path, *SETTINGS, *PATIENT, "engine.actors.signals.realtime=true") as engine:
        engine.wait_for_signals()
        pid = engine.pid_of("signals")
        check_real_time(engine, "signals", "inference")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert next(row for row in lat(engine)["hops"] if row["hop"] == "inference")["since_start"][
                "count"
            ]
        finally:
            os.kill(pid, signal.SIGCONT)
