import pytest
from hypothesis import given
from hypothesis import strategies as st

from hft_engine.feed.conditions import (
    CODE_MAX,
    COMBINATIONS_MAX,
    RULES,
    PackedConditions,
    flags_of,
    pack,
    unpack,
)
from hft_engine.records import TickFlag

NO_PRICE, NO_VOLUME = TickFlag.NO_PRICE_UPDATE, TickFlag.NO_VOLUME_UPDATE
EXTENDED = TickFlag.EXTENDED_HOURS


@pytest.mark.parametrize(
    ("codes", "flags"),
    [
        ((), TickFlag.NONE),
        ((0,), TickFlag.NONE),
        ((14, 41), TickFlag.NONE),
        ((14, 37, 41), NO_PRICE),  # an odd lot adds volume and moves no price
        ((2,), NO_PRICE),
        ((10,), NO_PRICE),  # may move high and low only
        ((15,), NO_PRICE | NO_VOLUME),
        ((16,), NO_PRICE | NO_VOLUME),
        ((38,), NO_VOLUME),
        ((12,), EXTENDED),  # Form T stays eligible: bars exist outside the session
        ((12, 37), EXTENDED | NO_PRICE),
        ((13,), EXTENDED | NO_PRICE),
        ((777,), TickFlag.CONDITION_UNKNOWN | NO_PRICE),
        ((-1,), TickFlag.CONDITION_UNKNOWN | NO_PRICE),
        ((0, 1, 3, 4, 8), TickFlag.CONDITIONS_TRUNCATED),
        ((0, 1, 3, 4, 37), TickFlag.CONDITIONS_TRUNCATED | NO_PRICE),  # codes beyond the kept ones count
    ],
)
def test_a_print_may_do_only_what_all_its_codes_allow(codes: tuple[int, ...], flags: TickFlag) -> None:
    assert flags_of(codes) == flags


# id, updates_high_low, updates_open_close, updates_volume as the venue's own endpoint answered for codes 1-10
RECORDED = [
    (1, True, True, True),
    (2, False, False, True),
    (3, True, True, True),
    (4, True, True, True),
    (5, True, False, True),
    (6, True, True, True),
    (7, False, False, True),
    (8, True, True, True),
    (9, True, True, True),
    (10, True, False, True),
]


@pytest.mark.parametrize(("code", "high_low", "open_close", "volume"), RECORDED)
def test_table_agrees_with_the_venues_own_answer(
    code: int, high_low: bool, open_close: bool, volume: bool
) -> None:
    assert RULES[code][1:] == (high_low, open_close, volume)


@given(st.lists(st.integers(0, CODE_MAX), max_size=4))
def test_up_to_four_codes_survive_packing(codes: list[int]) -> None:
    assert unpack(pack(tuple(codes))) == tuple(codes)


@given(st.lists(st.integers(), max_size=8))
def test_packed_codes_always_fit_the_field(codes: list[int]) -> None:
    assert 0 <= pack(tuple(codes)) < 2**64


def test_memory_for_combinations_is_bounded() -> None:
    packed = PackedConditions()
    for code in range(COMBINATIONS_MAX + 10):
        assert packed[(code,)] == (pack((code,)), flags_of((code,)))
    assert len(packed) == COMBINATIONS_MAX
