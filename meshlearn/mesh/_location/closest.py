"""Closest points of points, segments and triangles, pair by pair."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def closest_weights(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Barycentric weights of the point of a simplex closest to a query point, for pairs of them.

    Args:
        points: `[p, d]`.
        corners: of the simplices `[p, w, d]`, w = 1 (point), 2 (segment) or 3 (triangle).

    Returns:
        `[p, w]`, in [0, 1] with sum 1.
    """
    if corners.shape[1] == 1:
        return np.ones((len(points), 1))
    if corners.shape[1] == 2:
        return _on_segments(points, corners)
    return _on_triangles(points, corners)


def _on_segments(points: FloatArray, corners: FloatArray) -> FloatArray:
    edge = corners[:, 1] - corners[:, 0]
    length2 = (edge**2).sum(axis=1)
    along = ((points - corners[:, 0]) * edge).sum(axis=1)
    t = np.clip(along / np.where(length2 > 0, length2, 1.0), 0.0, 1.0)
    return np.stack([1 - t, t], axis=1)


def _on_triangles(points: FloatArray, corners: FloatArray) -> FloatArray:
    """The projection to the plane where it falls inside, or the best point of an edge."""
    best, nearest = np.zeros((len(points), 3)), np.full(len(points), np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        pair = corners[:, [i, j]]
        weights = _on_segments(points, pair)
        distance2 = _distance2(points, weights, pair)
        closer = distance2 < nearest
        nearest[closer] = distance2[closer]
        best[closer] = 0.0
        best[closer, i], best[closer, j] = weights[closer].T
    weights = _plane_weights(points, corners)
    # The edges stay in the choice: for nearly flat triangles the projection is not accurate.
    closer = (weights.min(axis=1) >= 0) & (_distance2(points, weights, corners) < nearest)
    best[closer] = weights[closer]
    return best


def _plane_weights(points: FloatArray, corners: FloatArray) -> FloatArray:
    """Barycentric coordinates of the projections to the planes of triangles `[p, 3]`.

    By an orthogonal basis and one step of refinement: normal equations would lose twice the digits.
    """
    b, c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    bb = (b * b).sum(1)
    slope = (c * b).sum(1) / np.where(bb > 0, bb, np.inf)
    height = c - slope[:, None] * b
    hh = (height * height).sum(1)
    v, w = np.zeros(len(points)), np.zeros(len(points))
    for _ in range(2):
        x = points - corners[:, 0] - v[:, None] * b - w[:, None] * c
        up = (x * height).sum(1) / np.where(hh > 0, hh, np.inf)
        v += (x * b).sum(1) / np.where(bb > 0, bb, np.inf) - up * slope
        w += up
    return np.stack([1 - v - w, v, w], axis=1)


def _distance2(points: FloatArray, weights: FloatArray, corners: FloatArray) -> FloatArray:
    """Squared distances between points and weighted corners `[p]`."""
    return ((points - (weights[:, :, None] * corners).sum(axis=1)) ** 2).sum(axis=1)
