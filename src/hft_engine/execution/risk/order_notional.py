"""An order worth more than ``order_notional_max`` at its limit, without one at the mark."""

from typing import Any

from hft_engine.kernel import kernel


@kernel()
def is_too_dear(order: Any, mark: int, terms: Any) -> bool:
    price = order.limit if order.limit > 0 else mark
    return float(price) * order.quantity > terms.order_notional_max
