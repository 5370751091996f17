"""The restart policy, against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from hft_engine.runtime.policy import RestartPolicy


def test_the_fourth_death_within_the_window_latches() -> None:
    policy = RestartPolicy(3, 60.0)
    assert [policy.allow(t) for t in (0.0, 10.0, 20.0, 30.0)] == [True, True, True, False]
    assert policy.latched
    assert not policy.allow(10_000.0)  # latched for good


def test_old_deaths_are_forgotten() -> None:
    policy = RestartPolicy(3, 60.0)
    assert all(policy.allow(float(t)) for t in range(0, 1_000, 21))
    assert not policy.latched


def test_no_restarts_allowed_means_the_first_death_latches() -> None:
    assert not RestartPolicy(0, 60.0).allow(0.0)


@given(st.lists(st.floats(0, 1_000), max_size=50), st.integers(0, 5), st.floats(1, 100))
def test_never_more_than_the_limit_in_any_window(times: list[float], limit: int, window_s: float) -> None:
    policy = RestartPolicy(limit, window_s)
    allowed = [t for t in sorted(times) if policy.allow(t)]
    for start in allowed:
        assert sum(start <= t <= start + window_s for t in allowed) <= limit
