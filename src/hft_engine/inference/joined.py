"""Tables of several models as those of one set, which one pass of the traversal walks.

Columns that several members ask for are computed once. The nodes, sets of categories and curves of each lie behind
those of the member before, so that a member's trees stay together in memory.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hft_engine.inference.tables import (
    CATEGORICAL,
    COLUMN_DTYPE,
    FIRST_COLUMN,
    HEADER_DTYPE,
    PLACE_BITS,
    PLACE_MASK,
    STEP,
    Tables,
    Transform,
    empty_tables,
    node_words,
    row_of,
)

Term = tuple[int, float, bool]  # index of an output, its weight, and whether one minus it counts


class Combined:
    """An ensemble's row: ``terms`` of outputs of the members, as ``inference.outputs`` combines them."""

    def __init__(self, stacked: bool, terms: Sequence[Term], intercept: float, output: int) -> None:
        self.transform = Transform.STACKED if stacked else Transform.WEIGHTED
        self.output = output
        self.points = np.array([float(len(terms)), intercept, *(float(x) for term in terms for x in term)])


def join_tables(
    members: Sequence[Tables], first_outputs: Sequence[int], model_id: int, ensemble: Combined | None = None
) -> Tables:
    """One set of ``members``, the outputs of each from its ``first_outputs`` on; that of ``ensemble`` where it says."""
    if not members:
        return empty_tables()
    columns, numbers = _shared_columns(members)
    header = np.concatenate([tables.header for tables in members])
    nodes = node_words(sum(len(tables.nodes) for tables in members))
    points = [tables.points for tables in members]
    node, bit, point = 0, 0, 0
    for row, tables, number in zip(header, members, numbers, strict=True):
        own = nodes[node : node + len(tables.nodes)]
        own[:] = tables.nodes
        _move(own.reshape(-1, 2, STEP), node, bit, number)
        row["first_root"] += node
        row["first_point"] = point
        node, bit, point = node + len(own), bit + len(tables.bits), point + len(tables.points)
    header["first_output"] = first_outputs
    if ensemble is not None:
        header = np.concatenate([header, _ensemble_row(ensemble, point)])
        points.append(ensemble.points)
    header["model_id"] = model_id
    header["set_outputs"] = np.max(header["first_output"] + header["output_count"])
    bits = np.concatenate([tables.bits for tables in members])
    return Tables(header, columns, nodes, bits, np.concatenate(points), row_of(columns))


def _move(pairs: NDArray[np.uint64], node: int, bit: int, number: NDArray[np.uint64]) -> None:
    """Nodes as they lie behind ``node`` words of others, their sets behind ``bit``, their columns by ``number``."""
    thresholds, steps = pairs[:, 0], pairs[:, 1]
    sets = (steps & np.uint64(CATEGORICAL)) != 0
    thresholds.view(np.float64)[sets] += bit
    place, child = steps & np.uint64(PLACE_MASK), steps >> np.uint64(2 * PLACE_BITS)
    steps += number[place - np.uint64(FIRST_COLUMN)] - (place - np.uint64(FIRST_COLUMN))
    steps[child != 0] += np.uint64(node << 2 * PLACE_BITS)


def _ensemble_row(ensemble: Combined, first_point: int) -> NDArray:
    row = np.zeros(1, HEADER_DTYPE)
    row["first_output"], row["output_count"] = ensemble.output, 1
    row["transform"], row["first_point"] = ensemble.transform, first_point
    return row


def _shared_columns(members: Sequence[Tables]) -> tuple[NDArray, list[NDArray[np.uint64]]]:
    """(the columns of all, and for each member the number that each of its columns has among them)."""
    places: dict[tuple[float, int, int], int] = {}
    numbers = []
    for tables in members:
        rows = tables.columns.tolist()
        numbers.append(np.array([places.setdefault(row, len(places)) for row in rows], np.uint64))
    return np.array(list(places), COLUMN_DTYPE), numbers
