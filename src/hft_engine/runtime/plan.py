"""What the supervisor hands to an actor process: data only, so that the supervisor needs no compiler."""

from typing import Any

import msgspec

from hft_engine.config.schema import Config
from hft_engine.runtime.rundir import RingEntry

EXIT_FATAL = 3  # restarting will not help
BELLS_FILE, INSTRUMENTS_FILE = "doorbells.seg", "instruments.seg"


class RolePlan(msgspec.Struct, frozen=True):
    role: str
    factory: str  # "module:callable"
    rings: tuple[str, ...]
    reads: tuple[str, ...]
    arguments: dict[str, Any] = {}
    log: str = ""  # name of the log file, empty: the role's


class ProcessPlan(msgspec.Struct, frozen=True):
    """Everything an actor process needs; handed over in memory, never in argv or the environment."""

    name: str
    roles: tuple[RolePlan, ...]
    hot: bool
    mode: str
    bell: int
    cpus: tuple[int, ...]
    run_id: str
    run_dir: str
    data_dir: str
    log_dir: str
    supervisor_pid: int
    rings: tuple[RingEntry, ...]
    schema_factory: str  # "module:callable" of the configuration -> feature schema
    ticks_factory: str  # "module:callable" of configuration and run id -> an OpenTickLog, or None
    config: Config
    session_dir: str | None = None  # where session events go; None: nowhere
    realtime: bool = False  # it sleeps, and goes before everything of normal priority
    optional: bool = False  # the engine goes on without this process
    history_dir: str | None = None  # whose session events are repeated; None: those of ``session_dir``
