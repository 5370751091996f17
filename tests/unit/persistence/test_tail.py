"""A journal read on while it is written."""

from pathlib import Path

import numpy as np
import pytest

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalWriter, SegmentMetadata
from hft_engine.persistence.journal.session import segment_paths
from hft_engine.persistence.journal.tail import JournalTail
from hft_engine.records import TICK_DTYPE


def ticks(first: int, count: int) -> np.ndarray:
    rows = np.zeros(count, TICK_DTYPE)
    rows["sequence"] = np.arange(first, first + count)
    rows["price"] = rows["sequence"] * 0.5
    return rows


def writer(session: Path, segment_bytes: int = 1 << 20) -> JournalWriter:
    table = InstrumentTable.private(4)
    table.id_of("AAA")
    about = SegmentMetadata(run_id="r", venue="v", config_hash="", code_version="")
    return JournalWriter(session, about, table, segment_bytes=segment_bytes, flush_ms=1_000)


def sequences(tail: JournalTail) -> list[int]:
    found: list[int] = []
    while (rows := tail.read()) is not None:
        assert (rows["price"] == rows["sequence"] * 0.5).all()
        found += rows["sequence"].tolist()
    return found


def test_before_there_is_a_journal_there_is_nothing(tmp_path: Path) -> None:
    tail = JournalTail(tmp_path / "session", 0)
    assert tail.read() is None
    journal = writer(tmp_path / "session")
    journal.append(ticks(0, 10))
    assert sequences(tail) == list(range(10))
    journal.close()


@pytest.mark.parametrize("first", [0, 1, 99, 100, 101, 640, 999])
def test_it_begins_where_it_is_asked_to_and_goes_on_as_more_is_written(tmp_path: Path, first: int) -> None:
    journal = writer(tmp_path, segment_bytes=40_000)  # several segments
    for start in range(0, 1_000, 20):
        journal.append(ticks(start, 20))
    tail = JournalTail(tmp_path, first)
    assert sequences(tail) == list(range(first, 1_000))
    for start in range(1_000, 2_000, 10):
        journal.append(ticks(start, 10))
        assert sequences(tail) == list(range(start, start + 10))
    assert len(segment_paths(tmp_path)) > 4
    journal.close()
    assert tail.read() is None


def test_what_is_written_by_half_is_not_read_yet(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(ticks(0, 10))
    (segment,) = segment_paths(tmp_path)
    whole = segment.stat().st_size
    journal.append(ticks(10, 10))
    later = segment.read_bytes()
    tail = JournalTail(tmp_path, 0)
    for cut in (1, 31, 32, 33, len(later) - whole - 1):
        segment.write_bytes(later[: whole + cut])
        assert sequences(tail) == (list(range(10)) if cut == 1 else [])
    segment.write_bytes(later)
    assert sequences(tail) == list(range(10, 20))
    journal.close()


def test_a_hole_stays_one(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(ticks(0, 10))
    journal.append(ticks(50, 10))
    assert sequences(JournalTail(tmp_path, 5)) == [*range(5, 10), *range(50, 60)]
    assert sequences(JournalTail(tmp_path, 20)) == [*range(50, 60)]
    journal.close()


def test_a_compressed_segment_is_read_like_any(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    from hft_engine.persistence.journal.zstd_file import compress

    journal = writer(tmp_path, segment_bytes=40_000)
    for start in range(0, 1_000, 20):
        journal.append(ticks(start, 20))
    journal.close()
    plain = segment_paths(tmp_path)[1]
    with plain.open("rb") as source, plain.with_name(plain.name + ".zst").open("wb") as target:
        compress(source, target)
    plain.unlink()
    assert sequences(JournalTail(tmp_path, 100)) == list(range(100, 1_000))
