"""Option symbols as Polygon writes them: ``O:SPY241220P00720000``, the OCC symbol without its padding.

``O:`` + root (1 to 6 letters or digits, the first a letter) + expiry YYMMDD + C or P + strike in 1/1000 on 8 digits.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Literal, NamedTuple

PREFIX = "O:"
STRIKE_DIGITS = 8
_STRIKE_UNITS = 1_000  # of the strike's last digit in one unit of currency
_STRIKE_UNITS_MAX = 10**STRIKE_DIGITS - 1
_FORM = re.compile(r"O:([A-Z][A-Z0-9]{0,5})(\d\d)(\d\d)(\d\d)([CP])(\d{8})")
_HINT = "an option symbol looks like O:SPY241220P00720000: root, YYMMDD, C or P, strike x 1000 on 8 digits"


class OptionSymbol(NamedTuple):
    """``str()`` gives the symbol back."""

    root: str
    expiry: date
    right: Literal["C", "P"]
    strike: Decimal  # in currency, exact

    def __str__(self) -> str:
        units = int(self.strike * _STRIKE_UNITS)
        return f"{PREFIX}{self.root}{self.expiry:%y%m%d}{self.right}{units:0{STRIKE_DIGITS}d}"


def option_symbol(root: str, expiry: date, right: str, strike: Decimal | float | str) -> OptionSymbol:
    """A checked one. Raises ValueError for what has no symbol: the text says why."""
    units = Decimal(str(strike)) * _STRIKE_UNITS
    if units != int(units) or not 0 < units <= _STRIKE_UNITS_MAX:
        raise ValueError(f"strike {strike} is not a multiple of 0.001 above 0 and below 100,000")
    if not 2000 <= expiry.year <= 2099:
        raise ValueError(f"expiry {expiry} is not in this century: its year has two digits")
    if right not in ("C", "P"):
        raise ValueError(f"right {right!r} is neither C nor P")
    made = OptionSymbol(root, expiry, "C" if right == "C" else "P", units / _STRIKE_UNITS)
    return parse_option_symbol(str(made))


def parse_option_symbol(symbol: str) -> OptionSymbol:
    """The parts of ``symbol``. Raises ValueError with what is wrong."""
    found = _FORM.fullmatch(symbol)
    if found is None:
        raise ValueError(f"{symbol!r}: {_HINT}")
    root, year, month, day, right, units = found.groups()
    try:
        expiry = date(2000 + int(year), int(month), int(day))
    except ValueError as error:
        raise ValueError(f"{symbol!r}: {year}{month}{day} is no date: {error}") from None
    if not int(units):
        raise ValueError(f"{symbol!r}: the strike is 0")
    return OptionSymbol(root, expiry, "C" if right == "C" else "P", Decimal(int(units)) / _STRIKE_UNITS)


def is_option_symbol(symbol: str) -> bool:
    """Whether ``symbol`` names an option contract."""
    try:
        parse_option_symbol(symbol)
    except ValueError:
        return False
    return True
