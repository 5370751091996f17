"""The inference actor: features ring in, predictions ring out, the model swapped between two records."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from numba import carray

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
from hft_engine.shm import layout
from hft_engine.shm.histogram import new_counts
from hft_engine.shm.ring import Ring
from hft_engine.shm.wiring import wire


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
        self._skip_done()
        self._use(self._first_tables())
        self._laps = LapRecord(ctx, self._features, ctx.reader("features"))

    def do_work(self) -> int:
        done = int(duty(*self._arguments))
        self._laps.tend()
        return done

    def tend(self) -> None:
        self._laps.tend()

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
        self._in_force.say(path, model)
        self._use(model.tables)
        self._ctx.counter("swaps").add()
        self._ctx.event("model_swapped", _title(model))
        return {"model": model.metadata.name, "version": model.metadata.version, "model_id": model.model_id}

    def _use(self, tables: Tables) -> None:
        latencies, counters = self._ctx.histogram("inference"), self._ctx.counter_array()
        self._arrays = _arrays(self._features, self._predictions, tables, latencies, counters)
        self._native = None
        self._arguments = (wire(self._arrays), self._ctx.reader("features"), self._deadline_ns)


def _arrays(
    features: Ring,
    predictions: Ring,
    tables: Tables,
    latencies: np.ndarray,
    counters: np.ndarray,
) -> list[np.ndarray]:
    """In the order of ``kernels.WIRES``."""
    rings = [features.head, features.slots, predictions.head, predictions.slots, predictions.bells]
    model = [tables.header, tables.columns, tables.nodes, tables.bits, tables.row]
    return [*rings, *model, latencies, counters, np.zeros(OUTPUTS_MAX)]


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
    arrays = _arrays(features, predictions, empty_tables(), new_counts(), counters)
    duty(wire(arrays), 0, 0)
    native_entry()
    touch_entry()
