"""How strictly or oddly a simulated venue behaves all the time. The defaults are a healthy venue with a full plan."""

from typing import Literal

from msgspec import Struct

from hft_engine.config.schema import NonNegative, Positive


class VenueOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``..._every``: once in so many events of the kind, 0 = never; ``..._max`` 0 = no limit. What a vendor does not
    have (a plan, acknowledgements) does nothing at its simulator.
    """

    buffer_bytes_max: Positive = 4_000_000  # a connection's unsent events; the real figure is not published
    # Polygon's websocket.
    auth_timeout_ms: Positive = 10_000  # of the real venue not known
    split_acks: bool = False  # one frame per acknowledged pair instead of one for all
    websocket_in_plan: bool = True
    realtime_in_plan: bool = True
    channels_in_plan: tuple[str, ...] = ("T", "Q", "A", "AM", "FMV", "LULD")
    connections_max: NonNegative = 0  # the real venue's default is 1
    connection_cap_closes: Literal["older", "newer"] = "older"  # both were seen
    contracts_max: NonNegative = 1_000  # options: held at once on a connection, of Q and of FMV
    # Oddities of its wire that were observed and that a client must take.
    bar_average_as_float_every: NonNegative = 0  # A, AM: "z": 12.0
    bar_without_volume_every: NonNegative = 0  # A, AM: "v": 0
    trade_id_as_number_every: NonNegative = 0  # T: "i": 7657
    time_in_ns_every: NonNegative = 0  # T, Q: "t" in ns instead of ms
    newer_fields: bool = False  # T: ds, pt; A, AM: dv, dav; and one key nobody knows
    # Polygon's REST.
    rest_in_plan: bool = True
    today_in_plan: bool = True  # False: the data of today is refused, as on a free plan
    quotes_in_plan: bool = True  # lastQuote, lastTrade of snapshots, /v3/quotes
    rest_calls_per_minute: NonNegative = 0  # the free plan's is 5
    # Finnhub.
    symbols_max: NonNegative = 50  # subscribed to at once
    idle_ping_ms: Positive = 60_000  # no trade for so long: a ping frame
    null_conditions_every: NonNegative = 0  # "c": null, as of crypto
    one_connection: bool = True  # a second with the same key ends both
    # Alpha Vantage.
    calls_per_minute: NonNegative = 0  # older free plans: 5
    calls_per_second: NonNegative = 0  # the free plan's is 1
    calls_per_day: NonNegative = 0  # the free plan's is 25
    limit_prints_key: bool = False  # one variant of the daily limit prints the caller's key


HEALTHY = VenueOptions()
