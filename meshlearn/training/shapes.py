"""Sizes of the random domains of data sets."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def ring_area(ring: NDArray[np.float64]) -> float:
    """Area inside a ring of corners `[k, 2]`, either way round."""
    following = np.roll(ring, -1, axis=0)
    return float(abs((ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]).sum()) / 2)


def edge_length(area: float, nodes: int) -> float:
    """Edge length that fills an area with about so many nodes of equilateral triangles."""
    return math.sqrt(2 * area / (math.sqrt(3) * nodes))
