"""Cores of hot processes are theirs, everything else keeps off and gives way."""

import os
import threading

import pytest

from hft_engine.runtime import placement
from hft_engine.runtime.placement import kept_off, places


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
    read, write = os.pipe()
    with kept_off(os.sched_getaffinity(0)):
        pid = os.fork()
        if pid == 0:
            placement.go_first()
            os.write(write, b"%d" % os.sched_getscheduler(0))
            os._exit(0)
    os.waitpid(pid, 0)
    assert int(os.read(read, 8)) == os.SCHED_OTHER
    os.close(read)
    os.close(write)
