"""From suspect windows to bars on the ring: what the feed drives between its turns."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np

from hft_engine.config.schema import FeedConfig
from hft_engine.feed.masking import Mask
from hft_engine.feed.repair.plan import SPANS_NS, Plan, Request
from hft_engine.records import TICK_DTYPE, TickFlag, TickKind

if TYPE_CHECKING:  # an HTTP client, which most feeds do without
    from hft_engine.feed.repair.rest import Aggregate
    from hft_engine.feed.repair.worker import Answer, Worker

COUNTED = ("repairs", "repairs_failed", "repairs_dropped", "bars_filled")
ASKED_MAX = 4  # requests under way: what is suspect meanwhile joins the next one
ASK_EVERY_NS = 100_000_000
ROWS_MAX = 64  # bars a turn: the readers of the bar ring keep up
NS_PER_MS, NS_PER_S = 1_000_000, 1_000_000_000
_KINDS = {"second": TickKind.BAR_SECOND, "minute": TickKind.BAR_MINUTE}
_VENDORS = ("polygon.io", "massive.com")


def rest_url_of(config: FeedConfig) -> str | None:
    """Where to ask: ``feed.rest_url``, else the vendor's own where the line's is the vendor's."""
    if config.rest_url is not None:
        return config.rest_url
    if config.url is None:
        return f"https://api.{_VENDORS[0]}" if config.venue.startswith("polygon") else None
    host = str(urlsplit(config.url).hostname)
    return next((f"https://api.{domain}" for domain in _VENDORS if host.endswith(f".{domain}")), None)


class Repairer:
    """``tell(text, is_last)`` is for people; ``is_last``: nothing more will be asked for, nor told. Without a place to
    ask it keeps nothing: gapped bars stay what they are.
    """

    def __init__(
        self, config: FeedConfig, symbol_of: Callable[[int], str], tell: Callable[[str, bool], None]
    ) -> None:
        repair, url = config.repair, rest_url_of(config)
        self._symbol_of, self._tell_people = symbol_of, tell
        self._mask = Mask(config.api_key, config.url, url)
        self._plan = Plan(repair.spans, repair.settle_ms * NS_PER_MS)
        self._venues: dict[int, tuple[int, int]] = {}  # of an instrument: place and id of its venue
        self._ready: deque[np.ndarray] = deque()
        self._mended: list[tuple[int, int]] = []
        self._asked = self._answered = self._failed = self._filled = 0
        self._ask_due_ns = 0
        self._worker: Worker | None = None
        if url is not None and repair.spans:
            self._worker = _worker(url, config)

    @property
    def asks(self) -> bool:
        """Whether there is a place to ask."""
        return self._worker is not None

    def suspect(self, found: np.ndarray, venue_ids: Sequence[int]) -> None:
        """SUSPECT_DTYPE[n] of the monitor, whose venues have these ids: to the second, as bars are asked for."""
        if self._worker is None:
            return
        seconds = [found[name] // NS_PER_S for name in ("from_ns", "to_ns")]
        stretches = np.unique(np.stack((found["instrument_id"], found["venue"], *seconds), 1), axis=0)
        for instrument_id, venue, first, last in stretches.tolist():
            self._venues[instrument_id] = venue, venue_ids[venue]
            self._plan.add(instrument_id, first * NS_PER_S, last * NS_PER_S)

    def tend(self, venue_now_ns: int) -> None:
        """Ask for what has settled, by the venue's time, and take what was answered."""
        worker = self._worker
        if worker is None:
            return
        for answer in worker.answers():
            self._take(answer)
        if self._ask_due_ns - ASK_EVERY_NS <= venue_now_ns < self._ask_due_ns:
            return  # its time is ours until the first tick: with delayed data it then steps back
        self._ask_due_ns = venue_now_ns + ASK_EVERY_NS
        while self._worker is not None and self._asked - self._answered < ASKED_MAX:
            request = self._plan.take(venue_now_ns)
            if request is None:
                return
            self._asked += 1
            worker.ask(self._symbol_of(request.instrument_id), request)

    def rows(self, mono_ns: int, utc_ns: int) -> np.ndarray | None:
        """TICK_DTYPE[at most ROWS_MAX] to publish now, None where there is nothing."""
        if not self._ready:
            return None
        rows = self._ready.popleft()
        rows["ts_mono_ns"], rows["ts_recv_ns"] = mono_ns, utc_ns
        self._filled += len(rows)
        return rows

    def mended(self) -> list[tuple[int, int]]:
        """(instrument, venue's place) of which nothing is suspect any more, and all that was asked for is published."""
        if self._ready:
            return []
        found, self._mended = self._mended, []
        return found

    def counted(self) -> tuple[int, ...]:
        """In the order of COUNTED."""
        return self._answered - self._failed, self._failed, self._plan.dropped, self._filled

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    def _tell(self, text: str, is_last: bool = False) -> None:
        self._tell_people(self._mask.text(text), is_last)

    def _take(self, answer: "Answer") -> None:
        self._answered += 1
        request = answer.request
        if answer.bars is None:
            self._failed += 1
            self._fail(answer)
            return
        rows = self._rows_of(request, answer.bars)
        self._ready.extend(rows[i : i + ROWS_MAX] for i in range(0, len(rows), ROWS_MAX))
        if self._plan.settle(request):
            self._mended.append((request.instrument_id, self._venues[request.instrument_id][0]))

    def _fail(self, answer: "Answer") -> None:
        if not answer.refused:
            if answer.again:
                self._plan.put_back(answer.request)
            else:
                self._plan.settle(answer.request)
            self._tell(f"bars that are missing could not be had: {answer.trouble}")
            return
        if self._worker is None:
            return  # of several requests that were on their way the first one's refusal ended it
        self._tell(
            f"bars that are missing cannot be asked for: {answer.trouble}; they stay marked as gapped until there is a "
            "key whose plan has aggregates",
            is_last=True,
        )
        self._plan.clear()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _rows_of(self, request: Request, bars: "list[Aggregate]") -> np.ndarray:
        wanted = [bar for bar in bars if request.wants(bar.t * NS_PER_MS)]
        rows = np.zeros(len(wanted), TICK_DTYPE)
        rows["kind"], rows["flags"] = _KINDS[request.span], TickFlag.BACKFILL
        rows["instrument_id"] = request.instrument_id
        rows["venue_id"] = self._venues[request.instrument_id][1]
        for field, name in (
            ("open", "o"),
            ("high", "h"),
            ("low", "l"),
            ("close", "c"),
            ("volume", "v"),
            ("vwap", "vw"),
        ):
            rows[field] = [getattr(bar, name) for bar in wanted]
        rows["trade_count"] = [bar.n for bar in wanted]
        rows["day_vwap"] = rows["day_open"] = np.nan
        rows["ts_start_ns"] = [bar.t * NS_PER_MS for bar in wanted]
        rows["ts_venue_ns"] = rows["ts_start_ns"] + SPANS_NS[request.span]
        return rows


def _worker(url: str, config: FeedConfig) -> "Worker":
    from hft_engine.feed.repair.rest import Aggregates
    from hft_engine.feed.repair.worker import Worker

    client = Aggregates(url, config.api_key, config.repair.timeout_ms, config.repair.attempts)
    return Worker(client.fetch, config.repair.calls_per_s)
