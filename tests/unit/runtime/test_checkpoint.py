"""The two buffers of a checkpoint file, and taking a checkpoint while the state moves on."""

import gc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.runtime import snapshot
from hft_engine.runtime.checkpoint import (
    FACTS,
    CheckpointFile,
    Column,
    InForce,
    key_of,
    restore,
    write_durably,
)
from hft_engine.runtime.faultpoints import arm
from hft_engine.runtime.snapshot import EPOCH, Snapshots, keep_row
from hft_engine.shm.counters import Stats
from hft_engine.shm.segment import SegmentError

ROWS, WORDS = 50, 4
ROW_BYTES = WORDS * 8


def facts_of(value: int) -> np.ndarray:
    return np.full(FACTS, value, np.int64)


def rows_of(count: int, value: int) -> np.ndarray:
    return np.full((count, ROW_BYTES), value, np.uint8)


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    return CheckpointFile.open(tmp_path / "role.ckpt", 7, ROW_BYTES, ROWS)


def test_without_a_complete_checkpoint_there_is_none(file: CheckpointFile) -> None:
    assert file.newest() is None
    file.reserve(10)
    file.begin(10)
    assert file.newest() is None


def test_the_newest_complete_one_is_found_whatever_is_being_written(file: CheckpointFile) -> None:
    for value in range(1, 6):
        file.put(facts_of(value), rows_of(value, value))
        file.begin(3)  # and its writer dies
        newest = file.newest()
        assert newest is not None
        assert (newest.facts == value).all() and newest.rows.shape == (value, ROW_BYTES)
        assert (newest.rows == value).all()


def test_a_later_life_finds_the_same(file: CheckpointFile) -> None:
    file.put(facts_of(1), rows_of(5, 9))
    again = CheckpointFile.open(file.path, 7, ROW_BYTES, ROWS).newest()
    reader = CheckpointFile.attach(file.path)
    assert again is not None and reader is not None
    assert again.generation == 1 and (again.rows == 9).all()
    held = reader.newest()
    assert held is not None and (held.rows == 9).all() and reader.key == 7


def test_a_reader_learns_that_what_it_copied_was_taken_back(file: CheckpointFile) -> None:
    file.put(facts_of(1), rows_of(5, 1))
    held = file.newest()
    assert held is not None and file.still_holds(held)
    file.put(facts_of(2), rows_of(5, 2))
    assert file.still_holds(held)
    file.begin(5)
    assert not file.still_holds(held)


def test_a_file_of_another_configuration_is_refused(file: CheckpointFile) -> None:
    with pytest.raises(SegmentError, match="another configuration"):
        CheckpointFile.open(file.path, 8, ROW_BYTES, ROWS)


def test_there_is_no_file_to_read_before_there_is_one(tmp_path: Path) -> None:
    assert CheckpointFile.attach(tmp_path / "none.ckpt") is None
    (tmp_path / "half.ckpt").write_bytes(b"")
    assert CheckpointFile.attach(tmp_path / "half.ckpt") is None


def test_keys_tell_configurations_apart() -> None:
    assert key_of("a", 1) == key_of("a", 1) != key_of("a", 2)


class State:
    """Rows in two columns; ``move`` is what a kernel does to a row."""

    def __init__(self, directory: Path) -> None:
        self.first, self.second = np.zeros((ROWS, 3), np.int64), np.zeros(ROWS, np.float64)
        self.used = ROWS
        stats = Stats.private()
        stats.declare(snapshot.COUNTERS, ())
        self.counters = [stats.counter(name) for name in snapshot.COUNTERS]
        columns = [Column(self.first.reshape(-1), 24), Column(self.second, 8)]
        self.columns = columns
        self.file = snapshot_file(directory, columns)
        self.moment = 0
        self.snapshots = Snapshots(self.file, columns, lambda: self.used, self.write_facts, 1, self.counters)

    def write_facts(self, facts: np.ndarray) -> None:
        facts[0] = self.moment

    def move(self, row: int) -> None:
        if self.snapshots.control[EPOCH]:
            keep_row(self.snapshots.control, self.snapshots.marks, row)
        self.first[row] += 1
        self.second[row] += 0.5
        self.moment += 1

    def step(self) -> None:
        self.snapshots._due_ns = 0
        self.snapshots.tend()


def snapshot_file(directory: Path, columns: list[Column]) -> CheckpointFile:
    return CheckpointFile.open(directory / "state.ckpt", 1, sum(c.row_bytes for c in columns), ROWS)


@given(moves=st.lists(st.integers(-1, ROWS - 1), max_size=300))
def test_a_checkpoint_is_the_state_of_one_moment_however_steps_and_changes_alternate(
    tmp_path_factory: pytest.TempPathFactory, moves: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "STEP_NS_MAX", 0)  # a row a step
        take_one(State(tmp_path_factory.mktemp("run")), moves)


def take_one(state: State, moves: list[int]) -> None:
    history = {0: (state.first.copy(), state.second.copy())}
    for move in [*moves, *[-1] * (2 * ROWS)]:
        if move < 0:
            state.step()
        else:
            state.move(move)
            history[state.moment] = state.first.copy(), state.second.copy()
    newest = state.file.newest()
    assert newest is not None
    first, second = history[int(newest.facts[0])]
    restore(newest, state.columns)
    assert (state.first == first).all() and (state.second == second).all()


def test_a_step_ends_with_the_row_in_work_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "STEP_NS_MAX", 0)
    state = State(tmp_path)
    state.step()
    for _ in range(ROWS - 1):
        state.step()
        assert not state.counters[0].value
    state.step()
    assert state.counters[0].value == 1


def test_rows_that_come_into_use_meanwhile_are_not_part_of_it(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.used = 3
    state.step()
    state.used = ROWS
    state.move(40)
    while not state.counters[0].value:
        state.step()
    newest = state.file.newest()
    assert newest is not None and len(newest.rows) == 3


def test_an_ordered_stop_leaves_the_last_state(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.step()  # one is begun and given up
    state.move(1)
    state.snapshots.complete()
    newest = state.file.newest()
    assert newest is not None and int(newest.facts[0]) == 1


def test_a_full_file_system_costs_a_checkpoint_and_not_the_actor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(tmp_path)
    arm("checkpoint.begun:error")
    try:
        state.step()
    finally:
        arm("")
    assert state.counters[1].value == 1
    state.step()
    while not state.counters[0].value:
        state.step()
    assert state.file.newest() is not None


def test_what_a_role_was_told_is_found_by_its_next_life(tmp_path: Path) -> None:
    assert InForce(tmp_path / "session", "signals").read() is None
    InForce(tmp_path / "session", "signals").write({"model": "a"})
    assert InForce(tmp_path / "session", "signals").read() == {"model": "a"}


@pytest.mark.parametrize("point", ["file.written", "file.synced", "file.renamed"])
def test_a_file_is_whole_or_as_it_was_wherever_its_writer_stops(tmp_path: Path, point: str) -> None:
    path = tmp_path / "document"
    write_durably(path, b"old")
    arm(f"{point}:error")
    try:
        with pytest.raises(OSError):
            write_durably(path, b"new")
    finally:
        arm("")
    assert path.read_bytes() == (b"new" if point == "file.renamed" else b"old")
    write_durably(path, b"newer")
    assert path.read_bytes() == b"newer"


def test_reading_a_checkpoint_leaves_no_descriptor(tmp_path) -> None:
    path = tmp_path / "a.ckpt"
    CheckpointFile.open(path, 7, 64, 4).put(np.zeros(FACTS, np.int64), np.zeros((2, 64), np.uint8))
    gc.collect()  # descriptors that other tests have left to it
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        file = CheckpointFile.attach(path)
        assert file is not None and file.newest() is not None
        del file
    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # what else there was may have gone
