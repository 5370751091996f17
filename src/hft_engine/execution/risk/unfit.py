"""The instrument's data are STALE, GAPPED or HALTED (docs/health.md): its price may be anything, out as well as in."""

from typing import Any

from hft_engine.kernel import kernel


@kernel()
def is_unfit(row: Any) -> bool:
    return row.unfit != 0
