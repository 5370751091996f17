"""The inference stage: feature records in, prediction records out, one for one and in order."""

import numpy as np
from numba import njit

from hft_engine.inference.tables import COLUMN_DTYPE, HEADER_DTYPE, NODE_DTYPE
from hft_engine.inference.trees import any_missing, evaluate
from hft_engine.records import FEATURE_DTYPE, FEATURES_MAX, OUTPUTS_MAX, PREDICTION_DTYPE
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import record
from hft_engine.shm.ring import advance, claim, poll_into, publish, room
from hft_engine.shm.wiring import wired

# Order of ``counters``; the actor declares them by these names.
COUNTERS = ("predictions", "passed_through", "late_dropped", "features_missing", "swaps", "swaps_refused")
_PREDICTIONS, _PASSED_THROUGH, _LATE_DROPPED, _FEATURES_MISSING = range(4)
DUTY_NS_MAX = 500_000  # a duty cycle ends here even inside a batch: a huge model must not delay the heartbeat


# Order of the arrays that are wired into ``duty``.
WIRES = (
    "features_head",
    "features",  # FEATURE_DTYPE
    "predictions_head",
    "predictions",  # PREDICTION_DTYPE
    "bells",
    "scratch",  # FEATURE_DTYPE: as many records as may be taken up at once
    "header",  # from here to ``row``: the tables of a model
    "columns",
    "nodes",
    "bits",
    "row",
    "histogram",
    "counters",  # in the order of COUNTERS
)
_IN_HEAD, _IN, _OUT_HEAD, _OUT, _BELLS, _SCRATCH = range(6)
_HEADER, _COLUMNS, _NODES, _BITS, _ROW, _HISTOGRAM, _COUNTERS = range(6, len(WIRES))


@njit(nogil=True, cache=True)
def duty(wiring, reader, deadline_ns):  # type: ignore[no-untyped-def]
    """Handles what feature records there are, at most as many as ``scratch`` holds; returns how many.

    ``wiring``: the arrays of WIRES. Without a model (``model_id`` -1) records are passed through. ``deadline_ns``
    after ``ts_mono_ns`` a record is dropped and counted, 0 = never. Each record is published, and its input let
    go, as soon as it is done.
    """
    in_head, out_head = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _OUT_HEAD, np.int64)
    scratch = wired(wiring, _SCRATCH, FEATURE_DTYPE)
    limit = min(len(scratch), room(out_head, len(scratch)))
    count = poll_into(in_head, wired(wiring, _IN, FEATURE_DTYPE), reader, scratch, limit)
    if count == 0:
        return 0
    out_slots, bells = wired(wiring, _OUT, PREDICTION_DTYPE), wired(wiring, _BELLS, np.int64)
    header, columns = wired(wiring, _HEADER, HEADER_DTYPE), wired(wiring, _COLUMNS, COLUMN_DTYPE)
    nodes, bits = wired(wiring, _NODES, NODE_DTYPE), wired(wiring, _BITS, np.uint32)
    row, counters = wired(wiring, _ROW, np.float64), wired(wiring, _COUNTERS, np.int64)
    histogram = wired(wiring, _HISTOGRAM, np.int64)
    started: int = mono_ns()
    done = 0
    while done < count:
        features = scratch[done]
        deadline = features.ts_mono_ns + deadline_ns if deadline_ns > 0 else 0
        now = mono_ns() if deadline > 0 else 0
        if deadline == 0 or now <= deadline:
            sequence = claim(out_head, out_slots, 1)
            prediction = out_slots[sequence & (len(out_slots) - 1)]
            _copy_features(features, prediction)
            prediction.ts_deadline_ns = deadline
            outcome = _predict(header, columns, nodes, bits, row, features, prediction)
            now = mono_ns()
            prediction.ts_publish_ns = now
        if deadline == 0 or now <= deadline:
            publish(out_head, out_slots, bells, sequence + 1)
            record(histogram, now - features.ts_publish_ns)
            counters[outcome] += 1
        else:
            counters[_LATE_DROPPED] += 1
        advance(in_head, reader, 1)
        done += 1
        if now - started > DUTY_NS_MAX:
            break
    return done


@njit(nogil=True, cache=True)
def _copy_features(features, prediction):  # type: ignore[no-untyped-def]
    prediction.source_sequence = features.source_sequence
    prediction.ts_venue_ns = features.ts_venue_ns
    prediction.ts_recv_ns = features.ts_recv_ns
    prediction.ts_mono_ns = features.ts_mono_ns
    prediction.ts_tick_ns = features.ts_tick_ns
    prediction.ts_feature_ns = features.ts_publish_ns
    prediction.instrument_id = features.instrument_id
    prediction.kind = features.kind
    prediction.flags = features.flags
    prediction.venue_id = features.venue_id
    prediction.price = features.price
    source, target = features.values, prediction.values
    for i in range(FEATURES_MAX):
        target[i] = source[i]


@njit(nogil=True, cache=True)
def _predict(header, columns, nodes, bits, row, features, prediction):  # type: ignore[no-untyped-def]
    """Fills in the outputs, NaN where there are none; returns the counter to raise."""
    outputs = prediction.outputs
    for k in range(OUTPUTS_MAX):
        outputs[k] = np.nan
    model = header[0]
    prediction.model_id = model.model_id
    prediction.output_count = 0
    if model.model_id < 0:
        return _PASSED_THROUGH
    prediction.output_count = np.int64(model.output_count)
    if model.needs_all and any_missing(columns, features.values):
        return _FEATURES_MISSING
    evaluate(header, columns, nodes, bits, row, features.values, outputs)
    return _PREDICTIONS
