"""Every record that crosses a ring: its numpy dtype, the unit of each field, and its size, asserted.

Vocabulary used by all of them:

``sequence``        int64, given by the single writer of the ring; starts at 0, never reused.
``source_sequence`` sequence in the tick ring of the tick that caused the record.
``ts_venue_ns``     the venue's own stamp, UTC nanoseconds.
``ts_recv_ns``      the frame left the socket, UTC nanoseconds.
``ts_mono_ns``      the same instant on CLOCK_MONOTONIC: only this one may be subtracted for a latency.
``ts_publish_ns``   CLOCK_MONOTONIC when the writer of this record made it visible.
``ts_tick_ns``      ``ts_publish_ns`` of the tick that caused the record; ``ts_feature_ns`` of its feature record.

Prices are in the instrument's currency, sizes in units of the instrument (shares, contracts, coins).
A field that the venue did not send is NaN (floats) or 0 (integers).
"""

from collections.abc import Sequence
from enum import IntEnum, IntFlag

import numpy as np

SYMBOL_BYTES_MAX = 40  # longest venue symbol stored; an OCC option symbol has 23


class TickKind(IntEnum):
    """What a tick is; decides which payload fields of ``TICK_DTYPE`` hold.

    VOID: a sequence of the recorded session whose tick a replay does not have or does not want; it causes nothing.
    """

    VOID = 0
    TRADE = 1
    QUOTE = 2
    BAR_SECOND = 3
    BAR_MINUTE = 4
    FMV = 5
    LULD = 6
    HEALTH = 7  # how good the data of an instrument's channel are from here on; written by the feed (docs/health.md)
    BAR_DAY = 8


class TickFlag(IntFlag):
    """Facts about a tick that kernels act on, decided once, by the decoder."""

    NONE = 0
    NO_PRICE_UPDATE = 1  # the print's conditions forbid it to move open, high, low, close, last
    NO_VOLUME_UPDATE = 2  # the print's conditions forbid it to add to volume
    CONDITION_UNKNOWN = 4  # a condition code outside the table: treated as NO_PRICE_UPDATE
    CONDITIONS_TRUNCATED = 8  # more than four condition codes came; the first four are kept
    OTC = 16
    EXTENDED_HOURS = 32
    UNFIT = 64  # the instrument is STALE, GAPPED or HALTED: of a HEALTH tick, and of features and predictions since
    BACKFILL = 128  # a bar that was asked for afterwards, to repair a gap


class HealthState(IntEnum):
    """How good the data of one channel of an instrument are; the higher of two is the worse."""

    WAITING = 0  # nothing has come yet
    LIVE = 1
    QUIET = 2  # silent for longer than it usually is, or its market is closed: no harm
    REPAIRED = 3  # what was missing was filled in afterwards
    LAGGING = 4  # comes later than it usually does
    GAPPED = 5  # something is missing
    STALE = 6  # silent for far longer than it ever is, or too late to be used, or its connection is lost
    HALTED = 7  # the market has stopped trading it


UNFIT_FROM = HealthState.GAPPED  # this state and the worse ones are not to be acted on


class HealthChannel(IntEnum):
    """What a state is of; also the place of a channel's cell."""

    TRADE = 0
    QUOTE = 1
    BAR = 2


class HealthCause(IntEnum):
    """Why the state is another one."""

    NONE = 0
    DATA = 1  # data came as they should
    SILENCE = 2
    LINE_SILENCE = 3  # of everything that the venue sends us
    CLOSED = 4  # outside the session
    LAG = 5
    CONNECTION = 6  # lost, or without an answer
    SEQUENCE = 7  # of the venue's numbers some are missing
    AUDIT = 8  # the venue's bar has another volume than its trades
    BACKFILL = 9  # what was missing has been asked for and came
    BANDS = 10  # the quote is at a price band: limit state
    PAUSE = 11  # it stayed there for 15 s, or the venue says so: trading pause
    RESUMED = 12  # a trade ended the halt
    ELAPSED = 13  # the bars that the gap touched are over
    CROSSED = 14  # the bid has been above the ask for too long: one of them is old


def _tick_dtype() -> np.dtype:
    # 48 bytes of header, then ten 8-byte payload slots whose names depend on the kind:
    #
    #   slot     48     56     64        72        80       88     96          104      112         120
    #   TRADE    price  size   -         -         trade_id -      -           -        conditions  exchanges
    #   QUOTE    bid    ask    bid_size  ask_size  -        -      -           -        conditions  exchanges
    #   BAR_*    open   high   low       close     volume   vwap   day_volume  day_vwap ts_start_ns day_open
    #   FMV      price  -      -         -         -        -      -           -        -           -
    #   LULD     upper  lower  -         -         -        -      -           -        conditions  exchanges
    #   HEALTH   states from   to        lag       silence  missing -          -        -           -
    #
    # A HEALTH tick's ``gap_from_ns`` and ``gap_to_ns`` (venue time) say which stretch is incomplete: 0 and 0, none;
    # ``gap_to_ns`` 0, everything from there on. A bar with the flag BACKFILL has ``trade_count`` in slot 96, and
    # neither ``day_*`` field.
    #
    # In slot 104 a trade or a quote has ``ts_publish_ns``; of the other kinds, which cause nothing, nobody asks.
    #
    # ``conditions`` packs up to four 16-bit codes, each stored as code + 1 so that 0 means none, first code
    # lowest; of a quote the first is its condition, the others its indicators. ``exchange`` is the trade's or
    # the bid's exchange id, ``exchange_ask`` the ask's, ``tape`` 1-3. ``side`` is who crossed the spread in a trade
    # (``Side``), 0 where the venue does not say.
    fields: list[tuple[str, str, int]] = [
        ("sequence", "<i8", 0),
        ("ts_venue_ns", "<i8", 8),
        ("ts_recv_ns", "<i8", 16),
        ("ts_mono_ns", "<i8", 24),
        ("venue_sequence", "<i8", 32),
        ("instrument_id", "<i4", 40),
        ("kind", "u1", 44),
        ("flags", "u1", 45),
        ("venue_id", "<u2", 46),
        ("price", "<f8", 48),
        ("size", "<f8", 56),
        ("bid", "<f8", 48),
        ("ask", "<f8", 56),
        ("bid_size", "<f8", 64),
        ("ask_size", "<f8", 72),
        ("trade_id", "<i8", 80),
        ("open", "<f8", 48),
        ("high", "<f8", 56),
        ("low", "<f8", 64),
        ("close", "<f8", 72),
        ("volume", "<f8", 80),
        ("vwap", "<f8", 88),
        ("day_volume", "<f8", 96),
        ("trade_count", "<i8", 96),
        ("day_vwap", "<f8", 104),
        ("ts_publish_ns", "<i8", 104),
        ("ts_start_ns", "<i8", 112),
        ("day_open", "<f8", 120),
        ("upper", "<f8", 48),
        ("lower", "<f8", 56),
        ("health_state", "u1", 48),  # HealthState
        ("health_channel", "u1", 49),  # HealthChannel
        ("health_cause", "u1", 50),  # HealthCause
        ("health_before", "u1", 51),  # HealthState
        ("gap_from_ns", "<i8", 56),
        ("gap_to_ns", "<i8", 64),
        ("lag_ns", "<i8", 72),  # ts_recv_ns - ts_venue_ns beyond its baseline
        ("silence_ns", "<i8", 80),  # since the last one came
        ("missing", "<i8", 88),  # venue sequences that have not come
        ("conditions", "<u8", 112),
        ("exchange", "<u2", 120),
        ("exchange_ask", "<u2", 122),
        ("tape", "<u2", 124),
        ("side", "i1", 126),
    ]
    names, formats, offsets = zip(*fields, strict=True)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": 128})


TICK_DTYPE = _tick_dtype()
assert TICK_DTYPE.itemsize == 128


def join_ticks(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One array of TICK_DTYPE. Plain ``np.concatenate`` would repack the records and part overlapping fields."""
    whole = np.dtype(f"V{TICK_DTYPE.itemsize}")
    joined: np.ndarray = np.concatenate([part.view(whole) for part in parts]).view(TICK_DTYPE)
    return joined


class BarKind(IntEnum):
    """How a built bar is bounded."""

    SECOND = 1
    MINUTE = 2
    TICKS = 3


class BarFlag(IntFlag):
    NONE = 0
    NO_PRICE = 1  # only ineligible prints fell into the window: volume counts, OHLC are NaN
    REPAIRED = 2  # the venue's own bar, asked for afterwards, in the place of one built from incomplete data
    REVISION = 4  # of a bar of the same instrument, kind and start, which it replaces
    GAPPED = 8  # data are missing in its window


# A bar built here from trades, written when it is final; what changes it later is another record, a REVISION.
BAR_DTYPE = np.dtype(
    [
        ("sequence", "<i8"),
        ("source_sequence", "<i8"),  # the tick that closed the bar
        ("ts_start_ns", "<i8"),  # UTC, inclusive
        ("ts_end_ns", "<i8"),  # UTC, exclusive (of a tick bar: the last trade's stamp)
        ("ts_mono_ns", "<i8"),  # of the tick that closed the bar
        ("ts_publish_ns", "<i8"),
        ("instrument_id", "<i4"),
        ("kind", "u1"),  # BarKind
        ("flags", "u1"),  # BarFlag
        ("_pad", "<u2"),
        ("open", "<f8"),
        ("high", "<f8"),
        ("low", "<f8"),
        ("close", "<f8"),
        ("volume", "<f8"),
        ("vwap", "<f8"),  # volume-weighted over all prints that add volume; NaN without volume
        ("trade_count", "<i8"),  # prints that added volume
        ("late_count", "<i8"),  # late prints seen for this instrument and kind since the previous bar
        ("_reserved", "<i8"),
    ]
)
assert BAR_DTYPE.itemsize == 128

FEATURES_MAX = 63  # slots in a feature vector: built-in features plus the user's; unused slots are NaN
OUTPUTS_MAX = 12  # probabilities or values that all models together may put out per record

_HEADER: list[tuple[str, str]] = [
    ("sequence", "<i8"),
    ("source_sequence", "<i8"),
    ("ts_venue_ns", "<i8"),
    ("ts_recv_ns", "<i8"),
    ("ts_mono_ns", "<i8"),
    ("ts_tick_ns", "<i8"),
    ("ts_publish_ns", "<i8"),
    ("instrument_id", "<i4"),
    ("kind", "u1"),  # TickKind of the tick that caused it
    ("flags", "u1"),  # TickFlag of the tick that caused it
    ("venue_id", "<u2"),
    ("price", "<f8"),  # last eligible trade price, else the mid; NaN before either
]

FEATURE_DTYPE = np.dtype([*_HEADER, ("values", "<f8", (FEATURES_MAX,))])
assert FEATURE_DTYPE.itemsize == 72 + 8 * FEATURES_MAX == 576  # nine cache lines

# A prediction carries its features on, so that a rule is a function of one record.
PREDICTION_DTYPE = np.dtype(
    [
        *_HEADER,
        ("model_id", "<i8"),  # of the set of models; -1: no model, features passed through
        ("ts_deadline_ns", "<i8"),  # CLOCK_MONOTONIC; 0 = none
        ("output_count", "<i4"),
        ("strangeness", "<f4"),  # share of the features used that lie outside what the models were trained on
        (
            "outputs",
            "<f8",
            (OUTPUTS_MAX,),
        ),  # model by model; binary: P(yes); multiclass: one each; regression: value
        ("ts_feature_ns", "<i8"),
        ("values", "<f8", (FEATURES_MAX,)),
    ]
)
assert PREDICTION_DTYPE.itemsize == 200 + 8 * FEATURES_MAX == 704  # eleven cache lines


class Side(IntEnum):
    SELL = -1
    NONE = 0
    BUY = 1


# The first 80 bytes are a pure function of the input ticks and the configuration: ``chain_hash`` covers them.
# What follows is measurement, which differs from run to run.
SIGNAL_DTYPE = np.dtype(
    [
        ("sequence", "<i8"),
        ("source_sequence", "<i8"),
        ("ts_venue_ns", "<i8"),  # of the tick that caused it
        ("ts_expiry_ns", "<i8"),  # UTC; not to be acted on from here on
        ("instrument_id", "<i4"),
        ("side", "i1"),  # Side
        ("_pad", "u1"),
        ("reason", "<u2"),  # index of the rule that fired, in configuration order
        ("model_id", "<i8"),  # of the set of models
        ("price", "<f8"),
        ("strength", "<f8"),  # 0..1
        ("probability", "<f8"),  # the first output of the first model; NaN without one
        ("value", "<f8"),  # of the feature or output that fired the rule
        ("chain_hash", "<u8"),  # running hash over this and all earlier signals
        ("ts_recv_ns", "<i8"),
        ("ts_mono_ns", "<i8"),
        ("ts_publish_ns", "<i8"),
        ("hop_low_ns", "<u4", (3,)),  # duration of the first three HOPS in 40 bits each: ``signal_hops``
        ("hop_high_ns", "u1", (3,)),
        ("_pad2", "u1"),
    ]
)
SIGNAL_HASHED_BYTES = 80
assert SIGNAL_DTYPE.itemsize == 128
assert SIGNAL_DTYPE.fields is not None and SIGNAL_DTYPE.fields["chain_hash"][1] == SIGNAL_HASHED_BYTES

# From the frame leaving the socket to its ticks visible, from there to the feature record visible, to the prediction
# visible, to the signal visible. The end of a hop is the start of the next, so they add up to tick-to-signal.
HOPS = ("feed", "indicators", "inference", "signals")
HOP_NS_MAX = (1 << 40) - 1  # 18 minutes


def signal_hops(signals: np.ndarray) -> np.ndarray:
    """int64[n, len(HOPS)] of SIGNAL_DTYPE[n]: ns in each hop; a row's sum is ``ts_publish_ns - ts_mono_ns``."""
    hops = np.zeros((len(signals), len(HOPS)), np.int64)
    hops[:, :-1] = signals["hop_high_ns"].astype(np.int64) << 32 | signals["hop_low_ns"]
    hops[:, -1] = signals["ts_publish_ns"] - signals["ts_mono_ns"] - hops.sum(axis=1)
    return hops


# One of the slowest signals of a run, as the signals stage keeps it in its ``.stats`` file.
SLOW_DTYPE = np.dtype(
    [
        ("total_ns", "<i8"),  # frame left the socket -> signal visible
        ("sequence", "<i8"),
        ("source_sequence", "<i8"),
        ("instrument_id", "<i8"),
        ("ts_recv_ns", "<i8"),
        ("hops_ns", "<i8", (3,)),  # the last hop is what is missing to ``total_ns``
    ]
)


# A connection of the feed, as the feed keeps it in its ``.stats`` file.
LINE_DTYPE = np.dtype(
    [
        ("name", "S32"),
        ("venue", "S32"),
        ("mirrors", "S24"),  # the line whose ticks it brings as well; empty for none
        ("state", "<i8"),  # of FEED_STATES
        ("delayed", "<i8"),  # 1: on the venue's delayed data
        ("wanted", "<i8"),  # subscriptions
        ("acks_missing", "<i8"),  # of them those that the venue has not confirmed
        ("last_frame_mono_ns", "<i8"),
        ("frames", "<i8"),
        ("bytes", "<i8"),
        ("events", "<i8"),
        ("rejected", "<i8"),
        ("reconnects", "<i8"),
        ("losses", "<i8"),
        ("gaps", "<i8"),
        ("gap_ms", "<i8"),
        ("ping_us", "<i8"),  # from the last ping to its pong; 0 before one
        ("first", "<i8"),  # ticks of which a mirrored line brought the first copy
        ("second", "<i8"),  # and those left out, because another line had brought them
        ("lead_us_mean", "<i8"),  # by which its first copies came before the second ones
        ("lead_us_p50", "<i8"),
        ("lead_us_p99", "<i8"),
        ("lost", "<i8"),  # sequences that no mirrored line brought; where the venue numbers without gaps
        ("spare", "<i8"),
    ]
)


class OrderKind(IntEnum):
    MARKET = 1
    LIMIT = 2


class OrderStatus(IntEnum):
    """``ACCEPTED`` and ``PARTIAL`` are open, the others final."""

    ACCEPTED = 1  # past the risk gate, on its way or at the venue
    PARTIAL = 2  # part of it is filled
    FILLED = 3
    CANCELLED = 4
    EXPIRED = 5  # its time was over before it was filled
    REFUSED = 6  # by the risk gate, ``reason`` says by which rule


class Refusal(IntEnum):
    """Why the risk gate refused an order; the rules ask in this order, the first one that refuses counts."""

    NONE = 0
    INVALID = 1  # no positive quantity, or an instrument that is not there
    LATCHED = 2  # new orders are latched off
    LOSS = 3  # the account has lost more than it may: latches
    STALE_SIGNAL = 4  # the signal is too old, or expires before the order can arrive
    NO_PRICE = 5  # nothing to value the order by
    ORDER_SIZE = 6
    ORDER_NOTIONAL = 7
    POSITION = 8
    PRICE_COLLAR = 9
    WORKING = 10  # too many open orders
    UNFIT = 11  # the instrument's data are not to be acted on


class Liquidity(IntEnum):
    TAKER = 1  # crossed the spread
    MAKER = 2  # waited at its limit


# Orders and fills are exact: prices are whole multiples of ``execution.price_tick``, quantities of
# ``execution.size_tick``, money of their product. One record each time an order's status changes.
ORDER_DTYPE = np.dtype(
    [
        ("sequence", "<i8"),
        ("source_sequence", "<i8"),  # the tick at which it happened
        ("ts_venue_ns", "<i8"),  # event time of that tick
        ("order_id", "<i8"),  # from 1 on, one for each order, refused ones too
        ("signal_sequence", "<i8"),  # the signal that caused it, -1 without one
        ("instrument_id", "<i4"),
        ("side", "i1"),  # Side
        ("kind", "u1"),  # OrderKind
        ("status", "u1"),  # OrderStatus
        ("reason", "u1"),  # Refusal
        ("quantity", "<i8"),
        ("filled", "<i8"),  # so far
        ("limit", "<i8"),  # price; 0 of a market order
        ("ts_arrival_ns", "<i8"),  # event time from which on the venue knows it
        ("ts_expiry_ns", "<i8"),  # event time; 0 = never
        ("price", "<i8"),  # of the fill that changed it; of a refusal the price it was valued by; else 0
        ("ts_publish_ns", "<i8"),
        ("_reserved", "<i8", (3,)),
    ]
)
assert ORDER_DTYPE.itemsize == 128

# The first 96 bytes are a pure function of ticks, signals and configuration: ``chain_hash`` covers them.
FILL_DTYPE = np.dtype(
    [
        ("sequence", "<i8"),
        ("source_sequence", "<i8"),  # the tick that filled it
        ("ts_venue_ns", "<i8"),
        ("order_id", "<i8"),
        ("signal_sequence", "<i8"),
        ("instrument_id", "<i4"),
        ("side", "i1"),
        ("liquidity", "u1"),  # Liquidity
        ("_pad", "<u2"),
        ("price", "<i8"),
        ("quantity", "<i8"),
        ("fee", "<i8"),
        ("realised", "<i8"),  # profit or loss that this fill closed, before its fee
        ("position", "<i8"),  # of the instrument, after it
        ("cash", "<i8"),  # of the account, after it
        ("chain_hash", "<u8"),  # running hash over this and all earlier fills
        ("ts_publish_ns", "<i8"),
        ("_reserved", "<i8", (2,)),
    ]
)
FILL_HASHED_BYTES = 96
assert FILL_DTYPE.itemsize == 128
assert FILL_DTYPE.fields is not None and FILL_DTYPE.fields["chain_hash"][1] == FILL_HASHED_BYTES
