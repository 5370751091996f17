"""What the clock wrote into tick records, taken out: two runs' rows can then be compared byte for byte."""

import numpy as np

from hft_engine.records import TickKind


def without_publish_stamps(ticks: np.ndarray) -> np.ndarray:
    """A copy of TICK_DTYPE rows whose trades and quotes, each of which must have one, lose their ``ts_publish_ns``."""
    rows = ticks.copy()
    stamped = (rows["kind"] == TickKind.TRADE) | (rows["kind"] == TickKind.QUOTE)
    assert (rows["ts_publish_ns"][stamped] > 0).all()
    rows["ts_publish_ns"][stamped] = 0
    return rows
