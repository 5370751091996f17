"""`hft tail`: signals from the ring, events from the run's event file, as they happen."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.publisher.events import FILE as EVENTS_FILE
from hft_engine.publisher.wire import SignalMessage, signal_message
from hft_engine.records import HealthCause, HealthChannel, HealthState, TickFlag, TickKind
from hft_engine.runtime.messages import Event
from hft_engine.views.run import RunView

POLL_S = 0.05  # for eyes: short enough, and no load
BATCH = 1_000
HEALTH_BATCH = 16_384  # ticks looked through at a time


def tail_signals(run_dir: Path, count: int, follow: bool) -> None:
    """Print the latest ``count`` signals, then (``follow``) each new one until the engine ends."""
    run = RunView(run_dir)
    _print(_signals(run, max(count, 0)), follow, lambda: run.alive)


def tail_events(run_dir: Path, count: int, follow: bool) -> None:
    """The same for events."""
    run = RunView(run_dir)
    _print(_events(run_dir / EVENTS_FILE, max(count, 0)), follow, lambda: run.alive)


def tail_health(run_dir: Path, count: int, follow: bool) -> None:
    """The same for changes of the health of instruments' data; of past ones those that the ring still has."""
    run = RunView(run_dir)
    _print(_health(run, max(count, 0)), follow, lambda: run.alive)


def health_line(symbol: str, row: np.void) -> str:
    """One line for people, of a HEALTH tick."""
    before, state = HealthState(int(row["health_before"])), HealthState(int(row["health_state"]))
    gap_ms = (int(row["gap_to_ns"]) - int(row["gap_from_ns"])) // 1_000_000 if row["gap_to_ns"] else 0
    facts = [
        f"silent {int(row['silence_ns']) / 1e9:.1f} s",
        f"late {int(row['lag_ns']) / 1e9:.1f} s" if state is HealthState.LAGGING else "",
        f"gap {gap_ms:,} ms" if gap_ms else "",
        f"{int(row['missing']):,} missing" if row["missing"] else "",
        "no signals" if row["flags"] & TickFlag.UNFIT else "",
    ]
    channel, cause = HealthChannel(int(row["health_channel"])), HealthCause(int(row["health_cause"]))
    return (
        f"{_clock(int(row['ts_recv_ns']))}  {symbol:<8} {channel.name.lower():<6} {before.name.lower():>8} -> "
        f"{state.name.lower():<8}  {cause.name.lower():<12} {', '.join(fact for fact in facts if fact)}"
    )


def signal_line(signal: SignalMessage) -> str:
    """One line for people."""
    probability = "" if signal.probability is None else f"  p(up) {signal.probability:.3f}"
    return (
        f"{_clock(signal.ts_venue_ns)}  {signal.symbol:<8} {signal.side.upper():<4} "
        f"{signal.strength:.2f}  {signal.price:>12,.4f}  {signal.reason:<16} value {signal.value:.4g}"
        f"{probability}  {signal.latency_us:,.1f} µs  #{signal.sequence}"
    )


def event_line(event: Event) -> str:
    return f"{_clock(event.ts_ns)}  {event.role:<12} {event.kind:<10} {event.text}"


def messages(run: RunView, rows: np.ndarray) -> list[SignalMessage]:
    """Records of the signal ring with names instead of ids."""
    return [
        signal_message(
            row, run.symbol(int(row["instrument_id"])), run.rule_name(int(row["reason"])), run.manifest.run_id
        )
        for row in rows
    ]


def _signals(run: RunView, count: int) -> Iterator[list[str]]:
    """Batches of lines; an empty one means that there is nothing new."""
    ring = run.rings["signals"]
    position = max(0, ring.published - count)
    while True:
        first, rows = ring.read(position, BATCH)
        lines = (
            [f"... {first - position:,} signals came faster than they could be shown"]
            if first > position
            else []
        )
        position = first + len(rows)
        yield lines + [signal_line(message) for message in messages(run, rows)]


def _health(run: RunView, count: int) -> Iterator[list[str]]:
    """Batches of lines; an empty one means that there is nothing new."""
    ring = run.rings["ticks"]
    position, past = 0, True
    found: list[str] = []
    while True:
        first, rows = ring.read(position, HEALTH_BATCH)
        position = first + len(rows)
        told = rows[rows["kind"] == TickKind.HEALTH]
        found += [health_line(run.symbol(int(row["instrument_id"])), row) for row in told]
        if len(rows) == HEALTH_BATCH:
            continue
        yield found[max(len(found) - count, 0) :] if past else found
        found, past = [], False


def _events(path: Path, count: int) -> Iterator[list[str]]:
    """Batches of lines; an empty one means that there is nothing new."""
    events = _read_events(path)
    shown = events[-1].sequence if events else -1
    yield [event_line(event) for event in events[max(len(events) - count, 0) :]]
    size = -1
    while True:
        # The file may be replaced by a shorter one: what was shown is known by its sequence.
        before, size = size, path.stat().st_size if path.exists() else 0
        new = [event for event in _read_events(path) if event.sequence > shown] if size != before else []
        shown = new[-1].sequence if new else shown
        yield [event_line(event) for event in new]


def _read_events(path: Path) -> list[Event]:
    decoder = msgspec.json.Decoder(Event)
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return [decoder.decode(line) for line in whole.splitlines()]


def _print(batches: Iterator[list[str]], follow: bool, alive: Callable[[], bool]) -> None:
    try:
        for lines in batches:
            for line in lines:
                print(line)
            if lines:
                sys.stdout.flush()
            elif not follow:
                return
            elif not alive():
                print("the engine has ended", file=sys.stderr)
                return
            else:
                time.sleep(POLL_S)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:  # `hft tail signals | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _clock(utc_ns: int) -> str:
    seconds, rest = divmod(utc_ns, 1_000_000_000)
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) + f".{rest // 1_000_000:03d}Z"
