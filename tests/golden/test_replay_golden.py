"""The shipped recording gives the signals that were written down, run after run, in every layout."""

import json
from pathlib import Path

import pytest
from golden_replay import (
    CONFIG,
    EXPECTED,
    OVERRIDES,
    RECORDING,
    configuration,
    numerics,
    outcome,
    signals_of,
    stored_signals,
)

from hft_engine.replay import replay
from support.engine import hft

CASES = sorted(OVERRIDES)
EXPECTATION = json.loads(EXPECTED.read_text())
SAME_NUMERICS = numerics() == EXPECTATION["numerics"]


def assert_as_written_down(case: str, found: dict[str, object]) -> None:
    expected = EXPECTATION[case]
    assert {**found, "signal_hash": ""} == {**expected, "signal_hash": ""}
    if SAME_NUMERICS:
        assert found["signal_hash"] == expected["signal_hash"]


@pytest.mark.parametrize("case", CASES)
def test_signals_are_those_written_down_one_by_one(case: str, tmp_path: Path) -> None:
    database = tmp_path / "replay.db"
    result = replay(configuration(case, "inline"), [str(RECORDING)], database=database)
    found, expected = signals_of(database), stored_signals(case)
    assert len(found) == len(expected) == result.signals
    for got, wanted in zip(found, expected, strict=True):
        assert got == (wanted if SAME_NUMERICS else pytest.approx(wanted, rel=1e-9))
    assert_as_written_down(case, outcome(result))


@pytest.mark.parametrize("case", CASES)
def test_three_inline_runs_give_one_hash(case: str) -> None:
    outcomes = [outcome(replay(configuration(case, "inline"), [str(RECORDING)])) for _ in range(3)]
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert_as_written_down(case, outcomes[0])


@pytest.mark.system
@pytest.mark.parametrize(
    ("case", "layout"), [("with_model", "compact"), ("with_model", "dedicated"), ("without_model", "compact")]
)
def test_processes_give_what_one_process_gives(case: str, layout: str) -> None:
    overrides = [part for override in OVERRIDES[case] for part in ("--set", override)]
    answer = hft("replay", str(RECORDING), "--json", "--layout", layout, "--config", str(CONFIG), *overrides)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert_as_written_down(case, {name: found[name] for name in EXPECTATION[case] if name in found})
    inline = outcome(replay(configuration(case, "inline"), [str(RECORDING)]))
    assert found["signal_hash"] == inline["signal_hash"]
