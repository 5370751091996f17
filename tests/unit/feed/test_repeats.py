"""What comes a second time on one line is left out once and counted; what only looks like it goes on."""

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.repeats import WINDOW, Repeats
from hft_engine.records import TICK_DTYPE, TickKind

INSTRUMENTS = 4
NUMBERED = (TickKind.TRADE, TickKind.QUOTE, TickKind.LULD)
STATED = (TickKind.BAR_SECOND, TickKind.BAR_MINUTE, TickKind.BAR_DAY, TickKind.FMV)  # without a number


def tick(
    kind: TickKind, number: int = 0, value: float = 100.0, instrument: int = 0, stamp: int = 1
) -> np.void:
    row = np.zeros((), TICK_DTYPE)
    row["kind"], row["venue_sequence"], row["instrument_id"] = kind, number, instrument
    row["ts_venue_ns"], row["price"] = stamp, value  # all kinds have something in the price's place
    return row[()]


def went_on(*ticks: np.void, at_once: int = 100) -> list[int]:
    """Their places in the order they came, in frames of ``at_once``."""
    rows = np.zeros(at_once, TICK_DTYPE)
    repeats = Repeats(INSTRUMENTS, rows)
    places: list[int] = []
    for begin in range(0, len(ticks), at_once):
        frame = ticks[begin : begin + at_once]
        for i, each in enumerate(frame):
            rows[i] = each
            rows[i]["sequence"] = begin + i
        places += rows["sequence"][: repeats.leave_out(len(frame))].tolist()
    return places


@pytest.mark.parametrize("kind", NUMBERED)
@pytest.mark.parametrize("behind", range(WINDOW))
@pytest.mark.parametrize("at_once", [1, 100])
def test_what_has_a_number_goes_on_once(kind: TickKind, behind: int, at_once: int) -> None:
    between = [tick(kind, 10 + i) for i in range(behind)]
    found = went_on(tick(kind, 7), *between, tick(kind, 7), tick(kind, 99), at_once=at_once)
    assert found == [*range(behind + 1), behind + 2]


def test_nobody_knows_what_is_older_than_the_window() -> None:
    numbers = [1, *range(2, WINDOW + 2), 1]
    assert len(went_on(*(tick(TickKind.QUOTE, number) for number in numbers))) == len(numbers)


@pytest.mark.parametrize("kind", [TickKind.TRADE, TickKind.QUOTE])
def test_without_a_number_equal_prints_and_quotes_all_go_on(kind: TickKind) -> None:
    assert went_on(*[tick(kind)] * 5) == [0, 1, 2, 3, 4]


def test_an_id_is_a_number_of_a_trade() -> None:
    print_ = tick(TickKind.TRADE)
    print_["trade_id"] = 5
    other = print_.copy()
    other["trade_id"] = 6
    assert went_on(print_, other, print_) == [0, 1]


@pytest.mark.parametrize("kind", NUMBERED)
def test_a_venue_that_counts_afresh_loses_nothing(kind: TickKind) -> None:
    ticks = [tick(kind, number, value) for value in (100.0, 101.0) for number in (1, 2, 3)]
    assert len(went_on(*ticks)) == 6


@pytest.mark.parametrize("kind", NUMBERED)
def test_the_time_tells_no_numbered_prints_and_quotes_apart(kind: TickKind) -> None:
    # where the venue gives no time it is that of our clock, another one for each copy
    found = went_on(tick(kind, 1, stamp=1), tick(kind, 1, stamp=2))
    assert found == ([0, 1] if kind == TickKind.LULD else [0])


@pytest.mark.parametrize("kind", STATED)
def test_a_bar_that_says_the_same_again_is_left_out_and_one_that_goes_back_is_not(kind: TickKind) -> None:
    first, revised = tick(kind, value=100.0), tick(kind, value=101.0)
    later = tick(kind, value=100.0, stamp=2)
    assert went_on(first, first, revised, first, first, later) == [0, 2, 3, 5]


@pytest.mark.parametrize(
    "field", ["high", "low", "close", "volume", "vwap", "day_volume", "ts_start_ns", "day_open"]
)
def test_bars_differ_in_any_field(field: str) -> None:
    first = tick(TickKind.BAR_MINUTE)
    other = first.copy()
    other[field] = 1
    assert went_on(first, other, first) == [0, 1, 2]


@pytest.mark.parametrize("field", ["size", "bid", "ask", "bid_size", "ask_size"])
def test_the_same_number_with_another_value_goes_on(field: str) -> None:
    first = tick(TickKind.TRADE if field == "size" else TickKind.QUOTE, 1)
    other = first.copy()
    other[field] = 3.25
    assert went_on(first, other, first, other) == [0, 1]


def test_instruments_and_kinds_are_apart() -> None:
    ticks = [tick(kind, 1, instrument=i) for kind in NUMBERED for i in range(INSTRUMENTS)]
    assert len(went_on(*ticks)) == len(ticks)
    assert len(went_on(*ticks, *ticks)) == len(ticks)


pieces = st.tuples(
    st.sampled_from([*NUMBERED, *STATED]),
    st.integers(0, 12),  # number
    st.sampled_from([100.0, 100.01]),
    st.integers(0, INSTRUMENTS - 1),
)


@given(st.lists(pieces, max_size=60), st.integers(1, 9))
def test_it_is_the_rule_and_nothing_else(came: list[tuple[TickKind, int, float, int]], at_once: int) -> None:
    came = [(kind, 0 if kind in STATED else number, value, who) for kind, number, value, who in came]
    memory: dict[tuple[TickKind, int], deque[tuple[int, float]]] = {}
    expected = []
    for place, (kind, number, value, who) in enumerate(came):
        window = memory.setdefault((kind, who), deque(maxlen=WINDOW))
        if number == 0 and kind in (TickKind.TRADE, TickKind.QUOTE):
            expected.append(place)
            continue
        among = list(window)[-(WINDOW if number else 1) :]
        if (number, value) not in among:
            window.append((number, value))
            expected.append(place)
    assert went_on(*(tick(*each) for each in came), at_once=at_once) == expected
