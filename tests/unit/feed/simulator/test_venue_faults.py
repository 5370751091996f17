"""Faults on the stream: exactly what is told to the truth, and nothing else, happens to the ticks."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.simulator.faults import StreamFaults
from hft_engine.feed.simulator.market_faults import ContiguousNumbers, Halts
from hft_engine.feed.simulator.scenario import (
    Duplicate,
    Halt,
    Lag,
    Loss,
    Missing,
    Mute,
    Reorder,
    Skew,
    StreamStep,
)
from hft_engine.feed.simulator.truth import Truth
from hft_engine.records import TickKind, join_ticks
from support.sim_markets import SYMBOLS, steady_ticks

CUTS = st.lists(st.integers(0, 60), max_size=5).map(sorted)


def after(
    step: StreamStep,
    ticks: np.ndarray,
    cuts: list[int],
    seed: int = 1,
    now: Callable[[int], int] = lambda i: i,
) -> tuple[np.ndarray, Truth]:
    """What is sent of ``ticks`` that come in pieces, the fault ended behind them."""
    truth = Truth(SYMBOLS)
    faults = StreamFaults(SYMBOLS, seed, truth)
    faults.begin(step)
    pieces = [faults.apply(piece, now(i)) for i, piece in enumerate(np.split(ticks, cuts))]
    faults.end(step)
    return join_ticks([*pieces, faults.apply(ticks[:0], now(99))]), truth


def numbers(ticks: np.ndarray) -> list[int]:
    return ticks["trade_id"].tolist()


@given(CUTS, st.integers(0, 99))
def test_loss_is_what_is_missing(cuts: list[int], seed: int) -> None:
    sent, truth = after(Loss(share=0.3), steady_ticks(60), cuts, seed)
    assert sorted(numbers(sent) + numbers(truth.ticks_of("lost"))) == list(range(60))
    assert truth.counts["lost"] == 60 - len(sent)


@given(CUTS, st.integers(0, 99))
def test_duplicates_come_right_after_the_first(cuts: list[int], seed: int) -> None:
    sent, truth = after(Duplicate(share=0.3), steady_ticks(60), cuts, seed)
    assert sorted(set(numbers(sent))) == list(range(60))
    again = [a for a, b in zip(numbers(sent), numbers(sent)[1:], strict=False) if a == b]
    assert again == numbers(truth.ticks_of("duplicated"))


@given(CUTS, st.integers(0, 99))
def test_a_reordered_tick_comes_after_the_next_of_its_pair_and_none_is_lost(
    cuts: list[int], seed: int
) -> None:
    sent, truth = after(Reorder(share=0.3), steady_ticks(60), cuts, seed)
    assert sorted(numbers(sent)) == list(range(60))
    late = []
    for who in range(len(SYMBOLS)):
        own = sent[sent["instrument_id"] == who]["trade_id"]
        late += own[own < np.maximum.accumulate(own)].tolist()
    assert sorted(late) == sorted(numbers(truth.ticks_of("reordered")))


def test_missing_takes_so_many_and_no_more() -> None:
    sent, truth = after(Missing(ticks=7, symbols=("MSFT",)), steady_ticks(60), [10, 11, 30])
    assert numbers(truth.ticks_of("lost")) == [1, 4, 7, 10, 13, 16, 19]
    assert len(sent) == 53


def test_mute_of_one_symbol_and_channel_leaves_the_others() -> None:
    ticks = join_ticks((steady_ticks(30), steady_ticks(30, kind=TickKind.QUOTE)))
    sent, _ = after(Mute(symbols=("SPY",), channels=("Q",)), ticks, [])
    kept = (ticks["instrument_id"] != 2) | (ticks["kind"] != TickKind.QUOTE)
    assert sent.tobytes() == ticks[kept].tobytes()


def test_lag_grows_and_what_waits_comes_at_the_end() -> None:
    truth = Truth(SYMBOLS)
    faults = StreamFaults(SYMBOLS, 1, truth)
    step = Lag(delay_ms=1_000, ramp_s=2.0)
    faults.begin(step)
    ticks = steady_ticks(40)
    second = 1_000_000_000
    came: dict[int, float] = {}
    for i in range(40):  # one tick each tenth of a second
        for number in numbers(faults.apply(ticks[i : i + 1], i * second // 10)):
            came[number] = (i - number) / 10
    assert (
        came[0] == 0.0
        and came[10] == pytest.approx(0.5, abs=0.11)
        and came[25] == pytest.approx(1.0, abs=0.11)
    )
    faults.end(step)
    left = numbers(faults.apply(ticks[:0], 4 * second))
    assert sorted([*came, *left]) == list(range(40)) and len(left) == 10


def test_skew_moves_stamps_and_nothing_else() -> None:
    ticks = steady_ticks(9)
    sent, _ = after(Skew(offset_ms=-2_000), ticks, [4])
    assert (ticks["ts_venue_ns"] - sent["ts_venue_ns"] == 2_000_000_000).all()
    assert numbers(sent) == numbers(ticks)


@given(CUTS)
def test_contiguous_numbers_have_no_hole_in_any_pair(cuts: list[int]) -> None:
    ticks = join_ticks((steady_ticks(40), steady_ticks(20, kind=TickKind.QUOTE)))
    numbering = ContiguousNumbers(len(SYMBOLS))
    sent = join_ticks([numbering.number(piece) for piece in np.split(ticks, cuts)])
    for who in range(len(SYMBOLS)):
        for kind in (TickKind.TRADE, TickKind.QUOTE):
            own = sent[(sent["instrument_id"] == who) & (sent["kind"] == kind)]["venue_sequence"]
            assert own.tolist() == list(range(1, len(own) + 1))


def test_a_halt_is_announced_by_quotes_and_nothing_trades_between() -> None:
    halts, step = Halts(SYMBOLS), Halt(symbols=("MSFT",), code=43)
    quotes = steady_ticks(9, kind=TickKind.QUOTE)
    before = halts.apply(quotes)
    halts.begin(step)
    during = halts.apply(steady_ticks(9))
    halts.end(step)
    after_it = halts.apply(steady_ticks(9))
    assert before.tobytes() == quotes.tobytes()
    first, rest = during[0], during[1:]
    assert (first["kind"], first["instrument_id"], first["conditions"], first["bid"]) == (
        TickKind.QUOTE,
        1,
        44,
        99.0,
    )
    assert set(rest["instrument_id"]) == {0, 2}
    assert (after_it[0]["conditions"], len(after_it)) == (17, 10)
    assert len(set(during["venue_sequence"])) == len(during)
