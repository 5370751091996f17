"""The gate that every order passes before it is sent: one rule a file, asked in the order of ``Refusal``."""

from typing import Any

from hft_engine.execution.book import mark_of
from hft_engine.execution.risk.latched import is_latched
from hft_engine.execution.risk.loss import is_beyond_loss
from hft_engine.execution.risk.order_notional import is_too_dear
from hft_engine.execution.risk.order_size import is_too_large
from hft_engine.execution.risk.position import is_beyond_position
from hft_engine.execution.risk.price_collar import is_outside_collar
from hft_engine.execution.risk.stale_signal import is_stale
from hft_engine.execution.risk.unfit import is_unfit
from hft_engine.execution.risk.working import is_crowded
from hft_engine.execution.state import A_LATCHED, A_NOW, A_TRIPPED
from hft_engine.kernel import kernel
from hft_engine.records import Refusal

_NONE, _INVALID, _LATCHED, _LOSS = (
    int(Refusal.NONE),
    int(Refusal.INVALID),
    int(Refusal.LATCHED),
    int(Refusal.LOSS),
)
_STALE, _NO_PRICE, _SIZE = int(Refusal.STALE_SIGNAL), int(Refusal.NO_PRICE), int(Refusal.ORDER_SIZE)
_NOTIONAL, _POSITION = int(Refusal.ORDER_NOTIONAL), int(Refusal.POSITION)
_COLLAR, _WORKING, _UNFIT = int(Refusal.PRICE_COLLAR), int(Refusal.WORKING), int(Refusal.UNFIT)


@kernel()
def refusal(b: Any, order: Any) -> int:
    """The first rule that refuses ``order`` (WORKING_DTYPE), as ``Refusal``; NONE lets it pass.

    A loss beyond the limit latches the account: whoever runs it makes that durable.
    """
    terms = b.terms[0]
    if not 0 <= order.instrument_id < len(b.rows) or order.quantity <= 0 or order.limit < 0:
        return _INVALID
    if is_latched(b):
        return _LATCHED
    if is_beyond_loss(b):
        b.account[A_LATCHED] = b.account[A_TRIPPED] = 1
        return _LOSS
    if is_stale(order, terms, b.account[A_NOW]):
        return _STALE
    row = b.rows[order.instrument_id]
    mark = mark_of(row)
    if mark <= 0:
        return _NO_PRICE
    if is_too_large(order, terms):
        return _SIZE
    if is_too_dear(order, mark, terms):
        return _NOTIONAL
    if is_beyond_position(order, row, terms):
        return _POSITION
    if is_outside_collar(order, row, mark, terms):
        return _COLLAR
    if is_crowded(b):
        return _WORKING
    return _UNFIT if is_unfit(row) else _NONE
