"""``hft replay SESSION --verify``: whether a replay gives the very signals that the live run published.

The promise holds for the same code, the same numeric libraries and the same class of CPU; where one of them differs, or
where the session lacks something that decided a result, nothing is proven and ``verify`` refuses with the reason.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from hft_engine.comparison import Difference, describe, first_unequal
from hft_engine.config.schema import Config
from hft_engine.persistence import provenance
from hft_engine.persistence.collector import collected_signals, unequal_features
from hft_engine.persistence.journal.metadata import dtype_hashes
from hft_engine.recorded_session import RecordedSession
from hft_engine.replay import Collect, Part, ReplayResult, replay
from hft_engine.runtime.session_events import of_kinds

REPEATED = ("config_change", "model_swap", "lap", "late_drop")  # events that a replay does again
HAPPENED = ("reconnect", "subscription", "backfill", "resume")  # whose effect lies in the ticks
NUMERIC_LIBRARIES = ("numpy", "numba", "llvmlite")


class VerifyRefusedError(RuntimeError):
    """Nothing can be proven; the text says why and what to do."""


class Unstable(msgspec.Struct, frozen=True):
    """A feature that two replays of the same ticks do not agree on, from about this feature record on."""

    feature: str
    record: int


class Verdict(msgspec.Struct, frozen=True):
    """``repeated``, ``happened``: how many of which session events; ``notes``: what else a person should know."""

    identical: bool
    session: str
    layout: str
    ticks: int
    signals: int
    signal_hash: str
    repeated: dict[str, int]
    happened: dict[str, int]
    difference: Difference | None
    unstable: tuple[Unstable, ...]
    notes: tuple[str, ...]
    seconds: float


def verify(
    path: Path,
    layout: str = "inline",
    speed: float = 0.0,
    end_ns: int = 0,
    force: bool = False,
    progress: Callable[[int], None] = lambda permille: None,
    say: Callable[[str], None] = lambda text: None,
) -> Verdict:
    """Replay a session with its own configuration and compare. ``end_ns``: only what was received before (UTC).

    ``force``: go on where the promise does not hold; the reasons become notes. Raises VerifyRefusedError, and what
    ``replay`` and the session's readers raise.
    """
    session = RecordedSession(path)
    config = session.config((f"engine.layout={layout}",))
    notes = _reasons(session, config)
    if notes and not force:
        raise VerifyRefusedError(_refusal(notes))
    part = Part(end_ns=end_ns)
    with tempfile.TemporaryDirectory(prefix="hft-verify-") as folder:
        collect = Collect(("signals",), folder)
        result = replay(
            config, [str(session.path)], speed, progress=progress, say=say, part=part, collect=collect
        )
        replayed = collected_signals(Path(folder))
    live, more = _comparable(session, replayed, end_ns)
    index = first_unequal(live, replayed[: len(live)] if more else replayed)
    notes += more
    difference = describe(live, replayed, index, session.symbol) if index is not None else None
    unstable = _unstable(session, config, part) if difference or config.indicators.extensions else ()
    return _verdict(session, result, live, difference, unstable, notes)


def _verdict(
    session: RecordedSession,
    result: ReplayResult,
    live: np.ndarray,
    difference: Difference | None,
    unstable: Sequence[Unstable],
    notes: Sequence[str],
) -> Verdict:
    kinds: Counter[str] = Counter(event.kind for event in session.events)
    return Verdict(
        identical=difference is None and not unstable,
        session=session.path.name,
        layout=result.layout,
        ticks=result.ticks,
        signals=len(live),
        signal_hash=f"{int(live[-1]['chain_hash']) if len(live) else 0:016x}",
        repeated={kind: kinds[kind] for kind in REPEATED if kinds[kind]},
        happened={kind: kinds[kind] for kind in HAPPENED if kinds[kind]},
        difference=difference,
        unstable=tuple(unstable),
        notes=tuple(notes),
        seconds=result.seconds,
    )


def _comparable(session: RecordedSession, replayed: np.ndarray, end_ns: int) -> tuple[np.ndarray, list[str]]:
    """The live signals that the replay had the ticks for, and why these may be fewer than the replay's."""
    live = session.signals
    if end_ns:
        live = live[live["ts_recv_ns"] < end_ns]
    whole = live[live["source_sequence"] < session.report.next_sequence]
    notes = []
    if len(whole) < len(live):
        notes.append(
            f"{len(live) - len(whole)} signals are journalled whose ticks are not: the end was cut short"
        )
    if len(replayed) > len(whole) and not session.report.ended:
        notes.append(
            f"the session did not end in order: its last {len(replayed) - len(whole)} signals are not journalled"
        )
    return whole, notes


def _unstable(session: RecordedSession, config: Config, part: Part) -> tuple[Unstable, ...]:
    """Features that change from one replay to the next: they read a clock, randomness, or memory not theirs."""
    config = msgspec.structs.replace(config, engine=msgspec.structs.replace(config.engine, layout="inline"))
    with tempfile.TemporaryDirectory(prefix="hft-verify-") as folder:
        folders = [Path(folder) / name for name in ("first", "second")]
        for each in folders:
            each.mkdir()
            collect = Collect(("features",), str(each))
            replay(config, [str(session.path)], part=part, collect=collect)
        return tuple(Unstable(name, record) for name, record in unequal_features(*folders))


# ---- why nothing would be proven


def _refusal(reasons: Sequence[str]) -> str:
    listed = "".join(f"\n  {reason}" for reason in reasons)
    return f"nothing can be proven of this session:{listed}\n--force compares all the same"


def _reasons(session: RecordedSession, config: Config) -> list[str]:
    return [
        *_of_code(session),
        *_of_machine(session),
        *_of_files(session, config),
        *_of_journal(session),
        *(str(damage) for damage in session.damages),
    ]


def _of_code(session: RecordedSession) -> list[str]:
    then, now = session.metadata.code, provenance.code()
    if session.metadata.dtypes != dtype_hashes():
        return [f"its records have another layout; use version {then.version}, commit {then.commit[:12]}"]
    if then.kernel_hash != now.kernel_hash:
        told = f"version {then.version}, commit {then.commit[:12] or 'unknown'}"
        return [f"other code made it: {told}; check that one out, or use --force to see whether it matters"]
    return []


def _of_machine(session: RecordedSession) -> list[str]:
    then, now = session.metadata.machine, provenance.machine()
    pairs = [
        ("CPU class", then.cpu_class, now.cpu_class),
        ("C library", then.libc, now.libc),
        *((name, then.libraries.get(name, ""), now.libraries.get(name, "")) for name in NUMERIC_LIBRARIES),
    ]
    return [f"{what} was {old or 'unknown'}, is {new}" for what, old, new in pairs if old != new]


def _of_files(session: RecordedSession, config: Config) -> list[str]:
    """Models and extensions that are not what they were."""
    from hft_engine.indicators.extension import source_hashes

    found = provenance.models(config)
    began = zip(config.inference.paths, session.initial_model_hashes, strict=False)
    reasons = [
        f"model {path} is not the one the session began with (SHA-256 {wanted[:16]}...)"
        for path, wanted in began
        if found[path] != wanted
    ]
    started = [event for event in of_kinds(session.events, "start") if event.role == "indicators"]
    then = started[0].data["extensions"] if started else {}
    now = source_hashes(config.indicators.extensions)
    reasons += [f"extension {spec} was changed since" for spec in then if then[spec] != now.get(spec)]
    return reasons


def _of_journal(session: RecordedSession) -> list[str]:
    report = session.report
    reasons = []
    if report.first_sequence:
        reasons.append(f"its first {report.first_sequence:,} ticks were deleted (persistence.journal_keep_*)")
    for first, end in report.holes[:3]:
        reasons.append(
            f"ticks {first:,} to {end - 1:,} are not in the journal: it was lapped, or its disk was full"
        )
    for first, end in report.signal_holes[:3]:
        reasons.append(f"signals {first:,} to {end - 1:,} are not in the journal")
    for event in of_kinds(session.events, "lap"):
        if event.data.get("out"):
            reasons.append(
                f"at tick {event.data['to']:,} a restarted {event.role} had lost what it knew before"
            )
    return reasons
