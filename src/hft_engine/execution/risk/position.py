"""A position beyond ``position_max`` if this order and all open ones of its side were filled.

An order that only reduces what is held passes: out must always be possible.
"""

from typing import Any

from hft_engine.kernel import kernel


@kernel()
def is_beyond_position(order: Any, row: Any, terms: Any) -> bool:
    open_quantity = row.open_buy if order.side > 0 else row.open_sell
    after = row.position * order.side + open_quantity + order.quantity
    return after > terms.position_max
