"""The inference actor: features ring in, predictions ring out, models swapped between two records."""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import carray

from hft_engine.inference.conflation import Conflation
from hft_engine.inference.errors import ModelError
from hft_engine.inference.in_force import ModelInForce
from hft_engine.inference.kernels import COUNTERS, duty, keep_warm
from hft_engine.inference.lightgbm_text import SMALLEST, parse_model
from hft_engine.inference.model import CompiledModel
from hft_engine.inference.model_set import ModelSet, load_set, make_set, title_of
from hft_engine.inference.recent import RecentModels
from hft_engine.inference.served import Served, ServedSet, write_served
from hft_engine.inference.swaps import Swaps, Told
from hft_engine.inference.tables import build_tables
from hft_engine.records import FEATURE_DTYPE, OUTPUTS_MAX, PREDICTION_DTYPE
from hft_engine.runtime import rundir
from hft_engine.runtime.actor import ActorContext, BaseActor, ControlError, FatalError
from hft_engine.runtime.chain import NativeCall, entry
from hft_engine.runtime.laps import LapRecord
from hft_engine.runtime.messages import SwapModel
from hft_engine.runtime.schedule import Schedule
from hft_engine.runtime.session_events import SessionEvent, of_kinds
from hft_engine.shm import layout
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring
from hft_engine.wiring import wire

_SWAPPED = "model_swapped"


class _Use(NamedTuple):
    """A set and what its kernel is called with. ``arrays``: what the wiring points to must live as long as it."""

    models: ModelSet
    arrays: list[np.ndarray]
    arguments: tuple[Any, ...]


class _Ready(NamedTuple):
    """A model that waits to be switched to; ``use``: of the set with it, as long as ``base`` is the one in use."""

    path: Path
    model: CompiledModel
    base: ModelSet
    use: _Use


class InferenceActor(BaseActor):
    """Publishes one prediction a feature record, of all models; without a model, the features alone."""

    role = "inference"
    counters = COUNTERS
    histograms = ("inference",)

    def __init__(self) -> None:
        self._native: NativeCall | None = None

    def on_start(self, ctx: ActorContext) -> None:
        """Loads the configured models. Raises FatalError where one cannot be used."""
        self._ctx = ctx
        self._features, self._predictions = ctx.ring("features"), ctx.ring("predictions")
        self._deadline_ns = _deadline_ns(ctx, self._predictions)
        self._in_force = ModelInForce(ctx)
        self._recent = RecentModels(ctx.feature_schema)
        self._since: dict[str, int] = {}  # model -> tick from which on it is in use
        self._schedule = Schedule()
        self._schedule.skip_missed(ctx, "features")
        self._skip_done()
        self._use(self._made_use(self._first_models()))
        self._repeat_swaps()
        self._swaps = Swaps(self._prepare, self._switch, self._settle, self._count_refusal, ctx.log)
        self._tell_views()
        reader = ctx.reader("features")
        self._laps = LapRecord(ctx, self._features, reader)
        above = 0 if self._features.head[layout.W_GATING] else ctx.config.inference.conflate_above
        self._conflation = Conflation(ctx, self._features, reader, self._schedule, above)

    def on_stop(self) -> None:
        self._swaps.close()

    def do_work(self) -> int:
        done = self.native().run()
        self.tend()
        return abs(done)  # ATTENTION: what stopped the kernel is dealt with, so there is more

    def glance(self) -> None:
        self._laps.tend()

    def tend(self) -> None:
        self._laps.tend()
        self._swaps.tend()
        if self._schedule.asked:
            late = self._schedule.tend(self._ctx, self._features.name)
            self._ctx.counter("late_dropped").add(late)
        if (left_out := self._conflation.tend()) > 0:
            self._ctx.counter("conflated").add(left_out)

    def native(self) -> NativeCall:
        if self._native is None:
            call = NativeCall(native_entry().address, *self._in_use.arguments)
            self._native = call._replace(touch=touch_entry().address)
        return self._native

    def on_control(self, message: object) -> object:
        """``SwapModel``: the reply, when the switch is made, names model and set in use from which tick on."""
        if isinstance(message, SwapModel):
            return self._swaps.ask(Path(message.path))
        return super().on_control(message)

    def _skip_done(self) -> None:
        """After a restart: the predecessor may have died between publishing and letting go the input."""
        features, predictions, reader = self._features, self._predictions, self._ctx.reader("features")
        if predictions.published == 0:
            return
        newest = predictions.record(predictions.published - 1)["source_sequence"]
        passed = np.zeros(1, FEATURE_DTYPE)
        while features.lag(reader) > 0:
            oldest = features.record(features.position(reader))["source_sequence"]
            if oldest > newest:
                return
            features.poll(reader, passed, 1)

    def _first_models(self) -> ModelSet:
        config = self._ctx.config.inference
        paths = self._in_force.paths() or [Path(path) for path in config.paths]
        if not paths:
            text = "inference runs without a model (inference.model): features pass through unchanged"
            self._ctx.event("no_model", text)
            return make_set([])
        try:
            models = load_set(config, self._ctx.feature_schema, paths)
        except ModelError as error:
            raise FatalError(str(error)) from error
        self._in_force.say(paths, models)
        self._ctx.event("model_loaded", models.title())
        return models

    # ---- swaps

    def _prepare(self, path: Path) -> _Ready:
        """On a thread beside the ticks."""
        model = self._recent.load(path)
        base = self._models
        return _Ready(path, model, base, self._made_use(base.with_model(model)))

    def _switch(self, ready: _Ready) -> Told:
        use = ready.use if ready.base is self._models else self._with_model(ready.model)
        models = use.models
        tick, meta = self._next_tick(), ready.model.metadata
        told: Told = {"model": meta.name, "version": meta.version, "sha256": meta.sha256}
        about = {**told, "path": str(ready.path), "model_id": models.model_id}
        about |= {"models": models.about(), "outputs": list(models.names)}
        if not self._ctx.record("model_swap", tick, about, sync=False):
            raise ControlError("the swap cannot be recorded, so it was not made; is the disk full?")
        self._schedule.change_at(tick, lambda: self._take(ready.model, tick, use))
        self._schedule.come_to(tick)
        self._ctx.counter("swaps").add()
        self._ctx.emit(_SWAPPED, f"from tick {tick} on: {title_of(ready.model)}")
        return {**told, "model_id": models.model_id, "sequence": tick}

    def _settle(self, ready: _Ready, told: Told) -> None:
        """On a thread beside the ticks, before the reply: until then the file must be where it was read."""
        self._ctx.log.info("%s: from tick %d on: %s", _SWAPPED, told["sequence"], title_of(ready.model))
        with contextlib.suppress(OSError):  # a full disk: the session says where it came from
            self._in_force.keep(ready.path, ready.model)
        self._ctx.sync_recorded()
        self._tell_views()

    def _count_refusal(self) -> None:
        self._ctx.counter("swaps_refused").add()

    def _take(self, model: CompiledModel, tick: int, use: _Use | None = None) -> None:
        self._since[model.metadata.name] = tick
        self._use(use or self._with_model(model))

    def _with_model(self, model: CompiledModel) -> _Use:
        return self._made_use(self._models.with_model(model))

    def _repeat_swaps(self) -> None:
        """What was swapped in an earlier life, or in the session that is replayed; each loaded when it is due.

        Of those that are past by now only the last of each model counts.
        """
        events = of_kinds(self._ctx.recorded(), "model_swap")
        done = self._done_tick()
        last = {event.data["model"]: event for event in events if event.sequence <= done}
        for event in events:
            if event.sequence > done or event is last[event.data["model"]]:
                self._find(event)
                self._schedule.change_at(event.sequence, self._repeated(event))
        self._schedule.come_to(done)

    def _repeated(self, event: SessionEvent) -> Callable[[], None]:
        return lambda: self._take(self._recorded_model(event), event.sequence)

    def _done_tick(self) -> int:
        """Records of ticks below it are predicted."""
        published = self._predictions.published
        if published == 0:
            return 0
        return int(self._predictions.record(published - 1)["source_sequence"]) + 1

    def _next_tick(self) -> int:
        """As ``_done_tick``, but where none is predicted yet the tick of the first record to come, if it is known."""
        predictions, features = self._predictions, self._features
        if predictions.published > predictions.start:
            return self._done_tick()
        position = features.position(self._ctx.reader("features"))
        if features.published > position:
            return int(features.record(position)["source_sequence"])
        resumed = of_kinds(self._ctx.recorded("engine"), "resume")
        return resumed[-1].sequence if resumed else 0

    def _find(self, event: SessionEvent) -> Path:
        """Where the model of a swap is: the copy that was kept of it, else the file it came from, if it is still that
        one. Raises FatalError.
        """
        sha256, path = event.data["sha256"], Path(event.data["path"])
        found = self._in_force.find(sha256, path)
        if found is None:
            places = ", ".join(map(str, self._in_force.places(sha256, path)))
            raise FatalError(
                f"the session swapped to model {event.data['model']} {event.data['version']} at tick {event.sequence}, "
                f"which is not to be had: none of {places} has SHA-256 {sha256[:16]}...; put it back with its metadata"
            )
        return found

    def _recorded_model(self, event: SessionEvent) -> CompiledModel:
        try:
            return self._recent.load(self._find(event))
        except ModelError as error:
            raise FatalError(str(error)) from error

    # ---- what is in use

    def _made_use(self, models: ModelSet) -> _Use:
        """On any thread: it changes nothing."""
        latencies, counters = self._ctx.histogram("inference"), self._ctx.counter_array()
        above = self._ctx.config.inference.out_of_distribution_above
        arrays = _arrays(
            self._features, self._predictions, models, above, latencies, counters, self._schedule.gate
        )
        return _Use(models, arrays, (wire(arrays), self._ctx.reader("features"), self._deadline_ns))

    def _use(self, use: _Use) -> None:
        self._in_use = use
        self._native = None

    @property
    def _models(self) -> ModelSet:
        return self._in_use.models

    def _tell_views(self) -> None:
        """Nobody looks at a run without a directory. A full file system keeps no engine from running."""
        if not (self._ctx.run_dir / rundir.LOCK).exists():
            return
        members = [
            Served(
                each["model"],
                each["version"],
                each["sha256"],
                list(member.names),
                self._since.get(each["model"], 0),
            )
            for each, member in zip(self._models.about(), self._models.members, strict=True)
        ]
        with contextlib.suppress(OSError):
            served = ServedSet(self._models.model_id, members, list(self._models.names))
            write_served(self._ctx.run_dir, served)


def _arrays(
    features: Ring,
    predictions: Ring,
    models: ModelSet,
    strange_above: float,
    latencies: np.ndarray,
    counters: np.ndarray,
    gate: np.ndarray,
) -> list[np.ndarray]:
    """In the order of ``kernels.WIRES``."""
    rings = [features.head, features.slots, predictions.head, predictions.slots, predictions.bells]
    tables = models.tables
    model = [tables.header, tables.columns, tables.nodes, tables.bits, tables.points, tables.row]
    strange = [models.limits, np.array([strange_above])]
    return [*rings, *model, *strange, latencies, counters, np.zeros(OUTPUTS_MAX), gate]


def _call(wiring: Any, words: int, reader: int, deadline_ns: int) -> int:
    return duty(carray(wiring, (words,)), reader, deadline_ns)


@functools.cache
def native_entry() -> Any:
    """The stage's C function, for ``runtime.chain``."""
    return entry(_call)


def _touch(wiring: Any, words: int, reader: int, deadline_ns: int) -> int:
    keep_warm(carray(wiring, (words,)))
    return 0


@functools.cache
def touch_entry() -> Any:
    """The C function that ``runtime.chain`` calls in idleness."""
    return entry(_touch)


def _deadline_ns(ctx: ActorContext, predictions: Ring) -> int:
    """None on a gating ring: a replay's result must not depend on how fast the machine is."""
    if predictions.head[layout.W_GATING]:
        return 0
    return ctx.config.inference.deadline_ms * 1_000_000


def warm() -> None:
    """Compiles the stage's kernel and those that read a model, or loads them from the cache."""
    build_tables(parse_model(SMALLEST, "the smallest model"), (0,))
    features = Ring.private("features", FEATURE_DTYPE, 8, ("inference",))
    predictions = Ring.private("predictions", PREDICTION_DTYPE, 8)
    counters = np.zeros(len(COUNTERS), np.int64)
    arrays = _arrays(features, predictions, make_set([]), 0.0, new_counts(), counters, Schedule().gate)
    NativeCall(native_entry().address, wire(arrays), 0).run()
    touch_entry()
