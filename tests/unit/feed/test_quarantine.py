import base64
import json
from pathlib import Path

from hft_engine.feed.quarantine import Quarantine


def test_a_frame_is_kept_as_it_came(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "deep" / "run.jsonl", 10_000)
    quarantine.keep(b'[{"ev":"T"}]', 5, ["no price"])
    quarantine.keep(b"\xff\x00", 6, [])
    first, second = map(json.loads, quarantine.path.read_text().splitlines())
    assert first == {"ts_recv_ns": 5, "reasons": ["no price"], "frame": '[{"ev":"T"}]'}
    assert base64.b64decode(second["frame_base64"]) == b"\xff\x00"
    assert (quarantine.kept, quarantine.dropped) == (2, 0)


def test_nothing_is_written_before_there_is_something_to_keep(tmp_path: Path) -> None:
    Quarantine(tmp_path / "run.jsonl", 10_000)
    assert not list(tmp_path.iterdir())


def test_the_file_never_outgrows_its_limit_not_even_over_restarts(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for _ in range(3):
        quarantine = Quarantine(path, 500)
        for _ in range(10):
            quarantine.keep(b"x" * 50, 1, [])
        assert path.stat().st_size <= 500
    assert quarantine.dropped == 10


def test_a_disk_that_refuses_is_counted_and_said_once(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "run.jsonl", 10_000)
    quarantine.path.mkdir()
    quarantine.keep(b"a", 1, [])
    quarantine.keep(b"b", 1, [])
    assert (quarantine.kept, quarantine.dropped) == (0, 2)
    assert quarantine.trouble is not None and str(quarantine.path) in quarantine.trouble
