"""Features of the boundary and of inner interfaces: corners, tag changes, and how nodes may slide.

A *constraint facet* is a boundary facet, a tagged inner facet, or a facet between cells of
different cell tags: the places that a moving node must not leave.
"""

from __future__ import annotations

import math
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

_FOLDED = 1.0
"""Squared sum of two unit normals at an edge below which it is a knife edge or the end of a crack
(a turn of 120 degrees): there n nᵀ alone takes the two sides for one."""


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

    Unit normals of its constraint facets, and at an edge (in 2D: a node) where the tags change or
    the boundary folds back, all directions but that of the edge.

    Returns:
        Constrained nodes `[k]` (sorted) and `[k, d, d]`, positive semi-definite.
    """
    nodes, normals, tags = _grams(mesh)
    return nodes, normals + tags


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
    nodes, normals, tags = _grams(mesh)
    # Normals that turn by a have a mean of n nᵀ with smallest eigenvalue sin²(a / 2), in 3D half
    # of that (a ridge that turns: the other half of its facets keep their normal).
    mean = normals / normals.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    share = 1 if mesh.dim < 3 else 2
    least = torch.linalg.eigvalsh(mean + tags / share**2)[:, 0]
    turn = math.sin(math.radians(angle) / 2) ** 2 / share
    return nodes[least > turn * (1 + 1e-9)]


def _grams(mesh: Mesh) -> tuple[Tensor, Tensor, Tensor]:
    """Constrained nodes (sorted), and what normals and tag changes add to their `motion_gram`."""
    facets = constraint_facets(mesh)
    nodes = mesh.topology.facets[facets]
    normals = facet_normals(mesh, facets)
    unit = normals / normals.norm(dim=1, keepdim=True)
    outer = unit[:, :, None] * unit[:, None, :]
    shape = (len(mesh.pos), mesh.dim, mesh.dim)
    gram = torch.zeros(shape, dtype=torch.float64, device=unit.device)
    changes = torch.zeros_like(gram)
    for column in nodes.unbind(dim=1):  # a repeated node only weighs its facet more
        gram.index_add_(0, column, outer)
    ends, blocked = _edge_blocks(mesh, facets, nodes, unit)
    changes.index_add_(0, ends, blocked)
    constrained = torch.unique(nodes)
    return constrained, gram[constrained], changes[constrained]


def _edge_blocks(
    mesh: Mesh, facets: Tensor, nodes: Tensor, normals: Tensor
) -> tuple[Tensor, Tensor]:
    """Nodes of edges where the tags change or the boundary folds, and what is blocked there."""
    d = mesh.dim
    label = facet_labels(mesh, facets)
    if d == 1:
        empty = torch.empty(0, dtype=torch.int64, device=nodes.device)
        return empty, mesh.pos.new_empty(0, 1, 1)
    ridge, owner = facet_ridges(nodes)
    unique, inverse = torch.unique(ridge, dim=0, return_inverse=True)
    outer = (mesh.topology.facet_cells[facets, 1] < 0).to(normals)[owner]
    count = outer.new_zeros(len(unique)).index_add(0, inverse, outer)
    total = normals.new_zeros(len(unique), d).index_add(0, inverse, normals[owner] * outer[:, None])
    folded = (count == 2) & ((total**2).sum(dim=1) < _FOLDED)
    changed = unique[~agree(inverse, len(unique), label[owner]) | folded]
    blocked = torch.eye(d, dtype=torch.float64, device=nodes.device).repeat(len(changed), 1, 1)
    if d == 3:
        along = mesh.pos[changed[:, 1]] - mesh.pos[changed[:, 0]]
        along = along / along.norm(dim=1, keepdim=True)
        blocked = blocked - along[:, :, None] * along[:, None, :]
    return changed.reshape(-1), blocked.repeat_interleave(changed.shape[1], dim=0)


def facet_ridges(facets: Tensor) -> tuple[Tensor, Tensor]:
    """Ends of facets, where they meet others: nodes of edges in 2D, edges of facets in 3D.

    Args:
        facets: nodes `[k, nodes per facet]` (a triangle among quads repeats its last node).

    Returns:
        Sorted nodes `[m, 1 or 2]`, and which facet each is of `[m]`.
    """
    owner = torch.arange(len(facets), device=facets.device).repeat_interleave(facets.shape[1])
    if facets.shape[1] == 2:
        return facets.reshape(-1, 1), owner
    pairs = torch.stack([facets, facets.roll(-1, dims=1)], dim=2).reshape(-1, 2)
    proper = pairs[:, 0] != pairs[:, 1]
    return pairs[proper].sort(dim=1).values, owner[proper]


def agree(at: Tensor, count: int, labels: Tensor) -> Tensor:
    """Whether all labels `[k]` that are at a place are the same `[count]`; true at empty ones."""
    big = torch.iinfo(torch.int64)
    low = labels.new_full((count,), big.max).scatter_reduce(0, at, labels, "amin")
    high = labels.new_full((count,), big.min).scatter_reduce(0, at, labels, "amax")
    return low >= high


def facet_labels(mesh: Mesh, facets: Tensor) -> Tensor:
    """A number for each facet, equal where two carry the same set of facet tags `[k]`."""
    if not len(mesh["tagged_facets"]):
        return torch.zeros_like(facets)
    found = {name: mesh.topology.find_facets(t) for name, t in mesh.facet_tags.items()}
    return _labels(found, mesh.topology.num_facets, facets.device)[facets]


def _labels(tagged: Mapping[str, Tensor], count: int, device: torch.device) -> Tensor:
    """A number for each entity such that two are equal where both carry the same set of tags."""
    label = torch.zeros(count, dtype=torch.int64, device=device)
    for entities in tagged.values():
        member = torch.zeros(count, dtype=torch.int64, device=device)
        member[entities] = 1
        _, label = torch.unique(2 * label + member, return_inverse=True)
    return label
