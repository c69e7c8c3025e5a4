"""Where to start walking: a uniform grid of nearby simplices, a KD-tree where cells crowd."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float64]

_MOST_BINS_PER_SIMPLEX = 4
_CROWD = 32  # a walk across a bin of more centroids costs more than a look into the tree


class SeedGrid:
    """Maps points to simplices whose centroids are near.

    Args:
        centroids: `[m, d]`.
        lower: lower corner of the mesh's bounding box `[d]`.
        upper: upper corner `[d]`.
        volume: total volume of the simplices.
        component: component of each simplex `[m]`; seeds stay within it.
        num_components: number of components.
    """

    def __init__(
        self,
        centroids: FloatArray,
        lower: FloatArray,
        upper: FloatArray,
        volume: float,
        component: IntArray,
        num_components: int,
    ) -> None:
        m, extent = len(centroids), upper - lower
        self._centroids, self._component, self._lower = centroids, component, lower
        # One bin per simplex where the domain is, unless the domain hardly fills its box.
        wanted = min(m * float(np.prod(extent)) / volume, _MOST_BINS_PER_SIMPLEX * float(m))
        wanted = max(wanted / num_components, 1.0)
        self._shape = _bin_counts(extent, wanted)
        self._scale = self._shape / extent
        bins = self._bins(centroids, component)
        count = int(np.prod(self._shape)) * num_components
        self._crowded = np.bincount(bins, minlength=count) > _CROWD
        self._any_crowded = bool(self._crowded.any())
        seed = np.full(count, -1, np.int32)
        seed[bins[::-1]] = np.arange(m - 1, -1, -1, dtype=np.int32)
        for block in seed.reshape(num_components, *self._shape):
            if (block < 0).all():
                continue  # no cell has this component
            nearest = ndimage.distance_transform_edt(
                block < 0, sampling=1 / self._scale, return_distances=False, return_indices=True
            )
            block[...] = block[tuple(nearest)]
        self._seed = seed

    def find(self, points: FloatArray, component: IntArray | None) -> IntArray:
        """A simplex near each of the points `[q, d] -> [q]`."""
        bins = self._bins(points, component)
        seeds = self._seed[bins]
        if self._any_crowded:
            dense = np.flatnonzero(self._crowded[bins])
            lifted = self._lifted(points[dense], None if component is None else component[dense])
            seeds[dense] = self._tree.query(lifted)[1]
        return seeds

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._lifted(self._centroids, self._component))

    def _lifted(self, points: FloatArray, component: IntArray | None) -> FloatArray:
        """Keep components apart by a coordinate of their own (which the tree sees as far away)."""
        far = 4 * float(np.linalg.norm(self._shape / self._scale))
        own = np.zeros(len(points)) if component is None else component * far
        return np.column_stack([points, own])

    def _bins(self, points: FloatArray, component: IntArray | None) -> NDArray[np.int64]:
        bins = np.zeros(len(points), np.int64) if component is None else component.astype(np.int64)
        for axis, count in enumerate(self._shape):
            position = (points[:, axis] - self._lower[axis]) * self._scale[axis]
            bins *= count
            bins += np.clip(position, 0, count - 1).astype(np.int64)
        return bins


def _bin_counts(extent: FloatArray, wanted: float) -> NDArray[np.int64]:
    """Bins along each axis, about `wanted` in all and about cubic, at least one each."""
    counts = np.ones(len(extent), np.int64)
    thick = np.argsort(extent)  # thin directions first: what they cannot use goes to the others
    for position, axis in enumerate(thick):
        rest = thick[position:]
        side = (float(np.prod(extent[rest] / extent[axis])) / wanted) ** (1 / len(rest))
        counts[axis] = max(1, round(1 / side))
        wanted = max(wanted / counts[axis], 1.0)
    return counts
