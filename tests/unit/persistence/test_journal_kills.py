"""SIGKILL, or a disk that refuses, at every fault point of the journal: what was appended is there, and it goes on.

The child is forked, so that each case costs milliseconds; arrivals beyond the first reach later segments.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from persistence_samples import METADATA, make_signals, make_ticks

from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import (
    JournalReader,
    JournalWriteError,
    JournalWriter,
    check,
    cut,
    retention,
    zstd_file,
)
from hft_engine.persistence.journal.compression import compress_segment
from hft_engine.persistence.journal.format import SEGMENT_SUFFIX
from hft_engine.persistence.journal.session import index_path, segment_paths
from hft_engine.runtime import faultpoints

TICKS, STEP, SIGNALS_STEP = 600, 30, 3
SEGMENT_BYTES = 20_000  # a handful of blocks: the run below rolls six times
WRITING = (
    "journal.open",
    "journal.header",
    "journal.block",
    "journal.block.head",
    "journal.block.payload",
    "journal.sync",
    "journal.synced",
    "journal.end",
    "journal.index.draft",
    "journal.index.rename",
)
COMPRESSING = ("journal.zstd.frame", "journal.zstd.draft", "journal.zstd.rename", "journal.zstd.unlink")
DELETING = ("journal.delete", "journal.delete.session")

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def open_writer(session: Path) -> JournalWriter:
    return JournalWriter(
        session, METADATA, InstrumentTable.private(4), segment_bytes=SEGMENT_BYTES, flush_ms=1
    )


def write_all(session: Path, appended: Callable[[int, int], None] = lambda ticks, signals: None) -> None:
    """The whole run, or what is missing of it; ``appended`` hears of every append that returned."""
    journal = open_writer(session)
    for first in range(0, TICKS, STEP):
        journal.append(make_ticks(first, STEP))
        journal.append_signals(make_signals(TICKS)[first // 10 : first // 10 + SIGNALS_STEP])
        journal.flush()
        appended(journal.next_sequence, journal.next_signal)
    journal.close()


def compress_all(session: Path) -> None:
    for path in segment_paths(session):
        if path.suffix == SEGMENT_SUFFIX and index_path(path).exists():
            compress_segment(path)


def delete_all(session: Path) -> None:
    files = retention.segment_files(session.parents[1], Path(), 0)
    for file in retention.excess(files, 0, time.time_ns() + 1_000_000_000):
        retention.delete(file)


def dies(armed: str, work: Callable[[], None]) -> bool:
    """Fork, arm, work: whether the child was killed; otherwise it must have ended well."""
    pid = os.fork()
    if pid == 0:
        try:
            faultpoints.arm(armed)
            work()
            os._exit(0)
        finally:
            os._exit(9)
    status = os.waitpid(pid, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def contents(session: Path, verify: bool = True) -> tuple[list[int], list[int]]:
    if not segment_paths(session):
        return [], []
    reader = JournalReader(session, verify)
    ticks = [s for chunk in reader.ticks() for s in chunk["sequence"].tolist()]
    return ticks, [s for chunk in reader.signals() for s in chunk["sequence"].tolist()]


WHOLE = (list(range(TICKS)), list(range(TICKS // 10)))


@pytest.fixture(autouse=True)
def small_frames(monkeypatch):
    monkeypatch.setattr(zstd_file, "FRAME_BYTES", 4_096)
    yield
    faultpoints.arm("")


@pytest.mark.parametrize("arrival", [1, 2, 5])
@pytest.mark.parametrize("point", WRITING)
def test_killed_while_it_writes_it_has_what_was_appended_and_goes_on(session, point, arrival):
    read_end, write_end = os.pipe()

    def tell(ticks: int, signals: int) -> None:
        os.write(write_end, np.array([ticks, signals], "<i8").tobytes())

    assert dies(f"{point}:kill@{arrival}", lambda: write_all(session, tell))
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        told = np.frombuffer(file.read(), "<i8")
    promised_ticks, promised_signals = told[-2:].tolist() if len(told) else (0, 0)
    ticks, signals = contents(session)
    assert ticks == list(range(len(ticks))) and len(ticks) >= promised_ticks
    assert signals == list(range(len(signals))) and len(signals) >= promised_signals
    assert contents(session, verify=False) == (ticks, signals)
    write_all(session)
    assert contents(session) == contents(session, verify=False) == WHOLE
    assert JournalReader(session).holes == ()
    assert not list(session.glob("*.draft"))


@pytest.mark.parametrize("arrival", [1, 2])
@pytest.mark.parametrize("point", COMPRESSING)
def test_killed_while_it_compresses_every_segment_is_there_and_is_compressed_later(session, point, arrival):
    write_all(session)
    assert dies(f"{point}:kill@{arrival}", lambda: compress_all(session))
    assert contents(session) == contents(session, verify=False) == WHOLE
    retention.sweep(session.parents[1])
    compress_all(session)
    assert contents(session) == WHOLE
    assert {p.name.partition(".")[2] for p in session.iterdir()} == {"hftj.zst", "hftx"}


@pytest.mark.parametrize("arrival", [1, 3])
@pytest.mark.parametrize("point", DELETING)
def test_killed_while_it_deletes_the_rest_reads_and_goes_later(session, point, arrival):
    write_all(session)
    killed = dies(f"{point}:kill@{arrival}", lambda: delete_all(session))
    assert killed == (point == "journal.delete" or arrival == 1)
    if segment_paths(session):
        ticks, _ = contents(session)
        assert 0 < len(ticks) < TICKS
        assert ticks == list(range(ticks[0], TICKS))
        retention.sweep(session.parents[1])
        assert len(list(session.glob("*.hftx"))) == len(segment_paths(session))
        delete_all(session)
        assert not session.exists()


@pytest.mark.parametrize("arrival", [1, 2])
@pytest.mark.parametrize("point", WRITING)
def test_a_disk_that_refuses_anywhere_leaves_a_journal_that_reads(session, point, arrival):
    """Only an index may fail without the journal failing: it is made again by whoever wants it."""
    appended = [0, 0]

    def note(ticks: int, signals: int) -> None:
        appended[:] = ticks, signals

    faultpoints.arm(f"{point}:error@{arrival}")
    only_an_index = point.startswith("journal.index")
    if only_an_index:
        write_all(session, note)
    else:
        with pytest.raises(JournalWriteError, match="No space left"):
            write_all(session, note)
    faultpoints.arm("")
    ticks, signals = contents(session)
    assert ticks == list(range(len(ticks))) and len(ticks) >= appended[0]
    assert signals == list(range(len(signals))) and len(signals) >= appended[1]
    write_all(session)
    assert contents(session) == WHOLE


def test_killed_between_cut_and_its_end_a_compressed_segment_reads(session):
    write_all(session)
    compress_all(session)
    packed = segment_paths(session)[2]
    data = bytearray(packed.read_bytes())
    data[900] ^= 1
    packed.write_bytes(data)
    (damaged,) = check(session).damaged
    assert dies("journal.cut:kill", lambda: cut(packed, damaged.damaged_at) and None)
    reader = JournalReader(session)
    assert reader.holes
    assert reader.count + sum(end - first for first, end in reader.holes) == TICKS
