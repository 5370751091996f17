"""What trainer and worker say to each other: lines of JSON."""

import msgspec

from hft_engine.config.schema import Config


class Work(msgspec.Struct, frozen=True):
    """``session``: folder of the journal; empty without one: then the stored bars are learned from."""

    parent_pid: int
    config: Config
    session: str
    instruments: str
    registry: str
    database: str


class Step(msgspec.Struct, frozen=True):
    """``kind``: ``progress``, ``registered`` (with ``status``), ``not_trained`` (the data do not allow it), ``failed``,
    ``done`` (the cycle)."""

    kind: str
    text: str
    share: float = 0.0
    status: str = ""
    rows: int = 0
