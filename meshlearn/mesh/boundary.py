"""Features of the boundary and of inner interfaces: corners, tag changes, and how nodes may slide.

A *constraint facet* is a boundary facet, a tagged inner facet, or a facet between cells of
different cell tags: the places that a moving node must not leave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .errors import MeshError
from .geometry import facet_normals

if TYPE_CHECKING:
    from .mesh import Mesh

FLAT_TOLERANCE = 1e-5
"""Neighbouring facets whose normals differ by less (radians) are one flat side."""


def constraint_facets(mesh: Mesh) -> Tensor:
    """Boundary facets, tagged inner facets and facets between cells of different tags `[k]`."""
    topology = mesh.topology
    keep = topology.facet_cells[:, 1] < 0
    if len(mesh["tagged_facets"]):
        keep[topology.find_facets(mesh["tagged_facets"])] = True
    label = _labels(mesh.cell_tags, mesh.num_cells, mesh.pos.device)
    first, second = topology.facet_cells.unbind(dim=1)
    keep |= (second >= 0) & (label[first] != label[second.clamp(min=0)])
    return torch.nonzero(keep).squeeze(1)


def motion_gram(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Sum of n nᵀ over the directions in which each constrained node must not move.

    Unit normals of its constraint facets, and at an edge (in 2D: a node) where the tags change,
    all directions but that of the edge.

    Returns:
        Constrained nodes `[k]` (sorted) and `[k, d, d]`, positive semi-definite.
    """
    facets = constraint_facets(mesh)
    nodes = mesh.topology.facets[facets]
    normals = facet_normals(mesh, facets)
    unit = normals / normals.norm(dim=1, keepdim=True)
    outer = unit[:, :, None] * unit[:, None, :]
    gram = torch.zeros(len(mesh.pos), mesh.dim, mesh.dim, dtype=torch.float64, device=unit.device)
    for column in nodes.unbind(dim=1):  # a repeated node only weighs its facet more
        gram.index_add_(0, column, outer)
    ends, blocked = _tag_changes(mesh, facets, nodes)
    gram.index_add_(0, ends, blocked)
    constrained = torch.unique(nodes)
    return constrained, gram[constrained]


def sliding_directions(
    mesh: Mesh, flat_tolerance: float = FLAT_TOLERANCE
) -> tuple[Tensor, Tensor, Tensor]:
    """Orthonormal directions in which constrained nodes can move without leaving their side.

    The rank of `motion_gram` tells them apart: rank 1 slides in a side, rank 2 in 3D along a
    ridge, full rank is a corner or a node of a curved part.

    Args:
        mesh: cells of the dimension of the space.
        flat_tolerance: radians; see `FLAT_TOLERANCE`.

    Returns:
        Constrained nodes `[k]`, directions as rows `[k, d, d]`, and how many of the first rows are
        free `[k]` (the others are blocked).

    Raises:
        MeshError: a surface or curve in a larger space.
    """
    if mesh.dim != mesh.cell_dim:
        raise MeshError(
            f"{mesh.cell_dim}D cells in {mesh.dim}D: nodes of a surface mesh cannot be moved yet"
        )
    nodes, gram = motion_gram(mesh)
    values, vectors = torch.linalg.eigh(gram)  # ascending: free directions first
    free = (values < flat_tolerance**2 / 2).sum(dim=1)
    return nodes, vectors.transpose(1, 2).contiguous(), free


def corner_nodes(mesh: Mesh, angle: float = 30.0) -> Tensor:
    """Boundary nodes where the boundary turns by more than `angle` degrees or its tags change.

    In 3D a node on a straight ridge (two flat sides meet) is not a corner, unless the ridge turns.

    Returns:
        Node indices, sorted `[k]`.
    """
    nodes, gram = motion_gram(mesh)
    values = torch.linalg.eigvalsh(gram)
    # Two unit normals at an angle a give eigenvalues 1 - cos a and 1 + cos a.
    turn = 1 - torch.cos(torch.deg2rad(torch.tensor(angle, dtype=torch.float64)))
    corner = values[:, 0] >= turn.to(values.device)
    return nodes[corner]


def _tag_changes(mesh: Mesh, facets: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes of edges between constraint facets of different tags, and what is blocked there."""
    d = mesh.dim
    label = torch.zeros(mesh.topology.num_facets, dtype=torch.int64, device=nodes.device)
    if len(mesh["tagged_facets"]):
        found = {name: mesh.topology.find_facets(t) for name, t in mesh.facet_tags.items()}
        label = _labels(found, mesh.topology.num_facets, nodes.device)
    label = label[facets]
    if d == 1:
        empty = torch.empty(0, dtype=torch.int64, device=nodes.device)
        return empty, mesh.pos.new_empty(0, 1, 1)
    width = nodes.shape[1]
    if d == 2:
        ridge, owner = nodes.reshape(-1, 1), label.repeat_interleave(width)
    else:
        pairs = torch.stack([nodes, nodes.roll(-1, dims=1)], dim=2).reshape(-1, 2)
        proper = pairs[:, 0] != pairs[:, 1]
        ridge = pairs.sort(dim=1).values[proper]
        owner = label.repeat_interleave(width)[proper]
    unique, inverse = torch.unique(ridge, dim=0, return_inverse=True)
    big = torch.iinfo(torch.int64)
    low = torch.full((len(unique),), big.max, device=nodes.device).scatter_reduce(
        0, inverse, owner, "amin"
    )
    high = torch.full((len(unique),), big.min, device=nodes.device).scatter_reduce(
        0, inverse, owner, "amax"
    )
    changed = unique[low != high]
    blocked = torch.eye(d, dtype=torch.float64, device=nodes.device).repeat(len(changed), 1, 1)
    if d == 3:
        along = mesh.pos[changed[:, 1]] - mesh.pos[changed[:, 0]]
        along = along / along.norm(dim=1, keepdim=True)
        blocked = blocked - along[:, :, None] * along[:, None, :]
    return changed.reshape(-1), blocked.repeat_interleave(changed.shape[1], dim=0)


def _labels(tagged: Mapping[str, Tensor], count: int, device: torch.device) -> Tensor:
    """A number for each entity such that two are equal where both carry the same set of tags."""
    label = torch.zeros(count, dtype=torch.int64, device=device)
    for entities in tagged.values():
        member = torch.zeros(count, dtype=torch.int64, device=device)
        member[entities] = 1
        _, label = torch.unique(2 * label + member, return_inverse=True)
    return label
