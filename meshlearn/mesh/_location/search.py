"""Exact search: the simplex that holds a point, or the nearest boundary facet."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .boxes import BoxTree
from .closest import closest_weights

IntArray = NDArray[np.int64]
IndexArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]

_CHUNK = 4096  # points whose candidate facets are held at once


class Search:
    """Finds points that a walk did not, however the mesh looks.

    Args:
        pos: node positions `[n, d]`.
        simplices: `[m, d + 1]`.
        gradients: of the last d barycentric coordinates `[m, d, d]`.
        neighbours: simplex across the facet opposite to each corner `[m, d + 1]`, -1 for none.
        component: component of each simplex `[m]`, or None where there are none.
        tolerance: distance up to which a point counts as inside.
    """

    def __init__(
        self,
        pos: FloatArray,
        simplices: IntArray,
        gradients: FloatArray,
        neighbours: IndexArray,
        component: IndexArray | None,
        tolerance: float,
    ) -> None:
        self._pos, self._simplices, self._gradients = pos, simplices, gradients
        self._component, self._tolerance = component, tolerance
        self._owner, self._opposite = np.nonzero(neighbours < 0)
        width = simplices.shape[1]
        others = np.array([[j for j in range(width) if j != i] for i in range(width)])
        self._others = others[self._opposite]  # local corners of each boundary facet
        self._facets = np.take_along_axis(simplices[self._owner], self._others, axis=1)
        self._lower, self._upper = pos.min(axis=0), pos.max(axis=0)

    def find(
        self, x: FloatArray, component: IndexArray | None
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """Locate points.

        Returns:
            Simplex `[q]`, barycentric coordinates `[q, d + 1]` and distance `[q]`; for a point in
            no simplex those of the nearest boundary point.
        """
        simplex, coordinates, inside = self._containing(x, component)
        distance = np.zeros(len(x))
        away = np.flatnonzero(~inside)
        for begin in range(0, len(away), _CHUNK):
            part = away[begin : begin + _CHUNK]
            own = None if component is None else component[part]
            simplex[part], coordinates[part], distance[part] = self._nearest(x[part], own)
        return simplex, coordinates, distance

    def _containing(
        self, x: FloatArray, component: IndexArray | None
    ) -> tuple[IntArray, FloatArray, NDArray[np.bool_]]:
        """The first simplex that holds each point up to the tolerance, and whether one does."""
        radius = np.full(len(x), self._tolerance)
        query, candidate = self._cells.within(self._lifted(x, component), radius)
        values = self.coordinates(x[query], candidate)
        gradients = self._gradients[candidate]
        slopes = np.concatenate([-gradients.sum(axis=1, keepdims=True), gradients], axis=1)
        # How far beyond the facets' planes: in a flat simplex a coordinate alone says little.
        beyond = (-values / np.linalg.norm(slopes, axis=2)).max(axis=1)
        gap = np.where(beyond <= self._tolerance, 0.0, np.inf)
        rim = np.flatnonzero((gap == 0) & (values.min(axis=1) < 0))
        values[rim], gap[rim] = self._on_facets(x[query[rim]], candidate[rim])
        first = _first_of_each(query, gap, candidate)
        simplex, inside = np.zeros(len(x), np.int64), np.zeros(len(x), bool)
        coordinates = np.zeros((len(x), x.shape[1] + 1))
        simplex[query[first]] = candidate[first]
        coordinates[query[first]] = values[first]
        inside[query[first]] = gap[first] <= self._tolerance
        return simplex, coordinates, inside

    def coordinates(self, x: FloatArray, simplex: IntArray | IndexArray) -> FloatArray:
        """Barycentric coordinates `[p, d + 1]` of points in given simplices, however flat.

        The residual of the position they stand for is put through the gradients once more, as in
        iterative refinement: without it, points in a simplex of aspect ratio a are off by a times
        the round-off.
        """
        corners, gradients = self._pos[self._simplices[simplex]], self._gradients[simplex]
        last = np.zeros_like(x)
        for _ in range(2):
            reached = (last[:, :, None] * (corners[:, 1:] - corners[:, :1])).sum(axis=1)
            last += (gradients * (x - corners[:, 0] - reached)[:, None]).sum(axis=2)
        return np.concatenate([1 - last.sum(axis=1, keepdims=True), last], axis=1)

    def _on_facets(self, x: FloatArray, simplex: IntArray) -> tuple[FloatArray, FloatArray]:
        """Coordinates of the nearest point of any facet of a simplex `[p, d + 1]`, and the gap."""
        width = self._simplices.shape[1]
        best, nearest = np.zeros((len(x), width)), np.full(len(x), np.inf)
        for i in range(width):
            others = [j for j in range(width) if j != i]
            corners = self._pos[self._simplices[simplex][:, others]]
            weights = closest_weights(x, corners)
            gap = np.linalg.norm(x - (weights[:, :, None] * corners).sum(axis=1), axis=1)
            closer = gap < nearest
            nearest[closer] = gap[closer]
            full = np.zeros((int(closer.sum()), width))
            full[:, others] = weights[closer]
            best[closer] = full
        return best, nearest

    def _nearest(
        self, x: FloatArray, component: IndexArray | None
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """The nearest point of the boundary (of equals that of the first facet)."""
        tree, nodes = self._boundary_nodes
        # Any node of the right component bounds the distance; inside the bounding box, the
        # nearest in the lifted space is one.
        reached = x if component is None else np.clip(x, self._lower, self._upper)
        node = nodes[tree.query(self._lifted(reached, component))[1]]
        radius = np.linalg.norm(x - self._pos[node], axis=1) * (1 + 1e-9)
        query, facet = self._boundary.within(self._lifted(x, component), radius)
        corners = self._pos[self._facets[facet]]
        weights = closest_weights(x[query], corners)
        gap = np.linalg.norm(x[query] - (weights[:, :, None] * corners).sum(axis=1), axis=1)
        first = _first_of_each(query, gap, facet)
        chosen = facet[first]
        coordinates = np.zeros((len(x), x.shape[1] + 1))
        np.put_along_axis(coordinates, self._others[chosen], weights[first], axis=1)
        return self._owner[chosen], coordinates, gap[first]

    # -- trees, built when first needed --------------------------------------------------------

    @cached_property
    def _cells(self) -> BoxTree:
        return self._boxes(self._simplices, self._component)

    @cached_property
    def _boundary(self) -> BoxTree:
        own = None if self._component is None else self._component[self._owner]
        return self._boxes(self._facets, own)

    @cached_property
    def _boundary_nodes(self) -> tuple[cKDTree, IntArray]:
        nodes, where = np.unique(self._facets, return_index=True)
        owner = self._owner[where // self._facets.shape[1]]
        own = None if self._component is None else self._component[owner]
        return cKDTree(self._lifted(self._pos[nodes], own)), nodes

    def _boxes(self, nodes: IntArray, component: IndexArray | None) -> BoxTree:
        corners = self._pos[nodes]
        return BoxTree(
            self._lifted(corners.min(axis=1), component),
            self._lifted(corners.max(axis=1), component),
        )

    def _lifted(self, x: FloatArray, component: IndexArray | None) -> FloatArray:
        """Append a coordinate that keeps components apart, where there are any."""
        if component is None:
            return x
        far = 4 * float(np.linalg.norm(self._upper - self._lower))
        return np.column_stack([x, component * far])


def _first_of_each(query: IntArray, value: FloatArray, candidate: IntArray) -> IntArray:
    """Positions of the pair of smallest value, then smallest candidate, of each query."""
    order = np.lexsort((candidate, value, query))
    new = np.ones(len(order), bool)
    new[1:] = query[order][1:] != query[order][:-1]
    return order[new]
