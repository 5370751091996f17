"""The account has lost more than ``loss_max`` since the run began, fees and open positions included."""

from typing import Any

from hft_engine.execution.portfolio import valuation
from hft_engine.execution.state import A_START
from hft_engine.kernel import kernel


@kernel()
def is_beyond_loss(b: Any) -> bool:
    limit = b.terms[0].loss_max
    return limit > 0 and b.account[A_START] - valuation(b)[0] > limit
