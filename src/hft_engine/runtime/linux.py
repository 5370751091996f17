"""The Linux calls that Python lacks: parent-death signal, timer slack, process name, the allocator's thresholds."""

import ctypes
import os
import select
import signal
from pathlib import Path

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_TIMERSLACK = 1, 15, 29
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 131_072  # glibc's own default, which moves up unless it is set
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent_pid: int) -> None:
    """SIGKILL this process when the *thread* that made it ends (prctl(2)); at once if the parent is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def set_name(name: str) -> None:
    """What ``top`` and ``ps -o comm`` show; 15 bytes."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def fine_timers() -> None:
    """Naps end within a microsecond of their time instead of 50."""
    _libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def steady_heap() -> None:
    """Large blocks go back to the system when they are freed: memory in use is what the process holds.

    Else glibc raises the threshold with each of them it frees, keeps what lies below, and a process that takes a copy
    of 200 KB now and then seems to grow for hours (mallopt(3)). Nothing where the C library has no ``mallopt``.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def thread_count() -> int:
    """Threads of this process, as the kernel counts them."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - a count, not paths


def waits_for_disk(pid: int) -> bool:
    """Whether a process is in a wait that no signal ends (state D of proc(5)), which is one for the disk. False where
    there is no such process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] == "D"  # a name may hold anything, parentheses as well


def readable(fd: int, timeout_s: float | None) -> bool:
    """Whether ``fd`` is readable within the time, None: however long that takes (a pidfd: its process has ended).

    Unlike select(2), of any number; and never back before its time, so who looks at the clock then sees it over.
    """
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return bool(waiting.poll(None if timeout_s is None else max(0.0, timeout_s * 1e3)))
