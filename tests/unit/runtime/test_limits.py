"""Time-outs keep their order: in the defaults, and in any configuration that is accepted."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.config import ladders
from hft_engine.config.checks import check_config, feed_ladder, process_ladder
from hft_engine.config.schema import Config, FeedConfig, SupervisorConfig
from hft_engine.runtime import limits

MS = st.integers(1, 100_000)


def test_the_ladders_are_those_of_the_defaults() -> None:
    assert [ms for _, ms in process_ladder(SupervisorConfig())] == [
        10,
        1_000,
        3_000,
        5_000,
        15_000,
        17_000,
        20_000,
    ]
    assert [ms for _, ms in feed_ladder(FeedConfig())] == [2_000, 4_500, 30_000, 60_000]
    assert limits.STOP_COMMAND_S > limits.SUPERVISOR_EXIT_S > limits.STOP_DRAIN_S


def test_equal_rungs_are_broken() -> None:
    assert ladders.broken([("a", 1), ("b", 1), ("c", 2)]) == [(("a", 1), ("b", 1))]


@given(MS, MS, MS)
def test_a_process_ladder_is_accepted_exactly_if_it_rises(heartbeat: int, hang: int, stop: int) -> None:
    supervisor = SupervisorConfig(heartbeat_limit_ms=heartbeat, hang_kill_ms=hang, stop_deadline_ms=stop)
    rises = all(a < b for a, b in itertools.pairwise([10, heartbeat, hang, stop, 15_000]))
    problems = check_config(Config(supervisor=supervisor))
    assert (not problems) == rises
    assert all(problem.path.startswith("supervisor.") for problem in problems)


@given(MS, MS, MS)
def test_a_feed_ladder_is_accepted_exactly_if_it_rises(quiet: int, dead: int, cap: int) -> None:
    from hft_engine.config.schema import ReconnectConfig

    feed = FeedConfig(
        quiet_after_ms=quiet, dead_after_ms=dead, reconnect=ReconnectConfig(initial_ms=1, cap_ms=cap)
    )
    rises = quiet < dead < cap < 60_000
    assert (not check_config(Config(feed=feed))) == rises


@pytest.mark.parametrize(
    ("supervisor", "path"),
    [
        (SupervisorConfig(stop_deadline_ms=15_000), "supervisor.stop_deadline_ms"),
        (SupervisorConfig(heartbeat_limit_ms=10), "supervisor.heartbeat_limit_ms"),
        (SupervisorConfig(hang_kill_ms=5_000), "supervisor.hang_kill_ms"),
    ],
)
def test_the_key_that_breaks_an_order_is_named(supervisor: SupervisorConfig, path: str) -> None:
    (problem,) = check_config(Config(supervisor=supervisor))
    assert problem.path == path
