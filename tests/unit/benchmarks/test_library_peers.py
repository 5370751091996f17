import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from benchmarks import harness, workload
from benchmarks.micro import indicator_peers as peers
from benchmarks.micro import indicators, inference, inference_batches, storage
from benchmarks.micro.inference_peers import FastConfig, treelite

from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables

ROWS = 50


@pytest.fixture
def report() -> harness.Report:
    return harness.Report("sample", harness.Options(quick=True, runs=2))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, np.ndarray]:
    path = tmp_path_factory.mktemp("model") / "model.txt"
    rows = workload.model_rows(4_000)
    return path, workload.train_model(path, rows), rows


def test_a_peer_that_is_missing_is_named_with_its_remedy_and_the_others_take_part(
    report: harness.Report,
) -> None:
    def missing() -> int:
        raise ModuleNotFoundError("No module named 'nowhere'", name="nowhere")

    def silent() -> int:
        raise harness.LeftOutError("no answer; remedy: start it")

    assert report.gather({"a": missing, "b": silent, "c": lambda: 3}) == {"c": 3}
    assert "a: no module nowhere; remedy: pip install" in report.notes[0]
    assert "b: no answer; remedy: start it" in report.notes[1]


def test_contenders_take_turns(report: harness.Report) -> None:
    order: list[str] = []
    runs = report.interleave({name: lambda name=name: order.append(name) for name in "ab"})
    assert order == ["a", "b", "a", "b"]
    assert runs == {"a": [None, None], "b": [None, None]}


def test_every_way_to_ask_the_model_gives_what_booster_predict_gives(
    model: tuple[Path, str, np.ndarray],
) -> None:
    import lightgbm

    path, text, rows = model
    booster = lightgbm.Booster(model_str=text)
    tables = build_tables(parse_model(text.encode(), "sample"), range(rows.shape[1]))
    few = rows[:ROWS]
    with FastConfig(path, rows.shape[1]) as fast:
        peer = fast.peer()
        runs = [
            inference.compiled(inference.traverse, inference.context_of(tables), few),
            inference.ours_from_python(tables, few),
            inference.compiled(peer.kernel, peer.context, few),
            inference.peer_from_python(peer, few),
            inference.booster_predict(booster, few),
        ]
    for run in runs:
        assert run.out.tolist() == booster.predict(few).tolist()
        assert (run.spent > 0).all()


def test_every_way_to_predict_a_batch_gives_what_booster_predict_gives(
    model: tuple[Path, str, np.ndarray],
) -> None:
    import lightgbm

    _, text, rows = model
    booster = lightgbm.Booster(model_str=text)
    tables = build_tables(parse_model(text.encode(), "sample"), range(rows.shape[1]))
    few = rows[:ROWS]
    expected = np.asarray(booster.predict(few))
    for predict in inference_batches.contenders(booster, tables).values():
        assert inference_batches.row_us(predict, 7, few, expected) > 0.0  # and one row is left over
        with pytest.raises(RuntimeError, match="a batch differs"):
            inference_batches.row_us(predict, 7, few, expected + 1e-12)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_treelite_is_compiled_and_called_both_ways(
    model: tuple[Path, str, np.ndarray], tmp_path: Path
) -> None:
    pytest.importorskip("tl2cgen")
    pytest.importorskip("treelite")
    import lightgbm

    path, text, rows = model
    peer = treelite(path, tmp_path)
    expected = lightgbm.Booster(model_str=text).predict(rows[:ROWS])
    in_jit = inference.compiled(peer.kernel, peer.context, rows[:ROWS])
    assert in_jit.out.tolist() == inference.peer_from_python(peer, rows[:ROWS]).out.tolist()
    inference.check({"treelite": [in_jit]}, np.asarray(expected))


def test_the_depth_of_a_leaf_is_the_decisions_before_it(model: tuple[Path, str, np.ndarray]) -> None:
    for tree in parse_model(model[1].encode(), "sample").trees:
        depths = inference.leaf_depths(tree)
        assert sum(0.5**depth for depth in depths) == 1.0  # of a binary tree, and of nothing else


def test_ours_may_not_differ_at_all_and_a_peer_only_in_few_rows() -> None:
    expected, off = np.zeros(1_000), np.zeros(1_000)
    off[0] = 0.1
    run = inference.Run(np.ones(1_000), off)
    assert inference.check({"treelite": [run]}, expected)["treelite"].max() == 0.1
    with pytest.raises(RuntimeError, match=r"ours differs by up to 0\.1"):
        inference.check({"ours": [run]}, expected)
    with pytest.raises(RuntimeError, match=r"in 100\.0% of the rows"):
        inference.check({"treelite": [inference.Run(np.ones(1_000), off + 1.0)]}, expected)


@pytest.mark.parametrize("peer", [peers.talib_handles, peers.talipp])
def test_the_indicator_peers_agree_with_our_kernel(peer: Callable[[np.ndarray], peers.Updates]) -> None:
    pytest.importorskip("talipp" if peer is peers.talipp else "talib")
    prices = peers.walks(30, 2)
    try:
        given = peer(prices)
    except harness.LeftOutError as error:
        pytest.skip(str(error))
    assert given.ns > 0
    indicators._compare("peer", given.last, peers.ours(prices).last)


def test_in_a_crowd_all_instruments_do_the_same_work() -> None:
    pattern = indicators.crowd_pattern(90)
    assert pattern["kind"].tolist() == [1, 2, 2] * (len(pattern) // 3)
    crowd = indicators.Crowd(7, pattern)
    ticks = crowd._ticks(0, 700)
    assert (np.diff(ticks["ts_venue_ns"]) > 0).all()
    assert np.bincount(ticks["instrument_id"]).tolist() == [100] * 7
    assert len(set(ticks["price"][:7])) == 1
    assert crowd.run(500) > 0.0


def test_every_place_holds_all_rows_afterwards(report: harness.Report) -> None:
    symbols, rows = storage.trades(400)
    plain = storage.sinks.plain_rows(rows, symbols)
    with ExitStack() as stack:
        made = report.gather(storage.places(symbols, stack))
        assert {storage.JOURNAL, storage.SQLITE_SINK, storage.SQLITE} <= set(made)
        for name, make in made.items():
            run = storage.measure(make, plain if name == storage.RAW_ROWS else rows, batch=150)
            assert len(run.batch_ns) == 3


def test_a_place_that_lost_rows_is_told() -> None:
    class Loses:
        synced = False

        def write(self, rows: np.ndarray) -> None: ...

        def close(self) -> None: ...

        def stored(self) -> int:
            return 0

    _, rows = storage.trades(10)
    with pytest.raises(RuntimeError, match="0 of 10 rows"):
        storage.measure(lambda _: Loses(), rows)
