"""Who is silent is killed as hung, but not who waits for the disk."""

import subprocess
import sys

import psutil
import pytest

from hft_engine.runtime.linux import waits_for_disk
from hft_engine.runtime.policy import HangPolicy
from support.waiting import wait_for

POLL_S = 0.05

# After vfork(2) the parent waits, uninterruptibly, until the child is gone; a child that sleeps is never gone in time.
VFORKED = "import ctypes; libc = ctypes.PyDLL(None); libc.vfork() or libc.sleep(60)"


def killed_after_s(waiting: list[tuple[float, float]], until_s: float = 100.0) -> object:
    """Of a process silent from 0 on that waits for the disk in these spans."""
    policy = HangPolicy(look_s=1.0, limit_s=3.0, patience_s=30.0)
    for poll in range(int(until_s / POLL_S)):
        now_s = poll * POLL_S
        waits = any(begin <= now_s <= end for begin, end in waiting)
        if policy.is_hung(1000.0 + now_s, now_s, lambda waits=waits: waits):
            return pytest.approx(now_s, abs=1.5 * POLL_S)
    return None


def test_silence_alone_is_a_hang() -> None:
    assert killed_after_s([]) == 3.0


def test_who_waits_for_the_disk_is_left_alone_for_half_a_minute() -> None:
    assert killed_after_s([(0.0, 100.0)]) == 30.0


def test_who_goes_on_after_the_disk_has_its_time_to_say_so() -> None:
    assert killed_after_s([(0.0, 10.0)]) == 13.0


def test_waits_that_were_over_long_ago_do_not_count() -> None:
    assert killed_after_s([(0.0, 0.9)]) == 3.0  # nobody looked yet
    policy = HangPolicy(1.0, 3.0, 30.0)
    assert not policy.is_hung(10.0, 5.0, lambda: True)
    assert policy.waits
    assert not policy.is_hung(11.0, 0.1, lambda: False)  # it lives
    assert not policy.waits
    assert policy.is_hung(20.0, 3.1, lambda: False)


def test_the_kernel_says_who_waits() -> None:
    assert not waits_for_disk(psutil.Process().pid)
    with subprocess.Popen([sys.executable, "-c", VFORKED]) as process:
        wait_for(lambda: psutil.Process(process.pid).children(), "a child", 20)
        try:
            wait_for(lambda: waits_for_disk(process.pid), "waiting", 20)
        finally:
            psutil.Process(process.pid).children()[0].kill()
            process.kill()
    assert not waits_for_disk(process.pid)
