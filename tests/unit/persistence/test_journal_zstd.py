"""Compressed segments read like plain ones, damage in them shows like damage in plain ones."""

import sys
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import make_signals, make_ticks

from hft_engine.persistence.journal import JournalError, JournalReader, Selection, check, cut, survey_session
from hft_engine.persistence.journal import zstd_file as zst
from hft_engine.persistence.journal.compression import compress_segment
from hft_engine.persistence.journal.session import segment_paths
from hft_engine.records import TICK_DTYPE

FLIP = 1  # not any bit: zstd leaves one of a frame's first byte unused


@pytest.fixture(autouse=True)
def small_frames(monkeypatch):
    monkeypatch.setattr(zst, "FRAME_BYTES", 3_000)
    monkeypatch.setattr("hft_engine.persistence.journal.tally.STRIDE_BYTES", 2_000)


@pytest.fixture
def plain(writer, session) -> Path:
    journal = writer()
    for first in range(0, 400, 20):
        journal.append(make_ticks(first, 20))
    journal.append_signals(make_signals(30))
    journal.close()
    return session / "00000000.hftj"


def ticks_of(path: Path, selection: Selection | None = None, verify: bool = True) -> list[int]:
    reader = JournalReader(path, verify)
    chunks = reader.ticks(selection) if selection else reader
    return [s for chunk in chunks for s in chunk["sequence"].tolist()]


def test_a_compressed_segment_is_the_same_bytes_and_reads_the_same(plain, session):
    content, report = plain.read_bytes(), check(plain).segments[0]
    packed = compress_segment(plain)
    assert segment_paths(session) == [packed]
    with zst.SeekableZstd(packed) as file:
        assert file.size == len(content)
        assert file.read() == content
    again = check(session).segments[0]
    assert again.sums == report.sums
    assert again.disk_bytes < again.bytes == report.bytes
    assert ticks_of(session) == list(range(400))
    assert sum(len(part) for part in JournalReader(session).signals()) == 30


def test_any_part_of_a_compressed_segment_is_what_the_plain_one_holds(plain):
    content = plain.read_bytes()
    random = np.random.default_rng(3)
    with zst.SeekableZstd(compress_segment(plain)) as file:
        for start, size in random.integers(0, len(content), (200, 2)).tolist():
            file.seek(start)
            assert file.read(size) == content[start : start + size]


def test_zstd_s_own_decompressor_gives_the_segment_back(plain):
    content = plain.read_bytes()
    library = pytest.importorskip("zstandard")
    packed = compress_segment(plain).read_bytes()
    frames = library.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
    assert frames.read() == content


def test_a_range_decompresses_only_the_frames_it_needs(plain, monkeypatch):
    packed = compress_segment(plain)
    opened = []
    whole = zst.SeekableZstd._decompress

    def counted(self, data, size):
        opened.append(size)
        return whole(self, data, size)

    monkeypatch.setattr(zst.SeekableZstd, "_decompress", counted)
    assert ticks_of(packed, Selection(first=200, end=210), verify=False) == list(range(200, 210))
    assert 0 < len(opened) < 8
    opened.clear()
    check(packed)
    assert len(opened) > 18


def test_a_byte_flipped_in_a_frame_is_damage_with_offset_and_remedy(plain):
    packed = compress_segment(plain)
    data = packed.read_bytes()
    for at in range(5_000, len(data) - 1_000, 401):
        packed.write_bytes(data[:at] + bytes([data[at] ^ FLIP]) + data[at + 1 :])
        with pytest.raises(JournalError, match=rf"damaged at byte \d+.*hft journal cut {packed} --at \d+"):
            JournalReader(packed)


def test_a_damaged_compressed_segment_is_readable_after_the_cut(plain, session):
    packed = compress_segment(plain)
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= FLIP
    packed.write_bytes(data)
    aside = cut(packed, check(packed).damaged[0].damaged_at)
    assert aside.read_bytes() == bytes(data)
    assert segment_paths(session) == [plain]
    kept = ticks_of(session)
    assert 0 < len(kept) < 400
    assert kept == list(range(len(kept)))


@pytest.mark.parametrize("cut_off", [1, 5, 9, 40])
def test_without_its_seek_table_the_remedy_is_named(plain, cut_off):
    packed = compress_segment(plain)
    packed.write_bytes(packed.read_bytes()[:-cut_off])
    with pytest.raises(JournalError, match=r"seek table.*zstd -d -o 00000000\.hftj 00000000\.hftj\.zst"):
        check(packed)


def test_a_reader_that_saw_the_plain_name_finds_the_compressed_segment(plain, session):
    reader = JournalReader(session)
    compress_segment(plain)
    assert np.concatenate([c["sequence"] for c in reader]).tolist() == list(range(400))


def test_without_the_library_the_extra_is_named(plain, monkeypatch):
    packed = compress_segment(plain)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(JournalError, match=r"needs zstandard: pip install 'hft-engine\[zstd\]'"):
        check(packed)


def test_what_does_not_read_back_is_not_taken(plain, monkeypatch):
    content = plain.read_bytes()
    monkeypatch.setattr(zst.SeekableZstd, "_decompress", lambda self, data, size: bytes(size))
    with pytest.raises(JournalError, match="does not read back the same"):
        compress_segment(plain)
    assert plain.read_bytes() == content
    assert not list(plain.parent.glob("*.zst*"))


# ---- the index: a part without the rest


def test_a_part_by_sequence_or_time_is_what_a_full_read_filtered_gives(plain, session):
    whole = np.concatenate([c.view("V128") for c in JournalReader(session)]).view(TICK_DTYPE)
    stamps = whole["ts_recv_ns"]
    random = np.random.default_rng(5)
    for low, high in np.sort(random.integers(-5, 405, (60, 2)), axis=1).tolist():
        by_sequence = Selection(first=max(low, 0), end=max(high, 0))
        wanted = [s for s in range(400) if low <= s < high]
        assert ticks_of(session, by_sequence, verify=False) == wanted
        by_time = Selection(from_ns=int(stamps[0]) + low * 1_000, to_ns=int(stamps[0]) + high * 1_000)
        assert ticks_of(session, by_time, verify=False) == wanted


def test_stamps_that_step_back_are_found_all_the_same(writer, session):
    rows = make_ticks(0, 300)
    rows["ts_recv_ns"][150:] -= 200_000
    journal = writer()
    for first in range(0, 300, 10):
        journal.append(rows[first : first + 10])
    journal.close()
    start = int(rows["ts_recv_ns"][0])
    window = Selection(from_ns=start + 60_000, to_ns=start + 90_000)
    wanted = np.flatnonzero((rows["ts_recv_ns"] >= window.from_ns) & (rows["ts_recv_ns"] < window.to_ns))
    assert ticks_of(session, window, verify=False) == wanted.tolist()
    assert len(wanted) == 60


@pytest.mark.parametrize("harm", ["missing", "flipped", "truncated", "of another segment"])
def test_an_index_that_is_gone_or_does_not_fit_is_made_again(plain, session, harm):
    index = session / "00000000.hftx"
    data = index.read_bytes()
    if harm == "missing":
        index.unlink()
    elif harm == "flipped":
        index.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif harm == "truncated":
        index.write_bytes(data[:-7])
    else:
        plain.write_bytes(plain.read_bytes() + b"\0" * 8)
    report = survey_session(session)
    assert report.segments[0].verified
    assert report.ticks == 400
    if harm != "of another segment":
        assert index.read_bytes() == data
        assert not survey_session(session).segments[0].verified


def test_a_bad_block_behind_a_good_index_is_never_handed_out(plain, session):
    data = bytearray(plain.read_bytes())
    data[len(data) // 2] ^= 0x10
    plain.write_bytes(data)
    reader = JournalReader(session, verify=False)
    assert ticks_of(session, Selection(end=50), verify=False) == list(range(50))
    with pytest.raises(JournalError, match=r"bad block at byte \d+.*hft journal check"):
        list(reader)
