"""A journal of recorded ticks, written by the engine's own writer."""

from pathlib import Path

import numpy as np

from hft_engine.feed.recorded import join_ticks, open_recording
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalWriter, SegmentMetadata, session_dir
from support.engine import ROOT

RECORDED = ROOT / "tests" / "data" / "binance" / "usdm_btcusdt_20240808_cut.jsonl.gz"
BLOCK_TICKS = 250


def write_journal(data_dir: Path, run_id: str = "recorded", ticks_max: int = 5_000) -> Path:
    """A session of one segment below ``data_dir``; returns the segment's path."""
    table = InstrumentTable.private(8)
    ticks = join_ticks(list(open_recording(RECORDED, table)))[:ticks_max]
    ticks["sequence"] = np.arange(len(ticks))
    session = session_dir(data_dir, run_id)
    about = SegmentMetadata(run_id=run_id, venue="recorded", config_hash="", code_version="test")
    writer = JournalWriter(session, about, table, segment_bytes=1 << 28, flush_ms=1_000)
    for start in range(0, len(ticks), BLOCK_TICKS):
        writer.append(ticks[start : start + BLOCK_TICKS])
    writer.close()
    (segment,) = session.glob("*.hftj")
    return segment
