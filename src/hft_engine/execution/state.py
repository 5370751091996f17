"""What a trading account remembers: all of it plain arrays, so a checkpoint is a copy.

``rows``     ROW_DTYPE[instruments]: the market as the broker sees it, and what is held; a row of zeros is new
``working``  WORKING_DTYPE[slots]: open orders, each in its instrument's list; a slot with order_id 0 is free
``account``  int64[ACCOUNT_WORDS]: see the names below
``terms``    TERMS_DTYPE[1]: what the configuration says, in ticks

Prices, quantities and money are whole numbers, see ``records``: sums are exact, no order of adding changes them.
"""

from dataclasses import dataclass

import numpy as np

from hft_engine.config.schema import ExecutionConfig
from hft_engine.records import FILL_DTYPE, ORDER_DTYPE

WORKING_SLOTS = (
    257  # open orders, at most ``execution.risk.working_max``, and one more that a refused one passes through
)
ORDERS_OUT = 4_096  # order records between two collections
FILLS_OUT = 2_048
SAMPLES_OUT = 4_096
NOTHING = -1  # no slot
UNLIMITED = 1 << 62
QUEUE_UNKNOWN = UNLIMITED  # ahead of a limit order: only a trade through its price fills it

ROW_DTYPE = np.dtype(
    [
        ("bid", "<i8"),  # 0: none
        ("ask", "<i8"),
        ("bid_size", "<i8"),
        ("ask_size", "<i8"),
        ("last", "<i8"),  # last trade that may move the price; 0: none yet
        ("last_ns", "<i8"),  # event time of the last tick
        ("position", "<i8"),
        ("cost", "<i8"),  # what the position was bought (sold: -) for; position * average price
        ("realised", "<i8"),
        ("fees", "<i8"),
        ("open_buy", "<i8"),  # quantity of open orders that is not filled yet
        ("open_sell", "<i8"),
        ("first", "<i8"),  # 1 + slot of its first open order; 0: none
        ("traded", "<i8"),  # quantity of all fills
        ("fills", "<i4"),
        ("unfit", "<i4"),  # not 0: the instrument's data are not to be acted on
        ("held", "<i8"),  # 1 + place in ``holdings`` order: an instrument that was ever traded; 0: never
    ]
)
assert ROW_DTYPE.itemsize == 128

WORKING_DTYPE = np.dtype(
    [
        ("order_id", "<i8"),
        ("signal_sequence", "<i8"),
        ("instrument_id", "<i8"),
        ("side", "<i8"),
        ("kind", "<i8"),
        ("arrived", "<i8"),  # 1: the venue knows it
        ("quantity", "<i8"),
        ("filled", "<i8"),
        ("limit", "<i8"),
        ("ts_arrival_ns", "<i8"),
        ("ts_expiry_ns", "<i8"),
        ("ts_cancel_ns", "<i8"),  # event time at which a cancel arrives; 0: none is on its way
        ("ahead", "<i8"),  # quantity in front of it in the queue
        ("next", "<i8"),  # slot of the instrument's next one
        ("ts_signal_ns", "<i8"),
        ("_reserved", "<i8"),
    ]
)

TERMS_DTYPE = np.dtype(
    [
        ("price_scale", "<f8"),  # ticks in one unit of currency
        ("size_scale", "<f8"),
        ("latency_ns", "<i8"),
        ("fee_rate", "<f8"),  # money for each tick of quantity
        ("fee_share", "<f8"),  # of the notional
        ("half_spread", "<f8"),  # of the price
        ("estimate_queue", "<i8"),
        ("equity_every_ns", "<i8"),
        ("order_size_max", "<i8"),
        ("order_notional_max", "<i8"),
        ("position_max", "<i8"),
        ("collar", "<f8"),
        ("signal_age_max_ns", "<i8"),
        ("working_max", "<i8"),
        ("loss_max", "<i8"),
    ]
)

SAMPLE_DTYPE = np.dtype(
    [("ts_ns", "<i8"), ("equity", "<i8"), ("cash", "<i8"), ("gross", "<i8"), ("net", "<i8")]
)

# words of ``account``
(
    A_CASH,
    A_START,  # cash at first
    A_FEES,
    A_REALISED,
    A_ORDERS,  # order ids given
    A_WORKING,  # open orders
    A_FILLS,  # fills so far: the next one's sequence
    A_ORDER_RECORDS,  # order records so far
    A_CLOCK,  # event time: the latest stamp seen
    A_SOURCE,  # sequence of the tick being dealt with
    A_NOW,  # its event time
    A_LATCHED,  # not 0: new orders are latched off
    A_TRIPPED,  # 1: the loss limit latched them
    A_CHAIN,  # bits of the last fill's hash
    A_SAMPLE_DUE,
    A_ORDERS_OUT,  # records that wait to be collected
    A_FILLS_OUT,
    A_SAMPLES_OUT,
    A_HELD,  # instruments ever traded
    A_TICKS,
    A_REFUSED,  # orders refused
    A_CANCELLED,
    A_EXPIRED,
    A_SAMPLES_LOST,
    ACCOUNT_WORDS,
) = range(25)


@dataclass(frozen=True)
class AccountState:
    """The arrays of the module's text, and where records wait to be collected."""

    rows: np.ndarray
    working: np.ndarray
    account: np.ndarray
    terms: np.ndarray
    holdings: np.ndarray  # int64[instruments]: those ever traded, in order of their first fill
    orders: np.ndarray  # ORDER_DTYPE[ORDERS_OUT]
    fills: np.ndarray  # FILL_DTYPE[FILLS_OUT]
    samples: np.ndarray  # SAMPLE_DTYPE[SAMPLES_OUT]

    def arrays(self) -> tuple[np.ndarray, ...]:
        """In the order in which kernels are wired."""
        return (
            self.rows,
            self.working,
            self.account,
            self.terms,
            self.holdings,
            self.orders,
            self.fills,
            self.samples,
        )


def new_account(config: ExecutionConfig, instruments: int) -> AccountState:
    """An account that holds nothing but its cash."""
    account = np.zeros(ACCOUNT_WORDS, np.int64)
    account[A_CASH] = account[A_START] = money_of(config, config.cash)
    return AccountState(
        np.zeros(instruments, ROW_DTYPE),
        np.zeros(WORKING_SLOTS, WORKING_DTYPE),
        account,
        terms_of(config),
        np.zeros(instruments, np.int64),
        np.zeros(ORDERS_OUT, ORDER_DTYPE),
        np.zeros(FILLS_OUT, FILL_DTYPE),
        np.zeros(SAMPLES_OUT, SAMPLE_DTYPE),
    )


def money_of(config: ExecutionConfig, amount: float) -> int:
    """Whole units of money, which are a price tick times a size tick."""
    return round(amount / config.price_tick / config.size_tick)


def terms_of(config: ExecutionConfig) -> np.ndarray:
    """``TERMS_DTYPE[1]`` of a configuration."""
    risk = config.risk
    terms = np.zeros(1, TERMS_DTYPE)
    terms["price_scale"], terms["size_scale"] = 1.0 / config.price_tick, 1.0 / config.size_tick
    terms["latency_ns"] = config.latency_ms * 1_000_000
    terms["fee_rate"] = config.fee_per_unit / config.price_tick
    terms["fee_share"], terms["half_spread"] = config.fee_bps * 1e-4, config.half_spread_bps * 1e-4
    terms["estimate_queue"] = config.queue == "estimate"
    terms["equity_every_ns"] = config.equity_every_ms * 1_000_000
    terms["order_size_max"] = round(risk.order_size_max / config.size_tick)
    terms["order_notional_max"] = money_of(config, risk.order_notional_max)
    terms["position_max"] = round(risk.position_max / config.size_tick)
    terms["collar"] = risk.collar_bps * 1e-4
    terms["signal_age_max_ns"] = risk.signal_age_max_ms * 1_000_000
    terms["working_max"] = risk.working_max
    terms["loss_max"] = money_of(config, risk.loss_max)
    return terms
