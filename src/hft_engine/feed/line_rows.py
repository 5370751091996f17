"""The rows of the feed's table of lines, made of the lines."""

from collections.abc import Sequence

import numpy as np

from hft_engine.config.lines import LINES_MAX, mirrored
from hft_engine.config.schema import FeedConfig
from hft_engine.feed.line import COUNTED, Line
from hft_engine.feed.line_table import ACCUMULATED, write_lines
from hft_engine.records import LINE_DTYPE

EVERY_NS = 250_000_000  # rows are at most this old
LEADS_EVERY_NS = 2_000_000_000  # percentiles of leads, which take a good part of a millisecond


class LineRows:
    """``earlier``: the rows that a process before this one left; a line of the same name counts on."""

    def __init__(self, table: np.ndarray, feed: FeedConfig, earlier: np.ndarray) -> None:
        self._table = table
        self._feed = feed
        self._earlier = {bytes(row["name"]): row.copy() for row in earlier}
        self._rows = np.zeros(LINES_MAX, LINE_DTYPE)
        self._due_ns = self._leads_due_ns = 0

    def write(self, lines: Sequence[Line], now_ns: int, at_once: bool = False) -> None:
        """To shared memory, if it is time."""
        if now_ns < self._due_ns and not at_once:
            return
        self._due_ns = now_ns + EVERY_NS
        for row, line in zip(self._rows, lines, strict=False):
            self._fill(row, line)
        if now_ns >= self._leads_due_ns:
            self._leads_due_ns = now_ns + LEADS_EVERY_NS
            for row, line in zip(self._rows, lines, strict=False):
                _fill_leads(row, line)
        write_lines(self._table, self._rows[: len(lines)])

    def _fill(self, row: np.void, line: Line) -> None:
        session, source = line.session, line.source
        counted = dict(zip(COUNTED, line.counts(), strict=True))
        group = line.name.partition(".")[0]
        model = mirrored(self._feed, group)
        row["name"], row["venue"] = line.name, session.config.venue
        row["mirrors"] = "" if model == group else model
        row["state"], row["delayed"] = int(session.state), session.delayed
        row["wanted"], row["acks_missing"] = session.wanted, session.acks_missing
        row["last_frame_mono_ns"] = line.last_frame_ns
        for name in ACCUMULATED:
            row[name] = counted.get(name, 0)  # what mirrors count follows
        row["ping_us"] = session.ping_ns // 1_000
        if source is not None:
            row["first"], row["second"], row["lost"] = source.first, source.second, source.arbiter.lost
        before = self._earlier.get(bytes(row["name"]))
        if before is not None:
            for name in ACCUMULATED:
                row[name] += before[name]


def _fill_leads(row: np.void, line: Line) -> None:
    if line.source is not None:
        row["lead_us_mean"], row["lead_us_p50"], row["lead_us_p99"] = line.source.lead_us()
