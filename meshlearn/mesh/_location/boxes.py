"""A static tree of bounding boxes, searched for all query points at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..reorder import z_order

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

_FANOUT = 8
_CHUNK = 8192


class BoxTree:
    """Boxes `[m, k]` in Morton order under levels of eight-fold unions.

    Unlike a uniform grid it does not care how box sizes vary, and unlike a tree of centroids it
    misses no box, however long.

    Args:
        lower: lower corners `[m, k]`.
        upper: upper corners `[m, k]`.
    """

    def __init__(self, lower: FloatArray, upper: FloatArray) -> None:
        self._order = _morton_order((lower + upper) / 2)
        lower, upper = lower[self._order], upper[self._order]
        self._levels = [_padded(lower, upper)]
        while len(self._levels[-1][0]) > _FANOUT:
            low, high = self._levels[-1]
            k = low.shape[1]
            low = low.reshape(-1, _FANOUT, k).min(axis=1)
            high = high.reshape(-1, _FANOUT, k).max(axis=1)
            self._levels.append(_padded(low, high))

    def within(self, points: FloatArray, radius: FloatArray) -> tuple[IntArray, IntArray]:
        """All pairs of a point and a box not farther from it than its radius.

        Args:
            points: `[q, k]`.
            radius: `[q]`.

        Returns:
            Indices of points (sorted) and of boxes, one entry a pair.
        """
        found = [
            self._within(points[begin : begin + _CHUNK], radius[begin : begin + _CHUNK], begin)
            for begin in range(0, len(points), _CHUNK)
        ]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        return np.concatenate([q for q, _ in found]), np.concatenate([b for _, b in found])

    def _within(
        self, points: FloatArray, radius: FloatArray, begin: int
    ) -> tuple[IntArray, IntArray]:
        top = np.arange(len(self._levels[-1][0]))
        query = np.repeat(np.arange(len(points)), len(top))
        node = np.tile(top, len(points))
        for depth, (low, high) in enumerate(reversed(self._levels)):
            if depth:
                query = np.repeat(query, _FANOUT)
                node = (node[:, None] * _FANOUT + np.arange(_FANOUT)).ravel()
            gap2 = np.zeros(len(query))
            for axis in range(points.shape[1]):
                x = points[query, axis]
                gap = np.maximum(low[node, axis] - x, x - high[node, axis])
                gap2 += np.maximum(gap, 0.0) ** 2
            near = np.flatnonzero(gap2 <= radius[query] ** 2)
            query, node = query[near], node[near]
        return query + begin, self._order[node]


def _padded(lower: FloatArray, upper: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fill up to a multiple of the fan-out with boxes that nothing is near."""
    missing = -len(lower) % _FANOUT
    if not missing:
        return lower, upper
    shape = (missing, lower.shape[1])
    return (
        np.concatenate([lower, np.full(shape, np.inf)]),
        np.concatenate([upper, np.full(shape, -np.inf)]),
    )


def _morton_order(points: FloatArray) -> IntArray:
    """Order of points along a Z-curve `[m]`."""
    k = points.shape[1]
    bits = 62 // k
    low = points.min(axis=0)
    extent = np.maximum(points.max(axis=0) - low, np.finfo(float).tiny)
    cell = np.minimum((points - low) / extent * 2.0**bits, 2.0**bits - 1).astype(np.int64)
    return z_order(cell, bits)
