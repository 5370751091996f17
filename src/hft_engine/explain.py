"""Why a signal came: the ticks before it, the features, the model, the rule; and whether it comes again, byte for byte.

Features are not journalled: they are computed again from the ticks, through the same actors, for as many signals as
wanted in one pass.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from hft_engine.comparison import field_of, same_bytes
from hft_engine.config.outputs import output_names
from hft_engine.config.schema import Config
from hft_engine.engine import feature_schema
from hft_engine.persistence.collector import collected_predictions, collected_signals
from hft_engine.persistence.sinks.journal import config_hash
from hft_engine.recorded_session import RecordedSession, SessionError
from hft_engine.records import HOPS, TICK_DTYPE, TickKind, signal_hops
from hft_engine.replay import Collect, Part, replay
from hft_engine.runtime.session_events import of_kinds

_COMMON = ("sequence", "ts_venue_ns", "ts_recv_ns", "venue_sequence")
_PAYLOAD = {
    TickKind.TRADE: ("price", "size", "trade_id", "exchange"),
    TickKind.QUOTE: ("bid", "ask", "bid_size", "ask_size"),
}


class Recomputed(msgspec.Struct, frozen=True):
    """A signal that happened and what a replay made of its tick; None: no such record came again."""

    live: Any  # SIGNAL_DTYPE scalar
    signal: Any
    prediction: Any  # PREDICTION_DTYPE scalar

    @property
    def same(self) -> bool:
        return self.signal is not None and same_bytes(self.live, self.signal)

    @property
    def difference(self) -> str:
        """Empty where it is the same."""
        if self.same:
            return ""
        if self.signal is None:
            return "the replay has no such signal"
        name, live, again = field_of(self.live, self.signal)
        return f"{name} was {live}, is {again}"


class Explanation(msgspec.Struct, frozen=True):
    """``ticks``: [first, last] sequences that may have moved it; ``since``: the instrument's signal before it was at
    this tick, -1 = none. ``features``: of the tick, in the order of the feature set. Times in ns, UTC.
    """

    session: str
    sequence: int
    symbol: str
    side: str
    price: float
    strength: float
    ts_venue_ns: int
    ts_expiry_ns: int
    ticks: tuple[int, int]
    since: int
    tick: dict[str, Any]
    features: dict[str, float]
    outputs: dict[str, float]
    out_of_distribution: float  # share of the features that the models use that lies outside their training
    models: tuple[str, ...]  # every model of the set that ``model_id`` stands for
    model_id: int
    config_hash: str
    changes: dict[str, Any]
    rule: dict[str, Any]
    value: float
    probability: float
    hops_ns: dict[str, int]
    total_ns: int
    chain_hash: str
    recomputed: str  # "" as long as nobody compared; "same bytes", or what differs


def recompute(
    session: RecordedSession,
    sequences: Sequence[int],
    progress: Callable[[int], None] = lambda permille: None,
) -> list[Recomputed]:
    """The signals of these sequences, computed again in one replay. Raises SessionError for one that is not there."""
    lives = [_signal(session, sequence) for sequence in sequences]
    ticks = sorted({int(live["source_sequence"]) for live in lives})
    if not ticks:
        return []
    with tempfile.TemporaryDirectory(prefix="hft-explain-") as folder:
        collect = Collect(("signals", "predictions"), folder, tuple(ticks))
        part = Part(end_tick=ticks[-1] + 1)
        replay(
            session.config(("engine.layout=inline",)),
            [str(session.path)],
            progress=progress,
            part=part,
            collect=collect,
        )
        signals = {int(row["sequence"]): row for row in collected_signals(Path(folder))}
        predictions = {int(row["source_sequence"]): row for row in collected_predictions(Path(folder))}
    return [
        Recomputed(live, signals.get(int(live["sequence"])), predictions.get(int(live["source_sequence"])))
        for live in lives
    ]


def explain(
    session: RecordedSession,
    sequence: int,
    compare: bool,
    progress: Callable[[int], None] = lambda permille: None,
) -> Explanation:
    """All about one signal. ``compare``: also whether it comes again. Raises what ``recompute`` raises."""
    (again,) = recompute(session, [sequence], progress)
    live = again.live
    source = int(live["source_sequence"])
    config = session.config_at(source)
    hops = signal_hops(live.reshape(1))[0]
    return Explanation(
        session=session.path.name,
        sequence=sequence,
        symbol=session.symbol(int(live["instrument_id"])),
        side="buy" if live["side"] > 0 else "sell",
        price=float(live["price"]),
        strength=float(live["strength"]),
        ts_venue_ns=int(live["ts_venue_ns"]),
        ts_expiry_ns=int(live["ts_expiry_ns"]),
        ticks=(session.report.first_sequence, source),
        since=_since(session, live),
        tick=_tick(session.tick(source)),
        features=_features(config, again.prediction),
        outputs=_outputs(session, config, again.prediction),
        out_of_distribution=0.0 if again.prediction is None else float(again.prediction["strangeness"]),
        models=_models(session, source),
        model_id=int(live["model_id"]),
        config_hash=config_hash(config),
        changes=_changes(session, source),
        rule=msgspec.to_builtins(config.signals.rules[int(live["reason"])]),
        value=float(live["value"]),
        probability=float(live["probability"]),
        hops_ns=dict(zip(HOPS, hops.tolist(), strict=True)),
        total_ns=int(live["ts_publish_ns"] - live["ts_mono_ns"]),
        chain_hash=f"{int(live['chain_hash']):016x}",
        recomputed=(again.difference or "same bytes") if compare else "",
    )


def _signal(session: RecordedSession, sequence: int) -> Any:
    rows = session.signals
    at = int(np.searchsorted(rows["sequence"], sequence))
    if at == len(rows) or int(rows["sequence"][at]) != sequence:
        there = f"{int(rows['sequence'][0])} to {int(rows['sequence'][-1])}" if len(rows) else "none"
        raise SessionError(
            f"session {session.path.name} has no signal {sequence} in its journal; it has {there}"
        )
    return rows[at]


def _since(session: RecordedSession, live: Any) -> int:
    rows = session.signals
    before = rows[(rows["instrument_id"] == live["instrument_id"]) & (rows["sequence"] < live["sequence"])]
    return int(before[-1]["source_sequence"]) if len(before) else -1


def _tick(tick: np.ndarray | None) -> dict[str, Any]:
    if tick is None:
        return {}
    kind = TickKind(int(tick["kind"][0]))
    assert TICK_DTYPE.names is not None
    fields = (*_COMMON, *_PAYLOAD.get(kind, ("price",)))
    return {"kind": kind.name.lower(), **{name: tick[name][0].item() for name in fields}}


def _features(config: Config, prediction: Any) -> dict[str, float]:
    if prediction is None:
        return {}
    names = feature_schema(config).names
    return dict(zip(names, prediction["values"][: len(names)].tolist(), strict=True))


def _outputs(session: RecordedSession, config: Config, prediction: Any) -> dict[str, float]:
    if prediction is None:
        return {}
    tick, count = int(prediction["source_sequence"]), int(prediction["output_count"])
    swaps = [event for event in of_kinds(session.events, "model_swap") if event.sequence <= tick]
    names = output_names(config.inference)
    names = swaps[-1].data.get("outputs", names) if swaps else names
    return dict(zip(names, prediction["outputs"][:count].tolist(), strict=False))


def _models(session: RecordedSession, tick: int) -> tuple[str, ...]:
    """Each with the tick from which on it predicted."""
    since: dict[tuple[str, str], int] = {}
    for models in session.model_sets:
        if models.since <= tick:
            members = [(each["model"], each["sha256"]) for each in models.members]
            since = {member: since.get(member, models.since) for member in members}
    in_force = session.models_at(tick)
    if in_force is None:  # nobody wrote down more than the files' hashes
        return tuple(f"SHA-256 {sha256[:16]}" for sha256 in session.initial_model_hashes)
    return tuple(
        f"{each['model']} {each['version']}, SHA-256 {each['sha256'][:16]}, since tick "
        f"{since[each['model'], each['sha256']]}"
        for each in in_force.members
    )


def _changes(session: RecordedSession, tick: int) -> dict[str, Any]:
    """Keys that were changed while the session ran, with the values in force."""
    changes: dict[str, Any] = {}
    for event in of_kinds(session.events, "config_change"):
        if event.sequence <= tick:
            changes |= event.data["changes"]
    return changes
