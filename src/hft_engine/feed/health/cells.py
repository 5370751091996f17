"""The memory of the health monitor: plain arrays, and the limits of the configuration as kernels read them.

A *cell* is one channel of one instrument at one venue; a venue here is the place of its id in the monitor's list.
Cell (venue v, instrument i, channel c) is row ``(v * instruments_max + i) * CHANNELS + c`` of ``cells`` and ``due``.
Times named ``mono`` are CLOCK_MONOTONIC, all others UTC, in nanoseconds.
"""

import numpy as np

from hft_engine.config.schema import HealthConfig
from hft_engine.records import HealthChannel, HealthState

CHANNELS = len(HealthChannel)
NEVER_NS = int(np.iinfo(np.int64).max)
SUSPECTS_MAX = 4_096  # windows found in one pass; more are counted as dropped
ROWS_MAX = 2_048  # HEALTH ticks of one pass; what does not fit comes with the next
SEEN_BITS = 64  # numbers behind the newest that are known to have come or not
NS_PER_MS = 1_000_000
UNKNOWN_QUIET_NS = 60_000 * NS_PER_MS  # silent for so long is QUIET where the cadence is not known yet

CELL_DTYPE = np.dtype(
    [
        ("last_mono_ns", "<i8"),  # of the newest tick; 0: none came
        ("last_venue_ns", "<i8"),  # newest stamp of the venue
        ("burst_ns", "<i8"),  # mono: the first tick of the newest burst
        ("cadence_ns", "<f8"),  # learned quantile of the time between ticks
        ("gaps", "<i8"),  # times that it was learned from
        ("lag_ns", "<f8"),  # running mean of the delay, see T_BASE
        ("sequence", "<i8"),  # highest number of the venue
        ("seen", "<u8"),  # bit k: number ``sequence - k`` came
        ("missing", "<i8"),  # numbers that have not come
        ("gap_from_ns", "<i8"),  # venue time: what was sent in between is missing; 0: nothing is
        ("gap_to_ns", "<i8"),  # 0: it still is
        ("gapped_until_ns", "<i8"),  # mono; 0: not gapped
        ("repaired_until_ns", "<i8"),
        ("since_ns", "<i8"),  # UTC: the state began
        ("better_since_ns", "<i8"),  # mono; 0: nothing speaks for a better state
        ("state", "u1"),  # HealthState
        ("cause", "u1"),  # HealthCause
        ("gap_cause", "u1"),
        ("untold", "u1"),  # 1: the gap is a new one, to be told
        ("venue", "u1"),
        ("channel", "u1"),
        ("_pad", "<u2"),
    ]
)
assert CELL_DTYPE.itemsize == 128

# Of an instrument at a venue: price bands, halts, and its own sums to hold against the venue's minute bars.
BOARD_DTYPE = np.dtype(
    [
        ("upper", "<f8"),  # price bands; 0: not known
        ("lower", "<f8"),
        ("limit_since_ns", "<i8"),  # venue time of the quote that reached a band; 0: none
        ("halt", "<i8"),  # 0, or the HealthCause of the halt
        ("minute_ns", "<i8"),  # the minute being summed
        ("volume", "<f8"),
        ("minute_before_ns", "<i8"),
        ("volume_before", "<f8"),
        ("first_ns", "<i8"),  # venue time of the first trade
        ("connected", "<i8"),  # 1: a line that brings it is live
        ("worst", "<i8"),  # HealthState, of those cells that count
        ("crossed_since_ns", "<i8"),  # mono; 0: bid and ask are not crossed
        ("bands_day", "<i8"),  # UTC day of the bands
        ("unwanted", "<i8"),  # 1: not subscribed to any more; what still comes of it says nothing
        ("_pad", "<i8", (2,)),
    ]
)
assert BOARD_DTYPE.itemsize == 128

# Of a venue: all that it sends us taken together, and the least delay seen.
VENUE_DTYPE = np.dtype(
    [
        ("venue_id", "<i8"),
        ("last_mono_ns", "<i8"),
        ("burst_ns", "<i8"),
        ("cadence_ns", "<f8"),
        ("gaps", "<i8"),
        ("contiguous", "<i8"),  # 1: its numbers have no gaps of their own
        (
            "window_end_ns",
            "<i8",
        ),  # mono: the least delays of the present window become those of the one before
        ("delay_ns", "<f8", (CHANNELS,)),  # least delay of the window; inf: none yet
        ("delay_before_ns", "<f8", (CHANNELS,)),
    ]
)

LIMITS_DTYPE = np.dtype(
    [
        ("quantile", "<f8"),
        ("step", "<f8"),
        ("quiet_factor", "<f8"),
        ("stale_factor", "<f8"),
        ("quiet_min_ns", "<i8"),
        ("stale_min_ns", "<i8"),
        ("samples_min", "<i8"),
        ("resolution_ns", "<i8"),
        ("lag_ns", "<f8"),
        ("lag_stale_ns", "<f8"),
        ("lag_window_ns", "<i8"),
        ("crossed_ns", "<i8"),
        ("recover_ns", "<i8"),
        ("gapped_hold_ns", "<i8"),
        ("repaired_hold_ns", "<i8"),
        ("limit_state_ns", "<i8"),
        ("audit_tolerance", "<f8"),
    ]
)

# A stretch of an instrument's bars that may be wrong.
SUSPECT_DTYPE = np.dtype(
    [("instrument_id", "<i8"), ("venue", "<i8"), ("from_ns", "<i8"), ("to_ns", "<i8"), ("cause", "<i8")]
)

GAUGES = tuple(f"health_{state.name.lower()}" for state in HealthState)  # instruments in each state
COUNTERS = (
    "health_ticks",  # published
    "missing",  # numbers of contiguous venues that have not come
    "reordered",  # ticks behind a newer one of their channel, by number, else by second
    "repeated",  # numbers that came more than once
    "crossed",  # quotes whose bid is above their ask
    "audits",  # minute bars of a venue held against its trades
    "audits_failed",
    "suspects_dropped",
    "unobserved",  # ticks that the ring had lost before the monitor came to them
)
FIRST_COUNTER = len(GAUGES)  # ``counts`` holds the gauges, then the counters
(
    N_TICKS,
    N_MISSING,
    N_REORDERED,
    N_REPEATED,
    N_CROSSED,
    N_AUDITS,
    N_AUDITS_FAILED,
    N_SUSPECTS_DROPPED,
    N_UNOBSERVED,
) = range(FIRST_COUNTER, FIRST_COUNTER + len(COUNTERS))

# words of ``now``
(
    T_MONO,
    T_UTC,
    T_OPEN,  # 1: the session is open
    T_OPENED,  # mono: since when
    T_BASE,  # UTC - mono when we began; a tick's delay is its mono + T_BASE - its venue's stamp
    N_SUSPECTS,  # windows found
    N_ROWS,  # HEALTH ticks written
    N_KNOWN,  # instruments that ticked: ids below it
    NOW_WORDS,
) = range(9)


def limits_of(config: HealthConfig) -> np.ndarray:
    """LIMITS_DTYPE[1]."""
    limits = np.zeros(1, LIMITS_DTYPE)
    row = limits[0]
    for name in ("quantile", "step", "quiet_factor", "stale_factor", "samples_min", "audit_tolerance"):
        row[name] = getattr(config, name)
    for name in (
        "quiet_min", "stale_min", "resolution", "lag", "lag_stale", "lag_window", "crossed", "recover", "gapped_hold",
        "repaired_hold", "limit_state",
    ):  # fmt: skip
        row[f"{name}_ns"] = getattr(config, f"{name}_ms") * NS_PER_MS
    return limits
