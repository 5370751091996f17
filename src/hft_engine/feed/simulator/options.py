"""How strictly or badly the simulated venue behaves. The defaults are a healthy venue with a full plan."""

from msgspec import Struct

from hft_engine.config.schema import NonNegative, Positive


class VenueOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``..._every``: once in so many events of the kind, 0 = never; ``..._after_frames`` counts data frames of a
    connection.
    """

    auth_timeout_ms: Positive = 10_000  # of the real venue not known
    split_acks: bool = False  # one frame per acknowledged pair instead of one for all
    websocket_in_plan: bool = True
    realtime_in_plan: bool = True
    channels_in_plan: tuple[str, ...] = ("T", "Q", "A", "AM", "FMV", "LULD")
    connections_max: NonNegative = 0  # 0 = any number; the real venue's default is 1
    connection_cap_closes: str = "older"  # or "newer": both were seen
    buffer_bytes_max: Positive = (
        4_000_000  # per connection, of unsent events; the real figure is not published
    )
    # Oddities of the wire that were observed and that a client must take.
    bar_average_as_float_every: NonNegative = 0  # A, AM: "z": 12.0
    trade_id_as_number_every: NonNegative = 0  # T: "i": 7657
    time_in_ns_every: NonNegative = 0  # T, Q: "t" in ns instead of ms
    newer_fields: bool = False  # T: ds, pt; A, AM: dv, dav; and one key nobody knows
    # Faults.
    drop_after_frames: NonNegative = 0  # the connection ends without a close frame
    half_frame_after_frames: NonNegative = 0  # half a frame, then silence on an open connection


HEALTHY = VenueOptions()
