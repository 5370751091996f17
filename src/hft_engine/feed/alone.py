"""A feed without an engine: what its actor needs to run by itself, in this process; nobody reads its ring."""

import logging
from collections.abc import Callable
from pathlib import Path

from hft_engine.config.schema import Config
from hft_engine.instruments import InstrumentTable
from hft_engine.records import TICK_DTYPE
from hft_engine.runtime.actor import ActorContext
from hft_engine.runtime.rundir import new_run_id
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring

RING_TICKS = 65_536


def context_of(config: Config, purpose: str, emit: Callable[[str, str], None]) -> ActorContext:
    """``emit(kind, text)`` is told what the feed tells; its log goes nowhere."""
    log = logging.getLogger(f"hft.{purpose}")
    log.propagate = False
    folder = Path(config.engine.data_dir)
    return ActorContext(
        role="feed",
        config=config,
        log=log,
        instruments=InstrumentTable.private(config.engine.instruments_max),
        stats=Stats.private(),
        rings={"ticks": Ring.private("ticks", TICK_DTYPE, RING_TICKS, ())},
        feature_schema=None,  # type: ignore[arg-type]  # the feed has no use for it
        run_id=new_run_id(purpose),
        run_dir=folder,
        data_dir=folder,
        log_dir=Path(config.engine.log_dir),
        emit=emit,
    )
