"""More than the engine can take, over a real websocket: what is lost is counted, memory stays, and it goes on."""

from pathlib import Path

import msgspec
import pytest
from benchmarks.load import overload
from benchmarks.load.overload_load import Phase
from benchmarks.load.tick_to_signal import SETUPS, configuration

from hft_engine.config.schema import Config, HealthConfig, InferenceConfig, RingsConfig

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TINY = RingsConfig(ticks=8_192, bars=256, features=256, predictions=256, signals=1_024)
GROWTH_MB_MAX = 20.0


@pytest.mark.parametrize("layout", ["compact", "dedicated"])
def test_a_burst_over_capacity_loses_what_is_counted_and_nothing_else(
    layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HFT_RUN_ROOT")  # this engine has a root of its own, removed at its end

    def configure(url: str) -> Config:
        config = configuration(SETUPS[layout], url, Path("none"))
        return msgspec.structs.replace(config, inference=InferenceConfig(), rings=TINY)

    with overload.running(configure) as (session, watch):
        session.play([Phase("normal", 20_000.0, 0.5)])
        before = watch.look()
        session.play([Phase("burst", 3e6, 1.0), Phase("normal", 20_000.0, 1.0)])
        after, signals = watch.look(), watch.signals()
    assert after.taken == after.sent == 3_030_000
    assert [reader for reader in after.readers if reader.unaccounted or reader.lag] == []
    assert after.lost() > 0
    assert after.private_mb + after.shared_mb - before.private_mb - before.shared_mb < GROWTH_MB_MAX
    assert signals["source_sequence"][-1] > 3_010_000


def test_a_feed_that_sheds_counts_each_event_and_is_not_late_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HFT_RUN_ROOT")

    def configure(url: str) -> Config:
        config = configuration(SETUPS["compact"], url, Path("none"))
        feed = msgspec.structs.replace(config.feed, shed_after_ms=5, health=HealthConfig(gapped_hold_ms=100))
        return msgspec.structs.replace(config, feed=feed, inference=InferenceConfig(), rings=TINY)

    with overload.running(configure) as (session, watch):
        session.play([Phase("normal", 20_000.0, 0.5)])
        session.play([Phase("burst", 2e7, 0.5), Phase("normal", 20_000.0, 1.0)])
        look, signals = watch.look(), watch.signals()
    assert look.taken == look.sent == 10_030_000
    assert look.shed > 0
    assert [reader for reader in look.readers if reader.unaccounted or reader.lag] == []
    assert len(signals) > 0
