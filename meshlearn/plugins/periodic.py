"""Meshes whose cells have coordinates of their own, as periodic ones do. Needs numpy only.

A vertex on a periodic side is one node of ours on each side; the pairs say that they move alike.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .arrays import FloatArray, Geometry, IntArray, PluginError
from .curved import reference_vertices

_SAME_PLACE = 1e-9
"""Corners of one vertex nearer than this, over the size of the mesh, are one node."""
_FACETS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "triangle": ((0, 1), (1, 2), (2, 0)),
    "quad": ((0, 1), (1, 2), (2, 3), (3, 0)),
    "tetra": ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
    "hexahedron": (
        *((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4)),
        *((1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    ),
}
_CORNER = 1e-9


def corner_columns(cell: str, places: FloatArray) -> IntArray:
    """Column of the geometry nodes that is each vertex of a cell `[vertices]`.

    Args:
        cell: cell type.
        places: of the geometry nodes in the reference cell `[m, dim]`.

    Raises:
        PluginError: there is no node at a vertex.
    """
    distance = ((places[None] - reference_vertices(cell)[:, None]) ** 2).sum(axis=2)
    if distance.min(axis=1).max() > _CORNER:
        raise PluginError(
            f"the coordinates of the {cell} cells have no values at the vertices; use a closed "
            "(Gauss-Lobatto or equispaced) basis for them"
        )
    columns: IntArray = distance.argmin(axis=1)
    return columns


def vertex_points(cells: Mapping[str, IntArray], geometry: Geometry, count: int) -> FloatArray:
    """Positions of the vertices `[count, d]` of continuous curved cells.

    Args:
        cells: vertices of the cells by type `[k, vertices]`.
        geometry: of the cells.
        count: number of vertices.
    """
    points = np.zeros((count, geometry.coordinates.shape[1]))
    for cell, vertices in cells.items():
        columns = corner_columns(cell, geometry.reference[cell])
        points[vertices] = geometry.coordinates[geometry.nodes[cell][:, columns]]
    return points


def split(
    cells: Mapping[str, IntArray], geometry: Geometry
) -> tuple[FloatArray, dict[str, IntArray], IntArray]:
    """Points `[n, d]`, cells by point, and vertex of each point `[n]`; see `split_vertices`."""
    corners = {
        cell: geometry.coordinates[
            geometry.nodes[cell][:, corner_columns(cell, geometry.reference[cell])]
        ]
        for cell in cells
    }
    return split_vertices(cells, corners)


def facets_at(
    by_vertex: Mapping[str, IntArray], by_point: Mapping[str, IntArray], facets: IntArray
) -> tuple[IntArray, IntArray]:
    """Facets given by vertices, on every side where they are.

    Args:
        by_vertex, by_point: the cells.
        facets: vertices `[k, w]`.

    Returns:
        Row of `facets` `[m]` and points `[m, w]` of each facet of a cell that has its vertices.
    """
    width = facets.shape[1]
    vertices, points = [], []
    for cell, nodes in by_vertex.items():
        for local in _FACETS[cell]:
            if len(local) == width:
                vertices.append(nodes[:, list(local)])
                points.append(by_point[cell][:, list(local)])
    known, at = np.concatenate(vertices), np.concatenate(points)
    _, first = np.unique(np.sort(at, axis=1), axis=0, return_index=True)
    known, at = known[first], at[first]
    both = np.sort(np.concatenate([facets, known]), axis=1)
    _, label = np.unique(both, axis=0, return_inverse=True)
    label = label.reshape(-1)
    wanted, have = label[: len(facets)], label[len(facets) :]
    order = np.argsort(have, kind="stable")
    begin = np.searchsorted(have[order], wanted, "left")
    counts = np.searchsorted(have[order], wanted, "right") - begin
    rows = np.repeat(np.arange(len(facets)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, at[order[np.repeat(begin, counts) + within]]


def split_vertices(
    cells: Mapping[str, IntArray], corners: Mapping[str, FloatArray]
) -> tuple[FloatArray, dict[str, IntArray], IntArray]:
    """Nodes of a periodic mesh whose vertices have a place in each cell.

    Args:
        cells: vertices of the cells by type `[k, vertices]`.
        corners: positions of the cells' corners by type `[k, vertices, d]`.

    Returns:
        Points `[n, d]`, the cells by point, and the vertex of each point `[n]`: points of one
        vertex are periodic images (see `pairs_of`).
    """
    vertex = np.concatenate([nodes.reshape(-1) for nodes in cells.values()])
    place = np.concatenate([at.reshape(-1, at.shape[2]) for at in corners.values()])
    size = float(np.ptp(place, axis=0).max())
    # The half keeps coordinates on a grid line from rounding both ways.
    rounded = np.floor(place / (size * _SAME_PLACE) + 0.5).astype(np.int64)
    keys = np.concatenate([vertex[:, None], rounded], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    split, begin = {}, 0
    for name, nodes in cells.items():
        split[name] = inverse[begin : begin + nodes.size].reshape(nodes.shape).astype(np.int64)
        begin += nodes.size
    return place[first], split, vertex[first].astype(np.int64)


def pairs_of(vertex: IntArray) -> IntArray | None:
    """Pairs of points of one vertex `[k, 2]`, each with the first one; None where there are none.

    Args:
        vertex: of each point `[n]`.
    """
    _, first, inverse = np.unique(vertex, return_index=True, return_inverse=True)
    leader = first[inverse.reshape(-1)]
    others = np.flatnonzero(leader != np.arange(len(vertex)))
    return np.stack([leader[others], others], axis=1) if len(others) else None
