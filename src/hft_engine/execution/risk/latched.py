"""New orders are latched off: by a person, a full disk, or the loss limit (``runtime/latch.py``)."""

from typing import Any

from hft_engine.execution.state import A_LATCHED
from hft_engine.kernel import kernel


@kernel()
def is_latched(b: Any) -> bool:
    return b.account[A_LATCHED] != 0
