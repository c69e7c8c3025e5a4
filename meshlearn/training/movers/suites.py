"""The suites of held-out cases by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .cases import Trial, boxes, cosines, gaussians, helmholtz, polygons, unseen_domains
from .journeys import burgers, drags

SUITES: dict[str, tuple[Callable[[int], Iterator[Trial]], int, str]] = {
    "cosines": (cosines, 10, "Poisson, cos 2πx cos 2πy, square"),
    "gaussians": (gaussians, 40, "Poisson, sums of Gaussians, square"),
    "helmholtz": (helmholtz, 10, "Helmholtz-type, cos 2πy, square"),
    "burgers": (burgers, 4, "Burgers, travelling front, square, mean error on the way"),
    "polygons": (polygons, 1000, "random polygons, meshes and solutions"),
    "domains": (unseen_domains, 6, "L-shape, channel, aerofoil, plate with nine holes"),
    "drag": (drags, 3, "DFG 2D-1, error of the drag after two moves"),
    "boxes": (boxes, 12, "3D boxes and channel"),
}
"""Name: the cases, how many by default, and what they are."""
