"""The feed's lines, as they lie in ``Stats.table`` of the feed role. No numba here.

word 0 COUNT  rows in use
     1 STAMP  odd while rows are written
     8 ...    LINES_MAX rows of ``LINE_DTYPE``
"""

import numpy as np

from hft_engine.config.lines import LINES_MAX
from hft_engine.records import LINE_DTYPE
from hft_engine.shm import layout

COUNT, STAMP = range(2)
ROWS_WORD = 8
ROW_WORDS = LINE_DTYPE.itemsize // layout.WORD
READ_ATTEMPTS_MAX = 100  # its writer may have stopped while it wrote
ACCUMULATED = (  # counts of a row, on which a line of the same name goes on in its process's next life
    "frames",
    "bytes",
    "events",
    "rejected",
    "reconnects",
    "losses",
    "gaps",
    "gap_ms",
    "first",
    "second",
)

assert ROWS_WORD + LINES_MAX * ROW_WORDS <= layout.TABLE_WORDS


def read_lines(table: np.ndarray) -> np.ndarray:
    """LINE_DTYPE[lines], in the feed's order."""
    for _ in range(READ_ATTEMPTS_MAX):
        before = int(table[STAMP])
        end = ROWS_WORD + min(int(table[COUNT]), LINES_MAX) * ROW_WORDS
        rows: np.ndarray = table[ROWS_WORD:end].copy().view(LINE_DTYPE)
        if before % 2 == 0 and int(table[STAMP]) == before:
            break
    return rows


def write_lines(table: np.ndarray, rows: np.ndarray) -> None:
    """``rows`` LINE_DTYPE[up to LINES_MAX]; by the feed's process alone."""
    table[STAMP] |= 1
    words = rows.view(np.int64)
    table[COUNT] = len(rows)
    table[ROWS_WORD : ROWS_WORD + len(words)] = words
    table[STAMP] += 1
