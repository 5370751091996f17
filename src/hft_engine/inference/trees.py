"""The compiled traversal of a set of tree ensembles. Pure: a function of its tables and one feature vector.

Outputs before calibration equal LightGBM's ``Booster.predict`` bit for bit: the same decisions, the sums in the same
order, the same formula of the objective. The tables are those of ``inference.tables``; see there for their layout.

Unsigned indices throughout: numba adds a test for negative ones to every access with a signed index.
"""

import numpy as np
from numpy.typing import NDArray

from hft_engine.inference.outputs import calibrate, combined, transform
from hft_engine.inference.tables import CATEGORICAL, LANES, ZERO, ColumnMode, Tables, Transform
from hft_engine.kernel import kernel

_NAN_IS_ZERO, _ZERO_IS_NAN = np.uint32(ColumnMode.NAN_IS_ZERO), np.uint32(ColumnMode.ZERO_IS_NAN)
_WEIGHTED, _STACKED = int(Transform.WEIGHTED), int(Transform.STACKED)
_LANES, _CATEGORICAL = np.uint64(LANES), np.uint32(CATEGORICAL)
_NO, _YES = np.uint64(0), np.uint64(1)
_CATEGORY_LIMIT = 2147483648.0  # LightGBM casts to int32; from here on the cast is negative: not in any set
TOUCHED_MAX = (
    16_384  # nodes, 256 KiB: of larger ones the front, where the upper levels of the first trees are
)
_TOUCHED_MAX, _NODES_A_LINE = np.uint64(TOUCHED_MAX), np.uint64(4)
_LEVELS = 3  # a group goes down so many levels before it is asked whether all its trees are at a leaf


def predict(tables: Tables, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outputs for one feature vector or for each row of a matrix; shape (outputs,) or (rows, outputs)."""
    rows = np.ascontiguousarray(np.atleast_2d(values), np.float64)
    out = np.empty((len(rows), int(tables.header[0]["set_outputs"])))
    evaluate_rows(
        tables.header, tables.columns, tables.nodes, tables.bits, tables.points, tables.row, rows, out
    )
    return out if np.ndim(values) == 2 else out[0]


@kernel(cache=True)
def evaluate_rows(header, columns, nodes, bits, points, row, values, out):  # type: ignore[no-untyped-def]
    """``evaluate`` for every row of the matrix ``values`` into the rows of ``out``."""
    for i in range(len(values)):
        evaluate(header, columns, nodes, bits, points, row, values[i], out[i])


@kernel()
def evaluate(header, columns, nodes, bits, points, row, values, out):  # type: ignore[no-untyped-def]
    """Writes the outputs of every model for the feature vector ``values`` to ``out[:set_outputs]``."""
    evaluate_known(header, columns, nodes, bits, points, row, values, _NO, out)


@kernel()
def evaluate_known(header, columns, nodes, bits, points, row, values, missing, out):  # type: ignore[no-untyped-def]
    """As ``evaluate``, but the outputs of a model that needs a feature whose bit is set in ``missing`` are NaN."""
    _fill_row(columns, values, row)
    for m in range(len(header)):
        member = header[m]
        at, outputs = member.first_output, member.output_count
        if member.needs & missing:
            for k in range(at, at + outputs):
                out[k] = np.nan
        elif member.transform >= _WEIGHTED:
            out[at] = combined(points, member.first_point, member.transform == _STACKED, out)
        else:
            _evaluate_member(member, nodes, bits, points, row, at, outputs, out)


@kernel(forceinline=True)
def _evaluate_member(member, nodes, bits, points, row, at, outputs, out):  # type: ignore[no-untyped-def]
    for k in range(at, at + outputs):
        out[k] = 0.0
    if member.categorical:
        _sum_any(nodes, bits, row, member.first_tree, member.end_tree, at, outputs, out)
    elif outputs == _YES:
        out[at] = _sum_one(nodes, row, member.first_tree, member.end_tree)
    else:
        _sum_classes(nodes, row, member.first_tree, member.end_tree, at, outputs, out)
    for k in range(at, at + outputs):
        out[k] /= member.divisor
    transform(member.transform, member.sigmoid, at, outputs, out)
    if member.curves:
        calibrate(points, member.first_point, at, outputs, out)


@kernel()
def touch(header, columns, nodes, bits, points, row, values, out):  # type: ignore[no-untyped-def]
    """Brings the models back into the caches: every line of their nodes, as far as TOUCHED_MAX, then one evaluation.

    ``out`` is the caller's to throw away; what was read is written there, else nothing would be read.
    """
    total = _NO
    for i in range(_NO, min(np.uint64(len(nodes)), _TOUCHED_MAX), _NODES_A_LINE):
        total |= np.uint64(nodes[i].child)
    evaluate(header, columns, nodes, bits, points, row, values, out)
    out[0] += total


@kernel()
def missing_features(header, columns, values):  # type: ignore[no-untyped-def]
    """A bit for each feature that some model uses and that is NaN; none where no model minds."""
    needs = _NO
    for m in range(len(header)):
        needs |= header[m].needs
    missing = _NO
    if needs:
        for c in range(1, len(columns)):
            source = np.uint64(columns[c].source)
            missing |= np.uint64(np.isnan(values[source])) << source
    return missing & needs


@kernel()
def _fill_row(columns, values, row):  # type: ignore[no-untyped-def]
    row[0] = -np.inf
    for c in range(1, len(columns)):
        column = columns[c]
        value = values[column.source]
        if column.mode == _NAN_IS_ZERO:
            value = 0.0 if np.isnan(value) else value
        elif column.mode == _ZERO_IS_NAN:
            value = np.nan if abs(value) <= ZERO else value
        row[c] = column.sign * value


@kernel()
def _sum_one(nodes, row, first, end):  # type: ignore[no-untyped-def]
    """The sum of a model without sets of categories: no branch depends on the data but the end of a group."""
    total = 0.0
    while first < end:
        a, b, c, d, e, f, g, h = _leaves(nodes, row, first)
        total += nodes[a].threshold  # one by one: LightGBM adds the trees in order
        total += nodes[b].threshold
        total += nodes[c].threshold
        total += nodes[d].threshold
        total += nodes[e].threshold
        total += nodes[f].threshold
        total += nodes[g].threshold
        total += nodes[h].threshold
        first += _LANES
    return total


@kernel()
def _sum_classes(nodes, row, first, end, at, outputs, out):  # type: ignore[no-untyped-def]
    """The same with several outputs, whose trees take turns."""
    k = _NO
    while first < end:
        a, b, c, d, e, f, g, h = _leaves(nodes, row, first)
        k = _add(nodes, a, k, at, outputs, out)
        k = _add(nodes, b, k, at, outputs, out)
        k = _add(nodes, c, k, at, outputs, out)
        k = _add(nodes, d, k, at, outputs, out)
        k = _add(nodes, e, k, at, outputs, out)
        k = _add(nodes, f, k, at, outputs, out)
        k = _add(nodes, g, k, at, outputs, out)
        k = _add(nodes, h, k, at, outputs, out)
        first += _LANES


@kernel(forceinline=True)
def _add(nodes, leaf, k, at, outputs, out):  # type: ignore[no-untyped-def]
    """Adds a leaf's value to output ``k`` of those from ``at`` on; returns the output of the next tree."""
    out[at + k] += nodes[leaf].threshold
    k += _YES
    return _NO if k == outputs else k


@kernel(forceinline=True)
def _leaves(nodes, row, first):  # type: ignore[no-untyped-def]
    """The leaves of eight trees, walked side by side so that their loads overlap. At a leaf a step stays."""
    a, b, c, d = first, first + np.uint64(1), first + np.uint64(2), first + np.uint64(3)
    e, f, g, h = first + np.uint64(4), first + np.uint64(5), first + np.uint64(6), first + np.uint64(7)
    while (
        nodes[a].column | nodes[b].column | nodes[c].column | nodes[d].column
        | nodes[e].column | nodes[f].column | nodes[g].column | nodes[h].column
    ) != 0:  # fmt: skip
        for _ in range(_LEVELS):
            a, b, c, d = (
                _step(nodes, row, a),
                _step(nodes, row, b),
                _step(nodes, row, c),
                _step(nodes, row, d),
            )
            e, f, g, h = (
                _step(nodes, row, e),
                _step(nodes, row, f),
                _step(nodes, row, g),
                _step(nodes, row, h),
            )
    return a, b, c, d, e, f, g, h


@kernel()
def _step(nodes, row, i):  # type: ignore[no-untyped-def]
    node = nodes[i]
    return np.uint64(node.child) + (_NO if row[node.column] <= node.threshold else _YES)


@kernel()
def _sum_any(nodes, bits, row, first, end, at, outputs, out):  # type: ignore[no-untyped-def]
    """Adds up any model, one tree after the other."""
    k = _NO
    for tree in range(first, end):
        i = tree
        while nodes[i].column != 0:
            set_test = nodes[i].column & _CATEGORICAL
            i = _step_categorical(nodes, bits, row, i) if set_test else _step(nodes, row, i)
        k = _add(nodes, i, k, at, outputs, out)


@kernel()
def _step_categorical(nodes, bits, row, i):  # type: ignore[no-untyped-def]
    node = nodes[i]
    value = row[node.column & ~_CATEGORICAL]
    inside = _NO
    if -1.0 < value < _CATEGORY_LIMIT:  # false for NaN
        category = np.uint64(value)
        start = np.uint64(node.threshold)
        word = category >> np.uint64(5)
        if word < bits[start]:
            inside = (np.uint64(bits[start + _YES + word]) >> (category & np.uint64(31))) & _YES
    return np.uint64(node.child) + (_YES - inside)
