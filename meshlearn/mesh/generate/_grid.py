"""Index arithmetic shared by the structured generators: node grids in, cell arrays out."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Diagonal = Literal["left", "right", "crossed"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# Grid offsets (x, y) of the corners of a quad, and of the lower and upper half of a hexahedron.
_SQUARE = ((0, 0), (1, 0), (1, 1), (0, 1))

# Kuhn's six tetrahedra around the diagonal 0-6, one per order of the axis steps, all positive.
KUHN: Ints = np.array(
    [[0, 1, 2, 6], [0, 2, 3, 6], [0, 3, 7, 6], [0, 7, 4, 6], [0, 4, 5, 6], [0, 5, 1, 6]],
    dtype=np.int64,
)
# Two wedges: the bottom face cut along 0-2, the top face along 4-6.
WEDGES: Ints = np.array([[0, 1, 2, 4, 5, 6], [0, 2, 3, 4, 6, 7]], dtype=np.int64)

_TRIANGLES: dict[str, Ints] = {
    "left": np.array([[0, 1, 3], [1, 2, 3]], dtype=np.int64),
    "right": np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int64),
    "crossed": np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]], dtype=np.int64),
}


def count(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an int, or raise a `ValueError` naming the argument."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, got {value!r}") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")
    return number


def positive(name: str, value: Any) -> float:
    """Return `value` as a positive float, or raise a `ValueError` naming the argument."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a positive number, got {value!r}") from None
    if not (np.isfinite(number) and number > 0.0):
        raise ValueError(f"{name} must be a positive finite number, got {number:g}")
    return number


def point(name: str, value: Any, dim: int) -> Floats:
    """Return `value` as a point `[dim]`, or raise a `ValueError` naming the argument."""
    try:
        coordinates = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be {dim} numbers, got {value!r}") from None
    if coordinates.shape != (dim,) or not np.isfinite(coordinates).all():
        raise ValueError(f"{name} must be {dim} finite numbers, got {value!r}")
    return coordinates


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of `allowed`, or raise a `ValueError` listing them."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return str(value)


def axes(lower: Any, upper: Any, counts: Sequence[int]) -> list[Floats]:
    """Return one equally spaced coordinate array per axis, with `counts[i] + 1` entries."""
    dim = len(counts)
    low, high = point("lower", lower, dim), point("upper", upper, dim)
    for axis in range(dim):
        if low[axis] >= high[axis]:
            raise ValueError(
                f"lower must be below upper along axis {axis}, got {low[axis]:g} and {high[axis]:g}"
            )
    return [np.linspace(low[i], high[i], counts[i] + 1) for i in range(dim)]


def node_grid(shape: Sequence[int]) -> Ints:
    """Number the nodes of a grid with `shape` nodes per axis, the last axis fastest."""
    return np.arange(np.prod(shape), dtype=np.int64).reshape(tuple(shape))


def grid_points(coordinates: Sequence[Floats]) -> Floats:
    """Return the points `[n, d]` of a tensor grid given as x, y, ... arrays, x fastest."""
    mesh = np.meshgrid(*reversed(coordinates), indexing="ij")
    return np.stack([axis.ravel() for axis in reversed(mesh)], axis=1)


def quads(grid: Ints) -> Ints:
    """Return the quads `[k, 4]` of a node grid `[ny, nx]`, each from its lowest corner."""
    corners = (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1])
    return np.stack([corner.ravel() for corner in corners], axis=1)


def hexahedra(grid: Ints) -> Ints:
    """Return the hexahedra `[k, 8]` of a node grid `[nz, ny, nx]` in VTK node order."""
    nz, ny, nx = (size - 1 for size in grid.shape)
    corners = [grid[z : z + nz, y : y + ny, x : x + nx].ravel() for z in (0, 1) for x, y in _SQUARE]
    return np.stack(corners, axis=1)


def split(cells: Ints, parts: Ints) -> Ints:
    """Cut each cell `[k, c]` into the rows of `parts` (local node numbers), cell by cell."""
    return cells[:, parts].reshape(-1, parts.shape[1])


def triangles(quad_cells: Ints, diagonal: str, centres: Ints | None = None) -> Ints:
    """Cut quads `[k, 4]` into triangles; `crossed` needs the centre node `[k]` of each."""
    corners = quad_cells if centres is None else np.column_stack([quad_cells, centres])
    return split(corners, _TRIANGLES[diagonal])


def boundary_edges(cells: Ints) -> Ints:
    """Return the edges `[k, 2]` that only one cell `[m, 3 or 4]` has, in its orientation."""
    edges = np.stack([cells, np.roll(cells, -1, axis=1)], axis=2).reshape(-1, 2)
    undirected = np.sort(edges, axis=1)
    _, first, times = np.unique(undirected, axis=0, return_index=True, return_counts=True)
    return edges[np.sort(first[times == 1])]
