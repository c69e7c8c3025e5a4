"""Curved cells follow the move of their vertices. Needs numpy only.

The displacement of the vertices is interpolated to the other geometry nodes, linearly on simplices,
multilinearly on quads and hexahedra, so a side whose vertices stay keeps its curve exactly. Where a
curved cell would turn inside out, only the displacement of its vertices is shortened.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .arrays import Arrays, FloatArray, Geometry, PluginError

MIN_RATIO = 1e-3
"""A Jacobian may not fall below this fraction of the smallest one of its cell before the move."""
_HALVINGS = 12
_EXACT = 1e-10
"""A geometry node whose weight is so near to 1 is that vertex."""
_VERTICES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "line": ((0,), (1,)),
    "triangle": ((0, 0), (1, 0), (0, 1)),
    "quad": ((0, 0), (1, 0), (1, 1), (0, 1)),
    "tetra": ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "hexahedron": (
        *((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)),
        *((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
    ),
}
_CUBES = ("line", "quad", "hexahedron")


def reference_vertices(cell: str) -> FloatArray:
    """Vertices of the unit cell `[vertices, dim]`.

    Raises:
        PluginError: a cell type whose curved cells are not supported.
    """
    if cell not in _VERTICES:
        raise PluginError(f"curved {cell} cells are not supported, only {', '.join(_VERTICES)}")
    return np.array(_VERTICES[cell], dtype=np.float64)


def follow(arrays: Arrays, pos: FloatArray) -> FloatArray:
    """Coordinates of all geometry nodes after the vertices have moved to `pos` `[N, d]`."""
    geometry = arrays.geometry
    if geometry is None:
        return pos
    displacement = pos - arrays.points
    out = geometry.coordinates.copy()
    for cell, nodes in arrays.cells.items():
        weights = _Basis(cell, reference_vertices(cell)).values(geometry.reference[cell])
        step = np.einsum("mv,kvd->kmd", weights, displacement[nodes])
        index = geometry.nodes[cell]
        moved = geometry.coordinates[index] + step
        vertex = np.abs(weights - 1).argmin(axis=1)
        exact = np.abs(weights[np.arange(len(weights)), vertex] - 1) < _EXACT
        moved[:, exact] = pos[nodes[:, vertex[exact]]]  # without the round-off of the sum
        out[index.reshape(-1)] = moved.reshape(-1, out.shape[1])
    return out


def shortened(arrays: Arrays, pos: FloatArray) -> FloatArray:
    """Positions as near to `pos` as keep every curved cell, and its straight one, valid `[n, d]`.

    Raises:
        PluginError: a curved cell is not valid before the move.
    """
    if arrays.geometry is None:
        return pos
    straight = replace(arrays, geometry=_straight(arrays))
    before = [_smallest(form, arrays.points) for form in (arrays, straight)]
    worst = min(float(least.min()) for each in before for least in each.values())
    if worst <= 0:
        raise PluginError(
            "a curved cell is turned inside out before the move (its smallest Jacobian is "
            f"{worst:.3g}); repair the mesh first"
        )
    displacement, factor = pos - arrays.points, np.ones(len(pos))
    while True:
        moved = arrays.points + factor[:, None] * displacement
        bad = []
        for form, floor in zip((arrays, straight), before, strict=True):
            now = _smallest(form, moved)
            bad += [
                arrays.cells[cell][least <= MIN_RATIO * floor[cell]].reshape(-1)
                for cell, least in now.items()
            ]
        hit = np.unique(np.concatenate(bad))
        if not len(hit):
            return np.where((factor == 1)[:, None], pos, moved)
        factor[hit] *= 0.5
        factor[factor < 0.5**_HALVINGS] = 0.0


def _straight(arrays: Arrays) -> Geometry:
    """The geometry of the cells of the vertices alone."""
    reference = {cell: reference_vertices(cell) for cell in arrays.cells}
    return Geometry(arrays.points, arrays.cells, reference)


def _smallest(arrays: Arrays, pos: FloatArray) -> dict[str, FloatArray]:
    """Smallest sampled Jacobian of each cell, positive in a valid cell `{type: [k]}`."""
    geometry = arrays.geometry
    assert geometry is not None
    coordinates = follow(arrays, pos)
    out = {}
    for cell, nodes in geometry.nodes.items():
        basis = _Basis(cell, geometry.reference[cell])
        slopes = basis.gradients(_samples(cell, basis.degree))
        jacobians = np.einsum("qmj,kmi->kqij", slopes, coordinates[nodes])
        determinant = np.linalg.det(jacobians)
        # Some codes number cells either way round: the side that a cell was on before counts.
        at_start = np.einsum("qmj,kmi->kqij", slopes[:1], geometry.coordinates[nodes])
        out[cell] = (determinant * np.sign(np.linalg.det(at_start))).min(axis=1)
    return out


def _samples(cell: str, degree: int) -> FloatArray:
    """Points of the reference cell where Jacobians are looked at: a lattice `[q, dim]`."""
    dim, steps = len(_VERTICES[cell][0]), 2 * degree if degree > 1 else 1
    lattice = np.array(list(itertools.product(range(steps + 1), repeat=dim)))
    if cell not in _CUBES:
        lattice = lattice[lattice.sum(axis=1) <= steps]
    return lattice / steps


class _Basis:
    """Lagrange basis with given nodes on a reference cell."""

    def __init__(self, cell: str, nodes: FloatArray) -> None:
        dim, count = nodes.shape[1], len(nodes)
        for degree in range(1, 8):
            powers = np.array(list(itertools.product(range(degree + 1), repeat=dim)))
            if cell not in _CUBES:
                powers = powers[powers.sum(axis=1) <= degree]
            if len(powers) == count:
                break
        else:
            raise PluginError(
                f"{cell} cells with {count} geometry nodes are not supported: they are not a "
                "complete Lagrange element of degree 1 to 7"
            )
        self.degree, self._powers = degree, powers
        self._coefficients = np.linalg.inv(self._monomials(nodes))

    def values(self, points: FloatArray) -> FloatArray:
        """`[q, m]`."""
        return self._monomials(points) @ self._coefficients

    def gradients(self, points: FloatArray) -> FloatArray:
        """`[q, m, dim]`."""
        dim = points.shape[1]
        parts = []
        for axis in range(dim):
            lowered = self._powers.copy()
            lowered[:, axis] = np.maximum(lowered[:, axis] - 1, 0)
            slope = self._powers[:, axis] * (points[:, None, :] ** lowered).prod(axis=2)
            parts.append(slope @ self._coefficients)
        return np.stack(parts, axis=2)

    def _monomials(self, points: FloatArray) -> FloatArray:
        monomials: FloatArray = (points[:, None, :] ** self._powers).prod(axis=2)
        return monomials
