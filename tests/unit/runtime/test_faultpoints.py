"""Fault points do nothing unless armed, and then what they were armed for, at the arrival that was named."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hft_engine.runtime import faultpoints


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    faultpoints.arm("")
    yield
    faultpoints.arm("")


def test_nothing_happens_where_nothing_is_armed() -> None:
    faultpoints.arm("elsewhere:error")
    faultpoints.fault_point("here")


def test_error_is_raised_at_the_named_arrival_only() -> None:
    faultpoints.arm("here:error@2")
    faultpoints.fault_point("here")
    with pytest.raises(OSError, match="No space left"):
        faultpoints.fault_point("here")
    faultpoints.fault_point("here")


@pytest.mark.parametrize("text", ["here", "here:explode", "here:kill@soon"])
def test_what_cannot_be_armed_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not NAME:ACTION"):
        faultpoints.arm(text)


def test_the_environment_arms_a_process_and_kill_is_kill() -> None:
    code = "from hft_engine.runtime.faultpoints import fault_point; fault_point('here')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"HFT_FAULT_POINTS": "here:kill"}, check=False, timeout=60
    )
    assert done.returncode == -signal.SIGKILL


def test_slow_takes_its_time_at_every_arrival(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []
    monkeypatch.setattr(faultpoints.time, "sleep", taken.append)
    faultpoints.arm("here:slow@40")
    faultpoints.fault_point("here")
    faultpoints.fault_point("here")
    assert taken == [0.04, 0.04]


def test_points_can_be_in_force_for_a_while_only(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    armed = tmp_path / "armed"
    monkeypatch.setenv(faultpoints.WHILE, str(armed))
    faultpoints.arm("here:error")
    faultpoints.fault_point("here")
    armed.touch()
    with pytest.raises(OSError, match="No space left"):
        faultpoints.fault_point("here")


def test_memory_is_taken_up_to_the_limit() -> None:
    code = """
import resource
from hft_engine.runtime.faultpoints import fault_point
resource.setrlimit(resource.RLIMIT_DATA, (1 << 28, 1 << 28))
try:
    fault_point("here")
except MemoryError as error:
    print("taken", error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HFT_FAULT_POINTS": "here:memory"},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "taken"
