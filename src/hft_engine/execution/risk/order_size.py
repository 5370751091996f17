"""An order for more than ``order_size_max``."""

from typing import Any

from hft_engine.kernel import kernel


@kernel()
def is_too_large(order: Any, terms: Any) -> bool:
    return order.quantity > terms.order_size_max
