"""Points of a regular grid over the bounding box of each mesh of a batch.

Everything is in the coordinates of the box, [0, 1]^d: a radius means the same share of every
domain, and the network is told the sides of the box.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fem.p1 import lumped_mass
from ..mesh import Mesh, MeshError
from .extension import boxes


@dataclass(frozen=True)
class LatentGrid:
    """Grids of one size over the meshes of a batch.

    Attributes:
        graphs: how many.
        size: points along each axis.
        points: of all grids, one after the other, the last axis running fastest
            `[graphs * size^d, d]`.
        graph: of each point.
        volume: that belongs to a point.
        nodes: of the mesh `[n, d]`, in the coordinates of the boxes.
        node_graph: of each node `[n]`.
        node_volume: of each node `[n]`, in those coordinates.
        sides: logarithms of the sides of the boxes `[graphs, d]`, float32.
    """

    graphs: int
    size: int
    points: Tensor
    graph: Tensor
    volume: Tensor
    nodes: Tensor
    node_graph: Tensor
    node_volume: Tensor
    sides: Tensor


def latent_grid(mesh: Mesh, size: int, margin: float = 0.0) -> LatentGrid:
    """Middles of size^d equal boxes that fill the bounding box of each mesh.

    Args:
        mesh: a mesh or batch.
        size: points along each axis.
        margin: by which the grid is larger than the box on each side, in units of the box.

    Raises:
        MeshError: fewer than 2 points along an axis, a negative margin, or a mesh without extent
            along an axis.
    """
    if size < 2 or margin < 0:
        raise MeshError(
            f"a grid has at least 2 points a side and no negative margin: {size}, {margin}"
        )
    graph, lower, sides = boxes(mesh)
    if not bool((sides > 0).all()):
        raise MeshError("a latent grid needs meshes with an extent along every axis")
    graphs, dim = sides.shape
    step = (1 + 2 * margin) / size
    along = -margin + step * (torch.arange(size).to(lower) + 0.5)
    one = torch.cartesian_prod(*([along] * dim)).reshape(-1, dim)
    count = len(one)
    points = one.repeat(graphs, 1)
    nodes = (mesh.pos.detach() - lower[graph]) / sides[graph]
    return LatentGrid(
        graphs=graphs,
        size=size,
        points=points,
        graph=torch.arange(graphs, device=points.device).repeat_interleave(count),
        volume=points.new_full((len(points),), step**dim),
        nodes=nodes,
        node_graph=graph,
        node_volume=lumped_mass(mesh).detach() / sides.prod(dim=1)[graph],
        sides=sides.log().float(),
    )
