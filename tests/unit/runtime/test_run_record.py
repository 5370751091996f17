"""What is kept of a run that has ended, and what goes into its error logs."""

import logging
import os
from pathlib import Path

import pytest

from hft_engine.records import BAR_DTYPE
from hft_engine.runtime import logs, run_record, rundir
from hft_engine.runtime.rundir import Manifest, RingEntry, RunDirectory, RunError
from hft_engine.shm import layout
from hft_engine.shm.error_log import ErrorLog, read_error_log
from hft_engine.shm.ring_file import create_ring
from hft_engine.shm.segment import Segment
from hft_engine.views import errors


def made(root: Path, data_dir: Path) -> RunDirectory:
    """A run with one ring and one error log."""
    directory = RunDirectory.create(str(root), "test")
    create_ring(directory.path / "bars.ring", BAR_DTYPE, 64, [("persistence", 0)], False)
    ErrorLog.create(logs.errors_path(directory.path, "feed"))
    directory.write_manifest(
        Manifest(
            run_id=directory.run_id,
            name="test",
            pid=1,
            layout="dedicated",
            source="feed",
            venue="demo",
            started_utc_ns=5,
            started_mono_ns=5,
            data_dir=str(data_dir.resolve()),
            log_dir=str(data_dir),
            processes={"feed": ("feed",)},
            rings=(RingEntry("bars", "bars.ring", "BAR_DTYPE", 64, "indicators", ("persistence",)),),
            rules=(),
            config={},
        )
    )
    return directory


@pytest.fixture
def log(tmp_path: Path, run_root: Path):
    """A role's logger with an error log, closed at the end; and the directory of its run."""
    directory = made(run_root, tmp_path)
    log = logs.logger("feed", tmp_path, "INFO", run_dir=directory.path)
    yield log, directory
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    directory.remove()


def test_warnings_and_exceptions_go_into_the_error_log_and_nothing_else(log) -> None:
    logger, directory = log
    logger.info("nothing")
    for count in (1, 2):
        logger.warning("lost %d", count)
    try:
        raise ValueError("planted")
    except ValueError:
        logger.exception("on_stop failed")
    logger.critical("fatal: no key", exc_info=False)
    faults, _ = read_error_log(logs.errors_path(directory.path, "feed"))
    assert faults.pop().text == "fatal: no key"
    assert [(fault.level, fault.observations) for fault in faults] == [
        (logging.WARNING, 2),
        (logging.ERROR, 1),
    ]
    assert faults[1].text.startswith("on_stop failed\nValueError: planted\n  test_run_record.py:")


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        ("restart", 30),
        ("hang", 30),
        ("journal_failed", 30),
        ("sqlite_error", 30),
        ("resumed", 20),
        ("feed", 20),
    ],
)
def test_kinds_of_events_that_tell_of_a_fault_are_warnings(kind: str, level: int) -> None:
    assert logs.event_level(kind) == level


def test_a_role_whose_error_log_is_missing_or_spoilt_logs_all_the_same(
    tmp_path: Path, run_root: Path
) -> None:
    path = logs.errors_path(tmp_path, "feed")
    path.write_bytes(b"\0" * 64)
    log = logs.logger("feed", tmp_path, "INFO", run_dir=tmp_path)
    log.warning("still here")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    assert "still here" in (tmp_path / "feed.log").read_text()


def test_the_record_of_a_run_tells_faults_and_accounts(log, tmp_path: Path) -> None:
    logger, directory = log
    logger.error("disk full")
    words = Segment.attach(directory.path / "bars.ring").words
    words[layout.W_PUBLISHED] = 100
    words[layout.W_READER_0 : layout.W_READER_0 + 3] = 90, 20, 69  # position, lapped, seen
    run_record.save(directory.path, "stopped", 3, "because")
    record = run_record.read(run_record.recorded(tmp_path)[0])
    assert (record.run_id, record.ended, record.exit_code, record.reason) == (
        directory.run_id,
        "stopped",
        3,
        "because",
    )
    assert [fault.text for fault in record.faults] == ["disk full"]
    (account,) = record.readers
    assert (account.published, account.seen, account.lapped, account.lag) == (100, 69, 20, 10)
    assert account.unaccounted == 1


def test_a_dead_run_is_recorded_by_whoever_sweeps_it_up(tmp_path: Path, run_root: Path) -> None:
    directory = made(run_root, tmp_path)
    ErrorLog.attach(logs.errors_path(directory.path, "feed")).record(40, "last words")
    assert errors.collect(str(run_root), tmp_path)["state"] == "present"
    os.close(directory._lock_fd)  # as the kernel does when the supervisor dies
    assert rundir.sweep(str(run_root), salvage=run_record.salvage) == [directory.run_id]
    found = errors.collect(str(run_root), tmp_path)
    assert (found["state"], found["distinct"], found["errors"][0]["text"]) == ("killed", 1, "last words")


def test_what_an_earlier_life_of_a_resumed_run_had_recorded_stays(log, tmp_path: Path) -> None:
    logger, directory = log
    logger.error("first life")
    run_record.save(directory.path, "killed")
    logger.error("second observation, same shared memory")
    run_record.save(directory.path, "killed")
    path = logs.errors_path(directory.path, "feed")
    path.unlink()
    ErrorLog.create(path)  # resumed from disk: new segments
    ErrorLog.attach(path).record(40, "second life")
    run_record.save(directory.path, "stopped")
    (kept,) = run_record.recorded(tmp_path)
    texts = [fault.text for fault in run_record.read(kept).faults]
    assert texts == ["first life", "second observation, same shared memory", "second life"]


def test_a_directory_without_manifest_leaves_no_record_and_no_error(tmp_path: Path) -> None:
    run_record.salvage(tmp_path)
    assert run_record.recorded(tmp_path) == []


def test_an_error_log_that_cannot_be_read_is_itself_a_fault(log) -> None:
    _, directory = log
    Segment.attach(logs.errors_path(directory.path, "feed")).words[layout.W_MAGIC] = 0
    faults, _ = run_record.read_faults(directory.path)
    assert "no error log" in faults[0].text


def test_only_the_newest_records_are_kept(log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, directory = log
    monkeypatch.setattr(run_record, "KEPT", 2)
    for name in ("a", "b", "c"):
        run_record.folder(tmp_path).mkdir(exist_ok=True)
        (run_record.folder(tmp_path) / f"{name}.json").write_text("{}")
    run_record.save(directory.path, "stopped")
    assert len(run_record.recorded(tmp_path)) == 2


def test_errors_of_an_unknown_run_say_where_was_looked(tmp_path: Path, run_root: Path) -> None:
    with pytest.raises(RunError, match=r"no run 'x'.*engine\.data_dir"):
        errors.collect(str(run_root), tmp_path, "x")
