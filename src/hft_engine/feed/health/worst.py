"""The instruments whose data are worst, as the feed leaves them in the run's directory for views. No numba here."""

from pathlib import Path

import msgspec

FILE = "health.json"


class Worst(msgspec.Struct, frozen=True):
    """One channel of one instrument. Names of the ``records`` enumerations, in lower case."""

    symbol: str
    channel: str
    state: str
    cause: str
    since_ns: int  # UTC


def read_worst(run_dir: Path) -> list[Worst]:
    """The worst first; empty where nothing is amiss, or nobody has written yet."""
    try:
        return msgspec.json.decode((run_dir / FILE).read_bytes(), type=list[Worst])
    except FileNotFoundError:
        return []
