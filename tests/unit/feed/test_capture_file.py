"""Raw captures: what is written is read, and a file that was cut anywhere gives all that is whole."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.capture_file import (
    BINARY,
    TEXT,
    Capture,
    CaptureError,
    CaptureWriter,
    Frame,
    Header,
    without_query,
)

HEADER = Header("polygon", "ws://127.0.0.1:1/stocks", 17)
FRAMES = [
    Frame(1_700_000_000_000_000_000 + i, i, b"x" * (i * 7), i // 4, "sent" if i % 5 == 0 else "received",
          BINARY if i % 3 == 0 else TEXT)
    for i in range(20)
]  # fmt: skip
FOLDER = pytest.mark.parametrize("name", ["a.capture", "a.capture.zst"])


def written(path: Path, frames: list[Frame] = FRAMES) -> Path:
    with CaptureWriter(path, HEADER) as capture:
        for frame in frames:
            capture.write(frame)
    return path


@FOLDER
def test_what_is_written_is_read_more_than_once(tmp_path: Path, name: str) -> None:
    capture = Capture(written(tmp_path / name))
    assert capture.header == HEADER
    assert list(capture) == FRAMES == list(capture)
    assert capture.cut_bytes == 0


@FOLDER
def test_what_was_flushed_can_be_read_though_the_writer_never_closed(tmp_path: Path, name: str) -> None:
    writer = CaptureWriter(tmp_path / name, HEADER)
    for frame in FRAMES:
        writer.write(frame)
    writer.flush()
    copy = tmp_path / f"copy-{name}"
    copy.write_bytes((tmp_path / name).read_bytes())
    writer.close()
    assert list(Capture(copy)) == FRAMES


@given(st.data())
def test_a_file_cut_anywhere_gives_every_whole_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    whole = written(folder / "a.capture").read_bytes()
    start = whole.index(b"\n") + 1
    cut = data.draw(st.integers(start, len(whole)))
    (folder / "b.capture").write_bytes(whole[:cut])
    capture = Capture(folder / "b.capture")
    found = list(capture)
    assert found == FRAMES[: len(found)]
    assert start + sum(24 + len(frame.payload) for frame in found) + capture.cut_bytes == cut


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.capture", b"", "not a raw capture"),
        ("a.capture", b'{"venue":"x"}\n', "not a raw capture"),
        ("a.capture.zst", b"no zstd at all", "damaged"),
        ("a.capture", b'{"venue":"x","url":"u","started_ns":1,"version":9}\n', "version 9"),
    ],
)
def test_what_is_no_capture_is_refused(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=words):
        Capture(path)


def test_a_damaged_head_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.capture", FRAMES[:1])
    path.write_bytes(path.read_bytes() + b"\xff" * 40)
    with pytest.raises(CaptureError, match="damaged"):
        list(Capture(path))


def test_a_url_with_a_query_is_refused_it_may_hold_a_key(tmp_path: Path) -> None:
    url = "wss://ws.finnhub.io?token=SECRET"
    assert without_query(url) == "wss://ws.finnhub.io"
    with pytest.raises(CaptureError) as refused:
        CaptureWriter(tmp_path / "a.capture", Header("finnhub", url, 1))
    assert "SECRET" not in str(refused.value) and not (tmp_path / "a.capture").exists()
