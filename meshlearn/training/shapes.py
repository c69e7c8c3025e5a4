"""Shapes and sizes of the random domains of data sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..mesh import Mesh, generate

Floats = NDArray[np.float64]


def ring_area(ring: Floats) -> float:
    """Area inside a ring of corners `[k, 2]`, either way round."""
    following = np.roll(ring, -1, axis=0)
    return float(abs((ring[:, 0] * following[:, 1] - ring[:, 1] * following[:, 0]).sum()) / 2)


def edge_length(area: float, nodes: int) -> float:
    """Edge length that fills an area with about so many nodes of equilateral triangles."""
    return math.sqrt(2 * area / (math.sqrt(3) * nodes))


def circle(centre: Floats | float, radius: float, corners: int = 12) -> Floats:
    """Corners `[k, 2]` of a regular polygon."""
    angle = 2 * np.pi * np.arange(corners) / corners
    return np.asarray(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def meshed_polygon(
    rng: np.random.Generator, outer: Floats, holes: Sequence[Floats], nodes: int
) -> Mesh:
    """A random mesh of a polygon with holes, of about so many nodes."""
    h = edge_length(ring_area(outer) - sum(ring_area(hole) for hole in holes), nodes)
    return generate.polygon(outer, h=h, holes=holes, seed=int(rng.integers(2**31)))


def with_sides(mesh: Mesh, sides: Mapping[str, Callable[[Tensor], Tensor]]) -> Mesh:
    """The mesh with names for parts of its boundary.

    Args:
        mesh: of any dimension; its own names of facets are dropped.
        sides: says of points `[m, d]` which are on a side; a facet is where all its nodes are.
    """
    facets = mesh.topology.facets[mesh.topology.boundary_facets]
    corners = mesh.pos[facets]
    tags = {
        name: facets[inside(corners.flatten(0, 1)).reshape(facets.shape).all(dim=1)]
        for name, inside in sides.items()
    }
    return Mesh.from_cells(mesh.pos, dict(mesh.cells), facet_tags=tags)
