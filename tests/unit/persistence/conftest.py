from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalWriter, SegmentMetadata
from hft_engine.records import TICK_DTYPE

METADATA = SegmentMetadata(run_id="run-1", venue="polygon", config_hash="c0ffee", code_version="0.1.0")
MakeWriter = Callable[..., JournalWriter]


def make_ticks(first: int, count: int, instrument_id: int = 0) -> np.ndarray:
    """Ticks whose every field follows from the sequence."""
    rows = np.zeros(count, TICK_DTYPE)
    rows["sequence"] = np.arange(first, first + count)
    rows["kind"] = 1
    rows["instrument_id"] = instrument_id
    rows["price"] = 100.0 + rows["sequence"] * 0.25
    rows["ts_recv_ns"] = 1_700_000_000_000_000_000 + rows["sequence"] * 1_000
    rows["ts_venue_ns"] = rows["ts_recv_ns"] - 500
    return rows


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
    yield
    assert not [name for name in map(_target, FDS.iterdir()) if name.endswith((".hftj", ".db"))]


FDS = Path("/proc/self/fd")


def _target(fd: Path) -> str:
    try:
        return str(fd.readlink())
    except FileNotFoundError:
        return ""  # the descriptor that listed the folder
