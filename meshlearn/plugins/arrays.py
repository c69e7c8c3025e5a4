"""A mesh of another code as plain arrays: what every plug-in extracts. Needs numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DIM = {"line": 1, "triangle": 2, "quad": 2}
DIM |= dict.fromkeys(("tetra", "hexahedron", "wedge", "pyramid"), 3)
"""Dimension of each cell type."""
_FIRST_CORNER = {
    "line": (0, 1),
    "triangle": (0, 1, 2),
    "quad": (0, 1, 3),
    "tetra": (0, 1, 2, 3),
    "hexahedron": (0, 1, 3, 4),
    "wedge": (0, 1, 2, 3),
    "pyramid": (0, 1, 3, 4),
}
_TURNED = {
    "line": (1, 0),
    "triangle": (0, 2, 1),
    "quad": (0, 3, 2, 1),
    "tetra": (0, 2, 1, 3),
    "hexahedron": (4, 5, 6, 7, 0, 1, 2, 3),
    "wedge": (3, 4, 5, 0, 1, 2),
    "pyramid": (0, 3, 2, 1, 4),
}


class PluginError(ValueError):
    """A mesh, field or setting of another code that the plug-in cannot handle."""


@dataclass(frozen=True)
class Geometry:
    """Nodes of curved cells, of which the vertices are a part.

    Attributes:
        coordinates: of all geometry nodes `[N, d]`.
        nodes: geometry nodes of each cell by cell type `[k, m]`.
        reference: their places in the reference cell by cell type `[m, dim]`. Its vertices are
            those of the unit simplex or cube in meshio's order.
    """

    coordinates: FloatArray
    nodes: Mapping[str, IntArray]
    reference: Mapping[str, FloatArray]


@dataclass(frozen=True)
class Arrays:
    """A mesh without its code.

    Attributes:
        points: vertex positions `[n, d]`.
        cells: vertices of the cells by type, meshio's names and order `{name: [k, vertices]}`;
            the types one after the other are the cells' numbering.
        facet_tags, cell_tags, point_tags: as `Mesh.from_cells` takes them.
        numbering: the code's own number of each vertex `[n]`.
        pairs: vertices that are periodic images of each other and move alike `[k, 2]`, or None.
        geometry: of curved cells, or None for straight ones.
    """

    points: FloatArray
    cells: Mapping[str, IntArray]
    numbering: IntArray
    facet_tags: Mapping[str, IntArray] = field(default_factory=dict)
    cell_tags: Mapping[str, IntArray] = field(default_factory=dict)
    point_tags: Mapping[str, IntArray] = field(default_factory=dict)
    pairs: IntArray | None = None
    geometry: Geometry | None = None


@dataclass(frozen=True)
class FieldValues:
    """A finite-element function of another code.

    Attributes:
        element: name of the element, as `meshlearn.fem.FunctionSpace` takes it.
        points: where each scalar degree of freedom sits `[m, d]`.
        values: `[m, components]`.
    """

    element: str
    points: FloatArray
    values: FloatArray


def by_number(numbers: Array, entities: Array, names: Sequence[str] = ()) -> dict[str, IntArray]:
    """Tags from markers: rows of `entities` by number, called by name or else by number.

    Args:
        numbers: marker of each entity `[k]`.
        entities: `[k]` or `[k, nodes]`.
        names: of the numbers 1, 2, ...; an empty name is the number.
    """
    tags: dict[str, list[Array]] = {}
    for number in np.unique(numbers):
        known = names[int(number) - 1] if 0 < number <= len(names) else ""
        rows = np.asarray(entities[numbers == number], dtype=np.int64)
        tags.setdefault(known or str(int(number)), []).append(rows)
    return {name: np.concatenate(rows) for name, rows in tags.items()}


def positions(values: Any, shape: tuple[int, ...]) -> FloatArray:
    """Node positions as float64 of a known shape.

    Raises:
        PluginError: another shape, or positions that are not finite.
    """
    pos = np.asarray(values, dtype=np.float64)
    if pos.shape != shape:
        raise PluginError(f"positions must be {list(shape)}, got {list(pos.shape)}")
    if not np.isfinite(pos).all():
        node = int(np.flatnonzero(~np.isfinite(pos).all(axis=1))[0])
        raise PluginError(f"the position of node {node} is not finite")
    return pos


def oriented(cells: Mapping[str, IntArray], points: FloatArray) -> dict[str, IntArray]:
    """The cells with their vertices in the order that makes volumes positive.

    Many codes number the vertices of a simplex either way round. Tensor-product cells are turned
    round where the corner at their first vertex says so.
    """
    out = {}
    for name, nodes in cells.items():
        if points.shape[1] != DIM[name]:
            out[name] = nodes
            continue
        corner = points[nodes[:, list(_FIRST_CORNER[name])]]
        turned = np.linalg.det(corner[:, 1:] - corner[:, :1]) < 0
        out[name] = np.where(turned[:, None], nodes[:, list(_TURNED[name])], nodes)
    return out


def nodal(values: Any, count: int, what: str = "the field") -> FloatArray:
    """Nodal values `[count]` or `[count, k]`.

    Raises:
        PluginError: another number of rows, or values that are not finite or real.
    """
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise PluginError(f"{what} is complex: give its real or imaginary part, or its modulus")
    array = array.astype(np.float64)
    if array.ndim not in (1, 2) or len(array) != count:
        raise PluginError(
            f"{what} must have a value for each of {count} nodes, got shape {list(array.shape)}"
        )
    bad = ~np.isfinite(array.reshape(count, -1)).all(axis=1)
    if bad.any():
        raise PluginError(f"{what} is not finite at node {int(np.flatnonzero(bad)[0])}")
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
