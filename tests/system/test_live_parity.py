"""Feature vectors of a running engine, through the deaths of their maker and their keeper, are computed again."""

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from hft_engine.persistence.feature_sample import FLUSH_RECORDS
from support.engine import Engine, demo, hft
from support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(400), pytest.mark.expects_errors("restart: .* SIGKILL")]


def sampled(engine: Engine) -> int:
    return int(engine.status()["counters"]["persistence"].get("sampled_features", 0))


def kill(engine: Engine, role: str) -> None:
    """The role's process, once status names one that is there: the one before it may just have been killed."""
    wait_for(lambda: psutil.pid_exists(engine.pid_of(role)), f"a process of {role}", 30)
    os.kill(engine.pid_of(role), signal.SIGKILL)


def test_live_vectors_are_computed_again_to_the_last_bit(tmp_path: Path) -> None:
    settings = ("persistence.feature_sample=2", "simulator.ticks_per_s=3000")
    with demo(tmp_path, *settings) as engine:
        for more in (2_000, 5_000):
            wait_for(lambda wanted=more: sampled(engine) > wanted, f"{more} vectors", 90)
            for role in ("indicators", "persistence"):
                kill(engine, role)
        wait_for(lambda: sampled(engine) > 8_000, "vectors after the deaths", 90)
    told = hft("parity", "--json", *engine.options, timeout_s=200)
    assert told.returncode == 0, told.stdout + told.stderr
    parity = json.loads(told.stdout)
    assert parity["holds"] and parity["every"] == 2 and parity["vectors"] == parity["sampled"]
    # Those taken are counted; a keeper that is killed has up to FLUSH_RECORDS of them not written yet, and goes back
    # for what the ring still has.
    assert parity["sampled"] > 8_000 - 2 * FLUSH_RECORDS
    assert not parity["notes"]
