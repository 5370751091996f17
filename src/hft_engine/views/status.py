"""`hft status`: one object that says what runs, how far each reader is, how fast it is and what was lost."""

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine.feed.health.worst import read_worst
from hft_engine.feed.line_table import ACCUMULATED, read_lines
from hft_engine.feed.states import FEED_STATES
from hft_engine.inference.served import read_served
from hft_engine.records import HealthState
from hft_engine.runtime.latch import TradingLatch
from hft_engine.runtime.run_record import read_faults
from hft_engine.shm import layout
from hft_engine.shm.counters import ActorState
from hft_engine.shm.histogram_view import summary
from hft_engine.views.run import RunView, is_alive

ENGINE_STATES = ("starting", "running", "stopping", "failed")  # as the supervisor counts them; tested
TOTAL = "tick_to_signal"


def collect(run_dir: Path) -> dict[str, Any]:
    """The object of `hft status --json`. Raises RunError where there is no run."""
    return snapshot(RunView(run_dir))


def snapshot(run: RunView) -> dict[str, Any]:
    """``collect`` of a run that is already open.

    ``state``: starting, running, stopping, failed, or dead when the supervisor is gone. An actor's ``state``: new,
    starting, running, hung (no heartbeat for supervisor.heartbeat_limit_ms), stopping, stopped, failed, dead.
    ``health``: instruments in each state of their data, the worst of them, and the least delay of the venue's stamps.
    ``models``: those in use, and how many of their records lay outside what they were trained on.
    ``latency_us``: ``tick_to_signal`` and one entry a hop, in microseconds. ``counters``: of every role.
    ``trading_latch``: why no new order may go out, None where one may. ``learning``: None where no model learns here.
    """
    now_ns = time.monotonic_ns()
    return {
        "state": _engine_state(run),
        "run_id": run.manifest.run_id,
        "layout": run.manifest.layout,
        "uptime_s": round((now_ns - run.manifest.started_mono_ns) / 1e9, 1),
        "actors": [_actor(run, role, now_ns) for role in run.roles],
        "rings": [_ring(run, name) for name in run.rings],
        "feed": _feed(run),
        "health": _health(run),
        "models": _models(run),
        "signals": {"published": run.rings["signals"].published},
        "learning": _learning(run),
        "trading_latch": TradingLatch(Path(run.manifest.data_dir)).reason(),
        "errors": _errors(run),
        "latency_us": _latencies(run),
        "counters": {role: run.counters(role) for role in run.roles},
    }


def _engine_state(run: RunView) -> str:
    if not is_alive(run.manifest.pid):
        return "dead"
    return ENGINE_STATES[run.counters("supervisor").get("engine_state", 0)]


def _learning(run: RunView) -> dict[str, int] | None:
    """``permille`` of the training that runs, -1 where none does; the counts of trainer and shadow."""
    if "trainer" not in run.roles:
        return None
    trainer, shadow = run.counters("trainer"), run.counters("shadow")
    counted = {name: trainer.get(name, 0) for name in ("permille", "rows", "cycles", "registered")}
    return counted | {name: shadow.get(name, 0) for name in ("blocks", "promoted", "refused", "rolled_back")}


def _actor(run: RunView, role: str, now_ns: int) -> dict[str, Any]:
    stats = run.stats[role]
    heartbeat_ns, pid = int(stats.vitals[layout.V_HEARTBEAT_NS]), int(stats.vitals[layout.V_PID])
    age_ms = max(now_ns - heartbeat_ns, 0) / 1e6 if heartbeat_ns else None
    return {
        "role": role,
        "pid": pid,
        "state": _actor_state(stats.state, pid, age_ms, run.setting("supervisor", "heartbeat_limit_ms")),
        "restarts": run.counters("supervisor").get(f"restarts.{role}", 0),
        "heartbeat_age_ms": None if age_ms is None else round(age_ms, 1),
    }


def _actor_state(own: ActorState, pid: int, age_ms: float | None, limit_ms: int) -> str:
    """What the role says of itself, unless its process is gone or it does not move."""
    if own in (ActorState.STARTING, ActorState.RUNNING, ActorState.STOPPING) and not is_alive(pid):
        return "dead"
    if own is ActorState.RUNNING and age_ms is not None and age_ms > limit_ms:
        return "hung"
    return own.name.lower()


def _ring(run: RunView, name: str) -> dict[str, Any]:
    ring = run.rings[name]
    words = [ring.reader_words(i) for i in range(len(ring.roles))]
    positions = [int(reader[layout.R_POSITION]) for reader in words]
    published = ring.published
    return {
        "name": name,
        "capacity": ring.capacity,
        "published": published,
        "readers": [
            {
                "role": role,
                "position": position,
                "lag": max(0, published - position),  # a reader sees a record just before it is counted
                "lapped": int(reader[layout.R_LAPPED]),
            }
            for role, position, reader in zip(ring.roles, positions, words, strict=True)
        ],
    }


def _feed(run: RunView) -> dict[str, Any]:
    source = run.manifest.source
    counted = run.counters("feed")
    if source == "feed":
        state = FEED_STATES[counted["state"]] if "state" in counted else "starting"
    else:
        state = "finished" if run.counters(source).get("finished") else "replaying"
    names = ("frames", "events", "rejected", "gaps", "reconnects")
    return {
        "venue": run.manifest.venue if source == "feed" else source,
        "state": state,
        **{name: counted.get(name, 0) for name in names},
        "lines": [_line(row) for row in read_lines(run.stats["feed"].table)] if source == "feed" else [],
    }


def _line(row: np.void) -> dict[str, Any]:
    """A connection of the feed. ``held``: subscriptions that the venue confirmed; ``lead_us``: see feed.arbiter."""
    age_ms = (time.monotonic_ns() - int(row["last_frame_mono_ns"])) / 1e6
    return {
        "name": row["name"].decode(),
        "venue": row["venue"].decode(),
        "mirrors": row["mirrors"].decode() or None,
        "state": FEED_STATES[row["state"]],
        "delayed": bool(row["delayed"]),
        "held": int(row["wanted"] - row["acks_missing"]),
        "acks_missing": int(row["acks_missing"]),
        "last_frame_ms": round(max(age_ms, 0.0), 1) if row["last_frame_mono_ns"] else None,
        "ping_ms": int(row["ping_us"]) / 1e3,
        **{name: int(row[name]) for name in ACCUMULATED},
        "lost": int(row["lost"]),
        "lead_us": {name: int(row[f"lead_us_{name}"]) for name in ("mean", "p50", "p99")},
    }


def _health(run: RunView) -> dict[str, Any]:
    """``clock_offset_ms``: the least ts_recv - ts_venue: our clock's offset, and the shortest way; None before data."""
    counted = run.counters("feed")
    states = [state.name.lower() for state in HealthState if state is not HealthState.WAITING]
    instruments = {name: counted.get(f"health_{name}", 0) for name in states}
    offset_us = counted.get("clock_offset_us", 0)
    return {
        "instruments": instruments,
        "clock_offset_ms": offset_us / 1e3 if any(instruments.values()) else None,
        "worst": [msgspec.to_builtins(each) for each in read_worst(run.run_dir)],
    }


def _models(run: RunView) -> dict[str, Any]:
    """``members`` with name, version, SHA-256, outputs and the tick ``since`` which each predicts."""
    counted = run.counters("inference")
    served = msgspec.to_builtins(read_served(run.run_dir))
    return {
        **served,
        "predicted": counted.get("predictions", 0) + counted.get("features_missing", 0),
        "out_of_distribution": counted.get("out_of_distribution", 0),
    }


def _errors(run: RunView) -> dict[str, int]:
    """What is in the error logs, which `hft errors` shows."""
    faults, dropped = read_faults(run.run_dir)
    return {"distinct": len(faults), "observed": sum(fault.count for fault in faults) + dropped}


def _latencies(run: RunView) -> dict[str, dict[str, float]]:
    found = {
        name: summary(run.stats[role].histogram(name))
        for role in run.roles
        for name in run.stats[role].histogram_names
    }
    empty = {"count": 0, "p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}
    return {TOTAL: found.pop(TOTAL, empty), **found}


def render(state: dict[str, Any]) -> None:
    """The same for people."""
    from rich.console import Console

    from hft_engine.views.panels import overview

    Console().print(overview(state))
