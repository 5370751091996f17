"""Two streams of signals, and the first place where they are not the same."""

from collections.abc import Callable

import msgspec
import numpy as np

from hft_engine.records import SIGNAL_DTYPE, SIGNAL_HASHED_BYTES

# What is a function of ticks, configuration and code; the rest of a signal is measurement.
assert SIGNAL_DTYPE.names is not None and SIGNAL_DTYPE.fields is not None
COMPARED = tuple(name for name in SIGNAL_DTYPE.names if SIGNAL_DTYPE.fields[name][1] < SIGNAL_HASHED_BYTES)
COMPARED_BYTES = SIGNAL_HASHED_BYTES + 8  # and ``chain_hash``


class Difference(msgspec.Struct, frozen=True):
    """The first signal that differs, by ``field``; "missing" and "surplus": it is not in the replay, or not in the live
    run. Ticks [suspect_from, suspect_to] of the instrument came since the last signal of it that is the same.
    """

    sequence: int
    field: str
    live: str
    replayed: str
    symbol: str
    ts_venue_ns: int
    source_sequence: int
    suspect_from: int
    suspect_to: int


def same_bytes(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two signals (SIGNAL_DTYPE scalars) are equal in all that is decided."""
    return one.tobytes()[:COMPARED_BYTES] == other.tobytes()[:COMPARED_BYTES]


def first_unequal(live: np.ndarray, replayed: np.ndarray) -> int | None:
    """Index of the first signal that differs or that only one of them has; None where all are the same."""
    count = min(len(live), len(replayed))
    unequal = (_decided(live[:count]) != _decided(replayed[:count])).any(axis=1)
    if unequal.any():
        return int(np.argmax(unequal))
    return count if len(live) != len(replayed) else None


def field_of(live: np.ndarray, replayed: np.ndarray) -> tuple[str, str, str]:
    """(field, its live value, its replayed value) of two signals that differ; the first field that does."""
    for name in (*COMPARED, "chain_hash"):
        if live[name].tobytes() != replayed[name].tobytes():
            return name, _shown(live[name]), _shown(replayed[name])
    raise ValueError("the signals are the same")


def describe(live: np.ndarray, replayed: np.ndarray, index: int, symbol: Callable[[int], str]) -> Difference:
    """What is different at ``index``, which ``first_unequal`` found."""
    one = live[index] if index < len(live) else None
    other = replayed[index] if index < len(replayed) else None
    if one is not None and other is not None and one["source_sequence"] != other["source_sequence"]:
        # Whichever comes from the earlier tick is the one that the other run does not have.
        one, other = (one, None) if one["source_sequence"] < other["source_sequence"] else (None, other)
    row = one if one is not None else other
    assert row is not None
    if one is not None and other is not None:
        field, happened, repeated = field_of(one, other)
    else:
        field = "missing" if one is not None else "surplus"
        happened, repeated = _brief(one), _brief(other)
    instrument, source = int(row["instrument_id"]), int(row["source_sequence"])
    before = live[:index][live[:index]["instrument_id"] == instrument]
    return Difference(
        sequence=int(row["sequence"]),
        field=field,
        live=happened,
        replayed=repeated,
        symbol=symbol(instrument),
        ts_venue_ns=int(row["ts_venue_ns"]),
        source_sequence=source,
        suspect_from=int(before[-1]["source_sequence"]) + 1 if len(before) else 0,
        suspect_to=source,
    )


def _decided(signals: np.ndarray) -> np.ndarray:
    raw = np.ascontiguousarray(signals).view(np.uint8).reshape(len(signals), SIGNAL_DTYPE.itemsize)
    return raw[:, :COMPARED_BYTES]


def _brief(signal: np.ndarray | None) -> str:
    if signal is None:
        return "no signal"
    side = "buy" if signal["side"] > 0 else "sell"
    return f"{side}, rule {int(signal['reason'])}, value {_shown(signal['value'])}"


def _shown(value: np.ndarray) -> str:
    if value.dtype.kind == "f":
        return f"{float(value)!r} ({value.view(np.uint64):016x})"  # NaNs and the last bit, too
    return f"{int(value):016x}" if value.dtype == np.uint64 else str(int(value))
