"""`hft errors`: what went wrong in a run, each kind once; of a running engine, a hung, a dead or a past one."""

import time
from pathlib import Path
from typing import Any

from hft_engine.runtime import run_record, rundir
from hft_engine.runtime.run_record import RoleFault

_LEVELS = {30: "warning", 40: "error", 50: "critical"}


def collect(root: str | None, data_dir: Path, wanted: str | None = None) -> dict[str, Any]:
    """The object of `hft errors --json`: of the run that is meant, else of the newest. Raises RunError.

    ``state``: "present" while its segments are there (running, hung or dead), else how it ended.
    """
    present = _present(root, data_dir, wanted)
    if present is not None:
        faults, dropped = run_record.read_faults(present)
        return _object(present.name, "present", faults, dropped)
    record = run_record.read(_recorded(data_dir, wanted))
    return _object(record.run_id, record.ended, record.faults, record.dropped)


def _present(root: str | None, data_dir: Path, wanted: str | None) -> Path | None:
    """The directory of the run, also of one that is dead and not swept up yet."""
    base = rundir.base_dir(root)
    found = []
    for path in sorted(base.iterdir()) if base.is_dir() else []:
        try:
            manifest = rundir.read_manifest(path)
        except (rundir.RunError, OSError):
            continue
        if path.name.startswith(wanted) if wanted else Path(manifest.data_dir) == data_dir.resolve():
            found.append((manifest.started_utc_ns, path))
    return max(found)[1] if found else None


def _recorded(data_dir: Path, wanted: str | None) -> Path:
    found = [path for path in run_record.recorded(data_dir) if path.stem.startswith(wanted or "")]
    if not found:
        named = f" {wanted!r}" if wanted else ""
        raise rundir.RunError(
            f"no run{named} is there or is recorded in {run_record.folder(data_dir)}; is engine.data_dir right?"
        )
    return found[-1]


def _object(run_id: str, state: str, faults: tuple[RoleFault, ...], dropped: int) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "state": state,
        "distinct": len(faults),
        "observed": sum(fault.count for fault in faults) + dropped,
        "dropped": dropped,
        "errors": [
            {
                "role": fault.role,
                "level": level_name(fault.level),
                "count": fault.count,
                "first_ns": fault.first_ns,
                "last_ns": fault.last_ns,
                "text": fault.text,
            }
            for fault in faults
        ],
    }


def level_name(level: int) -> str:
    return _LEVELS.get(level, f"level {level}")


def clock(stamp_ns: int) -> str:
    """UTC to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stamp_ns // 1_000_000_000))


def render(found: dict[str, Any]) -> None:
    """The same for people."""
    from rich.console import Console
    from rich.text import Text

    from hft_engine.views.panels import new_table

    console = Console()
    state = "" if found["state"] == "present" else f", {found['state']}"
    if not found["errors"]:
        console.print(f"run {found['run_id']}{state}: no errors")
        return
    table = new_table("role", "level", ">count", "first, UTC", "last, UTC", "what")
    for row in found["errors"]:
        times = clock(row["first_ns"]), clock(row["last_ns"])[11:19]
        table.add_row(row["role"], row["level"], f"{row['count']:,}", *times, Text(row["text"]))
    console.print(f"run {found['run_id']}{state}: {found['distinct']} distinct, {found['observed']} observed")
    console.print(table)
    if found["dropped"]:
        console.print(f"{found['dropped']:,} more observations found no room in the log")
