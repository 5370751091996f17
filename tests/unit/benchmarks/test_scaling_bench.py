import os
from pathlib import Path

import numpy as np
import pytest
from benchmarks import harness, machine, workload
from benchmarks.load import scaling_connections, scaling_models
from benchmarks.micro import ring

from hft_engine.inference.trees import predict

two_cores_needed = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="a spinning chain and its load need a core each"
)


@pytest.fixture
def report() -> harness.Report:
    return harness.Report("scaling", harness.options("test", ["--quick", "--runs", "1"]))


def test_a_writer_is_measured_with_readers_that_do_nothing_and_with_ones_that_read() -> None:
    assert ring.idle_rate(100_000, 8, 16) > 0
    assert ring.followed_rate(100_000, 2, 16) > 0


def test_a_rate_comes_with_how_far_the_two_cores_are_apart() -> None:
    rate, line_ns = ring.ring_rate(100_000)
    assert rate > 0
    assert 1 < line_ns < 100_000


def test_a_reader_that_does_not_add_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hft_engine.shm.ring.Ring.lapped", lambda self, reader: -1)
    with pytest.raises(RuntimeError, match="do not add up"):
        ring.followed_rate(1_000, 1)


def test_every_model_gives_its_own_output_for_every_record(
    report: harness.Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = workload.model_rows(3_000)[:400]
    monkeypatch.setattr(workload, "model_rows", lambda count: rows[:count])
    monkeypatch.setattr(scaling_models, "MODELS", (1, 2))
    shelf = scaling_models.trained(2, rows)
    spent, out = shelf.run(2, rows)
    assert (spent > 0).all()
    for m, tables in enumerate(shelf.models):
        np.testing.assert_array_equal(out[:, m], predict(tables, rows)[:, 0])
    assert (out[:, 0] != out[:, 1]).any()
    monkeypatch.setattr(scaling_models, "trained", lambda count, rows: shelf)
    panel = scaling_models.panel(report, 200)
    found = {result["name"]: result["value"] for result in report.results}
    assert found["scaling_2_models_record_ns"] == pytest.approx(
        2 * found["scaling_2_models_each_ns"], rel=1e-5
    )
    assert panel.lines[0].y == pytest.approx([found[f"scaling_{n}_models_each_ns"] for n in (1, 2)], rel=1e-5)


def test_caches_are_read_as_the_kernel_shows_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [
        ("Data", "1", "48K"),
        ("Instruction", "1", "64K"),
        ("Unified", "2", "2M"),
        ("Unified", "3", "512"),
    ]
    for i, values in enumerate(shown):
        (tmp_path / f"index{i}").mkdir()
        for name, value in zip(("type", "level", "size"), values, strict=True):
            (tmp_path / f"index{i}" / name).write_text(value + "\n")
    monkeypatch.setattr(machine, "CACHES", tmp_path)
    assert machine.caches() == {"L1": 48 << 10, "L2": 2 << 20, "L3": 512}
    text = scaling_models.sizes(96 << 10)
    assert "L1 (48 KiB) holds 0.5" in text
    assert "L2 (2,048 KiB) holds 21.3" in text
    monkeypatch.setattr(machine, "CACHES", tmp_path / "none")
    assert machine.caches() == {}


@two_cores_needed
def test_connections_bring_every_tick_and_figures(
    report: harness.Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scaling_connections, "CONNECTIONS", (1, 3))
    spent = scaling_connections.latency_ns(3, scaling_connections.Frames(30, 1))
    assert len(spent) == 30
    assert (spent > 0).all()
    panels = scaling_connections.panels(report, 20, 2_000)
    found = {result["name"]: result["value"] for result in report.results}
    assert found["scaling_3_connections_p50_us"] <= found["scaling_3_connections_p99_us"]
    assert panels[1].lines[0].y[1] == pytest.approx(found["scaling_3_connections_ticks_per_s"], rel=1e-5)


@two_cores_needed
def test_a_frame_that_is_left_to_the_decoder_is_an_error() -> None:
    frames = scaling_connections.Frames(40, 1)
    frames.text = frames.text.copy()
    frames.text[frames.offsets[20] : frames.offsets[20] + 4] = ord(" ")
    with pytest.raises(RuntimeError, match="left to the general decoder"):
        scaling_connections.latency_ns(2, frames)
