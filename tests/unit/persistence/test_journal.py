import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import make_signals

from hft_engine.persistence.journal import JournalError, JournalReader, check, cut
from hft_engine.persistence.journal.format import BLOCK_MAGIC, SEGMENT_MAGIC, BlockKind
from hft_engine.persistence.journal.segment import read_blocks
from hft_engine.records import TICK_DTYPE


def blocks_of(path):
    report = check(path).segments[0]
    with path.open("rb") as file:
        return list(read_blocks(file, report.header.header_bytes, report.valid_bytes))


def join(*parts):
    # numpy's concatenate would repack a dtype whose fields overlap
    return np.frombuffer(b"".join(p.tobytes() for p in parts), TICK_DTYPE)


def read_all(path):
    return join(*JournalReader(path))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_what_is_appended_is_read_back_bit_for_bit(writer, ticks, session):
    rows = ticks(0, 10_000)
    journal = writer()
    for start in range(0, 10_000, 700):
        journal.append(rows[start : start + 700])
    journal.close()
    reader = JournalReader(session)
    assert reader.count == 10_000
    assert reader.instruments == ("AAPL",)
    assert (reader.holes, reader.torn_bytes, reader.report.ended) == ((), 0, True)
    assert read_all(session).tobytes() == rows.tobytes()


def test_what_is_appended_is_readable_before_the_writer_ends(writer, ticks, session):
    journal = writer()
    journal.append(ticks(0, 3))
    assert read_all(session)["sequence"].tolist() == [0, 1, 2]
    assert not check(session).ended
    journal.close()


def test_segments_stay_within_their_size_and_each_reads_alone(writer, ticks, session):
    limit = 64 * 1024
    journal = writer(segment_bytes=limit)
    for start in range(0, 2_000, 100):
        journal.append(ticks(start, 100))
    journal.close()
    paths = sorted(session.glob("*.hftj"))
    assert len(paths) == journal.segments > 3
    assert all(p.stat().st_size <= limit for p in paths)
    assert sum(p.stat().st_size for p in paths) == journal.bytes_written
    assert sum(JournalReader(p).count for p in paths) == 2_000
    assert read_all(session)["sequence"].tolist() == list(range(2_000))


def test_a_lap_becomes_a_hole(writer, ticks, session):
    journal = writer()
    journal.append(ticks(5, 5))
    journal.append(join(ticks(10, 2), ticks(20, 2)))
    journal.close()
    assert JournalReader(session).holes == ((0, 5), (12, 20))
    assert (journal.holes, journal.ticks_lapped) == (2, 13)
    assert read_all(session)["sequence"].tolist() == [*range(5, 12), 20, 21]


def test_new_symbols_are_written_before_the_ticks_that_name_them(writer, ticks, table, session):
    journal = writer()
    journal.append(ticks(0, 1))
    table.id_of("MSFT")
    table.id_of("Ä.EX")
    journal.append(ticks(1, 1, instrument_id=2))
    journal.close()
    path = session / "00000000.hftj"
    kinds = [b.kind for b in blocks_of(path)]
    assert kinds == [BlockKind.TICKS, BlockKind.INSTRUMENTS, BlockKind.TICKS, BlockKind.END]
    assert JournalReader(session).instruments == ("AAPL", "MSFT", "Ä.EX")


def test_records_that_are_there_already_are_not_written_again(writer, ticks, session):
    journal = writer()
    journal.append(ticks(0, 10))
    assert journal.append(ticks(6, 10)) == 6
    assert journal.append(ticks(0, 10)) == 0
    journal.close()
    assert read_all(session)["sequence"].tolist() == list(range(16))


def test_a_writer_that_restarts_goes_on_in_a_new_segment(writer, ticks, session):
    first = writer()
    first.append(ticks(0, 10))
    first.flush()
    second = writer()
    assert second.next_sequence == 10
    assert second.append(ticks(8, 10)) == 8
    first.close()
    second.close()
    assert len(list(session.glob("*.hftj"))) == 2
    assert read_all(session)["sequence"].tolist() == list(range(18))


@pytest.fixture
def four_blocks(writer, ticks, table, session):
    journal = writer()
    journal.append(ticks(0, 3))
    journal.append(ticks(3, 2))
    table.id_of("MSFT")
    journal.append(ticks(7, 1))
    journal._end_segment()
    return session / "00000000.hftj"


def test_a_file_cut_at_any_byte_opens_with_its_valid_prefix(four_blocks, tmp_path):
    data = four_blocks.read_bytes()
    blocks = blocks_of(four_blocks)
    whole = JournalReader(four_blocks)
    assert [b.kind.name for b in blocks] == ["TICKS", "TICKS", "INSTRUMENTS", "HOLE", "TICKS", "END"]
    path = tmp_path / "cut.hftj"
    for size in [*range(0, blocks[0].offset, 41), *range(blocks[0].offset, len(data))]:
        path.write_bytes(data[:size])
        reader = JournalReader(path)
        kept = [b for b in blocks if b.end <= size]
        rows = list(reader)
        assert reader.count == sum(b.count for b in kept if b.kind == BlockKind.TICKS)
        assert b"".join(r.tobytes() for r in rows) == b"".join(
            b.payload for b in kept if b.kind == BlockKind.TICKS
        )
        header_end = size if size < blocks[0].offset else blocks[0].offset
        valid = kept[-1].end if kept else (header_end if size >= blocks[0].offset else 0)
        assert reader.torn_bytes == size - valid
    assert whole.torn_bytes == 0


def test_a_session_cut_at_any_byte_of_its_last_three_blocks_opens_and_says_what_it_cut(
    writer, ticks, session
):
    journal = writer()
    journal.append(ticks(0, 5))
    journal.append(ticks(5, 3))
    journal.append_signals(make_signals(2))
    journal.append(ticks(9, 2))
    path = journal.path
    journal._segment.abandon()  # as SIGKILL leaves it
    data, blocks = path.read_bytes(), blocks_of(path)
    assert [b.kind.name for b in blocks[-4:]] == ["TICKS", "SIGNALS", "HOLE", "TICKS"]
    for size in range(blocks[-3].offset, len(data)):
        path.write_bytes(data[:size])
        for verify in (True, False):
            reader = JournalReader(session, verify)
            kept = [b for b in blocks if b.end <= size]
            assert reader.torn_bytes == size - kept[-1].end
            assert b"".join(c.tobytes() for c in reader) == payloads(kept, BlockKind.TICKS)
            assert b"".join(c.tobytes() for c in reader.signals()) == payloads(kept, BlockKind.SIGNALS)


def payloads(blocks, kind):
    return b"".join(block.payload for block in blocks if block.kind == kind)


def test_a_byte_flipped_in_the_last_block_is_a_torn_tail(four_blocks):
    last_ticks = blocks_of(four_blocks)[-2]
    data = four_blocks.read_bytes()[: last_ticks.end]
    for at in range(last_ticks.offset, last_ticks.end):
        four_blocks.write_bytes(data)
        flip(four_blocks, at)
        reader = JournalReader(four_blocks)
        assert (reader.count, reader.torn_bytes) == (5, last_ticks.end - last_ticks.offset)


def test_any_byte_flipped_before_valid_blocks_is_refused_with_the_remedy(four_blocks):
    data = four_blocks.read_bytes()
    blocks = blocks_of(four_blocks)
    for block in blocks[:-1]:
        for at in range(block.offset, block.end):
            four_blocks.write_bytes(data)
            flip(four_blocks, at)
            with pytest.raises(JournalError) as caught:
                JournalReader(four_blocks)
            assert f"hft journal cut {four_blocks} --at {block.offset}" in str(caught.value)
            assert f"damaged at byte {block.offset}" in str(caught.value)


def test_damage_is_told_from_a_torn_tail_however_far_the_next_valid_block_is(four_blocks, monkeypatch):
    first, second = blocks_of(four_blocks)[:2]
    four_blocks.write_bytes(four_blocks.read_bytes()[: second.end])
    flip(four_blocks, first.offset)
    for window in range(len(BLOCK_MAGIC), 60):
        monkeypatch.setattr("hft_engine.persistence.journal.segment.SEARCH_BYTES", window)
        assert check(four_blocks).segments[0].damaged_at == first.offset


def test_any_byte_flipped_in_the_header_is_refused(four_blocks):
    data = four_blocks.read_bytes()
    for at in range(300):
        four_blocks.write_bytes(data)
        flip(four_blocks, at)
        assert [s.damaged_at for s in check(four_blocks).damaged] == [0]


def test_a_damaged_segment_is_readable_after_the_cut_and_nothing_is_thrown_away(four_blocks):
    data = four_blocks.read_bytes()
    second = blocks_of(four_blocks)[1]
    flip(four_blocks, second.offset + 40)
    damaged = four_blocks.read_bytes()
    report = check(four_blocks)
    assert report.damaged[0].remedy.endswith(f"--at {second.offset}")
    aside = cut(four_blocks, report.damaged[0].damaged_at)
    assert JournalReader(four_blocks).count == 3
    assert four_blocks.read_bytes() == data[: second.offset]
    assert aside.read_bytes() == damaged[second.offset :]


def test_a_cut_inside_a_block_is_refused_and_changes_nothing(four_blocks):
    before = four_blocks.read_bytes()
    first = blocks_of(four_blocks)[0]
    with pytest.raises(JournalError, match=f"nearest before is {first.offset}"):
        cut(four_blocks, first.offset + 5)
    assert four_blocks.read_bytes() == before
    assert {p.name for p in four_blocks.parent.iterdir()} == {four_blocks.name, "00000000.hftx"}


def test_a_hole_is_seen_where_a_cut_lost_blocks_between_segments(writer, ticks, session):
    first = writer()
    first.append(ticks(0, 5))
    first.append(ticks(5, 5))
    first.close()
    second = writer()
    second.append(ticks(10, 5))
    second.close()
    path = session / "00000000.hftj"
    cut(path, blocks_of(path)[1].offset)
    assert JournalReader(session).holes == ((5, 10),)
    assert read_all(session)["sequence"].tolist() == [*range(5), *range(10, 15)]


def test_a_torn_segment_is_not_appended_to(writer, ticks, session):
    journal = writer()
    journal.append(ticks(0, 5))
    journal.close()
    path = session / "00000000.hftj"
    torn = path.read_bytes()[:-50]
    path.write_bytes(torn)
    again = writer()
    again.append(ticks(0, 6))
    again.close()
    assert path.read_bytes() == torn
    reader = JournalReader(session)
    assert reader.torn_bytes > 0
    assert read_all(session)["sequence"].tolist() == list(range(6))


def test_a_writer_restarts_beside_a_damaged_segment_and_says_so(four_blocks, writer, ticks, session):
    flip(four_blocks, blocks_of(four_blocks)[1].offset + 40)
    journal = writer()
    assert journal.damaged.path == four_blocks
    journal.append(ticks(20, 5))
    journal.close()
    assert JournalReader(session / "00000001.hftj").count == 5


def test_a_file_that_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "00000000.hftj"
    path.write_bytes(b"PAR1" * 2000)
    with pytest.raises(JournalError, match="not a journal segment"):
        JournalReader(tmp_path)


def test_a_journal_of_another_version_or_layout_is_refused(four_blocks, monkeypatch):
    fmt = "hft_engine.persistence.journal.format"
    with monkeypatch.context() as patch:
        patch.setattr(f"{fmt}.READABLE_VERSIONS", (3, 4))
        with pytest.raises(JournalError, match="journal format 2, this program reads 3 to 4"):
            JournalReader(four_blocks)
    monkeypatch.setattr(f"{fmt}.TICK_DTYPE_HASH", b"x" * 32)
    with pytest.raises(JournalError, match=r"another layout.*use version 0\.1\.0"):
        JournalReader(four_blocks)


def test_a_journal_of_the_first_version_is_read(writer, ticks, session, monkeypatch):
    monkeypatch.setattr("hft_engine.persistence.journal.format.FORMAT_VERSION", 1)
    journal = writer()
    journal.append(ticks(0, 10))
    journal.close()
    assert read_all(session)["sequence"].tolist() == list(range(10))


def test_a_missing_or_empty_folder_is_named(tmp_path):
    with pytest.raises(JournalError, match="no such journal"):
        JournalReader(tmp_path / "nowhere")
    with pytest.raises(JournalError, match="holds no journal segments"):
        JournalReader(tmp_path)


def test_segments_of_two_runs_in_one_folder_are_refused(writer, ticks, session, four_blocks):
    shutil.copy(four_blocks, session / "00000001.hftj")
    with pytest.raises(JournalError, match="segments of two runs are mixed"):
        JournalReader(session)


def test_a_segment_of_zeros_is_torn_as_a_power_cut_leaves_it(session):
    session.mkdir(parents=True)
    (session / "00000000.hftj").write_bytes(bytes(8192))
    (session / "00000001.hftj").write_bytes(SEGMENT_MAGIC[:5])
    reader = JournalReader(session)
    assert (reader.count, reader.torn_bytes, list(reader)) == (0, 8197, [])


def test_a_sync_runs_when_due_and_not_before(writer, ticks):
    journal = writer(flush_ms=200)
    journal.flush()
    journal.append(ticks(0, 1))
    since = journal._segment.unsynced_since_ns
    assert not journal.flush_if_due(since + 199_000_000)
    assert journal.flush_if_due(since + 200_000_000)
    assert not journal.flush_if_due(since + 900_000_000)
    journal.close()


def test_what_a_writer_remembers_of_a_segment_stays_small(writer, ticks):
    journal = writer(segment_bytes=1 << 28)
    rows = ticks(0, 2_048)  # 256 KiB: an entry of the index
    journal.append(rows)
    tracemalloc.start()
    try:
        for _ in range(200):
            rows["sequence"] += len(rows)
            journal.append(rows)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        journal.close()
    assert kept < 200 * 100  # as objects an entry takes 300 bytes, for hours
