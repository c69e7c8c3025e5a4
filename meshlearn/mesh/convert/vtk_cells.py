"""VTK's cell types: runs of cells by the names that `rules` knows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..errors import MeshError
from .arrays import Array, IntArray

_PERMUTED = {8: ("quad", [0, 1, 3, 2]), 11: ("hexahedron", [0, 1, 3, 2, 4, 5, 7, 6])}
_POLYGON = 7
_FAMILIES = {  # first order, quadratic, biquadratic and other, Lagrange, Bezier
    "vertex": (1,),
    "line": (3, 21, 35, 68, 75),
    "triangle": (5, 22, 34, 69, 76),
    "quad": (9, 23, 28, 30, 70, 77),
    "tetra": (10, 24, 71, 78),
    "hexahedron": (12, 25, 29, 33, 72, 79),
    "wedge": (13, 26, 31, 32, 73, 80),
    "pyramid": (14, 27, 37, 74, 81),
}


def blocks_of_cells(types: Array, nodes: Array, offsets: Array) -> Iterator[tuple[str, IntArray]]:
    """Runs of cells of one type and size, in meshio's names and node order.

    Args:
        types: VTK cell type of each cell `[n_cells]`.
        nodes: nodes of all cells, one after the other.
        offsets: where each cell begins `[n_cells + 1]`.
    """
    if not len(types):
        raise MeshError("there are no cells")
    sizes = np.diff(offsets)
    new = (types[1:] != types[:-1]) | (sizes[1:] != sizes[:-1])
    starts = np.flatnonzero(np.r_[True, new])
    for start, stop in zip(starts, [*starts[1:], len(types)], strict=True):
        rows = nodes[offsets[start] : offsets[stop]].reshape(stop - start, sizes[start])
        code = int(types[start])
        if code in _PERMUTED:
            name, order = _PERMUTED[code]
            yield name, rows[:, order]
        else:
            yield _name(code, int(sizes[start])), rows


def _name(code: int, size: int) -> str:
    """Family of a VTK cell type; cells of higher order have more nodes than its corners."""
    if code == _POLYGON and size in (3, 4):
        return "triangle" if size == 3 else "quad"
    family = next((name for name, codes in _FAMILIES.items() if code in codes), None)
    if family is None:
        raise MeshError(f"VTK cells of type {code} are not supported; triangulate the data set")
    return family
