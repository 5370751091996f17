"""The writer's process dies, or its disk does: real processes, real limits of the kernel."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hft_engine.persistence.journal import JournalReader, JournalWriteError

PRELUDE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {here!r})
from persistence_samples import METADATA, make_ticks
from hft_engine.instruments import InstrumentTable
from hft_engine.persistence.journal import JournalWriteError, JournalWriter
table = InstrumentTable.private(8)
table.id_of("AAPL")
"""

DISK_FULL = """
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
journal = JournalWriter(Path({session!r}), METADATA, table, segment_bytes=1 << 20, flush_ms=1)
try:
    for first in range(0, 10_000, 100):
        journal.append(make_ticks(first, 100))
except JournalWriteError as error:
    first_error = journal.failure
    assert first_error is error
    print(journal.next_sequence, error)
try:
    journal.append(make_ticks(10_000, 1))
except JournalWriteError as again:
    assert again is first_error and journal.failure is first_error
    journal.close()
    print("still failed")
"""

ENDLESS = """
journal = JournalWriter(Path({session!r}), METADATA, table, segment_bytes=1 << 20, flush_ms=1)
first = 0
while True:
    first += journal.append(make_ticks(first, 1 + first % 97))
    print(first, flush=True)
"""


def script(body: str, session: Path) -> list[str]:
    here = str(Path(__file__).parent)
    return [sys.executable, "-c", (PRELUDE + body).format(here=here, session=str(session))]


def sequences(session: Path) -> list[int]:
    return [s for chunk in JournalReader(session) for s in chunk["sequence"].tolist()]


def test_a_full_disk_stops_the_journal_once_and_keeps_what_it_holds(session):
    result = subprocess.run(
        script(DISK_FULL, session), capture_output=True, text=True, timeout=60, check=True
    )
    failed, after = result.stdout.splitlines()
    reached = failed.split()[0]
    assert int(reached) > 0
    assert "File too large: journalling stopped at sequence" in failed
    assert "Free the disk" in failed
    assert after == "still failed"
    assert sequences(session) == list(range(int(reached)))
    assert JournalReader(session).torn_bytes > 0


def test_a_writer_killed_at_any_moment_loses_nothing_it_had_appended(session, writer, ticks):
    for _ in range(3):
        with subprocess.Popen(script(ENDLESS, session), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [next(process.stdout) for _ in range(200)]
            os.kill(process.pid, signal.SIGKILL)
            lines += process.stdout.readlines()
        appended = int(lines[-1])
        found = sequences(session)
        assert found == list(range(len(found)))
        assert len(found) >= appended
        again = writer()
        assert again.next_sequence == len(found)
        again.close()
        for path in session.glob("*.hftj"):
            path.unlink()


def test_a_device_without_space_fails_the_write_and_a_sync_is_never_tried_again(writer, ticks, monkeypatch):
    journal = writer()
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._segment._fd)
    os.close(full)
    with pytest.raises(JournalWriteError, match="No space left on device"):
        journal.append(ticks(0, 10))
    monkeypatch.setattr(os, "fdatasync", lambda fd: pytest.fail("synced after a failure"))
    assert not journal.flush_if_due(1 << 62)
    journal.flush()
    journal.close()


def test_a_failed_sync_is_final(writer, ticks, monkeypatch):
    calls = []

    def broken(fd):
        calls.append(fd)
        raise OSError(5, "Input/output error")

    journal = writer()
    monkeypatch.setattr(os, "fdatasync", broken)
    journal.append(ticks(0, 10))
    with pytest.raises(JournalWriteError, match="Input/output error"):
        journal.flush()
    with pytest.raises(JournalWriteError):
        journal.append(ticks(10, 10))
    journal.flush()
    journal.close()
    assert len(calls) == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path, writer, session):
    (tmp_path / "journal").write_text("a file where the folder should be")
    with pytest.raises(JournalWriteError, match=r"Not a directory|File exists"):
        writer()
