"""Recorded sessions without an engine: ticks of a file, and the signals that the actors made of them, in a journal."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine import __version__
from hft_engine.config.load import load_config
from hft_engine.config.redact import redacted
from hft_engine.config.schema import Config
from hft_engine.feed.recorded import join_ticks, open_recording
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence import provenance
from hft_engine.persistence.collector import collected_signals
from hft_engine.persistence.journal import JournalWriter, SegmentMetadata, session_dir
from hft_engine.records import SIGNAL_DTYPE
from hft_engine.replay import Collect, replay
from support.engine import ROOT
from support.journals import BLOCK_TICKS, RECORDED

GOLDEN = ROOT / "tests" / "golden" / "replay.yaml"
MODEL = ROOT / "models" / "demo" / "direction.txt"


def golden_config(*overrides: str) -> Config:
    return load_config(GOLDEN, (f"inference.model={MODEL}", *overrides), env={}, dotenv_path=None)


def recorded_ticks(count: int) -> tuple[np.ndarray, InstrumentTable]:
    table = InstrumentTable.private(8)
    ticks = join_ticks(list(open_recording(RECORDED, table)))[:count]
    ticks["sequence"] = np.arange(len(ticks))
    ticks["ts_recv_ns"] = np.maximum.accumulate(ticks["ts_venue_ns"])
    return ticks, table


def write_session(
    data_dir: Path,
    config: Config,
    ticks: np.ndarray,
    table: InstrumentTable,
    signals: np.ndarray,
    name: str = "recorded",
    missing: Sequence[tuple[int, int]] = (),
) -> Path:
    """A closed session of ``ticks``, but for the ``missing`` [first, end), and ``signals``; returns its folder."""
    about = SegmentMetadata(
        run_id=name,
        venue="recorded",
        config_hash="",
        code_version=__version__,
        config=redacted(config),
        models=provenance.models(config),
        code=provenance.code(),
        machine=provenance.machine(),
    )
    session = session_dir(data_dir, name)
    writer = JournalWriter(session, about, table, segment_bytes=1 << 28, flush_ms=1_000)
    first = 0
    for gap, end in [*missing, (len(ticks), len(ticks))]:
        for start in range(first, gap, BLOCK_TICKS):
            writer.append(ticks[start : min(start + BLOCK_TICKS, gap)])
        first = end
    if len(signals):
        writer.append_signals(signals)
    writer.close()
    return session


def make_session(
    data_dir: Path,
    config: Config | None = None,
    count: int = 5_000,
    happened: Callable[[Path], None] = lambda session: None,
) -> Path:
    """A session whose signals are what the actors make of its ticks. ``happened``: writes its events beforehand."""
    config = config or golden_config()
    ticks, table = recorded_ticks(count)
    with tempfile.TemporaryDirectory() as folder:
        draft = write_session(Path(folder), config, ticks, table, np.zeros(0, SIGNAL_DTYPE))
        happened(draft)
        inline = golden_layout(config)
        replay(inline, [str(draft)], collect=Collect(("signals",), folder))
        signals = collected_signals(Path(folder))
    session = write_session(data_dir, config, ticks, table, signals)
    happened(session)
    return session


def golden_layout(config: Config) -> Config:
    return msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, layout="inline"))
