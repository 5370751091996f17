"""The inference actor: features ring in, predictions ring out, the model swapped between two records."""

import contextlib
import functools
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray

from hft_engine.inference.conflation import Conflation
from hft_engine.inference.errors import ModelError
from hft_engine.inference.in_force import ModelInForce
from hft_engine.inference.kernels import COUNTERS, duty, keep_warm
from hft_engine.inference.model import CompiledModel, load_model
from hft_engine.inference.tables import Tables, empty_tables
from hft_engine.records import FEATURE_DTYPE, OUTPUTS_MAX, PREDICTION_DTYPE
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


class InferenceActor(BaseActor):
    """Publishes one prediction a feature record; without a model, the features alone."""

    role = "inference"
    counters = COUNTERS
    histograms = ("inference",)

    def __init__(self) -> None:
        self._arguments: tuple[Any, ...] = ()
        self._native: NativeCall | None = None
        self._arrays: list[np.ndarray] = []  # what the wiring points to must live as long as it

    def on_start(self, ctx: ActorContext) -> None:
        """Loads the configured model. Raises FatalError where it cannot be used."""
        self._ctx = ctx
        self._features, self._predictions = ctx.ring("features"), ctx.ring("predictions")
        self._deadline_ns = _deadline_ns(ctx, self._predictions)
        self._in_force = ModelInForce(ctx)
        self._schedule = Schedule()
        self._schedule.skip_missed(ctx, "features")
        self._skip_done()
        self._use(self._first_tables())
        for event in of_kinds(ctx.recorded(), "model_swap"):
            self._swap_at(event.sequence, self._recorded_model(event))
        reader = ctx.reader("features")
        self._laps = LapRecord(ctx, self._features, reader)
        above = 0 if self._features.head[layout.W_GATING] else ctx.config.inference.conflate_above
        self._conflation = Conflation(ctx, self._features, reader, self._schedule, above)

    def do_work(self) -> int:
        done = int(duty(*self._arguments))
        self.tend()
        return abs(done)  # ATTENTION: what stopped the kernel is dealt with, so there is more

    def tend(self) -> None:
        self._laps.tend()
        if self._schedule.asked:
            late = self._schedule.tend(self._ctx, self._features.name)
            self._ctx.counter("late_dropped").add(late)
        if (left_out := self._conflation.tend()) > 0:
            self._ctx.counter("conflated").add(left_out)

    def native(self) -> NativeCall:
        if self._native is None:
            call = NativeCall(native_entry().address, *self._arguments)
            self._native = call._replace(touch=touch_entry().address)
        return self._native

    def on_control(self, message: object) -> object:
        """``SwapModel``: the reply names the model in use from the next record on."""
        if isinstance(message, SwapModel):
            return self._swap(Path(message.path))
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

    def _first_tables(self) -> Tables:
        configured = self._ctx.config.inference.model
        path = self._in_force.path() or (Path(configured) if configured else None)
        if path is None:
            text = "inference runs without a model (inference.model): features pass through unchanged"
            self._ctx.event("no_model", text)
            return empty_tables()
        try:
            model = load_model(path, self._ctx.feature_schema)
        except ModelError as error:
            raise FatalError(str(error)) from error
        self._in_force.say(path, model)
        self._ctx.event("model_loaded", _title(model))
        return model.tables

    def _swap(self, path: Path) -> dict[str, object]:
        try:
            model = load_model(path, self._ctx.feature_schema)
        except ModelError as error:
            self._ctx.counter("swaps_refused").add()
            raise ControlError(f"{error} (the model in use stays)") from error
        with contextlib.suppress(OSError):  # a full disk: the record below says where it came from
            self._in_force.keep(path, model)
        tick = self._next_tick()
        told = {
            "model": model.metadata.name,
            "version": model.metadata.version,
            "sha256": model.metadata.sha256,
        }
        if not self._ctx.record("model_swap", tick, {**told, "path": str(path)}):
            raise ControlError("the swap cannot be recorded, so it was not made; is the disk full?")
        self._swap_at(tick, model)
        self._ctx.counter("swaps").add()
        self._ctx.event("model_swapped", f"from tick {tick} on: {_title(model)}")
        return {**told, "model_id": model.model_id, "sequence": tick}

    def _swap_at(self, tick: int, model: CompiledModel) -> None:
        self._schedule.change_at(tick, lambda: self._use(model.tables))

    def _next_tick(self) -> int:
        """Records of ticks below it are predicted, records of later ones are not."""
        predictions, features = self._predictions, self._features
        if predictions.published > predictions.start:
            return int(predictions.record(predictions.published - 1)["source_sequence"]) + 1
        position = features.position(self._ctx.reader("features"))
        if features.published > position:
            return int(features.record(position)["source_sequence"])
        resumed = of_kinds(self._ctx.recorded("engine"), "resume")
        return resumed[-1].sequence if resumed else 0

    def _recorded_model(self, event: SessionEvent) -> CompiledModel:
        """The model of a swap: the copy that was kept of it, else the file it came from, if it is still that one."""
        failures = []
        for path in self._in_force.places(event.data["sha256"], Path(event.data["path"])):
            try:
                model = load_model(path, self._ctx.feature_schema)
            except ModelError as error:
                failures.append(str(error))
                continue
            if model.metadata.sha256 == event.data["sha256"]:
                return model
            failures.append(f"{path} is another model by now")
        raise FatalError(
            f"the session swapped to model {event.data['model']} {event.data['version']} at tick {event.sequence}, "
            f"which is not to be had: {'; '.join(failures)}"
        )

    def _use(self, tables: Tables) -> None:
        latencies, counters = self._ctx.histogram("inference"), self._ctx.counter_array()
        self._arrays = _arrays(
            self._features, self._predictions, tables, latencies, counters, self._schedule.gate
        )
        self._native = None
        self._arguments = (wire(self._arrays), self._ctx.reader("features"), self._deadline_ns)


def _arrays(
    features: Ring,
    predictions: Ring,
    tables: Tables,
    latencies: np.ndarray,
    counters: np.ndarray,
    gate: np.ndarray,
) -> list[np.ndarray]:
    """In the order of ``kernels.WIRES``."""
    rings = [features.head, features.slots, predictions.head, predictions.slots, predictions.bells]
    model = [tables.header, tables.columns, tables.nodes, tables.bits, tables.points, tables.row]
    return [*rings, *model, latencies, counters, np.zeros(OUTPUTS_MAX), gate]


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


def _title(model: CompiledModel) -> str:
    meta = model.metadata
    return f"model {meta.name} {meta.version}, {len(model.ensemble.trees)} trees, SHA-256 {meta.sha256[:16]}"


def warm() -> None:
    """Compiles the stage's kernel, or loads it from the cache."""
    features = Ring.private("features", FEATURE_DTYPE, 8, ("inference",))
    predictions = Ring.private("predictions", PREDICTION_DTYPE, 8)
    counters = np.zeros(len(COUNTERS), np.int64)
    arrays = _arrays(features, predictions, empty_tables(), new_counts(), counters, Schedule().gate)
    duty(wire(arrays), 0, 0)
    native_entry()
    touch_entry()
