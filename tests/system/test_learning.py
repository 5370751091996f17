"""Models that learn beside a running engine: trained, tried, judged, swapped in, taken back; with real processes."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import lightgbm
import msgspec
import numpy as np
import psutil
import pytest

from hft_engine.config.load import load_config
from hft_engine.config.schema import Config
from hft_engine.learn.command import register
from hft_engine.learn.demo import demo_samples
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.training import train
from hft_engine.models.registry import Entry, Registry
from support.engine import ROOT, Engine, demo, hft
from support.waiting import wait_for

TASK = "entry_timing"
# Entries of the next second: a block is one second then, not three, and what takes three minutes in the demo takes one.
FAST = ("learning.prediction_horizon=1",)
DECIDED = ("live", "refused", "retired", "rolled_back")

pytestmark = [pytest.mark.system, pytest.mark.timeout(420)]


def entries(engine: Engine, name: str = "") -> list[Entry]:
    """What `hft models ls` shows, without a process of its own for every look."""
    root = engine.directory / "data" / "models"
    return Registry(root).entries(name) if (root / "registry.db").exists() else []


def log(engine: Engine, name: str) -> str:
    path = engine.directory / "logs" / f"{name}.log"
    return path.read_text() if path.exists() else ""


def test_within_minutes_a_model_is_trained_tried_and_judged(tmp_path: Path) -> None:
    with demo(tmp_path, *FAST, "learning.interval_s=25", f"learning.tasks={TASK}", learning=True) as engine:
        wait_for(lambda: entries(engine), "a trained model", 120)
        wait_for(
            lambda: any(entry.status in DECIDED for entry in entries(engine)),
            "a model promoted or refused",
            240,
        )
        listed = hft("models", "ls", "--json", "--registry", str(tmp_path / "data" / "models"))
        judged = next(row for row in json.loads(listed.stdout) if row["status"] in DECIDED)
        registry = Registry(tmp_path / "data" / "models")
        changes = registry.changes(judged["name"], judged["version"])
        assert [change.after for change in changes][:2] == ["candidate", "shadow"]
        assert "nats a row over" in changes[2].reason, "what became of it, and why"
        assert "training begins" in log(engine, "model_trainer")
        assert f"model_trained: {judged['name']} {judged['version']}" in log(engine, "model_trainer")
        assert f"{judged['name']} {judged['version']}" in log(engine, "shadow")
        status = engine.status()
        assert status["learning"]["registered"] >= 1
        assert status["learning"]["promoted"] + status["learning"]["refused"] >= 1
        assert {actor["role"] for actor in status["actors"]} >= {"trainer", "shadow"}
        assert all(actor["restarts"] == 0 for actor in status["actors"])


# ---- a registry made beforehand, and an engine that does not train ------------------------------------------------


@pytest.fixture(scope="module")
def config() -> Config:
    overrides = (*FAST, "learning.folds=2", "learning.trees_max=20")
    return load_config(ROOT / "config/demo.yaml", overrides, env={}, dotenv_path=None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, config: Config) -> Path:
    """A registry: a model of the demo's market of another seed, live, and one that learned that up is down."""
    root: Path = tmp_path_factory.mktemp("models")
    assert config.simulator is not None
    market = msgspec.structs.replace(config.simulator, seed=99)
    samples, _ = demo_samples(msgspec.structs.replace(config, simulator=market), 90)
    good = train(TASKS[TASK], samples, config)
    registry = Registry(root)
    first = register(registry, good, samples)
    registry.promote(TASK, first.version, force=True)
    label = TASKS[TASK].label(samples, config, np.ones(len(samples), np.bool_)).classes
    rows, turned = samples.rows[label >= 0], 1 - label[label >= 0]
    data = lightgbm.Dataset(rows, turned, feature_name=list(samples.names))
    wrong = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 10)
    plain = msgspec.structs.replace(good.metadata, calibration=())
    worse = replace(good, text=wrong.model_to_string(), metadata=plain)
    register(registry, worse, samples)
    return root


def with_models(folder: Path, trained: Path) -> None:
    shutil.copytree(trained, folder / "data" / "models", symlinks=True)


def with_candidate(folder: Path, trained: Path) -> tuple[Registry, Entry]:
    """The same, and the second model in shadow."""
    with_models(folder, trained)
    registry = Registry(folder / "data" / "models")
    _, candidate = registry.entries(TASK)
    registry.set_status(TASK, candidate.version, "shadow", "test")
    return registry, candidate


ONLY_SHADOW = (*FAST, "learning.interval_s=100000", f"learning.tasks={TASK}")


@pytest.mark.expects_errors("model_rolled_back")
def test_a_model_that_is_worse_after_its_promotion_is_rolled_back(tmp_path: Path, trained: Path) -> None:
    with_models(tmp_path, trained)
    with demo(tmp_path, *ONLY_SHADOW, learning=True) as engine:
        good, worse = entries(engine, TASK)
        wait_for(lambda: "model_deployed" in log(engine, "shadow"), "the live model in the engine", 60)
        root = str(tmp_path / "data" / "models")
        promoted = hft("models", "promote", TASK, worse.version, "--force", "--registry", root)
        assert promoted.returncode == 0, promoted.stderr
        wait_for(
            lambda: f"{worse.version} predicts from now on" in log(engine, "shadow"), "the worse one", 30
        )
        wait_for(lambda: entries(engine, TASK)[1].status == "rolled_back", "the rollback", 240)
        wait_for(
            lambda: log(engine, "shadow").count(f"{good.version} predicts from now on") == 2, "the swap", 30
        )
        assert entries(engine, TASK)[0].status == "live"
        reason = Registry(Path(root)).changes(TASK, worse.version)[-1].reason
        assert "worse than the one before it" in reason
        assert engine.status()["counters"]["inference"]["swaps"] == 3
        run_id = engine.status()["run_id"]
        engine.stop()
    verified = hft("replay", "--verify", str(tmp_path / "data" / "journal" / run_id), timeout_s=240)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "IDENTICAL" in verified.stdout


@pytest.mark.expects_errors("hang: shadow", "restart: shadow", "restart asked", "no heartbeat")
def test_a_candidate_that_hangs_its_scoring_is_refused_and_nothing_live_changes(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, candidate = with_candidate(tmp_path, trained)
    monkeypatch.setenv("HFT_FAULT_POINTS", "shadow.score:stop")
    with demo(tmp_path, *ONLY_SHADOW, learning=True) as engine:
        wait_for(lambda: entries(engine, TASK)[1].status == "refused", "the refusal", 120)
        # Not how often it was started again: a machine that starves it for three seconds kills it once more.
        assert "ended the process 2 times" in registry.changes(TASK, candidate.version)[-1].reason
        status = engine.status()
        assert entries(engine, TASK)[0].status == "live"
        assert {actor["role"] for actor in status["actors"] if actor["restarts"]} == {"shadow"}
        assert status["counters"]["inference"]["swaps"] == 1
        before = engine.status()["signals"]["published"]
        engine.wait_for_signals(before)


@pytest.mark.expects_errors("restart: shadow", "crash: MemoryError")
def test_a_candidate_that_takes_all_memory_is_refused_and_nothing_live_changes(
    tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, candidate = with_candidate(tmp_path, trained)
    monkeypatch.setenv("HFT_FAULT_POINTS", "shadow.score:memory")
    with demo(tmp_path, *ONLY_SHADOW, "learning.memory_mb=1024", learning=True) as engine:
        wait_for(lambda: entries(engine, TASK)[1].status == "refused", "the refusal", 120)
        # Who is told first that there is none left, the scoring or the rest of its process, is chance.
        reason = registry.changes(TASK, candidate.version)[-1].reason
        assert "MemoryError" in reason or "ended the process" in reason
        assert "no end" not in reason, "the limit held"
        status = engine.status()
        assert entries(engine, TASK)[0].status == "live"
        assert {actor["role"] for actor in status["actors"] if actor["restarts"]} <= {"shadow"}
        assert status["counters"]["inference"]["swaps"] == 1
        engine.wait_for_signals(status["signals"]["published"])


def test_a_candidate_that_cannot_be_loaded_is_refused(tmp_path: Path, trained: Path) -> None:
    registry, candidate = with_candidate(tmp_path, trained)
    (registry.folder(candidate) / "model.txt").write_text("tree\nnot a model\n")
    with demo(tmp_path, *ONLY_SHADOW, learning=True) as engine:
        wait_for(lambda: entries(engine, TASK)[1].status == "refused", "the refusal", 120)
        assert "cannot be scored: ModelError" in registry.changes(TASK, candidate.version)[-1].reason
        assert all(actor["restarts"] == 0 for actor in engine.status()["actors"])


@pytest.mark.expects_errors("restart: (shadow|trainer)", "role_lost")
def test_the_engine_goes_on_without_its_learning_roles(tmp_path: Path) -> None:
    with demo(tmp_path, "supervisor.restarts_max=1", learning=True) as engine:
        for role in ("trainer", "shadow"):
            for _ in range(2):
                wait_for(lambda role=role: running(engine, role), f"{role} runs", 60)
                pid = engine.pid_of(role)
                os.kill(pid, signal.SIGKILL)
                wait_for(lambda pid=pid: not psutil.pid_exists(pid), f"{role} is gone", 30)
        wait_for(lambda: not running(engine, "shadow"), "the shadow given up", 30)
        engine.wait_for_signals(engine.status()["signals"]["published"])
        assert engine.status()["state"] == "running"


def running(engine: Engine, role: str) -> bool:
    return any(actor["role"] == role and actor["state"] == "running" for actor in engine.status()["actors"])


@pytest.mark.expects_errors("restart: trainer")
def test_a_trainer_killed_in_a_training_takes_its_process_along_and_trains_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch = tmp_path / "armed"
    switch.touch()
    monkeypatch.setenv("HFT_FAULT_POINTS", "registry.row:stop")
    monkeypatch.setenv("HFT_FAULT_POINTS_WHILE", str(switch))
    with demo(tmp_path, *FAST, "learning.interval_s=25", f"learning.tasks={TASK}", learning=True) as engine:
        trainer = psutil.Process(engine.pid_of("trainer"))
        halted = psutil.STATUS_STOPPED
        wait_for(
            lambda: any(c.status() == halted for c in trainer.children()), "a training halted half-way", 150
        )
        (training,) = trainer.children()
        assert entries(engine) == []
        switch.unlink()
        trainer.kill()
        wait_for(lambda: not training.is_running(), "the training's end", 30)
        wait_for(lambda: entries(engine, TASK), "the next training's model", 150)
        root = tmp_path / "data" / "models"
        assert not list((root / TASK).glob(".new-*"))
        assert all(Registry(root).metadata(entry).version == entry.version for entry in entries(engine))
        assert engine.status()["state"] == "running"
