"""A price further from the mark than ``collar_bps``: the limit, or what a market order would pay at the quote."""

from typing import Any

from hft_engine.kernel import kernel


@kernel()
def is_outside_collar(order: Any, row: Any, mark: int, terms: Any) -> bool:
    price = order.limit
    if price == 0:
        price = row.ask if order.side > 0 else row.bid
    return price > 0 and abs(float(price - mark)) > terms.collar * mark
