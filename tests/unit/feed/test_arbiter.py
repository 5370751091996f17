"""Arbitration between lines that bring the same ticks: each tick once, the first copy, and what all lost is counted."""

from random import Random

import numpy as np
import pytest

from hft_engine.feed.arbiter import SOURCES_MAX, WINDOW, Arbiter, Source
from hft_engine.records import TICK_DTYPE, TickKind

MS = 1_000_000
SEED = 20_261


def ticks(
    numbers: list[int], instrument: int = 0, kind: TickKind = TickKind.QUOTE, day: int = 0
) -> np.ndarray:
    rows = np.zeros(len(numbers), TICK_DTYPE)
    rows["kind"], rows["instrument_id"] = kind, instrument
    rows["venue_sequence"] = numbers
    rows["ts_venue_ns"] = (np.array(numbers, np.int64) + day * 1_000_000) * MS
    rows["price"] = numbers
    return rows


def through(source: Source, rows: np.ndarray, now_ms: float = 0.0) -> list[int]:
    """The sequences that went on."""
    kept = source.arbitrate(rows, int(now_ms * MS))
    return [int(number) for number in rows["venue_sequence"][:kept]]


@pytest.fixture
def pair() -> tuple[Source, Source]:
    arbiter = Arbiter(4, contiguous=True)
    return Source(arbiter, arbiter.place()), Source(arbiter, arbiter.place())


def test_the_first_copy_goes_on_and_the_second_shows_the_lead(pair: tuple[Source, Source]) -> None:
    a, b = pair
    assert through(a, ticks([1, 2, 3]), 10.0) == [1, 2, 3]
    assert through(b, ticks([1, 2, 3, 4]), 12.0) == [4]
    assert through(a, ticks([4, 5]), 13.0) == [5]
    assert (a.first, a.second, b.first, b.second) == (4, 1, 1, 3)
    assert a.lead_us()[0] == 2_000 and b.lead_us()[0] == 1_000
    assert a.arbiter.lost == 0


def test_what_one_lost_comes_from_the_other_also_late(pair: tuple[Source, Source]) -> None:
    a, b = pair
    assert through(a, ticks([1, 3, 4])) == [1, 3, 4]
    assert a.arbiter.lost == 1  # b was not heard yet
    assert through(b, ticks([1, 2, 4])) == [2]
    assert a.arbiter.lost == 0


def test_what_both_lost_is_counted_at_the_tick_that_shows_it(pair: tuple[Source, Source]) -> None:
    a, b = pair
    through(a, ticks([1])), through(b, ticks([1]))
    through(a, ticks([4]))
    assert a.arbiter.lost == 0  # b may still bring them
    through(b, ticks([3]))
    assert a.arbiter.lost == 1  # 2 is behind both
    through(b, ticks([4]))
    assert a.arbiter.lost == 1


def test_instruments_and_kinds_are_apart(pair: tuple[Source, Source]) -> None:
    a, b = pair
    assert through(a, ticks([5])) == through(b, ticks([5], instrument=1)) == [5]
    assert through(b, ticks([5], kind=TickKind.TRADE)) == [5]
    assert through(a, ticks([6])) == [6] and a.arbiter.lost == 0


def test_trades_of_one_sequence_are_told_apart_by_their_id(pair: tuple[Source, Source]) -> None:
    a, b = pair
    rows = ticks([7, 7], kind=TickKind.TRADE)
    rows["trade_id"] = [1, 2]
    assert through(a, rows.copy()) == [7, 7]
    assert through(b, rows.copy()) == []


def test_a_venue_without_sequences_is_arbitrated_by_stamp_and_values(pair: tuple[Source, Source]) -> None:
    a, b = pair
    rows = ticks([0, 0, 0], kind=TickKind.TRADE)
    rows["ts_venue_ns"], rows["price"], rows["size"] = 5 * MS, [100.0, 100.0, 101.0], [1.0, 2.0, 1.0]
    assert len(through(a, rows.copy())) == 3
    assert len(through(b, rows.copy())) == 0
    assert a.arbiter.lost == 0


def test_a_line_that_repeats_itself_and_reorders_brings_nothing_twice(pair: tuple[Source, Source]) -> None:
    a, b = pair
    assert through(a, ticks([1, 3, 2, 3, 1, 4])) == [1, 3, 2, 4]
    assert a.repeated == 2
    assert through(b, ticks([2, 1, 4, 3])) == []
    assert a.arbiter.lost == 0


def test_what_is_older_than_the_window_is_left_out(pair: tuple[Source, Source]) -> None:
    a, b = pair
    through(a, ticks(list(range(1, 3 * WINDOW))))
    assert through(b, ticks([1, 2])) == []
    assert b.repeated == 2


def test_a_venue_that_counts_afresh_is_taken_up_again(pair: tuple[Source, Source]) -> None:
    a, b = pair
    through(a, ticks(list(range(1_000, 1_000 + 2 * WINDOW))))
    assert through(a, ticks([1, 2], day=1)) == [1, 2]
    assert through(b, ticks([1, 2, 3], day=1)) == [3]
    assert a.arbiter.lost == 0


def test_a_line_that_is_gone_holds_nothing_up(pair: tuple[Source, Source]) -> None:
    a, b = pair
    through(a, ticks([1])), through(b, ticks([1]))
    b.leave()
    through(a, ticks([2, 5]))
    assert a.arbiter.lost == 2
    assert through(b, ticks([4])) == [4]  # it is back, and was only late
    assert a.arbiter.lost == 1


def test_more_lines_than_there_are_places_for_are_refused() -> None:
    arbiter = Arbiter(1, contiguous=False)
    for _ in range(SOURCES_MAX):
        arbiter.place()
    with pytest.raises(ValueError, match="at most 4"):
        arbiter.place()


def test_ten_percent_loss_on_each_of_two_lines_leaves_one_percent_all_of_it_counted() -> None:
    arbiter = Arbiter(10, contiguous=True)
    sources, random = [Source(arbiter, arbiter.place()) for _ in range(2)], Random(SEED)
    numbers, seen = dict.fromkeys(range(10), 1), []
    sent: list[tuple[int, int]] = []
    queues: list[list[tuple[int, int]]] = [[], []]
    for _ in range(50_000):
        instrument = random.randrange(10)
        event = (instrument, numbers[instrument])
        numbers[instrument] += 1
        sent.append(event)
        for queue in queues:
            if random.random() >= 0.1:
                queue.append(event)
                if random.random() < 0.05:
                    queue.append(event)  # twice
                if random.random() < 0.05 and len(queue) > 1:
                    queue[-1], queue[-2] = queue[-2], queue[-1]
    for at in range(0, len(sent), 50):  # each line is ahead for a while
        for side in random.sample((0, 1), 2):
            for instrument, number in queues[side][at : at + 50]:
                seen += [(instrument, n) for n in through(sources[side], ticks([number], instrument))]
    assert len(seen) == len(set(seen)), f"seed {SEED}"
    first = {instrument: min(n for i, n in seen if i == instrument) for instrument in numbers}
    last = {instrument: max(n for i, n in seen if i == instrument) for instrument in numbers}
    missing = [(i, n) for i, n in set(sent) - set(seen) if first[i] <= n <= last[i]]
    assert 0.008 < len(missing) / len(sent) < 0.012
    assert arbiter.lost == pytest.approx(
        len(missing), abs=10
    )  # the last number of each may be behind one line only
