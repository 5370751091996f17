"""How symbols are spread over the connections of a line."""

from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.sharding import spread

SYMBOLS = st.lists(st.integers(0, 60).map("S{}".format), max_size=60)


@given(st.lists(SYMBOLS, min_size=1, max_size=8), st.integers(0, 10))
def test_every_symbol_is_held_once_no_part_is_overfull_and_what_stays_does_not_move(
    changes: list[list[str]], most: int
) -> None:
    parts: list[tuple[str, ...]] = []
    for wanted in changes:
        before = {symbol: i for i, part in enumerate(parts) for symbol in part}
        parts = spread(wanted, parts, most)
        held = [symbol for part in parts for symbol in part]
        assert sorted(held) == sorted(set(wanted))
        assert most == 0 or all(len(part) <= most for part in parts)
        assert all(symbol in parts[place] for symbol, place in before.items() if symbol in wanted)
        assert len(parts) >= 1


def test_no_more_parts_than_needed_and_evenly_filled() -> None:
    parts = spread([f"S{i}" for i in range(3_000)], [], 1_000)
    assert [len(part) for part in parts] == [1_000] * 3
    assert [len(part) for part in spread([f"S{i}" for i in range(1_001)], [], 1_000)] == [501, 500]


def test_without_a_limit_there_is_one_part() -> None:
    assert spread(["A", "B"], [], 0) == [("A", "B")]
    assert spread([], [], 0) == [()]
