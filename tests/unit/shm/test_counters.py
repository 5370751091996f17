from pathlib import Path

import pytest

from hft_engine.shm.counters import ActorState, Stats
from hft_engine.shm.segment import SegmentError


def test_counters_and_histograms_are_visible_to_another_mapping(tmp_path: Path) -> None:
    Stats.create(tmp_path / "a.stats")
    writer = Stats.attach(tmp_path / "a.stats")
    writer.declare(("ticks", "bars"), ("hop",))
    writer.counter("bars").add(3)
    writer.histogram("hop")[0] = 7
    writer.state = ActorState.RUNNING
    reader = Stats.attach(tmp_path / "a.stats", writable=False)
    assert reader.counters() == {"ticks": 0, "bars": 3}
    assert reader.histogram_names == ["hop"]
    assert reader.histogram("hop")[0] == 7
    assert reader.state is ActorState.RUNNING


def test_restarted_writer_counts_on(tmp_path: Path) -> None:
    Stats.create(tmp_path / "a.stats")
    Stats.attach(tmp_path / "a.stats").declare(("ticks",), ())
    Stats.attach(tmp_path / "a.stats").counter("ticks").add(5)
    second = Stats.attach(tmp_path / "a.stats")
    second.declare(("ticks",), ())
    second.counter("ticks").add()
    assert second.counters()["ticks"] == 6


def test_undeclared_name_is_refused_with_the_declared_ones() -> None:
    stats = Stats.private()
    stats.declare(("ticks",), ())
    with pytest.raises(KeyError, match="declared: ticks"):
        stats.counter("tocks")


def test_more_counters_than_fit_are_refused() -> None:
    with pytest.raises(SegmentError, match="room for"):
        Stats.private().declare([f"c{i}" for i in range(200)], ())


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.stats").write_bytes(bytes(4096))
    with pytest.raises(SegmentError, match="no hft_engine segment"):
        Stats.attach(tmp_path / "a.stats")
