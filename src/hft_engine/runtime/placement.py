"""Who runs on which cores, and who gives way to whom: the path from tick to signal comes first.

Cores that a hot process is pinned to are the hot processes'. Everything else - background processes, supervisor, fork
server, and the threads of ZeroMQ in every process, which inherit from them - keeps off, where a core is left.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

BACKGROUND_NICE = 5  # persistence, publisher and the demo venue give way to the path from tick to signal


@dataclass(frozen=True)
class Places:
    """The cores of each process, by name, and those of everything else that the engine runs."""

    of: dict[str, tuple[int, ...]]
    others: tuple[int, ...]


def places(usable: Collection[int], wanted: Mapping[str, Collection[int]], hot: Collection[str]) -> Places:
    """``wanted``: cores by process. None: anywhere; for one that is not ``hot`` where no hot one is pinned."""
    taken = {core for name in hot for core in wanted[name]}
    anywhere = tuple(sorted(usable))
    others = tuple(core for core in anywhere if core not in taken) or anywhere
    of = {name: tuple(own) or (anywhere if name in hot else others) for name, own in wanted.items()}
    return Places(of, others)


def go_first() -> None:
    """This thread is on the path from tick to signal, though its parent is of the background."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def go_before_all() -> bool:
    """This thread goes before everything of normal priority, the kernel's threads too; False where this user may not
    have that. Threads and processes that it makes do not inherit it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except PermissionError:
        return False
    return True


def give_way() -> None:
    """This thread is of the background: waking, it interrupts nobody."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


@contextmanager
def kept_off(others: Collection[int]) -> Iterator[None]:
    """This thread, and every process and thread that is made meanwhile, is of the background and runs on ``others``."""
    cores_before, policy_before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    os.sched_setaffinity(0, others)
    give_way()
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy_before, os.sched_param(0))
        os.sched_setaffinity(0, cores_before)
