"""What every integration and system test is held to besides what it asserts: the records of the runs it made.

A test fails when an error log holds what it did not declare, or when records of a ring are unaccounted for.
What it expects, it says: ``@pytest.mark.expects_errors("restart: .* SIGKILL", ...)``, each found by ``re.search``.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from hft_engine.runtime import run_record
from hft_engine.runtime.run_record import RunRecord

MARKER = "expects_errors"


def records_below(directory: Path) -> list[RunRecord]:
    """Of every run whose data directory is there."""
    found = directory.rglob(f"{run_record.FOLDER}/*.json")
    return [run_record.read(path) for path in sorted(found)]


def unexpected(record: RunRecord, patterns: Iterable[str]) -> list[str]:
    """Everything in a run's record that should not be."""
    expected = [re.compile(pattern, re.DOTALL) for pattern in patterns]
    problems = [
        f"{record.run_id}, error log of {fault.role}: {fault.text} ({fault.count} times)"
        for fault in record.faults
        if not any(pattern.search(fault.text) for pattern in expected)
    ]
    problems += [
        f"{record.run_id}, ring {one.ring}, reader {one.role}: published {one.published} is not "
        f"seen {one.seen} + lapped {one.lapped} + lag {one.lag}"
        for one in record.readers
        if one.unaccounted or one.lag < 0
    ]
    return problems
