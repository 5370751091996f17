"""The live run's signals in its journal: by sequence, once each, whatever dies in between."""

from pathlib import Path

import numpy as np
import pytest
from persistence_samples import make_signals, make_ticks

from hft_engine.persistence.journal import JournalError, JournalReader, Selection, check
from hft_engine.persistence.journal.selection import EVERYTHING
from hft_engine.records import SIGNAL_DTYPE


def signals_of(session: Path, selection: Selection = EVERYTHING) -> np.ndarray:
    parts = [part.tobytes() for part in JournalReader(session).signals(selection)]
    return np.frombuffer(b"".join(parts), SIGNAL_DTYPE)


def test_signals_are_read_back_bit_for_bit_beside_the_ticks(writer, session):
    rows = make_signals(300)
    journal = writer()
    for start in range(0, 300, 7):
        journal.append(make_ticks(start * 2, 14))
        journal.append_signals(rows[start : start + 7])
    journal.close()
    reader = JournalReader(session)
    assert (reader.report.signals, reader.report.signal_holes, reader.holes) == (300, (), ())
    assert signals_of(session).tobytes() == rows.tobytes()


def test_a_writer_that_restarts_goes_on_with_the_next_signal(writer, session):
    rows = make_signals(20)
    first = writer()
    assert first.append_signals(rows[:8]) == 8
    first.flush()
    second = writer()  # its segment holds ticks only: the third must find the signals all the same
    assert second.next_signal == 8
    second.append(make_ticks(0, 5))
    third = writer()
    assert third.next_signal == 8
    assert third.append_signals(rows) == 12
    for journal in (first, second, third):
        journal.close()
    assert signals_of(session)["sequence"].tolist() == list(range(20))


def test_signals_go_on_over_the_border_of_segments(writer, session):
    journal = writer(segment_bytes=16 * 1024)
    rows = make_signals(500)
    for start in range(0, 500, 50):
        journal.append_signals(rows[start : start + 50])
    journal.close()
    assert journal.segments > 3
    assert signals_of(session).tobytes() == rows.tobytes()
    assert signals_of(session, Selection(first=120, end=260))["sequence"].tolist() == list(range(120, 260))
    starts = [segment.header.metadata.first_signal for segment in check(session).segments]
    assert starts == sorted(starts) and starts[-1] > 0


def test_signals_that_were_lapped_show_as_a_hole_of_their_own(writer, session):
    journal = writer()
    rows = make_signals(30)
    journal.append_signals(rows[:10])
    journal.append_signals(rows[15:])
    journal.close()
    report = check(session)
    assert (report.signal_holes, report.holes) == (((10, 15),), ())
    assert journal.signals_lapped == 5


def test_signals_of_another_layout_are_refused_and_the_ticks_are_not(writer, session, monkeypatch):
    layouts = {"SIGNAL_DTYPE": "0" * 64}
    monkeypatch.setattr("hft_engine.persistence.journal.writer.dtype_hashes", lambda: layouts)
    journal = writer()
    journal.append(make_ticks(0, 3))
    journal.append_signals(make_signals(3))
    journal.close()
    assert JournalReader(session).count == 3
    with pytest.raises(JournalError, match=r"signals have another layout.*version 0\.1\.0"):
        list(JournalReader(session).signals())
