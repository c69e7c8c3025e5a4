"""Partition of cells into simplices that match across facets, and the neighbours among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..cells import CELL_TYPES

if TYPE_CHECKING:
    from ..mesh import Mesh

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_FLAT = 1e-30  # relative volume: boundary layers of any aspect ratio met in practice are above


def cut_mesh(mesh: Mesh) -> tuple[IntArray, IntArray]:
    """Simplices of all cells of a mesh `[m, d + 1]` and the canonical index of each one's cell."""
    simplices, parents = [], []
    for name, cells in mesh.cells.items():
        cut = cone_simplices(name, cells.cpu().numpy())
        simplices.append(cut.reshape(-1, cut.shape[2]))
        parents.append(np.repeat(mesh.cell_ids[name].cpu().numpy(), cut.shape[1]))
    return np.concatenate(simplices), np.concatenate(parents)


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
    rank = np.argsort(simplices, axis=1)
    ordered = np.take_along_axis(simplices, rank, axis=1)
    others = [[j for j in range(width) if j != i] for i in range(width)]
    columns = [  # sorted nodes of all facets, first those without the smallest node, and so on
        np.concatenate([ordered[:, other[k]] for other in others]) for k in range(width - 1)
    ]
    if float(num_nodes) ** (width - 1) < 2.0**62:
        key = columns[0]
        for column in columns[1:]:
            key = key * num_nodes + column
        columns = [key]
    order = np.argsort(columns[0]) if len(columns) == 1 else np.lexsort(columns[::-1])
    same = np.ones(len(order) - 1, bool)
    for column in columns:
        arranged = column[order]
        same &= arranged[1:] == arranged[:-1]
    first, second = order[:-1][same], order[1:][same]
    slot = (np.arange(m) * width + rank.T).ravel()
    out = np.full(m * width, -1, np.int32)
    out[slot[first]] = second % m
    out[slot[second]] = first % m
    return out.reshape(m, width)


def barycentric_gradients(
    pos: FloatArray, simplices: IntArray
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Gradients of the last `d` barycentric coordinates of simplices.

    Returns:
        Gradients as rows `[m, d, d]`, determinants of the edges `[m]`, and whether a simplex has a
        volume `[m]`; the gradients of one that has none mean nothing.
    """
    m, d = len(simplices), pos.shape[1]
    corners = np.ascontiguousarray(simplices.T)
    x = np.stack([axis.take(corners) for axis in pos.T])  # [d, d + 1, m]: long rows are fast
    edges = x[:, 1:] - x[:, :1]
    cofactors = np.empty((d, d, m))  # [gradient, axis, simplex]
    if d == 1:
        cofactors[...] = 1.0
    elif d == 2:
        (ax, bx), (ay, by) = edges
        cofactors[0, 0], cofactors[0, 1] = by, -bx
        cofactors[1, 0], cofactors[1, 1] = -ay, ax
    else:
        a, b, c = edges[:, 0], edges[:, 1], edges[:, 2]
        for gradient, (p, q) in zip(cofactors, ((b, c), (c, a), (a, b)), strict=True):
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                gradient[k] = p[i] * q[j] - p[j] * q[i]
    determinants = (edges[:, 0] * cofactors[0]).sum(axis=0)
    solid = np.abs(determinants) > _FLAT * np.abs(edges).max(axis=(0, 1)) ** d
    cofactors /= np.where(solid, determinants, 1.0)
    return np.ascontiguousarray(np.moveaxis(cofactors, 2, 0)), determinants, solid
