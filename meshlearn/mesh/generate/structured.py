"""Structured meshes of an interval, a rectangle and a box, with every side tagged.

>>> mesh = rectangle(2, 2, diagonal="crossed")
>>> mesh.num_nodes, mesh.num_cells, sorted(mesh.facet_tags)
(13, 16, ['bottom', 'left', 'right', 'top'])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..mesh import Mesh
from . import _grid


def interval(n: int, lower: float = 0.0, upper: float = 1.0) -> Mesh:
    """Cut `[lower, upper]` into `n` equal lines.

    Args:
        n: number of cells.
        lower, upper: the end points.

    Returns:
        A mesh of `n + 1` nodes in order, with the end nodes tagged `left` and `right`.
    """
    n = _grid.count("n", n)
    (x,) = _grid.axes([lower], [upper], [n])
    nodes = np.arange(n + 1, dtype=np.int64)
    lines = np.column_stack([nodes[:-1], nodes[1:]])
    tags = {"left": nodes[None, :1], "right": nodes[None, -1:]}
    return Mesh.from_cells(x[:, None], {"line": lines}, facet_tags=tags)


def rectangle(
    nx: int,
    ny: int,
    lower: Sequence[float] = (0.0, 0.0),
    upper: Sequence[float] = (1.0, 1.0),
    diagonal: _grid.Diagonal = "left",
    cell: Literal["triangle", "quad"] = "triangle",
) -> Mesh:
    """Cut a rectangle into `nx` by `ny` equal boxes of triangles, or into quads.

    Args:
        nx, ny: boxes along x and y.
        lower, upper: opposite corners.
        diagonal: how triangles cut a box: `left` from its top left to its bottom right corner,
            `right` from its bottom left to its top right, `crossed` both, with a node between.
        cell: `triangle`, or `quad` for the boxes themselves.

    Returns:
        A mesh whose grid nodes come first, x fastest, then the centres; the sides are tagged
        `left`, `right`, `bottom` and `top`.
    """
    counts = [_grid.count("nx", nx), _grid.count("ny", ny)]
    _grid.choice("diagonal", diagonal, ("left", "right", "crossed"))
    _grid.choice("cell", cell, ("triangle", "quad"))
    x, y = _grid.axes(lower, upper, counts)
    pos = _grid.grid_points([x, y])
    grid = _grid.node_grid([y.size, x.size])
    cells = _grid.quads(grid)
    if cell == "triangle" and diagonal == "crossed":
        centres = len(pos) + np.arange(len(cells), dtype=np.int64)
        middles = _grid.grid_points([(x[:-1] + x[1:]) / 2, (y[:-1] + y[1:]) / 2])
        pos = np.concatenate([pos, middles])
        cells = _grid.triangles(cells, diagonal, centres)
    elif cell == "triangle":
        cells = _grid.triangles(cells, diagonal)
    tags = {
        "left": _chain(grid[::-1, 0]),
        "right": _chain(grid[:, -1]),
        "bottom": _chain(grid[0]),
        "top": _chain(grid[-1, ::-1]),
    }
    return Mesh.from_cells(pos, {cell: cells}, facet_tags=tags)


def box(
    nx: int,
    ny: int,
    nz: int,
    lower: Sequence[float] = (0.0, 0.0, 0.0),
    upper: Sequence[float] = (1.0, 1.0, 1.0),
    cell: Literal["tetra", "hexahedron", "wedge"] = "tetra",
) -> Mesh:
    """Cut a box into `nx` by `ny` by `nz` equal boxes of tetrahedra, wedges or hexahedra.

    Args:
        nx, ny, nz: boxes along x, y and z.
        lower, upper: opposite corners.
        cell: `tetra` cuts each box into Kuhn's six tetrahedra around the diagonal from its
            lowest to its highest corner, `wedge` into two wedges that stand along z, `hexahedron`
            leaves it whole.

    Returns:
        A mesh with nodes numbered x fastest, then y, then z; the sides are tagged `left` and
        `right` (x), `front` and `back` (y), `bottom` and `top` (z).
    """
    counts = [_grid.count("nx", nx), _grid.count("ny", ny), _grid.count("nz", nz)]
    _grid.choice("cell", cell, ("tetra", "hexahedron", "wedge"))
    x, y, z = _grid.axes(lower, upper, counts)
    grid = _grid.node_grid([z.size, y.size, x.size])
    cells = _grid.hexahedra(grid)
    if cell == "tetra":
        cells = _grid.split(cells, _grid.KUHN)
    elif cell == "wedge":
        cells = _grid.split(cells, _grid.WEDGES)
    sides = _sides(grid)
    cut = {"tetra": tuple(sides), "wedge": ("bottom", "top"), "hexahedron": ()}[cell]
    tags = {
        name: _grid.triangles(quads, "right") if name in cut else quads
        for name, quads in sides.items()
    }
    return Mesh.from_cells(_grid.grid_points([x, y, z]), {cell: cells}, facet_tags=tags)


def _chain(nodes: _grid.Ints) -> _grid.Ints:
    """Join successive nodes `[k + 1]` into edges `[k, 2]`."""
    return np.column_stack([nodes[:-1], nodes[1:]])


def _sides(grid: _grid.Ints) -> dict[str, _grid.Ints]:
    """Return the six sides of a node grid `[nz, ny, nx]` as quads `[k, 4]` facing outward."""
    inward = [0, 3, 2, 1]  # turns a quad over but keeps its lowest and highest corner in place
    return {
        "left": _grid.quads(grid[:, :, 0])[:, inward],
        "right": _grid.quads(grid[:, :, -1]),
        "front": _grid.quads(grid[:, 0, :]),
        "back": _grid.quads(grid[:, -1, :])[:, inward],
        "bottom": _grid.quads(grid[0])[:, inward],
        "top": _grid.quads(grid[-1]),
    }
