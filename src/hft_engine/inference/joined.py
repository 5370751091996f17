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
    HEADER_DTYPE,
    Tables,
    Transform,
    empty_tables,
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
    nodes = np.concatenate([tables.nodes for tables in members])
    points = [tables.points for tables in members]
    node, bit, point = 0, 0, 0
    for row, tables, number in zip(header, members, numbers, strict=True):
        own = nodes[node : node + len(tables.nodes)]
        own["child"] += np.uint32(node)
        sets = (own["column"] & CATEGORICAL) != 0
        own["threshold"][sets] += bit
        own["column"] = number[own["column"] & ~np.uint32(CATEGORICAL)] | (own["column"] & CATEGORICAL)
        row["first_tree"], row["end_tree"] = node, node + row["end_tree"]
        row["first_point"] = point
        node, bit, point = node + len(own), bit + len(tables.bits), point + len(tables.points)
    header["first_output"] = first_outputs
    if ensemble is not None:
        header = np.concatenate([header, _ensemble_row(ensemble, point)])
        points.append(ensemble.points)
    header["model_id"] = model_id
    header["set_outputs"] = np.max(header["first_output"] + header["output_count"])
    bits = np.concatenate([tables.bits for tables in members])
    return Tables(header, columns, nodes, bits, np.concatenate(points), np.zeros(len(columns)))


def _ensemble_row(ensemble: Combined, first_point: int) -> NDArray:
    row = np.zeros(1, HEADER_DTYPE)
    row["first_output"], row["output_count"] = ensemble.output, 1
    row["transform"], row["first_point"] = ensemble.transform, first_point
    return row


def _shared_columns(members: Sequence[Tables]) -> tuple[NDArray, list[NDArray[np.uint32]]]:
    """(the columns of all, and for each member the number that each of its columns has among them)."""
    places: dict[tuple[float, int, int], int] = {}
    numbers = []
    for tables in members:
        rows = tables.columns.tolist()
        numbers.append(np.array([places.setdefault(row, len(places)) for row in rows], np.uint32))
    return np.array(list(places), COLUMN_DTYPE), numbers
