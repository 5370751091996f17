"""The distinct-error log: bounded, readable from outside at any time, and gone on with by a successor."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.shm import layout
from hft_engine.shm.error_log import ERROR_LOG_BYTES, TEXT_BYTES_MAX, ErrorLog, key_of, read_error_log
from hft_engine.shm.segment import SegmentError

WARNING, ERROR = logging.WARNING, logging.ERROR


def test_a_fault_is_kept_once_with_count_first_and_last() -> None:
    log = ErrorLog.private()
    for now_ns in (10, 20, 30):
        log.record(WARNING, f"pid {now_ns} ended", now_ns)
    log.record(ERROR, "pid 10 ended", 40)
    log.record(WARNING, "disk full", 50)
    found = [
        (fault.level, fault.observations, fault.first_ns, fault.last_ns, fault.text) for fault in log.faults()
    ]
    assert found == [
        (WARNING, 3, 10, 30, "pid 10 ended"),
        (ERROR, 1, 40, 40, "pid 10 ended"),
        (WARNING, 1, 50, 50, "disk full"),
    ]


@given(st.text(max_size=40), st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbers_make_no_difference_and_nothing_else_is_left_out(text: str, one: int, other: int) -> None:
    assert key_of(WARNING, f"{text} {one} x") == key_of(WARNING, f"{text} {other} x")
    assert key_of(WARNING, f"{text} {one} x") != key_of(WARNING, f"{text} {one} y")


def test_a_full_log_counts_what_it_drops_and_still_counts_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.errors"
    ErrorLog.create(path)
    log = ErrorLog.attach(path)
    texts = [f"{chr(97 + i % 26)}{chr(97 + i // 26)} " + "x" * 2_000 for i in range(100)]
    for text in texts:
        log.record(WARNING, text)
    held = len(log.faults())
    assert 20 < held < 30
    assert log.dropped == len(texts) - held
    log.record(WARNING, texts[0])
    assert log.faults()[0].observations == 2
    assert all(len(fault.text) == TEXT_BYTES_MAX for fault in log.faults())
    assert path.stat().st_size == ERROR_LOG_BYTES


def test_a_successor_counts_on(tmp_path: Path) -> None:
    path = tmp_path / "a.errors"
    ErrorLog.create(path)
    ErrorLog.attach(path).record(WARNING, "lost 1", 1)
    successor = ErrorLog.attach(path)
    successor.record(WARNING, "lost 2", 2)
    successor.record(WARNING, "found 3", 3)
    faults, dropped = read_error_log(path)
    assert [(fault.text, fault.observations, fault.last_ns) for fault in faults] == [
        ("lost 1", 2, 2),
        ("found 3", 1, 3),
    ]
    assert dropped == 0


def test_half_an_entry_is_not_seen_and_is_overwritten() -> None:
    """The writer died before it stored the length."""
    log = ErrorLog.private()
    log.record(WARNING, "first", 1)
    words = log._words
    log.record(WARNING, "torn", 2)
    second = log._places[key_of(WARNING, "torn")]
    words[second] = 0
    assert [fault.text for fault in log.faults()] == ["first"]
    successor = ErrorLog(words)
    successor.record(WARNING, "next", 3)
    assert [(fault.text, fault.observations) for fault in successor.faults()] == [("first", 1), ("next", 1)]


@given(
    st.lists(
        st.tuples(st.integers(0, ERROR_LOG_BYTES // 8 - 513), st.integers(-(2**63), 2**63 - 1)), max_size=20
    )
)
def test_no_garbage_makes_a_reader_fail(spoilt: list[tuple[int, int]]) -> None:
    log = ErrorLog.private()
    for text in ("one", "two", "three"):
        log.record(WARNING, text)
    for word, value in spoilt:
        log._words[layout.PAGE_BYTES // 8 + word] = value
    assert len(log.faults()) <= ERROR_LOG_BYTES
    ErrorLog(log._words).record(WARNING, "four")


def test_it_outlives_a_writer_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "a.errors"
    ErrorLog.create(path)
    code = (
        "import os, pathlib, signal; from hft_engine.shm.error_log import ErrorLog;"
        f"ErrorLog.attach(pathlib.Path({str(path)!r})).record(40, 'last words');"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode
        == -signal.SIGKILL
    )
    assert [fault.text for fault in read_error_log(path)[0]] == ["last words"]


def test_what_is_no_error_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.errors"
    path.write_bytes(np.zeros(64, np.int64).tobytes())
    with pytest.raises(SegmentError, match="no error log"):
        read_error_log(path)
