"""What subscribers outside receive. Frames: topic | sequence, 8 bytes big-endian | JSON body.

``signal``: sequence of the signal ring, so that a gap is what this subscriber missed. ``event``: the supervisor's
running number. A number that is not a number is null in JSON.

A joiner gets what is published from then on: XPUB cannot address one subscriber. Earlier signals are in the
signal ring of the run directory, earlier events in its ``events.jsonl`` (``hft tail`` reads both).
"""

import math

import msgspec
import numpy as np

from hft_engine.records import SIGNAL_DTYPE, Side

TOPIC_SIGNAL, TOPIC_EVENT = b"signal", b"event"
SOCKET_NAME = "signals.ipc"
SEQUENCE_BYTES = 8
_FIELDS = SIGNAL_DTYPE.names or ()


class SignalMessage(msgspec.Struct, frozen=True):
    """A signal for people and programs outside: names instead of ids."""

    run_id: str
    sequence: int
    symbol: str
    side: str  # buy | sell
    strength: float
    reason: str  # name of the rule
    price: float
    probability: float | None  # of the model; null without one
    value: float  # of the rule's input
    model_id: int
    source_sequence: int  # of the tick
    ts_venue_ns: int
    ts_expiry_ns: int
    ts_recv_ns: int
    latency_us: float  # frame left the socket -> signal visible in the ring
    chain_hash: str  # 16 hex digits


def signal_message(row: np.void, symbol: str, reason: str, run_id: str) -> SignalMessage:
    """``row``: one record of SIGNAL_DTYPE."""
    fields = dict(
        zip(_FIELDS, row.item(), strict=True)
    )  # all at once: a field of an np.void costs a microsecond
    probability = fields["probability"]
    return SignalMessage(
        run_id=run_id,
        sequence=fields["sequence"],
        symbol=symbol,
        side="buy" if fields["side"] == Side.BUY else "sell",
        strength=fields["strength"],
        reason=reason,
        price=fields["price"],
        probability=None if math.isnan(probability) else probability,
        value=fields["value"],
        model_id=fields["model_id"],
        source_sequence=fields["source_sequence"],
        ts_venue_ns=fields["ts_venue_ns"],
        ts_expiry_ns=fields["ts_expiry_ns"],
        ts_recv_ns=fields["ts_recv_ns"],
        latency_us=(fields["ts_publish_ns"] - fields["ts_mono_ns"]) / 1e3,
        chain_hash=f"{fields['chain_hash']:016x}",
    )


def frames(topic: bytes, sequence: int, body: msgspec.Struct) -> list[bytes]:
    """The three frames of a message."""
    return [topic, max(sequence, 0).to_bytes(SEQUENCE_BYTES, "big"), msgspec.json.encode(body)]
