"""What `hft errors` and the status say of the error logs."""

import io
import logging
from pathlib import Path

import pytest
import rich.console
from click.testing import CliRunner

from hft_engine.cli import main
from hft_engine.runtime import logs, run_record
from hft_engine.shm.error_log import ErrorLog
from hft_engine.views import errors, status


def told(run_dir: Path, role: str, *texts: str) -> None:
    """A role's error log with one observation of each."""
    path = logs.errors_path(run_dir, role)
    ErrorLog.create(path)
    log = ErrorLog.attach(path)
    for i, text in enumerate(texts):
        log.record(logging.WARNING, text, 1_700_000_000_000_000_000 + i)


def test_the_status_counts_what_the_error_logs_hold(fake_run) -> None:
    made = fake_run()
    assert status.collect(made.path)["errors"] == {"distinct": 0, "observed": 0}
    told(made.path, "feed", "lost 1", "lost 2", "refused")
    told(made.path, "signals", "odd")
    assert status.collect(made.path)["errors"] == {"distinct": 3, "observed": 4}


def test_a_person_sees_the_count_and_where_to_look(fake_run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_run()
    told(made.path, "feed", "lost 1", "lost 2")
    out = io.StringIO()
    console = rich.console.Console(file=out, width=120)
    monkeypatch.setattr(rich.console, "Console", lambda: console)
    status.render(status.collect(made.path))
    assert "1 distinct errors, 2 in all: hft errors" in out.getvalue()


def test_faults_of_all_roles_come_in_the_order_they_began(fake_run, run_root: Path) -> None:
    made = fake_run()
    told(made.path, "signals", "second of signals")
    told(made.path, "feed", "first", "later")
    faults, _ = run_record.read_faults(made.path)
    assert [fault.text for fault in faults] == ["first", "second of signals", "later"]


def test_the_command_shows_a_run_that_is_there_by_its_name(fake_run, tmp_path: Path) -> None:
    made = fake_run()
    told(made.path, "feed", "connection lost: refused")
    options = [
        "--set",
        f"engine.run_root={made.directory.path.parent.parent}",
        "--run",
        made.directory.run_id,
    ]
    answer = CliRunner(env={"COLUMNS": "160"}).invoke(main, ["errors", *options])
    assert answer.exit_code == 0, answer.output
    assert "1 distinct, 1 observed" in answer.output
    assert "connection lost: refused" in answer.output
    assert "2023-11-14 22:13:20" in answer.output


def test_levels_have_names() -> None:
    assert [errors.level_name(level) for level in (30, 40, 50, 35)] == [
        "warning",
        "error",
        "critical",
        "level 35",
    ]
