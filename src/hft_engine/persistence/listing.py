"""Which journals there are."""

from pathlib import Path

from hft_engine.persistence.journal import JournalError, JournalReport, session_paths, survey_session


def sessions(data_dir: Path) -> list[JournalReport | JournalError]:
    """A report for every session: times, counts, bytes; for one that cannot be read, its error.

    Closed segments by their indexes; only segments without one (of a run that goes on, or ended in a crash) are read.
    """
    return [_report(path) for path in session_paths(data_dir)]


def _report(path: Path) -> JournalReport | JournalError:
    try:
        return survey_session(path)
    except JournalError as error:
        return error
