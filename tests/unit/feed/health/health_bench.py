"""A monitor fed by hand: ticks of two instruments at stated times, and what it tells of them."""

import msgspec
import numpy as np

from hft_engine.config.schema import HealthConfig
from hft_engine.feed.health.cells import COUNTERS, GAUGES
from hft_engine.feed.health.monitor import HealthMonitor
from hft_engine.records import TICK_DTYPE, HealthCause, HealthChannel, HealthState, TickKind

MS = 1_000_000
SECOND_NS = 1_000 * MS
MINUTE_NS = 60 * SECOND_NS
START_NS = 1_700_489_400 * SECOND_NS  # 2023-11-20 14:10 UTC, 09:10 in New York, a Monday
CAPACITY = 1 << 16
POLYGON = 1
TRADE, QUOTE, BAR_MINUTE, LULD = TickKind.TRADE, TickKind.QUOTE, TickKind.BAR_MINUTE, TickKind.LULD


class Bench:
    """Time is milliseconds from START_NS; venue, receive and monotonic clock agree but for ``delay_ms``, and for
    ``step_ms``, by which our UTC has been put right."""

    def __init__(self, venues=((POLYGON, False),), instruments: int = 4, **settings: object) -> None:
        config = msgspec.convert({"session": "always", **settings}, HealthConfig)
        self.monitor = HealthMonitor(config, instruments, venues)
        self.slots = np.zeros(CAPACITY, TICK_DTYPE)
        self.published = 0
        self.now_ms = self.step_ms = 0
        self.told: list[np.void] = []

    def tick(
        self, kind: TickKind = TRADE, instrument: int = 0, delay_ms: float = 0.0, **fields: object
    ) -> None:
        """One that comes now, and left the venue ``delay_ms`` ago."""
        row = self.slots[self.published & (CAPACITY - 1)]
        row["kind"], row["flags"], row["instrument_id"] = kind, 0, instrument
        row["venue_id"], row["venue_sequence"] = POLYGON, 0
        row["ts_recv_ns"] = self.utc_ns
        row["ts_venue_ns"] = START_NS + self.now_ms * MS - int(delay_ms * MS)
        row["ts_mono_ns"] = SECOND_NS + self.now_ms * MS
        if kind == TRADE:
            row["price"], row["size"] = 10.0, 1.0
        elif kind == QUOTE:
            row["bid"], row["ask"] = 9.0, 11.0
        for name, value in fields.items():
            row[name] = value
        self.published += 1

    def pass_ms(self, ms: int, every: int = 10) -> None:
        """Time goes on and the monitor looks, every 10 ms as the feed does."""
        end = self.now_ms + ms
        while self.now_ms < end:
            self.now_ms = min(self.now_ms + every, end)
            self.look()

    @property
    def utc_ns(self) -> int:
        return START_NS + (self.now_ms + self.step_ms) * MS

    def look(self) -> None:
        mono_ns, utc_ns = SECOND_NS + self.now_ms * MS, self.utc_ns
        count = self.monitor.watch(self.slots, self.published, mono_ns, utc_ns)
        self.told += list(self.monitor.rows[:count].copy())

    def beat(self, count: int, every_ms: int, *args: object, **fields: object) -> None:
        """``count`` ticks, one every ``every_ms``."""
        for _ in range(count):
            self.tick(*args, **fields)
            self.pass_ms(every_ms, every_ms)

    def lose(self, *ids: int) -> None:
        self.monitor.lose(np.array(ids, np.int64), 0)
        self.look()

    def regain(self, *ids: int) -> None:
        mono_ns, utc_ns = SECOND_NS + self.now_ms * MS, self.utc_ns
        self.monitor.regain(np.array(ids, np.int64), 0, mono_ns, utc_ns)
        self.look()

    def story(self, instrument: int = 0, channel: HealthChannel = HealthChannel.TRADE) -> list[str]:
        """States and causes told of a channel, in order, and forgets them."""
        mine = [
            row
            for row in self.told
            if row["instrument_id"] == instrument and row["health_channel"] == channel
        ]
        self.told = [row for row in self.told if not any(row is one for one in mine)]
        return [
            f"{HealthState(row['health_state']).name} {HealthCause(row['health_cause']).name}" for row in mine
        ]

    def state(self, instrument: int = 0, channel: HealthChannel = HealthChannel.TRADE) -> HealthState:
        return HealthState(int(self.monitor.cells["state"][instrument * 3 + channel]))

    def count(self, name: str) -> int:
        return int(self.monitor.counts[(*GAUGES, *COUNTERS).index(name)])
