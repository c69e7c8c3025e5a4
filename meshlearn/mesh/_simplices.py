"""Partition of cells into simplices that match across facets, and the neighbours among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .cells import CELL_TYPES

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def cone_simplices(name: str, cells: IntArray) -> IntArray:
    """Cut cells of one type into simplices by coning each cell from its smallest node.

    A quad facet is thereby always cut along the diagonal through its smallest node, whichever cell
    looks at it, so the simplices of neighbouring cells fit together (Dompierre et al. 1999, *How to
    subdivide pyramids, prisms and hexahedra into tetrahedra*): P1 fields are continuous on them.

    Args:
        name: a key of `CELL_TYPES`.
        cells: node indices `[k, nodes]`.

    Returns:
        `[k, simplices per cell, dim + 1]`, positive for convex positive cells.
    """
    cell = CELL_TYPES[name]
    if cell.is_simplex:
        return cells[:, None, :]
    smallest = cells.argmin(axis=1)
    out = np.empty((len(cells), len(cell.simplices), cell.dim + 1), np.int64)
    for apex in range(cell.num_nodes):
        rows = np.flatnonzero(smallest == apex)
        nodes = cells[rows]
        parts = [
            part
            for facet in cell.facets
            if apex not in facet
            for part in _facet_simplices(nodes[:, list(facet)])
        ]
        for i, part in enumerate(parts):
            out[rows, i, 0] = nodes[:, apex]
            out[rows, i, 1:] = part
    return out


def _facet_simplices(facets: IntArray) -> list[IntArray]:
    """Cut quad facets along the diagonal through their smallest node; leave simplices."""
    if facets.shape[1] < 4:
        return [facets]
    turn = (facets.argmin(axis=1)[:, None] + np.arange(4)) % 4
    turned = np.take_along_axis(facets, turn, axis=1)
    return [turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]]


def simplex_neighbours(simplices: IntArray, num_nodes: int) -> NDArray[np.int32]:
    """Simplex across the facet opposite to each node, -1 where there is none `[m, d + 1]`."""
    m, width = simplices.shape
    ordered = np.sort(simplices, axis=1)
    rank = np.argsort(simplices, axis=1)  # column i of `ordered` came from column rank[:, i]
    facets = np.stack([np.delete(ordered, i, axis=1) for i in range(width)], axis=1)
    columns = list(facets.reshape(m * width, width - 1).T)
    if float(num_nodes) ** (width - 1) < 2.0**62:
        key = columns[0].copy()
        for column in columns[1:]:
            key = key * num_nodes + column
        order = np.argsort(key)
        same = key[order][1:] == key[order][:-1]
    else:
        order = np.lexsort(columns[::-1])
        same = np.all([c[order][1:] == c[order][:-1] for c in columns], axis=0)
    first, second = order[:-1][same], order[1:][same]
    slot = (np.arange(m)[:, None] * width + rank).ravel()
    out = np.full(m * width, -1, np.int32)
    out[slot[first]] = second // width
    out[slot[second]] = first // width
    return out.reshape(m, width)


def barycentric_gradients(pos: FloatArray, simplices: IntArray) -> tuple[FloatArray, FloatArray]:
    """Gradients of the last `d` barycentric coordinates `[m, d, d]`, and determinants `[m]`.

    Rows are gradients; those of simplices without volume are not finite numbers to rely on.
    """
    corners = pos[simplices]
    edges = corners[:, 1:] - corners[:, :1]
    d = edges.shape[2]
    if d == 1:
        cofactors = np.ones_like(edges)
    elif d == 2:
        (ax, ay), (bx, by) = np.moveaxis(edges, 0, -1)
        cofactors = np.stack([by, -bx, -ay, ax], axis=1).reshape(-1, 2, 2)
    else:
        a, b, c = np.moveaxis(edges, 1, 0)
        cofactors = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    determinants = np.einsum("mj,mj->m", edges[:, 0], cofactors[:, 0])
    flat = determinants == 0
    return cofactors / np.where(flat, 1.0, determinants)[:, None, None], determinants
