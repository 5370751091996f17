"""Which option contracts the simulated options market lists: calls and puts around the price of each underlying.

A contract's symbol is the vendor's: ``O:``, root, YYMMDD, C or P, strike times 1000 on eight digits.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

CONTRACTS_PER_UNDERLYING = 150
EXPIRIES = 6  # Fridays, the next ones
STRIKE_STEPS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
STEP_SHARE = 0.015  # of the price, at least, between two strikes
SHARES = 100  # per contract


class Contract(NamedTuple):
    symbol: str
    underlying: str
    underlying_id: int
    expires: date
    kind: Literal["call", "put"]
    strike: float


def symbol_of(underlying: str, expires: date, kind: str, strike: float) -> str:
    return f"O:{underlying}{expires:%y%m%d}{kind[0].upper()}{round(strike * 1000):08d}"


def list_contracts(
    underlyings: Sequence[str], prices: np.ndarray, today: date, count: int
) -> tuple[Contract, ...]:
    """``count`` contracts, as many of each underlying as of the next; near the money first, then by expiry.

    ``prices``: float[len(underlyings)], what strikes stand around.
    """
    each = -(-count // len(underlyings))
    found = [
        contract
        for i, (underlying, price) in enumerate(zip(underlyings, prices.tolist(), strict=True))
        for contract in _of(underlying, i, price, today, each)
    ]
    return tuple(found[:count])


def _of(underlying: str, number: int, price: float, today: date, count: int) -> list[Contract]:
    strikes = _strikes(price, -(-count // (2 * EXPIRIES)))
    friday = today + timedelta(days=(4 - today.weekday()) % 7 or 7)
    expiries = [friday + timedelta(weeks=week) for week in range(EXPIRIES)]
    kinds: tuple[Literal["call", "put"], ...] = ("call", "put")
    return [
        Contract(symbol_of(underlying, expires, kind, strike), underlying, number, expires, kind, strike)
        for strike, expires, kind in product(strikes, expiries, kinds)
    ][:count]


def _strikes(price: float, count: int) -> list[float]:
    step = next((step for step in STRIKE_STEPS if step >= STEP_SHARE * price), STRIKE_STEPS[-1])
    middle = max(round(price / step), 1)
    ladder = sorted(range(max(1, middle - count), middle + count + 1), key=lambda n: (abs(n - middle), n))
    return [n * step for n in ladder[:count]]
