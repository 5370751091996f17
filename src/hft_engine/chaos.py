"""`hft chaos`: break a running engine on purpose and see that it holds. For developers; it does nothing unless told so.

Faults of processes, on real processes and without their help: signals, limits of the kernel, flipped bytes in shared
memory. What needs something between the engine and its venue, or a file system of its own, is in tests/support.
"""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hft_engine.runtime.rundir import Manifest
from hft_engine.shm import layout
from hft_engine.shm.counters import Stats
from hft_engine.shm.segment import Segment
from hft_engine.views.run import is_alive

SUPERVISOR = "supervisor"
ANY = "any"
SLOW_RUN_S, SLOW_HALT_S = 0.01, 0.04  # a fifth of the speed
_LIMIT_ROOM_BYTES = 1 << 20
_INFINITY = resource.RLIM_INFINITY


class ChaosError(RuntimeError):
    """The fault cannot be inflicted; the text says why."""


class Victim(NamedTuple):
    """A process of a run, by one of its roles."""

    role: str
    pid: int
    run_dir: Path
    manifest: Manifest


class Fault(NamedTuple):
    """``inflict(victim, seconds)`` returns when the fault is over; ``lasting``: whether ``seconds`` matter."""

    text: str
    lasting: bool
    inflict: Callable[[Victim, float], None]


def find_victim(run_dir: Path, manifest: Manifest, role: str) -> Victim:
    """Raises ChaosError for a role that does not run."""
    if role == SUPERVISOR:
        return Victim(role, manifest.pid, run_dir, manifest)
    if role not in roles_of(manifest):
        raise ChaosError(f"no role {role!r}; there are: {SUPERVISOR}, {', '.join(roles_of(manifest))}")
    pid = int(Stats.attach(run_dir / f"{role}.stats", writable=False).vitals[layout.V_PID])
    if not pid or not is_alive(pid):
        raise ChaosError(f"{role} does not run at this moment")
    return Victim(role, pid, run_dir, manifest)


def roles_of(manifest: Manifest) -> list[str]:
    return [role for roles in manifest.processes.values() for role in roles]


# ---- faults ---------------------------------------------------------------------------------------------------


def _send(number: signal.Signals) -> Callable[[Victim, float], None]:
    def inflict(victim: Victim, seconds: float) -> None:
        _signal(victim, number)

    return inflict


def _signal(victim: Victim, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(victim.pid, number)


def _halt(victim: Victim, seconds: float) -> None:
    _signal(victim, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        _signal(victim, signal.SIGCONT)


def _slow(victim: Victim, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and is_alive(victim.pid):
        _halt(victim, SLOW_HALT_S)
        time.sleep(SLOW_RUN_S)


def _limit(kind: int, room: Callable[[Victim], int]) -> Callable[[Victim, float], None]:
    def inflict(victim: Victim, seconds: float) -> None:
        with suppress(ProcessLookupError):
            before = resource.prlimit(victim.pid, kind)
            resource.prlimit(victim.pid, kind, (room(victim), before[1]))
            time.sleep(seconds)
            resource.prlimit(victim.pid, kind, before)

    return inflict


def _address_space(victim: Victim) -> int:
    pages = int(Path(f"/proc/{victim.pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize() + _LIMIT_ROOM_BYTES


def _open_files(victim: Victim) -> int:
    return len(list(Path(f"/proc/{victim.pid}/fd").iterdir()))


def _corrupt(victim: Victim, seconds: float) -> None:
    """Of every ring that the victim reads or writes, the identity; then the victim is killed and must not run on it."""
    for entry in victim.manifest.rings:
        if victim.role in (entry.writer, *entry.readers):
            words = Segment.attach(victim.run_dir / entry.file).words
            words[layout.W_DTYPE] ^= 1
    _signal(victim, signal.SIGKILL)


FAULTS = {
    "kill": Fault("SIGKILL: gone without a word", False, _send(signal.SIGKILL)),
    "abort": Fault("SIGABRT: as a failed assertion in C", False, _send(signal.SIGABRT)),
    "segv": Fault("SIGSEGV: as a wild pointer", False, _send(signal.SIGSEGV)),
    "term": Fault("SIGTERM: asked to stop", False, _send(signal.SIGTERM)),
    "int": Fault("SIGINT: Ctrl-C", False, _send(signal.SIGINT)),
    "stop": Fault("SIGSTOP, and SIGCONT when the time is over: hung", True, _halt),
    "slow": Fault("halted four fifths of the time: an overloaded core", True, _slow),
    "memory": Fault("no more address space than it has", True, _limit(resource.RLIMIT_AS, _address_space)),
    "disk-full": Fault("no file may grow", True, _limit(resource.RLIMIT_FSIZE, lambda victim: 0)),
    "files": Fault("no file or socket can be opened", True, _limit(resource.RLIMIT_NOFILE, _open_files)),
    "corrupt": Fault("its rings' headers flipped, then SIGKILL: the engine must give up", False, _corrupt),
}


def inflict(
    run_dir: Path,
    manifest: Manifest,
    name: str,
    role: str,
    seconds: float,
    times: int,
    every_s: float,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """``times`` faults, one every ``every_s`` seconds; ``role`` "any": a random one of the actors each time.

    Raises ChaosError.
    """
    rng = random.Random(seed)
    say(f"seed {seed}")
    for number in range(times):
        if number:
            time.sleep(every_s)
        victim = _next_victim(run_dir, manifest, role, rng)
        say(f"{name} {victim.role}, pid {victim.pid}")
        FAULTS[name].inflict(victim, seconds)


def _next_victim(run_dir: Path, manifest: Manifest, role: str, rng: random.Random) -> Victim:
    if role != ANY:
        return find_victim(run_dir, manifest, role)
    return find_victim(run_dir, manifest, rng.choice(roles_of(manifest)))
