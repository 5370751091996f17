"""Trade conditions of the US tapes under Polygon's codes, and what each lets a print do.

Sources of ``RULES``, consolidated (not market-centre) guidelines in each case:

* codes 1-10: the recorded answer of ``/v3/reference/conditions?asset_class=stocks`` that comes with the
  official client (massive-com/client-python, test_rest/mocks, MIT);
* the others: the same table as transcribed in QuantConnect/Lean, ToolBox/Polygon/PolygonSIPMappings.cs
  (Apache-2.0); where it has none (17-19, 24, 41) the name of the condition in the CTA and UTP plans decided:
  17-19 are the CTS forms of 25, 28 and 8 (market-centre opening, reopening, closing trade).

How a print with several codes is judged: it may do only what every one of its codes allows.

Two decisions, made here once:

* A print that may move high and low but neither open nor last (sold out of sequence, prior reference price,
  derivatively priced, seller) gets NO_PRICE_UPDATE: its time of execution is not its time of report, and a
  bar of a second or a minute has no place for it.
* Form T (12) is a print outside the regular session. The plans forbid it to move the *regular session's*
  prices; the venue still builds bars from such prints before the open and after the close, and so do we: it
  gets EXTENDED_HOURS and stays eligible. Sold out of sequence in extended hours (13) is not eligible.
"""

from typing import NamedTuple

from hft_engine.records import TickFlag

CODES_KEPT = 4  # 16-bit slots in the record's ``conditions`` field
CODE_MAX = 0xFFFE  # stored as code + 1 in 16 bits
COMBINATIONS_MAX = 4096  # memo entries; a few hundred occur, more would be an attack on our memory


class Rule(NamedTuple):
    """What a print with this condition may update in consolidated bars."""

    name: str
    high_low: bool
    open_close: bool
    volume: bool


def _rule(name: str, allowed: str) -> Rule:
    return Rule(name, "H" in allowed, "C" in allowed, "V" in allowed)


# H: may move high and low. C: may move open, close, last. V: adds to volume.
RULES: dict[int, Rule] = {
    0: _rule("Regular Sale", "HCV"),
    1: _rule("Acquisition", "HCV"),
    2: _rule("Average Price Trade", "V"),
    3: _rule("Automatic Execution", "HCV"),
    4: _rule("Bunched Trade", "HCV"),
    5: _rule("Bunched Sold Trade", "HV"),
    6: _rule("CAP Election", "HCV"),
    7: _rule("Cash Sale", "V"),
    8: _rule("Closing Prints", "HCV"),
    9: _rule("Cross Trade", "HCV"),
    10: _rule("Derivatively Priced", "HV"),
    11: _rule("Distribution", "HCV"),
    12: _rule("Form T", "HCV"),  # eligible outside the regular session, see above
    13: _rule("Extended Hours, Sold Out of Sequence", "V"),
    14: _rule("Intermarket Sweep", "HCV"),
    15: _rule("Market Center Official Close", ""),
    16: _rule("Market Center Official Open", ""),
    17: _rule("Market Center Opening Trade", "HCV"),
    18: _rule("Market Center Reopening Trade", "HCV"),
    19: _rule("Market Center Closing Trade", "HCV"),
    20: _rule("Next Day", "V"),
    21: _rule("Price Variation Trade", "V"),
    22: _rule("Prior Reference Price", "HV"),
    23: _rule("Rule 155 Trade (AMEX)", "HCV"),
    24: _rule("Rule 127 Trade (NYSE)", "HCV"),
    25: _rule("Opening Prints", "HCV"),
    27: _rule("Stopped Stock, Regular Trade", "HCV"),
    28: _rule("Re-Opening Prints", "HCV"),
    29: _rule("Seller", "HV"),
    30: _rule("Sold Last", "HCV"),
    33: _rule("Sold Out of Sequence", "HV"),
    34: _rule("Split Trade", "HCV"),
    36: _rule("Yellow Flag, Regular Trade", "HCV"),
    37: _rule("Odd Lot Trade", "V"),
    38: _rule("Corrected Consolidated Close", "HC"),
    41: _rule("Trade Thru Exempt", "HCV"),
    52: _rule("Contingent Trade", "V"),
    53: _rule("Qualified Contingent Trade", "V"),
}
EXTENDED_HOURS_CODES = frozenset({12, 13})

_UNKNOWN = TickFlag.CONDITION_UNKNOWN | TickFlag.NO_PRICE_UPDATE


def flags_of(codes: tuple[int, ...]) -> int:
    """The ``TickFlag`` bits of a trade that carries ``codes``."""
    flags = TickFlag.CONDITIONS_TRUNCATED if len(codes) > CODES_KEPT else TickFlag.NONE
    for code in codes:
        flags |= _flags_of_one(code)
    return int(flags)


def _flags_of_one(code: int) -> TickFlag:
    rule = RULES.get(code)
    if rule is None:
        return _UNKNOWN
    flags = TickFlag.NONE
    if not (rule.high_low and rule.open_close):
        flags |= TickFlag.NO_PRICE_UPDATE
    if not rule.volume:
        flags |= TickFlag.NO_VOLUME_UPDATE
    if code in EXTENDED_HOURS_CODES:
        flags |= TickFlag.EXTENDED_HOURS
    return flags


def pack(codes: tuple[int, ...]) -> int:
    """The first four codes as the record keeps them: code + 1 in 16 bits each, the first lowest.

    A code outside 0..CODE_MAX is kept as CODE_MAX.
    """
    packed = 0
    for slot, code in enumerate(codes[:CODES_KEPT]):
        packed |= ((code if 0 <= code <= CODE_MAX else CODE_MAX) + 1) << (16 * slot)
    return packed


def unpack(packed: int) -> tuple[int, ...]:
    """The codes in a record's ``conditions`` field."""
    slots = ((packed >> shift) & 0xFFFF for shift in range(0, 16 * CODES_KEPT, 16))
    return tuple(slot - 1 for slot in slots if slot)


class PackedConditions(dict[tuple[int, ...] | None, tuple[int, int]]):
    """codes -> (``conditions`` field, ``flags`` field), computed once for each combination seen."""

    def __missing__(self, codes: tuple[int, ...] | None) -> tuple[int, int]:
        found = (0, 0) if codes is None else (pack(codes), flags_of(codes))
        if len(self) < COMBINATIONS_MAX:
            self[codes] = found
        return found
