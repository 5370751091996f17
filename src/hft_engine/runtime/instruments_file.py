"""The run's instrument table as its processes map it."""

from pathlib import Path

import numpy as np

from hft_engine.instruments import INSTRUMENT_DTYPE, InstrumentTable
from hft_engine.shm import layout
from hft_engine.shm.segment import Segment


def open_instruments(path: Path, writable: bool) -> InstrumentTable:
    """The run's instrument table."""
    words = Segment.attach(path, writable).words
    rows = words.view(np.uint8)[layout.PAGE_BYTES :]
    count = int(words[layout.W_CAPACITY])
    return InstrumentTable(rows[: count * INSTRUMENT_DTYPE.itemsize].view(INSTRUMENT_DTYPE), words[16:17])
