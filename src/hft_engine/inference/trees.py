"""The compiled traversal of a set of tree ensembles. Pure: a function of its tables and one feature vector.

Outputs before calibration equal LightGBM's ``Booster.predict`` bit for bit: the same decisions, the sums in the same
order, the same formula of the objective. The tables are those of ``inference.tables``; see there for their layout.

Unsigned indices throughout: numba adds a test for negative ones to every access with a signed index.
"""

import numpy as np
from numpy.typing import NDArray

from hft_engine.inference import tables as layout
from hft_engine.inference.outputs import calibrate, combined, transform
from hft_engine.inference.tables import ZERO, ColumnMode, Tables, Transform
from hft_engine.kernel import kernel
from hft_engine.words import as_float

_NAN_IS_ZERO, _ZERO_IS_NAN = np.uint32(ColumnMode.NAN_IS_ZERO), np.uint32(ColumnMode.ZERO_IS_NAN)
_WEIGHTED, _STACKED = int(Transform.WEIGHTED), int(Transform.STACKED)
_NO, _YES = np.uint64(0), np.uint64(1)
_CATEGORICAL, _PLACE_MASK = np.uint64(layout.CATEGORICAL), np.uint64(layout.PLACE_MASK)
_PLACE = np.uint64((1 << layout.PLACE_BITS) - 1)
_LEAF, _CHILD = np.uint64(layout.PLACE_BITS), np.uint64(2 * layout.PLACE_BITS)  # shifts
_STEP, _PAIR = np.uint64(layout.STEP), np.uint64(layout.PAIR)
_GROUP, _GROUP_WORDS = np.uint64(layout.GROUP), np.uint64(layout.GROUP * layout.STEP)
_FIRST_LEAF, _FIRST_COLUMN = np.uint64(layout.FIRST_LEAF), np.uint64(layout.FIRST_COLUMN)
_CATEGORY_LIMIT = 2147483648.0  # LightGBM casts to int32; from here on the cast is negative: not in any set
TOUCHED_MAX = (
    32_768  # words, 256 KiB: of larger ones the front, where the upper levels of the first trees are
)
_TOUCHED_MAX, _WORDS_A_LINE = np.uint64(TOUCHED_MAX), np.uint64(8)
_LEVELS = 4  # the lanes go down so many levels before they are asked whether all are at their end


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
        _sum_any(nodes, bits, row, member.first_root, member.trees, at, outputs, out)
    elif outputs == _YES:
        out[at] = _sum_one(nodes, row, member.first_root, member.trees)
    else:
        _sum_classes(nodes, row, member.first_root, member.trees, at, outputs, out)
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
    for i in range(_NO, min(np.uint64(len(nodes)), _TOUCHED_MAX), _WORDS_A_LINE):
        total |= nodes[i]
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
    row[_FIRST_COLUMN] = -np.inf
    for c in range(_YES, np.uint64(len(columns))):
        column = columns[c]
        value = values[column.source]
        if column.mode == _NAN_IS_ZERO:
            value = 0.0 if np.isnan(value) else value
        elif column.mode == _ZERO_IS_NAN:
            value = np.nan if abs(value) <= ZERO else value
        row[_FIRST_COLUMN + c] = column.sign * value


@kernel()
def _sum_one(nodes, row, root, trees):  # type: ignore[no-untyped-def]
    """The sum of a model without sets of categories: no branch depends on the data but the end of a group."""
    total = 0.0
    while trees != _NO:
        count = min(trees, _GROUP)
        _walk(nodes, row, root)
        for leaf in range(_FIRST_LEAF, _FIRST_LEAF + count):
            total += row[leaf]  # one by one: LightGBM adds the trees in order
        root += _GROUP_WORDS
        trees -= count
    return total


@kernel()
def _sum_classes(nodes, row, root, trees, at, outputs, out):  # type: ignore[no-untyped-def]
    """The same with several outputs, whose trees take turns."""
    k = _NO
    while trees != _NO:
        count = min(trees, _GROUP)
        _walk(nodes, row, root)
        for leaf in range(_FIRST_LEAF, _FIRST_LEAF + count):
            k = _add(row[leaf], k, at, outputs, out)
        root += _GROUP_WORDS
        trees -= count


@kernel(forceinline=True)
def _add(value, k, at, outputs, out):  # type: ignore[no-untyped-def]
    """Adds a leaf's value to output ``k`` of those from ``at`` on; returns the output of the next tree."""
    out[at + k] += value
    k += _YES
    return _NO if k == outputs else k


@kernel(forceinline=True)
def _walk(nodes, row, root):  # type: ignore[no-untyped-def]
    """Writes the leaves of a group of trees to ``row``. Twelve are walked side by side so that their loads overlap;
    from its leaf each lane goes on to its next tree, and stays at node 0 after its last.
    """
    a, b = root, root + _YES
    c, d = a + _PAIR, b + _PAIR
    e, f = c + _PAIR, d + _PAIR
    g, h = e + _PAIR, f + _PAIR
    i, j = g + _PAIR, h + _PAIR
    k, m = i + _PAIR, j + _PAIR
    while (a | b | c | d | e | f | g | h | i | j | k | m) != _NO:
        for _ in range(_LEVELS):
            a = _next(nodes, row, a)
            b = _next(nodes, row, b)
            c = _next(nodes, row, c)
            d = _next(nodes, row, d)
            e = _next(nodes, row, e)
            f = _next(nodes, row, f)
            g = _next(nodes, row, g)
            h = _next(nodes, row, h)
            i = _next(nodes, row, i)
            j = _next(nodes, row, j)
            k = _next(nodes, row, k)
            m = _next(nodes, row, m)


@kernel(forceinline=True)
def _next(nodes, row, i):  # type: ignore[no-untyped-def]
    # One load for all of a step: what bounds this is how much a core loads and stores at a time.
    threshold, step = as_float(nodes[i]), nodes[i + _STEP]
    row[(step >> _LEAF) & _PLACE] = threshold
    return (step >> _CHILD) + (_NO if row[step & _PLACE] <= threshold else _YES)


@kernel()
def _sum_any(nodes, bits, row, root, trees, at, outputs, out):  # type: ignore[no-untyped-def]
    """Adds up any model, one tree after the other."""
    k = _NO
    for tree in range(trees):
        i = root + (tree >> _YES) * _PAIR + (tree & _YES)
        place = nodes[i + _STEP] & _PLACE
        while place != _FIRST_COLUMN:
            i = _next_by_set(nodes, bits, row, i) if place & _CATEGORICAL else _next(nodes, row, i)
            place = nodes[i + _STEP] & _PLACE
        k = _add(as_float(nodes[i]), k, at, outputs, out)


@kernel()
def _next_by_set(nodes, bits, row, i):  # type: ignore[no-untyped-def]
    step = nodes[i + _STEP]
    value = row[step & _PLACE_MASK]
    inside = _NO
    if -1.0 < value < _CATEGORY_LIMIT:  # false for NaN
        category = np.uint64(value)
        start = np.uint64(as_float(nodes[i]))
        word = category >> np.uint64(5)
        if word < bits[start]:
            inside = (np.uint64(bits[start + _YES + word]) >> (category & np.uint64(31))) & _YES
    return (step >> _CHILD) + (_YES - inside)
