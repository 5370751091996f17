"""The trading latch: durable, first reason wins, fails shut."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hft_engine.runtime import faultpoints
from hft_engine.runtime.latch import REASON_CHARS_MAX, RESERVE_BYTES, UNKNOWN, LatchError, TradingLatch
from hft_engine.views import latch as view


@pytest.fixture(autouse=True)
def disarmed():
    yield
    faultpoints.arm("")


def test_what_one_process_latches_another_sees_until_it_is_reset(tmp_path: Path) -> None:
    writer, reader = TradingLatch(tmp_path), TradingLatch(tmp_path)
    assert reader.reason() is None
    writer.latch("disk full")
    assert reader.reason() == "disk full"
    assert reader.state().since_ns > 0
    reader.reset()
    assert (writer.reason(), reader.reason()) == (None, None)
    reader.reset()


def test_the_first_reason_stays_and_a_new_one_is_seen_after_the_reset(tmp_path: Path) -> None:
    latch, reader = TradingLatch(tmp_path), TradingLatch(tmp_path)
    latch.latch("first")
    latch.latch("second")
    assert reader.reason() == "first"
    latch.reset()
    latch.latch("third")
    assert reader.reason() == "third"


def test_a_reason_of_any_length_fits_the_reserve(tmp_path: Path) -> None:
    latch = TradingLatch(tmp_path)
    latch.latch("\U0001f4a5" * 5_000)
    assert latch.reason() == "\U0001f4a5" * REASON_CHARS_MAX
    assert latch.path.stat().st_size == RESERVE_BYTES


@pytest.mark.parametrize("content", [b"", b"\0" * RESERVE_BYTES, b'{"reason": 1}', b"nonsense"])
def test_a_latch_that_cannot_be_read_latches(tmp_path: Path, content: bytes) -> None:
    latch = TradingLatch(tmp_path)
    latch.path.write_bytes(content)
    assert latch.reason() == UNKNOWN


def test_a_latch_that_cannot_be_asked_latches(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be read" in TradingLatch(tmp_path / "file").reason()


def test_on_a_disk_that_takes_no_byte_an_empty_file_latches(tmp_path: Path) -> None:
    faultpoints.arm("latch.write:error")
    latch = TradingLatch(tmp_path)
    latch.latch("disk full")
    assert latch.reason() == UNKNOWN


def test_a_latch_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LatchError, match=os.strerror(errno.ENOENT)):
        TradingLatch(tmp_path / "nowhere").latch("lost")


@pytest.mark.parametrize(
    ("point", "latched"), [("latch.write", False), ("latch.rename", False), ("latch.sync", True)]
)
def test_killed_on_the_way_it_is_whole_or_not_there(tmp_path: Path, point: str, latched: bool) -> None:
    script = (
        "from pathlib import Path\nfrom hft_engine.runtime.latch import TradingLatch\n"
        f"TradingLatch(Path({str(tmp_path)!r})).latch('killed')"
    )
    environment = {**os.environ, "HFT_FAULT_POINTS": f"{point}:kill"}
    assert subprocess.run([sys.executable, "-c", script], env=environment, check=False).returncode < 0
    latch = TradingLatch(tmp_path)
    assert latch.reason() == ("killed" if latched else None)
    latch.latch("again")
    assert latch.reason() == ("killed" if latched else "again")


def test_the_view_says_why_and_takes_it_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert view.show(tmp_path) == 0
    TradingLatch(tmp_path).latch("the disk is full")
    assert view.show(tmp_path) == 1
    view.reset(tmp_path)
    assert view.show(tmp_path) == 0
    out = capsys.readouterr().out
    assert "the disk is full" in out and "hft latch reset" in out and "taken off" in out
