"""The engine in one process, driven by hand: replay at full speed, notebooks, tests, a debugger.

The same actors over private rings that gate: a writer waits for its slowest reader, so nothing is ever lost.
"""

import importlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from hft_engine.config.load import require_known_features
from hft_engine.config.outputs import output_names
from hft_engine.config.schema import Config
from hft_engine.engine import collected_rings, feature_schema
from hft_engine.instruments import InstrumentTable
from hft_engine.runtime.actor import Actor, ActorContext
from hft_engine.runtime.process import load
from hft_engine.runtime.rundir import new_run_id
from hft_engine.runtime.runner import ActorRun, Runner
from hft_engine.runtime.wait import nap
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring
from hft_engine.topology import DTYPES, PRELOAD, Role, Topology, build, preload


@dataclass
class InlineEngine:
    """``rings``, ``stats`` and ``actors`` by name; ``step`` is one duty cycle of every actor."""

    runner: Runner
    rings: dict[str, Ring]
    stats: dict[str, Stats]
    actors: dict[str, Actor]
    instruments: InstrumentTable
    feature_names: tuple[str, ...] = ()

    def run(
        self,
        each_100ms: Callable[[], None] = lambda: None,
        source: str = "replay",
        each_step: Callable[[], None] | None = None,
    ) -> None:
        """Cycle until the source has finished and every reader has caught up; then stop every actor.

        ``each_step`` sees every record: it is called after each single duty cycle of the stages, which is slower.
        """
        cycle = self.runner.sweep
        if each_step is not None:
            cycle = self._seen_by(each_step)
        finished = self.stats[source].counter("finished")
        due_s = 0.0
        try:
            while (work := cycle()) or not finished.value:
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + 0.1
                    each_100ms()
                if not work:
                    nap()  # a source that is paced has nothing due
        finally:
            self.runner.stop()

    def _seen_by(self, each_step: Callable[[], None]) -> Callable[[], int]:
        def cycle() -> int:
            work = self.runner.step()
            each_step()
            return work

        return cycle


def make(
    config: Config,
    source: str,
    persistence: bool,
    arguments: dict[str, dict[str, Any]],
    run_id: str = "",
    history: Path | None = None,
) -> InlineEngine:
    """An inline engine, every actor started. Raises what the actors' ``on_start`` raises.

    ``run_id``: what stored rows are kept apart by; a new one where none is given. ``history``: the session folder whose
    events are repeated.
    """
    config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, layout="inline"))
    require_known_features(config, (*feature_schema(config).names, *output_names(config.inference)))
    topology = build(config, source, persistence, collected_rings(arguments))
    roles = [role for role in topology.roles if role.name != "publisher"]
    warm_up(preload(topology))
    instruments = InstrumentTable.private(config.engine.instruments_max)
    rings = _rings(topology, [role.name for role in roles])
    actors = {role.name: load(role.factory)(**arguments.get(role.name, {})) for role in roles}
    stats = {role.name: Stats.private() for role in roles}
    run_id = run_id or new_run_id(config.engine.name)
    runs = [
        ActorRun(
            actors[role.name],
            _context(role, config, rings, stats[role.name], instruments, run_id, history),
            bool(role.reads),
        )
        for role in roles
    ]
    runner = Runner(runs)
    runner.start()
    return InlineEngine(runner, rings, stats, actors, instruments, feature_schema(config).names)


def warm_up(modules: Sequence[str] = PRELOAD) -> None:
    """Kernels are compiled (or loaded) now, not inside somebody's measurement."""
    for module in modules:
        if hasattr(importlib.import_module(module), "warm"):
            importlib.import_module(module).warm()


def _rings(topology: Topology, roles: Sequence[str]) -> dict[str, Ring]:
    return {
        entry.name: Ring.private(
            entry.name,
            DTYPES[entry.dtype],
            entry.capacity,
            [role for role in entry.readers if role in roles],
            gating=topology.gating,
        )
        for entry in topology.rings
    }


def _context(
    role: Role,
    config: Config,
    rings: dict[str, Ring],
    stats: Stats,
    instruments: InstrumentTable,
    run_id: str,
    history: Path | None,
) -> ActorContext:
    return ActorContext(
        role=role.name,
        config=config,
        log=logging.getLogger(f"hft.{role.name}"),
        instruments=instruments,
        stats=stats,
        rings={name: rings[name] for name in (*role.reads, *role.writes, *role.watches)},
        feature_schema=feature_schema(config),
        run_id=run_id,
        run_dir=Path(config.engine.data_dir),
        data_dir=Path(config.engine.data_dir),
        log_dir=Path(config.engine.log_dir),
        history_dir=history,
    )
