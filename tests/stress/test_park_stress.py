"""Parking under processes that race: no doorbell is lost. HFT_STRESS_ROUNDS sets how many times (default 30,000)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from park_processes import CAPACITY, DTYPE, LEADER_BELL

from hft_engine.shm import layout
from hft_engine.shm.ring_file import create_ring
from hft_engine.shm.segment import Segment

ROUNDS = int(os.environ.get("HFT_STRESS_ROUNDS", "30000"))
SCRIPT = Path(__file__).with_name("park_processes.py")


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.mark.stress
@pytest.mark.timeout(600)
@pytest.mark.parametrize("followers", [1, 8])
def test_everybody_who_sleeps_is_woken_by_the_record_that_it_waits_for(
    tmp_path: Path, followers: int
) -> None:
    with Segment.create(tmp_path / "bells", layout.BELLS_WORDS * layout.WORD):
        pass
    readers = [(f"follower-{i}", i) for i in range(followers)]
    create_ring(tmp_path / "calls.ring", DTYPE, CAPACITY, readers, gating=False)
    for i in range(followers):
        create_ring(tmp_path / f"answers-{i}.ring", DTYPE, CAPACITY, [("leader", LEADER_BELL)], gating=False)
    rounds = ROUNDS // followers
    processes = []
    for arguments in (("lead", tmp_path, followers), *(("follow", tmp_path, i) for i in range(followers))):
        processes.append(start(*arguments, rounds))
        output = processes[-1].stdout
        assert output is not None and output.readline() == "compiled\n"  # by one for all: the others load
    answers = [process.communicate(timeout=500)[0] for process in processes]
    assert [json.loads(answer) for answer in answers] == [{"lost": 0}] * (followers + 1)
    bells = Segment.attach(tmp_path / "bells").words
    assert bells[layout.W_PARKED] == 0  # nobody sleeps any more
