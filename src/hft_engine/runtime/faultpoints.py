"""Named places in the engine's code where a test may make the process die or fail; nothing at all unless armed.

    HFT_FAULT_POINTS="journal.block:kill@3,checkpoint.half:error"     what happens at the n-th (default first) arrival

A point is hit by name: ``fault_point("journal.block")``. ``kill`` ends the process with SIGKILL, ``stop`` with
SIGSTOP halts it, ``error`` raises OSError(ENOSPC), ``memory`` takes all that the process may have and raises
MemoryError; ``slow@MS`` takes that many milliseconds at every arrival, as a slow disk does. Where
HFT_FAULT_POINTS_WHILE names a file, points are armed only as long as it exists. Only for code outside compiled kernels.
"""

import errno
import os
import signal
import time
from collections.abc import Mapping

ENVIRONMENT = "HFT_FAULT_POINTS"
WHILE = "HFT_FAULT_POINTS_WHILE"
_ACTIONS = ("kill", "stop", "error", "memory", "slow")
# 64 GiB: more than any limit of ours; untouched, so it takes no memory
_HOARD_BYTES, _HOARDS_MAX = 16 << 20, 4_096


def _parse(text: str) -> dict[str, tuple[str, int]]:
    """name -> (action, arrival). Raises ValueError."""
    armed = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, what = part.partition(":")
        action, _, arrival = what.partition("@")
        if not colon or action not in _ACTIONS or (arrival and not arrival.isdigit()):
            raise ValueError(
                f"{ENVIRONMENT}: {part!r} is not NAME:ACTION[@N]; actions: {', '.join(_ACTIONS)}"
            )
        armed[name] = (action, int(arrival or 1))
    return armed


_armed: Mapping[str, tuple[str, int]] = _parse(os.environ.get(ENVIRONMENT, ""))
_arrivals: dict[str, int] = {}


def arm(text: str) -> None:
    """Arm the points of ``text`` in this process, instead of those of the environment; "" disarms all."""
    global _armed
    _armed = _parse(text)
    _arrivals.clear()


def _in_force() -> bool:
    path = os.environ.get(WHILE)
    return path is None or os.path.exists(path)  # noqa: PTH110 - nothing to import for what is hardly ever asked


def fault_point(name: str) -> None:
    """The process arrives at this point."""
    if not _armed or name not in _armed or not _in_force():
        return
    _arrivals[name] = _arrivals.get(name, 0) + 1
    action, arrival = _armed[name]
    if action == "slow":
        time.sleep(arrival / 1e3)
        return
    if _arrivals[name] != arrival:
        return
    if action == "error":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if action == "memory":
        hoard = [bytearray(_HOARD_BYTES) for _ in range(_HOARDS_MAX)]
        raise MemoryError(f"there was no end of it after {len(hoard)} times {_HOARD_BYTES} bytes")
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
