"""What HEALTH ticks, late prints and bars asked for afterwards do to features and bars."""

import numpy as np
import pytest
from indicator_samples import MONDAY_NS, SECOND_NS, joined, trades

from hft_engine.config.schema import IndicatorConfig
from hft_engine.indicators.offline import Computed, OfflineIndicators
from hft_engine.records import TICK_DTYPE, BarFlag, BarKind, HealthState, TickFlag, TickKind

CONFIG = IndicatorConfig(ticks_per_bar=1_000, late_after_ms=0)
MS = 1_000_000


def at(*milliseconds: int) -> np.ndarray:
    return MONDAY_NS + np.array(milliseconds) * MS


def prints(*milliseconds: int, size: float = 1.0, price: float = 10.0) -> np.ndarray:
    return trades(np.full(len(milliseconds), price), size, at(*milliseconds))


def health(state: HealthState, gap_ms: tuple[int, int | None] | None = None) -> np.ndarray:
    """Of instrument 0. ``gap_ms``: the stretch that is incomplete; None as its end: it lasts."""
    row = np.zeros(1, TICK_DTYPE)
    row["kind"], row["health_state"] = TickKind.HEALTH, state
    row["flags"] = TickFlag.UNFIT if state >= HealthState.GAPPED else 0
    if gap_ms is not None:
        row["gap_from_ns"] = at(gap_ms[0])
        row["gap_to_ns"] = 0 if gap_ms[1] is None else at(gap_ms[1])
    return row


def backfill(start_ms: int, price: float, volume: float, count: int) -> np.ndarray:
    row = np.zeros(1, TICK_DTYPE)
    row["kind"], row["flags"] = TickKind.BAR_SECOND, TickFlag.BACKFILL
    row["ts_start_ns"], row["ts_venue_ns"] = at(start_ms), at(start_ms + 1_000)
    for name in ("open", "high", "low", "close", "vwap"):
        row[name] = price
    row["volume"], row["trade_count"] = volume, count
    return row


def run(*parts: np.ndarray) -> Computed:
    return OfflineIndicators(CONFIG, 2).feed(joined(*parts))


def seconds(computed: Computed) -> list[tuple[int, int, float]]:
    """(start in ms, flags, volume) of each second's bar and revision, in order."""
    bars = computed.bars[computed.bars["kind"] == BarKind.SECOND]
    starts = (bars["ts_start_ns"] - MONDAY_NS) // MS
    return list(zip(starts.tolist(), bars["flags"].tolist(), bars["volume"].tolist(), strict=True))


@pytest.mark.parametrize("state", [HealthState.GAPPED, HealthState.STALE, HealthState.HALTED])
def test_features_are_unfit_from_the_health_tick_until_the_next_that_is_fit(state: HealthState) -> None:
    computed = run(
        prints(0), health(state), prints(100, 200), health(HealthState.LIVE), prints(300), health(state)
    )
    assert (computed.features["flags"] & TickFlag.UNFIT != 0).tolist() == [False, True, True, False]
    assert computed.counters["unfit_features"] == 2


def test_a_health_tick_makes_no_record_and_moves_no_time() -> None:
    computed = run(prints(0, 500), health(HealthState.LIVE), prints(900))
    assert len(computed.features) == 3
    assert len(computed.bars) == 0


def test_bars_that_a_gap_reaches_into_are_marked_and_their_neighbours_are_not() -> None:
    computed = run(
        prints(100, 1_100, 2_100), health(HealthState.GAPPED, (1_900, 2_050)), prints(3_100, 4_100)
    )
    assert seconds(computed) == [
        (0, 0, 1.0),
        (1_000, 0, 1.0),  # closed when the gap was found: the database marks it
        (2_000, BarFlag.GAPPED, 1.0),
        (3_000, 0, 1.0),
    ]


def test_bars_that_begin_in_an_open_gap_are_marked_until_its_end_is_known() -> None:
    lost = health(HealthState.STALE, (900, None))
    found = health(HealthState.GAPPED, (900, 5_200))
    computed = run(prints(500), lost, prints(5_300), found, prints(6_000, 7_000))
    gapped = int(BarFlag.GAPPED)
    assert seconds(computed) == [(0, gapped, 1.0), (5_000, gapped, 1.0), (6_000, 0, 1.0)]


def test_a_late_print_revises_the_bar_that_was_closed_last_and_no_older_one() -> None:
    computed = run(
        prints(500), prints(1_500), prints(2_500), prints(1_700, size=5.0, price=12.0), prints(700)
    )
    assert seconds(computed) == [(0, 0, 1.0), (1_000, 0, 1.0), (1_000, BarFlag.REVISION, 6.0)]
    revision = computed.bars[computed.bars["flags"] == BarFlag.REVISION][0]
    assert revision[["open", "high", "low", "close", "trade_count"]].tolist() == (10, 12, 10, 12, 2)
    assert revision["source_sequence"] == 3
    assert computed.counters["late_trades"] == 2


def test_a_bar_asked_for_afterwards_is_a_repaired_revision_that_late_prints_leave_alone() -> None:
    computed = run(prints(500, 1_500), backfill(0, 11.0, 700.0, 7), prints(600))
    flags = int(BarFlag.REPAIRED | BarFlag.REVISION)
    assert seconds(computed) == [(0, 0, 1.0), (0, flags, 700.0)]
    bar = computed.bars[-1]
    assert bar[["open", "high", "low", "close", "vwap", "trade_count"]].tolist() == (11, 11, 11, 11, 11, 7)
    assert (bar["ts_start_ns"], bar["ts_end_ns"]) == (MONDAY_NS, MONDAY_NS + SECOND_NS)
    assert computed.counters["backfilled_bars"] == 1


def test_the_venues_own_bars_still_make_none_of_ours() -> None:
    live = backfill(0, 11.0, 700.0, 7)
    live["flags"] = 0
    assert len(run(prints(500), live).bars) == 0
