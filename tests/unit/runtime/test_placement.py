"""Cores of hot processes are theirs, everything else keeps off and gives way."""

import os
import resource
import threading
from collections.abc import Callable

import pytest

from hft_engine.runtime import placement
from hft_engine.runtime.placement import go_before_all, kept_off, places
from support.realtime import may_run_in_real_time


@pytest.mark.parametrize(
    ("usable", "wanted", "of", "others"),
    [
        ((0, 1), {"feed": (), "publisher": ()}, {"feed": (0, 1), "publisher": (0, 1)}, (0, 1)),
        ((0, 1), {"feed": (0,), "publisher": ()}, {"feed": (0,), "publisher": (1,)}, (1,)),
        ((0, 1), {"feed": (0, 1), "publisher": ()}, {"feed": (0, 1), "publisher": (0, 1)}, (0, 1)),
        ((0, 1, 2), {"feed": (2,), "signals": ()}, {"feed": (2,), "signals": (0, 1, 2)}, (0, 1)),
        ((0, 1), {"feed": (1,), "publisher": (1,)}, {"feed": (1,), "publisher": (1,)}, (0,)),
    ],
)
def test_what_is_not_hot_keeps_off_the_cores_of_what_is(
    usable: tuple[int, ...],
    wanted: dict[str, tuple[int, ...]],
    of: dict[str, tuple[int, ...]],
    others: tuple[int, ...],
) -> None:
    made = places(usable, wanted, hot=[name for name in ("feed", "signals") if name in wanted])
    assert (made.of, made.others) == (of, others)


def test_who_is_kept_off_comes_back_and_what_it_made_meanwhile_stays() -> None:
    before = os.sched_getaffinity(0), os.sched_getscheduler(0)
    one = {min(before[0])}
    seen: list[tuple[set[int], int]] = []
    with kept_off(one):
        thread = threading.Thread(
            target=lambda: seen.append((os.sched_getaffinity(0), os.sched_getscheduler(0)))
        )
        thread.start()
        thread.join()
        assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == (one, os.SCHED_BATCH)
    assert seen == [(one, os.SCHED_BATCH)]
    assert (os.sched_getaffinity(0), os.sched_getscheduler(0)) == before


def test_a_child_of_the_background_can_go_first() -> None:
    def go() -> int:
        placement.go_first()
        return os.sched_getscheduler(0)

    with kept_off(os.sched_getaffinity(0)):
        assert of_a_child(go) == os.SCHED_OTHER


@pytest.mark.skipif(not may_run_in_real_time(), reason="this user may not run in real time")
def test_who_goes_before_all_keeps_that_to_itself() -> None:
    def go() -> int:
        assert go_before_all()
        own, child = os.sched_getscheduler(0), of_a_child(lambda: os.sched_getscheduler(0))
        return own if child == os.SCHED_OTHER else -1

    assert of_a_child(go) == os.SCHED_FIFO | os.SCHED_RESET_ON_FORK


def test_who_may_not_go_before_all_is_told() -> None:
    def go() -> int:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
        if os.geteuid() == 0:
            os.setuid(65_534)
        return int(go_before_all()) * 100 + os.sched_getscheduler(0)

    assert of_a_child(go) == os.SCHED_OTHER


def of_a_child(of: Callable[[], int]) -> int:
    """What it says in a process of its own."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write, b"%d" % of())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        return int(answer.read())
