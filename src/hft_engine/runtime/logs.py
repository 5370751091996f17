"""One log file a role, UTC stamps, rotated."""

import logging
import logging.handlers
import time
from pathlib import Path

LOG_BYTES_MAX, LOG_FILES_KEPT = 16_000_000, 3
LOG_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"


def logger(role: str, log_dir: Path, level: str, file_name: str | None = None) -> logging.Logger:
    """The log of a role: a rotating file of its own, UTC."""
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
    log.setLevel(level)
    log.propagate = False
    return log
