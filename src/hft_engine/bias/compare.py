"""Two runs with one past: everything that the past caused must be the same in both."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from hft_engine.bias.plan import Outcome
from hft_engine.records import BAR_DTYPE, ORDER_DTYPE, SIGNAL_DTYPE, SIGNAL_HASHED_BYTES, BarKind, OrderStatus

_MEASURED = ("ts_mono_ns", "ts_publish_ns", "_pad", "_reserved", "sequence")


class Finding(msgspec.Struct, frozen=True):
    """The first value of one name that moved. ``why``: which change moved it."""

    kind: str  # feature, bar, signal, order, input
    name: str
    instrument: str
    ts_ns: int  # event time, UTC
    tick: int  # sequence of the tick that caused it
    before: str  # the value of the undisturbed run
    after: str
    why: str


def differences(
    base: Outcome,
    other: Outcome,
    tick_end: int,
    features: Sequence[str],
    rules: Sequence[str],
    why: str,
) -> list[Finding]:
    """What ticks below ``tick_end`` caused and is not the same in both; of each name the first."""
    found = [*_in_features(base, other, tick_end, features, why)]
    for kind, one, two, dtype in (
        ("bar", base.bars, other.bars, BAR_DTYPE),
        ("signal", base.signals, other.signals, SIGNAL_DTYPE),
        ("order", base.orders, other.orders, ORDER_DTYPE),
    ):
        for row, field, before, after in _in_records(one, two, tick_end, _fields(dtype, kind)):
            stamp = row["ts_end_ns"] if kind == "bar" else row["ts_venue_ns"]
            symbol = base.symbols[int(row["instrument_id"])]
            tick = int(row["source_sequence"])
            name = f"{_name(kind, row, rules)}{field}"
            found.append(Finding(kind, name, symbol, int(stamp), tick, before, after, why))
    return found


def _in_features(
    base: Outcome, other: Outcome, tick_end: int, features: Sequence[str], why: str
) -> Iterator[Finding]:
    one, two = (int(np.searchsorted(run.heads[:, 0], tick_end)) for run in (base, other))
    count = min(one, two)
    a, b = base.values[:count], other.values[:count]
    moved = (a != b) & ~(np.isnan(a) & np.isnan(b))
    moved |= np.any(base.heads[:count] != other.heads[:count], axis=1)[:, None]
    for column in np.flatnonzero(moved.any(axis=0)).tolist():
        row = int(np.argmax(moved[:, column]))
        tick, ts_ns, instrument = base.heads[row].tolist()
        values = f"{a[row, column]:.10g}", f"{b[row, column]:.10g}"
        yield Finding("feature", features[column], base.symbols[instrument], ts_ns, tick, *values, why)
    if one != two:
        row = min(count, max(len(base.heads) - 1, 0))
        tick, ts_ns, instrument = base.heads[row].tolist()
        yield Finding(
            "feature",
            "(records)",
            base.symbols[instrument],
            ts_ns,
            tick,
            f"{one} records",
            f"{two} records",
            why,
        )


def _fields(dtype: np.dtype, kind: str) -> list[str]:
    assert dtype.fields is not None
    return [
        name
        for name, (_, offset, *_) in dtype.fields.items()
        if name not in _MEASURED and not (kind == "signal" and offset >= SIGNAL_HASHED_BYTES)
    ]


def _in_records(
    one: np.ndarray, two: np.ndarray, tick_end: int, fields: Sequence[str]
) -> Iterator[tuple[np.void, str, str, str]]:
    """(row, field, before, after): the first record that differs, in each field that does; or a record too many."""
    one, two = (rows[rows["source_sequence"] < tick_end] for rows in (one, two))
    count = min(len(one), len(two))
    moved = np.zeros(count, bool)
    for name in fields:
        a, b = one[name][:count], two[name][:count]
        moved |= (a != b) & ~((a != a) & (b != b))
    if moved.any():
        row = int(np.argmax(moved))
        for name in fields:
            before, after = one[name][row], two[name][row]
            if before != after and not (before != before and after != after):
                yield one[row], f".{name}", _shown(before), _shown(after)
    elif len(one) != len(two):
        longer = one if len(one) > len(two) else two
        there, gone = ("there", "missing") if len(one) > len(two) else ("missing", "there")
        yield longer[count], "", there, gone


def _shown(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float | np.floating) else str(value)


def _name(kind: str, row: np.void, rules: Sequence[str]) -> str:
    """What a person calls the record: a bar by its kind, an order by its status, a signal by its rule."""
    if kind == "bar":
        return BarKind(int(row["kind"])).name.lower()
    if kind == "order":
        return OrderStatus(int(row["status"])).name.lower()
    reason = int(row["reason"])
    return rules[reason] if reason < len(rules) else f"rule {reason}"


class Memory(msgspec.Struct, frozen=True):
    """How much a feature still depends on a past that one run did not see."""

    name: str
    change: float  # largest of |difference| / |value| over the last ticks


def memories(
    base: Outcome, late: Outcome, skipped: int, features: Sequence[str], share: float
) -> list[Memory]:
    """Of the last ``share`` of the records, for a run that began ``skipped`` ticks later; largest change first."""
    count = int(min(len(base.heads), len(late.heads)) * share)
    if not count or not np.array_equal(base.heads[-count:, 0], late.heads[-count:, 0] + skipped):
        return []
    a, b = base.values[-count:], late.values[-count:]
    known = ~np.isnan(a)
    gap = np.where(np.isnan(b), np.inf, np.abs(a - b)) / np.maximum(np.abs(a), 1e-12)
    changes = np.where(known, gap, 0.0).max(axis=0)
    found = [Memory(name, float(c)) for name, c in zip(features, changes.tolist(), strict=False) if c > 0.0]
    return sorted(found, key=lambda memory: -memory.change)
