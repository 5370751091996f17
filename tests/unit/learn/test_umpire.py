"""What the umpire does to registry and engine, over a real control socket that answers as an engine would."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from learning_data import config, waves, write_bars

from hft_engine.config.schema import Config
from hft_engine.indicators.features import feature_schema
from hft_engine.learn.command import register
from hft_engine.learn.samples import Samples, read_samples
from hft_engine.learn.tasks import TASKS
from hft_engine.learn.training import Trained, train
from hft_engine.learn.umpire import DEATHS_MAX, MEMORY_FILE, SWAP_TRIES, Memory, Told, Umpire
from hft_engine.models.registry import Entry, Registry
from hft_engine.runtime.control import Hub
from hft_engine.runtime.messages import Command, Reply, SwapModel

TASK = "entry_timing"


def configured() -> Config:
    made = config(trees_max=10, folds=2)
    return msgspec.structs.replace(made, learning=msgspec.structs.replace(made.learning, tasks=(TASK,)))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    path = write_bars(tmp_path_factory.mktemp("bars") / "waves.csv", waves(1_500))
    return read_samples(configured(), [str(path)])


@pytest.fixture(scope="module")
def trained(samples: Samples) -> Trained:
    return train(TASKS[TASK], samples, configured())


class Answering:
    """The control socket; ``refusal``: what every swap is answered with, empty: it is made."""

    def __init__(self, folder: Path) -> None:
        self._hub = Hub(folder)
        self.refusal = ""
        self.swaps: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._hub.socket.poll(20)
            for peer, message in self._hub.receive():
                if isinstance(message, Command) and isinstance(message.body, SwapModel):
                    self.swaps.append(Path(message.body.path).parent.name)
                    self._hub.send(peer, Reply(message.id, not self.refusal, self.refusal))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._hub.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Answering]:
    made = Answering(tmp_path)
    yield made
    made.close()


def versions(registry: Registry, trained: Trained, samples: Samples, count: int) -> list[Entry]:
    return [register(registry, another(trained, number), samples) for number in range(count)]


def another(trained: Trained, number: int) -> Trained:
    """The same model by another name of its file: another version."""

    return replace(trained, text=f"{trained.text}\n{'#' * number}")


def umpire(folder: Path, told: list[Told]) -> Umpire:
    made = configured()
    return Umpire(made, feature_schema(made.indicators), Registry(folder / "models"), folder, told.append)


def test_what_is_live_is_brought_into_the_engine_once_and_again_when_it_changes(
    tmp_path: Path, engine: Answering, trained: Trained, samples: Samples
) -> None:
    registry, told = Registry(tmp_path / "models"), []
    first, second = versions(registry, trained, samples, 2)
    registry.promote(TASK, first.version, force=True)
    judge = umpire(tmp_path, told)
    judge.round(None)
    judge.round(None)
    registry.promote(TASK, second.version, force=True)
    judge.round(None)
    umpire(tmp_path, told).round(None)
    assert engine.swaps == [first.version, second.version], "a next life knows what the engine has"
    registry.roll_back(TASK)
    judge.round(None)
    assert engine.swaps[-1] == first.version


def test_a_model_that_the_engine_refuses_again_and_again_is_not_live(
    tmp_path: Path, engine: Answering, trained: Trained, samples: Samples
) -> None:
    registry, told = Registry(tmp_path / "models"), []
    first, second = versions(registry, trained, samples, 2)
    registry.promote(TASK, first.version, force=True)
    judge = umpire(tmp_path, told)
    judge.round(None)
    registry.promote(TASK, second.version, force=True)
    engine.refusal = "of no use"
    for _ in range(SWAP_TRIES - 1):
        judge.round(None)
    assert registry.live(TASK).version == second.version  # type: ignore[union-attr]
    judge.round(None)
    assert registry.live(TASK).version == first.version  # type: ignore[union-attr]
    assert "of no use" in registry.changes(TASK, second.version)[-1].reason
    assert told[-1].kind == "swap_refused"


def test_a_candidate_whose_scoring_killed_the_process_twice_is_refused(
    tmp_path: Path, trained: Trained, samples: Samples
) -> None:
    registry, told = Registry(tmp_path / "models"), []
    (candidate,) = versions(registry, trained, samples, 1)
    registry.set_status(TASK, candidate.version, "shadow", "test")
    for life in range(DEATHS_MAX):
        memory = (
            Memory() if life == 0 else msgspec.json.decode((tmp_path / MEMORY_FILE).read_bytes(), type=Memory)
        )
        memory.scoring = f"{TASK} {candidate.version}"
        (tmp_path / MEMORY_FILE).write_bytes(msgspec.json.encode(memory))
        judge = umpire(tmp_path, told)
    judge.round(samples)
    assert registry.entry(TASK, candidate.version).status == "refused"
    assert "ended the process" in told[-1].text


def test_of_two_candidates_the_newer_is_tried(tmp_path: Path, trained: Trained, samples: Samples) -> None:
    registry, told = Registry(tmp_path / "models"), []
    older, newer = versions(registry, trained, samples, 2)
    for entry in (older, newer):
        registry.set_status(TASK, entry.version, "shadow", "test")
    umpire(tmp_path, told).round(None)
    assert [entry.status for entry in registry.entries(TASK)] == ["refused", "shadow"]


def test_no_row_is_scored_that_a_candidate_has_learned_from(
    tmp_path: Path, trained: Trained, samples: Samples
) -> None:
    registry, told = Registry(tmp_path / "models"), []
    (candidate,) = versions(registry, trained, samples, 1)
    registry.set_status(TASK, candidate.version, "shadow", "test")
    umpire(tmp_path, told).round(samples)
    assert registry.entry(TASK, candidate.version).status == "shadow"
    assert sum(one.count for one in told if one.counter == "blocks") == 0
