"""Training on a Dask cluster of two worker processes: as good as here, and the work is shared."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_data import config, waves, write_bars

from hft_engine.inference.lightgbm_text import parse_model
from hft_engine.inference.tables import build_tables
from hft_engine.inference.trees import predict
from hft_engine.learn import cluster as clusters
from hft_engine.learn.cluster import Cluster
from hft_engine.learn.errors import TrainingError
from hft_engine.learn.labels import UNKNOWN
from hft_engine.learn.samples import Samples, read_samples
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.training import Trained, train
from hft_engine.learn.tuning import tune
from support.waiting import wait_for

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]  # Dask has warnings of its own
TASK = TASKS["peak_detection"]
CONFIG = config(folds=3, trees_max=40)
SWEEP = 20


def read(folder: Path, seed: int) -> Samples:
    return read_samples(CONFIG, [str(write_bars(folder / f"waves-{seed}.csv", waves(3_000, seed)))])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a scheduler with two workers, each a process of its own, on loopback."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    scheduler = [
        "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
        "--scheduler-file", str(file),
    ]  # fmt: skip
    worker = [
        "distributed.cli.dask_worker", "--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard",
        "--no-nanny", "--nthreads", "1", "--memory-limit", "0",
    ]  # fmt: skip
    log = (folder / "log").open("w")
    processes = [_start(scheduler, folder, log)]
    try:
        wait_for(lambda: file.exists() and file.stat().st_size > 0, "the scheduler", 60)
        processes += [_start(worker, folder, log) for _ in range(2)]
        yield str(json.loads(file.read_text())["address"])
    finally:
        for process in processes:
            process.kill()
            process.wait(20)
        log.close()


def _start(module: list[str], folder: Path, log: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", *module], cwd=folder, stdout=log, stderr=log)


@pytest.fixture
def cluster(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(clusters, "CONNECT_S", 100.0)  # a machine at work takes its time to start two workers
    with Cluster(address) as connected:
        wait_for(lambda: connected.workers == 2, "two workers", 100)
        yield connected


def executed(cluster: Cluster) -> dict[str, int]:
    """Tasks that each worker has done so far."""
    return dict(cluster._client.run(lambda dask_worker: dask_worker.state.executed_count))


def auc_of(trained: Trained, samples: Samples) -> float:
    """Of the final model on rows that it did not learn from, through the engine's own trees."""
    from sklearn.metrics import roc_auc_score

    classes, _ = TASK.label(samples, CONFIG, np.ones(len(samples), np.bool_))
    known = classes != UNKNOWN
    ensemble = parse_model(trained.text.encode(), "the model")
    tables = build_tables(ensemble, list(range(len(samples.names))), 1, False)
    vectors = np.full((known.sum(), 63), np.nan)
    vectors[:, : len(samples.names)] = samples.rows[known]
    return float(roc_auc_score(classes[known] == 1, predict(tables, vectors)[:, 0]))


def test_two_workers_train_what_one_machine_trains(cluster: Cluster, tmp_path: Path) -> None:
    samples, others = read(tmp_path, 0), read(tmp_path, 1)
    before = executed(cluster)
    here = train(TASK, samples, CONFIG)
    there = train(TASK, samples, CONFIG, workshop=cluster.workshop)
    assert there.report.figures == here.report.figures  # the folds are the same wherever they are computed
    assert there.report.trees == here.report.trees
    assert auc_of(here, others) > 0.7
    assert abs(auc_of(there, others) - auc_of(here, others)) < 0.01
    assert there.text != here.text  # grown by two workers together, with histograms of their own rows
    assert all(count > before[worker] for worker, count in executed(cluster).items())


def test_a_sweep_uses_both_workers(cluster: Cluster, tmp_path: Path) -> None:
    before = executed(cluster)
    tuned = tune(
        TASK, read(tmp_path, 0), CONFIG, tmp_path, SWEEP, score=cluster.score, at_once=cluster.workers
    )
    done = [count - before[worker] for worker, count in executed(cluster).items()]
    assert tuned.trials == SWEEP and sum(done) >= SWEEP
    assert min(done) >= SWEEP // 4


def test_an_address_where_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:1", "127.0.0.1:1", "nonsense://there"):
        with pytest.raises(TrainingError, match=f"--dask {address}: no Dask scheduler answers"):
            Cluster(address)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(TrainingError, match=r"hft-engine\[dask\]"):
        Cluster("tcp://127.0.0.1:1")
