"""More than ``working_max`` open orders, or no slot left for one."""

from typing import Any

from hft_engine.execution.state import A_WORKING
from hft_engine.kernel import kernel


@kernel()
def is_crowded(b: Any) -> bool:
    return b.account[A_WORKING] >= b.terms[0].working_max
