"""The inference stage: feature records in, prediction records out, one for one and in order."""

from typing import Any

import numpy as np

from hft_engine.inference.strange import strangeness
from hft_engine.inference.tables import COLUMN_DTYPE, HEADER_DTYPE, NODE_DTYPE
from hft_engine.inference.trees import evaluate_known, missing_features, touch
from hft_engine.kernel import kernel
from hft_engine.records import FEATURE_DTYPE, OUTPUTS_MAX, PREDICTION_DTYPE
from hft_engine.runtime.chain import ATTENTION
from hft_engine.runtime.schedule import SKIPPING, is_due, is_piled, too_late
from hft_engine.shm.clock import mono_ns
from hft_engine.shm.histogram import record
from hft_engine.shm.ring import advance, claim, holds, publish, room, seek, still_holds, waiting
from hft_engine.wiring import wired
from hft_engine.words import copy_values

# Order of ``counters``; the actor declares them by these names.
COUNTERS = (
    "predictions",
    "passed_through",
    "late_dropped",
    "features_missing",
    "swaps",
    "swaps_refused",
    "conflated",
    "out_of_distribution",
)
_PREDICTIONS, _PASSED_THROUGH, _LATE_DROPPED, _FEATURES_MISSING = range(4)
_OUT_OF_DISTRIBUTION = COUNTERS.index("out_of_distribution")
RECORDS_MAX = 128  # a duty cycle handles at most so many records ...
DUTY_NS_MAX = 500_000  # ... and ends here even before that: a huge model must not delay the heartbeat
PASSED_OVER_MAX = 8_192  # of a stretch that is skipped: nothing is done with them
GROUP_MAX = 16  # records passed through that become visible at once, as many as the indicators let out

# Order of the arrays that are wired into ``duty``.
WIRES = (
    "features_head",
    "features",  # FEATURE_DTYPE
    "predictions_head",
    "predictions",  # PREDICTION_DTYPE
    "bells",
    "header",  # from here to ``row``: the tables of the set of models
    "columns",
    "nodes",
    "bits",
    "points",
    "row",
    "limits",  # of ``inference.strange``
    "strange_above",  # float64[1]: a greater share of features outside is counted
    "histogram",
    "counters",  # in the order of COUNTERS
    "spare",  # float64[OUTPUTS_MAX]: outputs that nobody reads
    "gate",  # of ``runtime.schedule``
)
_IN_HEAD, _IN, _OUT_HEAD, _OUT, _BELLS = range(5)
_HEADER, _COLUMNS, _NODES, _BITS, _POINTS, _ROW, _LIMITS, _STRANGE_ABOVE = range(5, 13)
_HISTOGRAM, _COUNTERS, _SPARE, _GATE = range(13, len(WIRES))


@kernel()
def duty(wiring, reader, deadline_ns):  # type: ignore[no-untyped-def]
    """Handles what feature records there are, at most RECORDS_MAX; returns how many, or ATTENTION.

    ``wiring``: the arrays of WIRES. Without a model (``model_id`` -1) records are passed through. ``deadline_ns``
    after ``ts_mono_ns`` a record is too late for the schedule to let it pass, 0 = never.
    """
    in_head, in_slots = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _IN, FEATURE_DTYPE)
    gate = wired(wiring, _GATE, np.int64)
    if is_piled(gate, seek(in_head, in_slots, reader), waiting(in_head, reader)):
        return ATTENTION
    done: Any = np.int64(0)
    seen: Any = np.int64(0)
    until_ns: Any = np.int64(
        0
    )  # set at the first change: who only predicts need not look at the clock once more
    while True:
        skipping = gate[SKIPPING]
        part = _pass_over(wiring, reader) if skipping else _see(wiring, reader, deadline_ns)
        if part == ATTENTION:
            return ATTENTION if done == 0 else done
        done += part
        seen += 0 if skipping else part
        if gate[SKIPPING] == skipping or seen >= RECORDS_MAX:
            return done
        now_ns: int = mono_ns()
        if until_ns == 0:
            until_ns = now_ns + DUTY_NS_MAX
        if now_ns > until_ns:
            return done


@kernel()
def _see(wiring, reader, deadline_ns):  # type: ignore[no-untyped-def]
    header = wired(wiring, _HEADER, HEADER_DTYPE)
    if header[0].model_id < 0 and deadline_ns == 0:
        return _pass_through(wiring, reader)
    return _predict_each(wiring, reader, deadline_ns)


@kernel()
def keep_warm(wiring):  # type: ignore[no-untyped-def]
    """The newest record through the model once more, for the caches' sake; the result is thrown away."""
    header, columns = wired(wiring, _HEADER, HEADER_DTYPE), wired(wiring, _COLUMNS, COLUMN_DTYPE)
    if header[0].model_id >= 0:
        out_head, out_slots = wired(wiring, _OUT_HEAD, np.int64), wired(wiring, _OUT, PREDICTION_DTYPE)
        newest = out_slots[(claim(out_head, out_slots, 0) - 1) & (len(out_slots) - 1)]
        nodes, bits = wired(wiring, _NODES, NODE_DTYPE), wired(wiring, _BITS, np.uint32)
        points, row = wired(wiring, _POINTS, np.float64), wired(wiring, _ROW, np.float64)
        spare = wired(wiring, _SPARE, np.float64)
        touch(header, columns, nodes, bits, points, row, newest.values, spare)


@kernel()
def _pass_over(wiring, reader):  # type: ignore[no-untyped-def]
    """Records that the schedule skips: the recorded run did not see them, or they are too late."""
    in_head, in_slots = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _IN, FEATURE_DTYPE)
    gate = wired(wiring, _GATE, np.int64)
    position = seek(in_head, in_slots, reader)
    done = 0
    while done < PASSED_OVER_MAX and holds(in_slots, position + done):
        source = in_slots[(position + done) & (len(in_slots) - 1)].source_sequence
        if not still_holds(in_slots, position + done):
            break
        if is_due(gate, source, position + done):
            return ATTENTION if done == 0 else done
        if gate[SKIPPING] == 0:
            break
        advance(in_head, reader, 1)
        done += 1
    return done


@kernel()
def _pass_through(wiring, reader):  # type: ignore[no-untyped-def]
    """Records become visible GROUP_MAX at a time, with one look at the clock: there is nothing to wait for."""
    in_head, in_slots = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _IN, FEATURE_DTYPE)
    out_head, out_slots = wired(wiring, _OUT_HEAD, np.int64), wired(wiring, _OUT, PREDICTION_DTYPE)
    bells, histogram = wired(wiring, _BELLS, np.int64), wired(wiring, _HISTOGRAM, np.int64)
    counters, model_id = wired(wiring, _COUNTERS, np.int64), wired(wiring, _HEADER, HEADER_DTYPE)[0].model_id
    position = seek(in_head, in_slots, reader)
    limit = min(RECORDS_MAX, room(out_head, RECORDS_MAX))
    group_max = min(GROUP_MAX, len(out_slots) >> 1)
    gate = wired(wiring, _GATE, np.int64)
    done = 0
    stops = False
    while done < limit and not stops:
        first = claim(out_head, out_slots, 0)
        count = 0
        while count < min(group_max, limit - done) and holds(in_slots, position + done + count):
            features = in_slots[(position + done + count) & (len(in_slots) - 1)]
            claim(out_head, out_slots, count + 1)
            prediction = out_slots[(first + count) & (len(out_slots) - 1)]
            _copy_features(features, prediction)
            prediction.ts_publish_ns = features.ts_publish_ns  # till the group is stamped
            if not still_holds(in_slots, position + done + count):
                break
            stops = is_due(gate, prediction.source_sequence, position + done + count)
            if stops or gate[SKIPPING] != 0:
                break
            prediction.ts_deadline_ns = 0
            _clear_outputs(prediction, model_id)
            count += 1
        if count == 0:
            break
        _stamp(out_slots, first, count, histogram)
        publish(out_head, out_slots, bells, first + count)
        counters[_PASSED_THROUGH] += count
        advance(in_head, reader, count)
        done += count
    return ATTENTION if stops and done == 0 else done


@kernel()
def _predict_each(wiring, reader, deadline_ns):  # type: ignore[no-untyped-def]
    """Each record is published, and its input let go, as soon as it is done."""
    in_head, in_slots = wired(wiring, _IN_HEAD, np.int64), wired(wiring, _IN, FEATURE_DTYPE)
    out_head, out_slots = wired(wiring, _OUT_HEAD, np.int64), wired(wiring, _OUT, PREDICTION_DTYPE)
    header, columns = wired(wiring, _HEADER, HEADER_DTYPE), wired(wiring, _COLUMNS, COLUMN_DTYPE)
    nodes, bits = wired(wiring, _NODES, NODE_DTYPE), wired(wiring, _BITS, np.uint32)
    points, row = wired(wiring, _POINTS, np.float64), wired(wiring, _ROW, np.float64)
    limits, strange_above = wired(wiring, _LIMITS, np.float64), wired(wiring, _STRANGE_ABOVE, np.float64)
    bells = wired(wiring, _BELLS, np.int64)
    histogram, counters = wired(wiring, _HISTOGRAM, np.int64), wired(wiring, _COUNTERS, np.int64)
    position = seek(in_head, in_slots, reader)
    if not holds(in_slots, position):
        return 0
    gate = wired(wiring, _GATE, np.int64)
    limit = min(RECORDS_MAX, room(out_head, RECORDS_MAX))
    started: int = mono_ns()
    now = started
    done = 0
    while done < limit and now - started <= DUTY_NS_MAX and holds(in_slots, position + done):
        features = in_slots[(position + done) & (len(in_slots) - 1)]
        sequence = claim(out_head, out_slots, 1)
        prediction = out_slots[sequence & (len(out_slots) - 1)]
        _copy_features(features, prediction)
        ts_features_ns = features.ts_publish_ns
        if not still_holds(in_slots, position + done):
            break
        if is_due(gate, prediction.source_sequence, position + done):
            return ATTENTION if done == 0 else done
        if gate[SKIPPING] != 0:
            break
        deadline = prediction.ts_mono_ns + deadline_ns if deadline_ns > 0 else 0
        prediction.ts_deadline_ns = deadline
        outcome = _LATE_DROPPED
        if deadline == 0 or now <= deadline:
            outcome = _predict(header, columns, nodes, bits, points, row, limits, prediction)
            now = mono_ns()
        if deadline != 0 and now > deadline:
            too_late(gate, position + done, _late_end(in_slots, position + done + 1, now - deadline_ns))
            return ATTENTION if done == 0 else done
        prediction.ts_publish_ns = now
        publish(out_head, out_slots, bells, sequence + 1)
        record(histogram, now - ts_features_ns)
        counters[outcome] += 1
        counters[_OUT_OF_DISTRIBUTION] += prediction.strangeness > strange_above[0]
        advance(in_head, reader, 1)
        done += 1
    return done


@kernel()
def _late_end(in_slots, sequence, oldest_ns):  # type: ignore[no-untyped-def]
    """End of the run of records from ``sequence`` on whose frames came before ``oldest_ns``."""
    while holds(in_slots, sequence) and in_slots[sequence & (len(in_slots) - 1)].ts_mono_ns < oldest_ns:
        sequence += 1
    return sequence


@kernel(forceinline=True)
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
    copy_values(prediction.values, features.values)


@kernel()
def _stamp(predictions, first, count, histogram):  # type: ignore[no-untyped-def]
    """``ts_publish_ns`` of records that hold their features' one there."""
    now = mono_ns()
    alike, before = 0, 0
    for sequence in range(first, first + count):
        prediction = predictions[sequence & (len(predictions) - 1)]
        if prediction.ts_publish_ns != before:
            record(histogram, now - before, alike)
            alike, before = 0, prediction.ts_publish_ns
        alike += 1
        prediction.ts_publish_ns = now
    record(histogram, now - before, alike)


@kernel(forceinline=True)
def _clear_outputs(prediction, model_id):  # type: ignore[no-untyped-def]
    outputs = prediction.outputs
    for k in range(OUTPUTS_MAX):
        outputs[k] = np.nan
    prediction.model_id = model_id
    prediction.output_count = 0
    prediction.strangeness = 0.0


@kernel()
def _predict(header, columns, nodes, bits, points, row, limits, prediction):  # type: ignore[no-untyped-def]
    """Fills in the outputs, NaN where there are none; returns the counter to raise."""
    _clear_outputs(prediction, header[0].model_id)
    if header[0].model_id < 0:
        return _PASSED_THROUGH
    prediction.output_count = np.int32(header[0].set_outputs)
    values = prediction.values
    missing = missing_features(header, columns, values)
    evaluate_known(header, columns, nodes, bits, points, row, values, missing, prediction.outputs)
    prediction.strangeness = np.float32(strangeness(limits, values))
    return _FEATURES_MISSING if missing else _PREDICTIONS
