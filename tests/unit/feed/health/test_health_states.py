"""States and what changes them: silence, lag, lost connections, gaps in the venue's numbers, crossed quotes, halts."""

import numpy as np
import pytest
from health_bench import BAR_MINUTE, LULD, MINUTE_NS, POLYGON, QUOTE, SECOND_NS, START_NS, TRADE, Bench

from hft_engine.feed.conditions import pack
from hft_engine.feed.health.cells import ROWS_MAX
from hft_engine.records import HealthChannel, HealthState, TickFlag, TickKind

OF_QUOTE, OF_BAR = HealthChannel.QUOTE, HealthChannel.BAR
MS = 1_000_000


def settled(**settings: object) -> Bench:
    """Trades of two instruments every 100 ms, long enough to know how often they come."""
    bench = Bench(**settings)
    for _ in range(80):
        bench.tick(instrument=0)
        bench.tick(instrument=1)
        bench.pass_ms(100, 100)
    bench.told.clear()
    return bench


def keep_one_talking(bench: Bench, ms: int) -> None:
    """Instrument 1 goes on, instrument 0 is mute."""
    for _ in range(ms // 100):
        bench.tick(instrument=1)
        bench.pass_ms(100, 100)


def test_the_first_tick_makes_a_channel_live_and_fit() -> None:
    bench = Bench()
    bench.tick()
    bench.look()
    assert bench.told[0]["flags"] == 0
    assert bench.story() == ["LIVE DATA"]
    assert bench.count("health_live") == 1


def test_one_mute_instrument_becomes_quiet_then_stale_while_the_other_stays_live() -> None:
    bench = settled()
    keep_one_talking(bench, 6_000)
    assert [row["flags"] for row in bench.told] == [0, TickFlag.UNFIT]
    assert bench.story() == ["QUIET SILENCE", "STALE SILENCE"]
    assert bench.state(1) is HealthState.LIVE
    bench.beat(15, 100)
    assert bench.story() == ["LIVE DATA"]


def test_a_mute_line_makes_everything_stale_at_its_own_limit() -> None:
    bench = Bench(stale_factor=8.0, stale_min_ms=1_000)
    for i in range(400):
        bench.tick(instrument=1)
        if i % 8 == 0:
            bench.tick(instrument=0)
        bench.pass_ms(100, 100)
    bench.told.clear()
    bench.pass_ms(1_500)
    assert "STALE LINE_SILENCE" in bench.story(0), "its own limit is eight times 800 ms"


def test_a_rare_channel_is_not_stale_before_its_cadence_is_known() -> None:
    bench = Bench()
    bench.beat(20, 60_000, BAR_MINUTE, ts_start_ns=0)
    bench.pass_ms(3_600_000, 10_000)
    assert bench.state(0, OF_BAR) is HealthState.QUIET
    assert bench.count("health_stale") == 0


@pytest.mark.parametrize("kind", [TickKind.BAR_DAY, BAR_MINUTE])
def test_days_with_a_bar_a_day_raise_no_alarm(kind: TickKind) -> None:
    bench = Bench(samples_min=3)
    for _ in range(10):
        for instrument in range(4):
            bench.tick(kind, instrument, ts_start_ns=0)
        bench.pass_ms(86_400_000, 60_000)
    assert not any(row["flags"] & TickFlag.UNFIT for row in bench.told)
    assert (bench.count("health_stale"), bench.count("health_gapped")) == (0, 0)


def test_silence_outside_the_session_is_quiet_and_counts_only_from_its_opening() -> None:
    bench = settled(session="09:30-16:00 America/New_York")
    bench.pass_ms(19 * 60_000, 1_000)  # 09:10:08 to 09:29:08
    assert bench.story() == ["QUIET CLOSED"]
    bench.pass_ms(54_000, 1_000)  # two seconds after the opening
    assert bench.story() == []
    bench.pass_ms(6_000, 1_000)
    assert bench.story()[0].startswith("STALE")


def test_data_that_come_late_are_lagging_then_stale_and_recover_below_half_the_limit() -> None:
    bench = settled()
    bench.beat(100, 100, delay_ms=2_000)
    bench.beat(200, 100, delay_ms=15_000)
    bench.beat(100, 100, delay_ms=700)
    assert bench.state() is HealthState.LAGGING, "0.7 of the limit: once it lags, it does"
    bench.beat(100, 100, delay_ms=100)
    assert bench.story() == ["LAGGING LAG", "STALE LAG", "LAGGING LAG", "LIVE DATA"]


def test_a_lost_line_is_stale_at_once_and_a_gap_when_it_is_back() -> None:
    bench = settled()
    bench.lose(0, 1)
    lost_ns = START_NS + 7_900 * MS
    assert [row["gap_from_ns"] for row in bench.told] == [lost_ns, lost_ns]
    assert [row["gap_to_ns"] for row in bench.told] == [0, 0]
    assert bench.story() == bench.story(1) == ["STALE CONNECTION"]
    bench.pass_ms(3_000)
    bench.regain(0, 1)
    for row in bench.told:
        assert (row["gap_from_ns"], row["gap_to_ns"]) == (lost_ns, START_NS + 11_000 * MS)
        assert row["flags"] == TickFlag.UNFIT
    bench.beat(120, 100)
    assert bench.story() == ["STALE CONNECTION", "GAPPED CONNECTION", "LIVE ELAPSED"]
    suspects = bench.monitor.suspects()
    assert sorted(suspects["instrument_id"].tolist()) == [0, 1]
    assert set(suspects["from_ns"].tolist()) == {lost_ns}


def test_a_filled_gap_is_repaired_and_fit() -> None:
    bench = settled()
    bench.lose(0)
    bench.regain(0)
    bench.beat(15, 100)
    bench.monitor.mend(0, 0)
    bench.beat(15, 100)
    repaired = bench.told[-1]
    assert (repaired["health_state"], repaired["flags"]) == (HealthState.REPAIRED, 0)
    bench.beat(100, 100)
    assert bench.story()[-2:] == ["REPAIRED BACKFILL", "LIVE DATA"]


@pytest.mark.parametrize("missing", [1, 2, 63, 64, 65, 100_000])
def test_missing_numbers_of_a_contiguous_venue_are_counted_exactly(missing: int) -> None:
    bench = Bench(venues=((POLYGON, True),))
    for number in (5, 6, 7, 8 + missing, 9 + missing):
        bench.beat(1, 100, venue_sequence=number)
    assert bench.count("missing") == missing
    told = [row for row in bench.told if row["health_state"] == HealthState.GAPPED]
    assert [int(row["missing"]) for row in told] == [missing]
    assert (told[0]["gap_from_ns"], told[0]["gap_to_ns"]) == (START_NS + 200 * MS, START_NS + 300 * MS)


def test_loss_reorder_and_repetition_at_random_are_counted_exactly() -> None:
    random = np.random.default_rng(11)
    numbers = np.arange(1, 5_001)
    kept = numbers[(random.random(5_000) > 0.2) | (numbers < 3) | (numbers > 4_990)]
    order = np.argsort(
        np.arange(len(kept)) + np.where(random.random(len(kept)) < 0.05, random.integers(1, 9, len(kept)), 0),
        kind="stable",
    )
    sent = np.repeat(kept[order], np.where(random.random(len(kept)) < 0.05, 2, 1))
    bench = Bench(venues=((POLYGON, True),))
    for i, number in enumerate(sent):
        bench.tick(venue_sequence=number)
        if i % 50 == 0:
            bench.pass_ms(10)
    bench.pass_ms(10)
    newest = np.maximum.accumulate(sent)
    assert bench.count("missing") == 5_000 - len(kept)
    assert bench.count("repeated") == len(sent) - len(kept)
    first = np.unique(sent, return_index=True)[1]
    assert bench.count("reordered") == np.count_nonzero(sent[first] < newest[first])


def test_numbers_that_only_grow_have_gaps_that_mean_nothing() -> None:
    bench = Bench()
    for number in (5, 900, 10_000):
        bench.beat(1, 100, venue_sequence=number)
    assert bench.count("missing") == 0
    assert bench.state() is HealthState.LIVE


def test_what_was_missing_and_came_late_is_missing_no_more() -> None:
    bench = Bench(venues=((POLYGON, True),), recover_ms=0)
    for number in (1, 2, 4, 3, 5):
        bench.beat(1, 100, venue_sequence=number)
    assert (bench.count("missing"), bench.count("reordered")) == (0, 1)
    assert bench.state() is HealthState.LIVE


def test_a_quote_crossed_for_long_is_stale_and_one_for_a_moment_is_only_counted() -> None:
    bench = Bench()
    bench.beat(3, 100, QUOTE)
    bench.beat(3, 100, QUOTE, bid=12.0, ask=11.0)
    bench.beat(3, 100, QUOTE)
    assert bench.count("crossed") == 3
    assert bench.story(0, OF_QUOTE) == ["LIVE DATA"]
    bench.beat(15, 100, QUOTE, bid=12.0, ask=11.0)
    assert bench.story(0, OF_QUOTE) == ["STALE CROSSED"]


@pytest.mark.parametrize(
    ("numbers", "missing", "reordered"), [([4, 7], 2, 0), ([4, 3, 5], 0, 1), ([4, 4], 0, 0)]
)
def test_the_first_tick_of_a_channel_counts_for_the_order_of_the_second(
    numbers: list[int], missing: int, reordered: int
) -> None:
    bench = Bench(venues=((POLYGON, True),))
    for number in numbers:
        bench.beat(1, 100, TRADE, venue_sequence=number)
    assert (bench.count("missing"), bench.count("reordered")) == (missing, reordered)
    assert bench.count("repeated") == len(numbers) - len(set(numbers))


@pytest.mark.parametrize("code", [27, 36, 37, 38, 43])
@pytest.mark.parametrize("ends_with", ["a quote", "a trade"])
def test_a_halt_that_a_quote_declares_holds_until_trading_resumes(code: int, ends_with: str) -> None:
    bench = Bench()
    bench.beat(2, 100, QUOTE, conditions=pack((1,)))
    bench.beat(2, 100, TRADE)
    bench.beat(1, 100, QUOTE, conditions=pack((code,)))
    assert bench.told[-1]["flags"] == TickFlag.UNFIT
    assert bench.story(0, OF_QUOTE) == ["LIVE DATA", "HALTED PAUSE"]
    bench.beat(20, 100, QUOTE, conditions=pack((1,)))
    assert bench.state() is HealthState.HALTED, "an ordinary quote ends nothing"
    if ends_with == "a quote":
        bench.beat(1, 100, QUOTE, conditions=pack((16,)))
    else:
        bench.beat(1, 100, TRADE)
    bench.pass_ms(1_100)
    assert bench.story(0, OF_QUOTE)[-1] == "LIVE RESUMED"
    assert bench.state() is HealthState.LIVE


def test_a_limit_state_halts_and_15_s_of_it_are_a_pause_that_a_trade_ends() -> None:
    bench = Bench()
    bench.beat(2, 100, QUOTE)
    bench.beat(2, 100, TRADE)
    bench.tick(LULD, upper=12.0, lower=8.0)
    bench.beat(1, 100, QUOTE, bid=12.0, ask=12.5)
    assert bench.told[-1]["flags"] == TickFlag.UNFIT
    assert bench.story(0, OF_QUOTE) == ["LIVE DATA", "HALTED BANDS"]
    bench.beat(1, 100, QUOTE, bid=11.0, ask=11.5)
    bench.pass_ms(1_100)
    assert bench.story(0, OF_QUOTE) == ["LIVE RESUMED"], "left within 15 s"
    bench.beat(160, 100, QUOTE, bid=12.0, ask=12.5)
    bench.beat(50, 100, QUOTE, bid=11.0, ask=11.5)
    assert bench.state(0, OF_QUOTE) is HealthState.HALTED, "a pause does not end with a quote"
    bench.beat(1, 100, TRADE, flags=TickFlag.NO_PRICE_UPDATE)
    assert bench.state() is HealthState.HALTED
    bench.beat(12, 100, TRADE)
    bench.beat(2, 100, QUOTE)
    assert bench.story(0, OF_QUOTE)[-1] == "LIVE RESUMED"
    assert bench.state() is HealthState.LIVE


def test_a_venues_minute_that_has_another_volume_than_its_trades_is_suspect() -> None:
    bench = Bench()
    bench.pass_ms(10_000, 10_000)
    for minute in range(3):
        bench.beat(6, 10_000, TRADE, size=10.0)
        start_ns = (START_NS + bench.now_ms * MS) // MINUTE_NS * MINUTE_NS - MINUTE_NS
        bench.tick(BAR_MINUTE, ts_start_ns=start_ns, volume=60.0 if minute < 2 else 61.0)
        bench.look()
    assert (bench.count("audits"), bench.count("audits_failed")) == (2, 1)
    (found,) = bench.monitor.suspects()
    assert (found["from_ns"], found["to_ns"]) == (start_ns, start_ns + MINUTE_NS - 1)


def test_fitness_is_that_of_trades_and_quotes_and_of_bars_alone_where_there_is_nothing_else() -> None:
    bench = settled(samples_min=3)
    bench.beat(5, 100, BAR_MINUTE, ts_start_ns=0)
    keep = bench.told
    for _ in range(80):
        bench.tick(instrument=0)
        bench.pass_ms(100, 100)
    stale = [
        row for row in keep if row["health_channel"] == OF_BAR and row["health_state"] == HealthState.STALE
    ]
    assert [row["flags"] for row in stale] == [0]


def test_an_instrument_of_two_venues_is_unfit_only_when_both_are() -> None:
    bench = Bench(venues=((POLYGON, False), (2, False)))
    for _ in range(3):
        bench.tick()
        bench.tick(venue_id=2)
        bench.pass_ms(100, 100)
    bench.lose(0)
    assert bench.told[-1]["flags"] == 0
    bench.monitor.lose(np.array([0]), 1)
    bench.look()
    assert bench.told[-1]["flags"] == TickFlag.UNFIT


def test_more_changes_than_fit_are_told_in_turn() -> None:
    bench = Bench(instruments=ROWS_MAX + 100)
    for instrument in range(ROWS_MAX + 100):
        bench.tick(instrument=instrument)
    bench.look()
    assert len(bench.told) == ROWS_MAX
    bench.pass_ms(10)
    assert sorted(int(row["instrument_id"]) for row in bench.told) == list(range(ROWS_MAX + 100))


def test_the_least_delay_is_the_clocks_offset_and_forgets_after_two_windows() -> None:
    bench = Bench(lag_window_ms=1_000)
    bench.beat(5, 100, delay_ms=-1_270)
    assert bench.monitor.delay_ns(0) == -1_270 * MS
    bench.beat(40, 100, delay_ms=30)
    assert bench.monitor.delay_ns(0) == 30 * MS


@pytest.mark.parametrize("step_ms", [2_000, -2_000, 600_000])
def test_a_step_of_our_own_clock_is_no_lag_and_shows_in_the_offset(step_ms: int) -> None:
    bench = settled()
    bench.beat(50, 100, delay_ms=30)
    bench.step_ms = step_ms
    bench.beat(50, 100, delay_ms=30)
    assert bench.monitor.delay_ns(0) == step_ms * MS  # the least delay was 0
    bench.step_ms = 0
    bench.beat(50, 100, delay_ms=30)
    assert bench.monitor.delay_ns(0) == 0
    assert bench.story() == [] and bench.state() is HealthState.LIVE


@pytest.mark.parametrize("step_ms", [0, 5_000, -5_000])
def test_a_lost_stretch_is_told_in_the_venues_time_whatever_our_clock_says(step_ms: int) -> None:
    bench = settled()
    lost_ns = START_NS + bench.now_ms * MS
    bench.lose(0)
    bench.step_ms = step_ms
    bench.pass_ms(2_000)
    bench.regain(0)
    (found,) = bench.monitor.suspects()
    assert lost_ns - 100 * MS <= found["from_ns"] <= lost_ns
    assert found["to_ns"] == START_NS + bench.now_ms * MS


def test_a_new_life_learns_from_the_ring_and_counts_nothing_of_it() -> None:
    bench = settled()
    again = Bench()
    again.slots, again.published, again.now_ms = bench.slots, bench.published, bench.now_ms
    again.monitor.position = bench.published
    again.monitor.recall(bench.slots, 0, SECOND_NS + bench.now_ms * MS, START_NS + bench.now_ms * MS)
    assert (again.monitor.cells["cadence_ns"] == bench.monitor.cells["cadence_ns"]).all()
    assert again.count("health_ticks") == 0
    again.look()
    assert again.told == []
