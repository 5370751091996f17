import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import METADATA, make_ticks

from hft_engine.config.schema import Config, PersistenceConfig
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalWriter
from hft_engine.records import BAR_DTYPE, SIGNAL_DTYPE, TICK_DTYPE
from hft_engine.runtime.actor import ActorContext
from hft_engine.shm.counters import Stats
from hft_engine.shm.ring import Ring

MakeWriter = Callable[..., JournalWriter]


@pytest.fixture
def ticks() -> Callable[..., np.ndarray]:
    return make_ticks


@pytest.fixture
def table() -> InstrumentTable:
    table = InstrumentTable.private(64)
    table.id_of("AAPL")
    return table


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "run-1"


@pytest.fixture
def writer(session: Path, table: InstrumentTable) -> MakeWriter:
    """Makes a writer of the session; call it again for a writer that restarts."""

    def make(segment_bytes: int = 1 << 20, flush_ms: int = 200) -> JournalWriter:
        return JournalWriter(session, METADATA, table, segment_bytes=segment_bytes, flush_ms=flush_ms)

    return make


@pytest.fixture(autouse=True)
def no_descriptor_left() -> object:
    before = _open_files()
    yield
    assert not _open_files() - before


FDS = Path("/proc/self/fd")


def _open_files() -> set[str]:
    return {name for name in map(_target, FDS.iterdir()) if name.endswith((".hftj", ".db"))}


def _target(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return ""  # the descriptor that listed the folder


@pytest.fixture
def make_ctx(tmp_path: Path, table: InstrumentTable) -> Callable[..., ActorContext]:
    """A context over private rings; hand in ``rings`` and ``stats`` to bring up an actor that died."""

    def make(
        role="persistence", rings=None, stats=None, gating=False, ticks=1024, **persistence
    ) -> ActorContext:
        config = Config(persistence=PersistenceConfig(**persistence))
        stats = stats or Stats.private()
        ctx = ActorContext(
            role=role,
            config=config,
            log=logging.getLogger(f"test.{role}"),
            instruments=table,
            stats=stats,
            rings=rings or private_rings(ticks, gating),
            feature_schema=None,
            run_id="run-1",
            run_dir=tmp_path,
            data_dir=tmp_path,
            log_dir=tmp_path,
        )
        ctx.emit = lambda kind, text: EVENTS.append((kind, text))
        return ctx

    EVENTS.clear()
    return make


EVENTS: list[tuple[str, str]] = []


@pytest.fixture
def events(make_ctx) -> list[tuple[str, str]]:
    return EVENTS


def private_rings(ticks: int, gating: bool) -> dict[str, Ring]:
    def ring(name: str, dtype: np.dtype, capacity: int) -> Ring:
        return Ring.private(name, dtype, capacity, readers=("persistence",), gating=gating)

    return {
        "ticks": ring("ticks", TICK_DTYPE, ticks),
        "bars": ring("bars", BAR_DTYPE, 256),
        "signals": ring("signals", SIGNAL_DTYPE, 256),
    }
