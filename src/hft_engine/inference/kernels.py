"""The inference stage: feature records in, prediction records out, one for one and in order."""

import numpy as np
from numba import njit

from hft_engine.inference.trees import evaluate
from hft_engine.records import FEATURES_MAX, OUTPUTS_MAX
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import record
from hft_engine.shm.ring import advance, claim, poll_into, publish, room

# Order of ``counters``; the actor declares them by these names.
COUNTERS = ("predictions", "passed_through", "late_dropped", "swaps", "swaps_refused")
_PREDICTIONS, _PASSED_THROUGH, _LATE_DROPPED = 0, 1, 2
DUTY_NS_MAX = 500_000  # a duty cycle ends here even inside a batch: a huge model must not delay the heartbeat


@njit(nogil=True, cache=True)
def duty(  # type: ignore[no-untyped-def]
    in_head,
    in_slots,
    reader,
    out_head,
    out_slots,
    bells,
    scratch,
    header,
    columns,
    nodes,
    bits,
    row,
    histogram,
    counters,
    deadline_ns,
    limit,
):
    """Handles up to ``limit`` feature records; returns how many.

    ``in_slots``, ``scratch`` FEATURE_DTYPE, ``out_slots`` PREDICTION_DTYPE, ``header`` to ``row`` the tables
    of a model (``model_id`` -1: records are passed through). ``deadline_ns`` after ``ts_mono_ns`` a record is
    dropped and counted, 0 = never. Each record is published, and its input let go, as soon as it is done.
    """
    count = poll_into(in_head, in_slots, reader, scratch, min(limit, room(out_head)))
    started: int = mono_ns()  # type: ignore[call-arg]
    done = 0
    while done < count:
        features = scratch[done]
        deadline = features.ts_mono_ns + deadline_ns if deadline_ns > 0 else 0
        now = mono_ns()
        if deadline == 0 or now <= deadline:
            sequence = claim(out_head, 1)
            prediction = out_slots[sequence & (len(out_slots) - 1)]
            _copy_features(features, prediction)
            prediction.sequence = sequence
            prediction.ts_deadline_ns = deadline
            _predict(header, columns, nodes, bits, row, features, prediction)
            now = mono_ns()
            prediction.ts_publish_ns = now
        if deadline == 0 or now <= deadline:
            publish(out_head, bells, sequence + 1)
            record(histogram, now - features.ts_publish_ns)
            counters[_PREDICTIONS if header[0].model_id >= 0 else _PASSED_THROUGH] += 1
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
    outputs = prediction.outputs
    for k in range(OUTPUTS_MAX):
        outputs[k] = np.nan
    prediction.model_id = header[0].model_id
    prediction.output_count = 0
    if header[0].model_id >= 0:
        evaluate(header, columns, nodes, bits, row, features.values, outputs)
        prediction.output_count = np.int64(header[0].output_count)
