"""The signal behind an order is older than ``signal_age_max_ms``, or the order would arrive after its expiry."""

from typing import Any

from hft_engine.kernel import kernel


@kernel()
def is_stale(order: Any, terms: Any, now_ns: int) -> bool:
    if order.signal_sequence >= 0 and now_ns - order.ts_signal_ns > terms.signal_age_max_ns:
        return True
    return 0 < order.ts_expiry_ns <= order.ts_arrival_ns
