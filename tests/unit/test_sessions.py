"""Which session is the last, what may be resumed, and taking over a killed engine's run directory."""

import fcntl
import os
from pathlib import Path

import msgspec
import pytest

from hft_engine import sessions
from hft_engine.config.schema import Config, EngineConfig, IndicatorConfig, PersistenceConfig
from hft_engine.persistence.journal.session import session_dir
from hft_engine.runtime import rundir
from hft_engine.runtime.plan import BELLS_FILE
from hft_engine.sessions import SessionError, last_session, mark_of, take_over, to_resume, write_mark
from hft_engine.shm.counters import Stats
from hft_engine.shm.segment import Segment


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(engine=EngineConfig(data_dir=str(tmp_path / "data"), run_root=str(tmp_path / "run")))


def write(config: Config, run_id: str, state: str = "running", started_ns: int = 0) -> None:
    mark = msgspec.structs.replace(mark_of(config, run_id, state), started_ns=started_ns)
    write_mark(Path(config.engine.data_dir), mark)


def test_the_last_session_is_the_one_that_was_started_last(config: Config) -> None:
    data_dir = Path(config.engine.data_dir)
    assert last_session(data_dir) is None
    for run_id, started_ns in (("hft-b", 2), ("hft-a", 3), ("hft-c", 1)):
        write(config, run_id, started_ns=started_ns)
    (session_dir(data_dir, "hft-x")).mkdir()
    (session_dir(data_dir, "hft-x") / sessions.MARK).write_bytes(b"{")
    found = last_session(data_dir)
    assert found is not None and found.run_id == "hft-a"
    assert to_resume(config).run_id == "hft-a"
    assert to_resume(config, "hft-b").run_id == "hft-b"
    with pytest.raises(SessionError, match="no session hft-z in"):
        to_resume(config, "hft-z")


def test_where_there_is_nothing_to_resume_it_says_so(config: Config) -> None:
    with pytest.raises(SessionError, match=r"no session in .* start without --resume"):
        to_resume(config)
    write(config, "hft-a")
    without = msgspec.structs.replace(config, persistence=PersistenceConfig(journal=False))
    with pytest.raises(SessionError, match=r"persistence\.journal is off"):
        to_resume(without)


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_session_goes_on_with_the_configuration_it_had(config: Config, state: str) -> None:
    write(config, "hft-a", state)
    assert to_resume(config).run_id == "hft-a"
    other = msgspec.structs.replace(config, indicators=IndicatorConfig(rsi=5))
    with pytest.raises(SessionError, match=r"hft-a was made with another indicators: .* had"):
        to_resume(other)
    engine = msgspec.structs.replace(config.engine, instruments_max=7)
    with pytest.raises(SessionError, match=r"another engine\.instruments_max"):
        to_resume(msgspec.structs.replace(config, engine=engine))


def manifest(config: Config, run_id: str = "hft-a", layout: str = "dedicated") -> rundir.Manifest:
    return rundir.Manifest(
        run_id=run_id,
        name="hft",
        pid=1,
        layout=layout,
        source="feed",
        venue="demo",
        started_utc_ns=0,
        started_mono_ns=0,
        data_dir=config.engine.data_dir,
        log_dir="logs",
        processes={"feed": ("feed",)},
        rings=(),
        rules=(),
        config={"engine": msgspec.to_builtins(config.engine)},
    )


def killed(config: Config, run_id: str = "hft-a") -> Path:
    """A run directory as a killed engine leaves it."""
    directory = rundir.RunDirectory.create(config.engine.run_root, "hft", run_id)
    Stats.create(directory.path / "feed.stats")
    with Segment.create(directory.path / BELLS_FILE, 4_096) as bells:
        bells.words[2] = 1  # somebody was told to stop
    directory.write_manifest(manifest(config, run_id))
    os.close(directory._lock_fd)
    return directory.path


def test_a_killed_engines_memory_is_taken_over_with_its_lock(config: Config) -> None:
    path = killed(config)
    directory = take_over(config, "hft-a", manifest(config))
    assert directory is not None and directory.path == path
    assert not rundir.sweep(config.engine.run_root)  # it is somebody's
    assert not Segment.attach(path / BELLS_FILE).words.any()
    directory.remove()
    assert not path.exists()


def test_memory_of_another_shape_is_given_up(config: Config) -> None:
    path = killed(config)
    assert take_over(config, "hft-a", manifest(config, layout="compact")) is None
    assert not path.exists()
    assert take_over(config, "hft-a", manifest(config)) is None


def test_memory_that_was_never_complete_is_given_up(config: Config) -> None:
    path = killed(config)
    (path / rundir.MANIFEST).unlink()
    assert take_over(config, "hft-a", manifest(config)) is None
    assert not path.exists()


def test_a_running_engines_memory_is_not_taken(config: Config) -> None:
    path = killed(config)
    fd = os.open(path / rundir.LOCK, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.raises(rundir.RunError, match="is running; stop it first"):
            take_over(config, "hft-a", manifest(config))
    finally:
        os.close(fd)
    assert path.exists()


def test_a_sweep_spares_the_session_that_is_to_go_on(config: Config) -> None:
    spared, other = killed(config), killed(config, "hft-b")
    assert rundir.sweep(config.engine.run_root, "hft-a") == ["hft-b"]
    assert spared.exists() and not other.exists()
