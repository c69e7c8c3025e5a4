"""Monitors from the distance to a boundary: boundary layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ..mesh import Mesh, MeshError
from .field import Field

_CANDIDATES = 16


class WallDistance(Field):
    """1 + a exp(-distance / width): dense near tagged walls.

    Args:
        mesh: background mesh.
        walls: facet tags, or "boundary".
        width: of the layer, in the mesh's units.
        amplitude: a; the density at the wall is 1 + a.
    """

    def __init__(
        self, mesh: Mesh, walls: str | Sequence[str], width: float, amplitude: float = 10.0
    ) -> None:
        if width <= 0:
            raise MeshError(f"the width of the layer must be positive, got {width}")
        distance = wall_distance(mesh, walls)
        super().__init__(mesh, 1 + amplitude * torch.exp(-distance / width))


def wall_distance(mesh: Mesh, walls: str | Sequence[str] = "boundary") -> Tensor:
    """Distance of every node from tagged facets `[n]`, in the mesh's units.

    Exact to the nearest of the facets around the closest wall nodes.

    Raises:
        MeshError: no such facet tag.
    """
    names = [walls] if isinstance(walls, str) else list(walls)
    facets = torch.cat([_facets(mesh, name) for name in names]).cpu().numpy()
    pos = mesh.pos.detach().cpu().numpy()
    corners = pos[facets]
    tree = cKDTree(corners.mean(axis=1))
    count = min(_CANDIDATES, len(facets))
    _, near = tree.query(pos, k=count)
    near = near.reshape(len(pos), count)
    best = np.full(len(pos), np.inf)
    for column in near.T:
        best = np.minimum(best, _to_facets(pos, corners[column]))
    best[np.unique(facets)] = 0.0
    return torch.from_numpy(best).to(mesh.pos.device)


def _facets(mesh: Mesh, name: str) -> Tensor:
    topology = mesh.topology
    if name in mesh.facet_tags:
        return topology.facets[topology.find_facets(mesh.facet_tags[name])]
    if name == "boundary":
        return topology.facets[topology.boundary_facets]
    raise MeshError(
        f"there is no facet tag {name!r}; there are {', '.join(map(repr, mesh.facet_tags))}"
    )


def _to_facets(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance of each point from its segment, triangle or (as two triangles) quad."""
    if corners.shape[1] == 1:
        return np.linalg.norm(points - corners[:, 0], axis=1)
    if corners.shape[1] == 2:
        edge = corners[:, 1] - corners[:, 0]
        square = (edge**2).sum(1)  # 0 where a triangle among quads repeats its last node
        along = ((points - corners[:, 0]) * edge).sum(1) / np.where(square > 0, square, 1)
        foot = corners[:, 0] + np.clip(along, 0, 1)[:, None] * edge
        return np.linalg.norm(points - foot, axis=1)
    if corners.shape[1] == 4:
        halves = [_to_facets(points, corners[:, list(h)]) for h in ((0, 1, 2), (0, 2, 3))]
        return np.minimum(*halves)
    edges = [_to_facets(points, corners[:, list(e)]) for e in ((0, 1), (1, 2), (2, 0))]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = (normal**2).sum(1)
    offset = points - corners[:, 0]
    height = (offset * normal).sum(1) / np.sqrt(np.where(area > 0, area, 1))
    inside = area > 0
    for i, j in ((0, 1), (1, 2), (2, 0)):
        side = np.cross(corners[:, j] - corners[:, i], points - corners[:, i])
        inside &= (side * normal).sum(1) >= 0
    nearest = np.minimum(np.minimum(edges[0], edges[1]), edges[2])
    return np.where(inside, np.abs(height), nearest)
