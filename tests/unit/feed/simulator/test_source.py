"""When ticks fall due: a live market by the wall clock, a recording at any speed."""

from pathlib import Path

import numpy as np
import pytest

from hft_engine.config.schema import SimulatorConfig
from hft_engine.feed.recorded import Recording, RecordingError
from hft_engine.feed.simulator.generator import SyntheticMarket
from hft_engine.feed.simulator.source import RecordedSource, SyntheticSource, open_source
from hft_engine.records import TICK_DTYPE, TickKind, join_ticks

CUT = Path(__file__).parents[3] / "data/binance/usdm_btcusdt_20240808_cut.jsonl.gz"
NOW_NS = 1_700_000_000_123_456_789
SECOND_NS = 1_000_000_000


def quotes(times_ns: list[int]) -> Recording:
    ticks = np.zeros(len(times_ns), TICK_DTYPE)
    ticks["kind"], ticks["ts_recv_ns"], ticks["ts_venue_ns"] = TickKind.QUOTE, times_ns, times_ns
    return Recording.of(["X"], ticks)


def test_a_recording_waits_for_its_first_subscriber() -> None:
    source = RecordedSource(quotes([5]), ("X",), speed=0)
    assert len(source.take(NOW_NS, 10)) == 0
    assert not source.finished
    source.start(NOW_NS)
    assert len(source.take(NOW_NS, 10)) == 1


@pytest.mark.parametrize("speed", [0.5, 1.0, 10.0])
def test_a_recording_keeps_its_own_pace_times_the_speed(speed: float) -> None:
    source = RecordedSource(quotes([0, SECOND_NS, 2 * SECOND_NS]), ("X",), speed)
    source.start(NOW_NS)
    due = [len(source.take(NOW_NS + int(s * SECOND_NS / speed), 10)) for s in (0.0, 0.9, 1.0, 1.9, 2.0)]
    assert due == [1, 0, 1, 0, 1]
    assert source.paced


def test_at_speed_0_all_is_due_at_once_up_to_the_limit_and_then_finished() -> None:
    source = RecordedSource(quotes([0, SECOND_NS, 3600 * SECOND_NS]), ("X",), speed=0)
    source.start(NOW_NS)
    assert [len(source.take(NOW_NS, 2)) for _ in range(3)] == [2, 1, 0]
    assert source.finished
    assert not source.paced


def test_receive_times_that_step_back_do_not_hold_up_the_rest() -> None:
    source = RecordedSource(quotes([10, 12, 11]), ("X",), 1.0)
    source.start(NOW_NS)
    assert len(source.take(NOW_NS + 2, 10)) == 3


def test_a_synthetic_market_gives_what_is_due_and_nothing_of_the_future() -> None:
    config = SimulatorConfig(ticks_per_s=5_000.0)
    source = SyntheticSource(config, SyntheticMarket(config, NOW_NS))
    got = []
    for ms in range(0, 1_500, 7):
        now_ns = NOW_NS + ms * 1_000_000
        part = source.take(now_ns, 10_000)
        assert not len(part) or part["ts_venue_ns"].max() <= now_ns
        got.append(part)
    assert len(join_ticks(got)) > 4_000


def test_a_recording_is_sent_whole_with_bars_between() -> None:
    source = open_source(SimulatorConfig(source=str(CUT), speed=0), NOW_NS)
    source.start(NOW_NS)
    parts = []
    while not source.finished:
        parts.append(source.take(NOW_NS, 4_096))
    kinds = np.bincount(join_ticks(parts)["kind"], minlength=5)
    assert kinds[TickKind.TRADE] + kinds[TickKind.QUOTE] == 24_000
    assert kinds[TickKind.BAR_SECOND] > 50
    assert kinds[TickKind.BAR_MINUTE] >= 1
    assert source.symbols == ("BTCUSDT",)


def test_a_source_that_is_no_file_is_refused() -> None:
    with pytest.raises(RecordingError, match="no such file"):
        open_source(SimulatorConfig(source="nothing/here.jsonl.gz"), NOW_NS)
