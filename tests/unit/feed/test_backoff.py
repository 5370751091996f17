from random import Random

from hypothesis import given
from hypothesis import strategies as st

from hft_engine.config.schema import ReconnectConfig
from hft_engine.feed.backoff import Backoff

CONFIGS = st.builds(
    ReconnectConfig,
    initial_ms=st.integers(1, 100_000),
    factor=st.floats(1.0, 10.0),
    cap_ms=st.integers(1, 100_000),
)


@given(CONFIGS, st.integers(0, 2**32))
def test_first_attempt_is_immediate_and_none_waits_longer_than_its_ceiling(
    config: ReconnectConfig, seed: int
) -> None:
    backoff = Backoff(config, Random(seed))
    assert backoff.delay_ms() == 0
    for attempt in range(200):
        ceiling = min(config.cap_ms, config.initial_ms * config.factor**attempt)
        assert 0 <= backoff.delay_ms() <= ceiling * 1.000001


@given(CONFIGS, st.integers(0, 2**32))
def test_reset_starts_afresh(config: ReconnectConfig, seed: int) -> None:
    backoff = Backoff(config, Random(seed))
    for _ in range(10):
        backoff.delay_ms()
    backoff.reset()
    assert backoff.delay_ms() == 0
    assert backoff.delay_ms() <= config.initial_ms


def test_jitter_is_full() -> None:
    config = ReconnectConfig(initial_ms=1_000, cap_ms=1_000)
    backoff = Backoff(config, Random(1))
    backoff.delay_ms()
    delays = [backoff.delay_ms() for _ in range(2_000)]
    assert min(delays) < 50 and max(delays) > 950
    assert 450 < sum(delays) / len(delays) < 550


def test_same_seed_gives_same_delays() -> None:
    first, second = (Backoff(ReconnectConfig(), Random(3)) for _ in range(2))
    assert [first.delay_ms() for _ in range(20)] == [second.delay_ms() for _ in range(20)]


def test_attempts_are_used_up_only_where_there_is_a_limit() -> None:
    endless, limited = (
        Backoff(ReconnectConfig(), Random(1)),
        Backoff(ReconnectConfig(attempts_max=2), Random(1)),
    )
    for _ in range(2):
        assert not endless.exhausted and not limited.exhausted
        endless.delay_ms(), limited.delay_ms()
    assert limited.exhausted and not endless.exhausted
