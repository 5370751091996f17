"""One log file a role, UTC stamps, rotated; what is a warning or worse goes into the role's distinct-error log too."""

import logging
import logging.handlers
import time
import traceback
from pathlib import Path

from hft_engine.shm.error_log import ErrorLog
from hft_engine.shm.segment import SegmentError

LOG_BYTES_MAX, LOG_FILES_KEPT = 16_000_000, 3
LOG_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"
ERRORS_SUFFIX = ".errors"
FRAMES_KEPT = 6  # of a traceback, the innermost
_FAULTS = ("restart", "hang", "crash", "fatal")
_FAULT_ENDS = ("_failed", "_error", "_damaged", "_hole", "_undrained", "_lost", "_refused", "_full")


def event_level(kind: str) -> int:
    """How an event of this kind is logged: WARNING for one that tells of a fault, else INFO."""
    return logging.WARNING if kind in _FAULTS or kind.endswith(_FAULT_ENDS) else logging.INFO


def errors_path(run_dir: Path, role: str) -> Path:
    """The distinct-error log of a role."""
    return run_dir / f"{role}{ERRORS_SUFFIX}"


class ErrorLogHandler(logging.Handler):
    """Warnings and worse into a distinct-error log."""

    def __init__(self, log: ErrorLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.record(record.levelno, _told(record))
        except Exception:  # noqa: BLE001 - as every handler: what cannot be told must not end who tells it
            self.handleError(record)


def _told(record: logging.LogRecord) -> str:
    """The message and, of an exception, its type and where it came from."""
    if not record.exc_info or record.exc_info[1] is None:
        return record.getMessage()
    error = record.exc_info[1]
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_KEPT:]
    places = [f"  {Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return "\n".join([record.getMessage(), f"{type(error).__name__}: {error}", *places])


def logger(
    role: str, log_dir: Path, level: str, file_name: str | None = None, run_dir: Path | None = None
) -> logging.Logger:
    """The log of a role: a rotating file of its own, UTC; and the error log of ``run_dir`` where there is one."""
    log_dir.mkdir(parents=True, exist_ok=True)
    log = logging.getLogger(f"hft.{role}")
    for old in list(log.handlers):
        log.removeHandler(old)
        old.close()
    handler = logging.handlers.RotatingFileHandler(
        log_dir / f"{file_name or role}.log", maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT
    )
    formatter = logging.Formatter(LOG_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    log.addHandler(handler)
    if run_dir is not None and (errors := _error_log(errors_path(run_dir, role))) is not None:
        log.addHandler(ErrorLogHandler(errors))
    log.setLevel(level)
    log.propagate = False
    return log


def _error_log(path: Path) -> ErrorLog | None:
    """None where it cannot be used: no reason for a role not to start, which may well repair what is wrong."""
    try:
        return ErrorLog.attach(path)
    except SegmentError:
        return None
