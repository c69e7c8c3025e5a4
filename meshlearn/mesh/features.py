"""Smooth parts of the boundary and of inner interfaces, between the corners and ridges kept sharp.

In 2D the constraint facets form *chains* of edges; in 3D they form *patches*, and the ridges
between these form chains. An angle decides what is sharp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from .boundary import agree, constraint_facets, facet_labels, facet_ridges

if TYPE_CHECKING:
    from .mesh import Mesh


@dataclass(frozen=True)
class Chains:
    """Edges that form curves.

    Attributes:
        edges: `[k, 2]`.
        smooth: nodes of exactly two edges of the same kind that turn by less than the angle
            `[n]`, bool.
    """

    edges: Tensor
    smooth: Tensor


@dataclass(frozen=True)
class Patches:
    """Facets that form surfaces.

    Attributes:
        facets: nodes `[k, nodes per facet]` (a triangle among quads repeats its last node).
        numbers: their indices in the topology `[k]`.
        patch: which patch each is of `[k]`.
        smooth: nodes inside a patch, off its ridges `[n]`, bool.
    """

    facets: Tensor
    numbers: Tensor
    patch: Tensor
    smooth: Tensor


def side_chains(mesh: Mesh, angle: float) -> tuple[Chains, Tensor]:
    """Chains of the constraint facets of a 2D mesh.

    Args:
        mesh: 2D.
        angle: a turn by more (degrees) is a corner.

    Returns:
        The chains, and the index of each edge's facet in the topology `[k]`.
    """
    numbers = constraint_facets(mesh)
    edges = mesh.topology.facets[numbers]
    return _chains(mesh.pos, edges, facet_labels(mesh, numbers), angle), numbers


def patches_and_ridges(mesh: Mesh, angle: float) -> tuple[Patches, Chains]:
    """Patches of the constraint facets of a 3D mesh, and the ridges between them.

    Args:
        mesh: 3D.
        angle: a fold by more (degrees) is a ridge, and a turn of a ridge by more a corner.
    """
    numbers = constraint_facets(mesh)
    facets, labels = mesh.topology.facets[numbers], facet_labels(mesh, numbers)
    pairs, owner = facet_ridges(facets)
    edges, of = torch.unique(pairs, dim=0, return_inverse=True)
    first, second = mesh.pos[pairs[:, 0]], mesh.pos[pairs[:, 1]]
    along = _unit(second - first)
    inward = mesh.pos[facets].mean(dim=1)[owner] - first
    inward = _unit(inward - (inward * along).sum(dim=1, keepdim=True) * along)
    smooth = _smooth(of, len(edges), inward, labels[owner], angle)
    patch = _components(owner, of, smooth, len(facets))
    inside = torch.zeros(len(mesh.pos), dtype=torch.bool, device=facets.device)
    inside[facets.reshape(-1)] = True
    ridges = edges[~smooth]
    inside[ridges.reshape(-1)] = False
    chains = _chains(mesh.pos, ridges, torch.zeros_like(ridges[:, 0]), angle)
    return Patches(facets, numbers, patch, inside), chains


def chain_numbers(edges: Tensor, smooth: Tensor) -> Tensor:
    """Number of the chain of each edge: edges are of one where a smooth node joins them `[k]`."""
    owner = torch.arange(len(edges), device=edges.device).repeat_interleave(2)
    return _components(owner, edges.reshape(-1), smooth, len(edges))


def inflections(pos: Tensor, chains: Chains, flat: Tensor) -> Tensor:
    """Flat smooth nodes between two that bend to opposite sides `[n]`, bool.

    There a curve turns over; it has no straight part.

    Args:
        pos: `[n, d]`.
        chains: edges and smooth nodes.
        flat: nodes that do not turn `[n]`, bool.
    """
    ends, others = chains.edges.reshape(-1), chains.edges.flip(1).reshape(-1)
    bend = torch.zeros_like(pos).index_add(0, ends, _unit(pos[others] - pos[ends]))
    curved = (chains.smooth & ~flat).to(pos)
    both = torch.zeros_like(pos[:, 0]).index_add(0, ends, curved[others])
    total = torch.zeros_like(pos).index_add(0, ends, bend[others])
    squares = torch.zeros_like(both).index_add(0, ends, (bend[others] ** 2).sum(dim=1))
    opposite = (total**2).sum(dim=1) < squares  # |a + b|^2 < |a|^2 + |b|^2
    return chains.smooth & flat & (both == 2) & opposite


def _chains(pos: Tensor, edges: Tensor, labels: Tensor, angle: float) -> Chains:
    ends, others = edges.reshape(-1), edges.flip(1).reshape(-1)
    outward = _unit(pos[others] - pos[ends])
    return Chains(edges, _smooth(ends, len(pos), outward, labels.repeat_interleave(2), angle))


def _smooth(at: Tensor, count: int, direction: Tensor, labels: Tensor, angle: float) -> Tensor:
    """Hinges with two arms of one label that turn by at most `angle` degrees `[count]`.

    Args:
        at: hinge of each arm `[k]`.
        count: number of hinges.
        direction: unit vector away from the hinge `[k, d]`; opposite arms do not turn.
        labels: `[k]`.
        angle: in degrees.
    """
    arms = torch.bincount(at, minlength=count)
    total = direction.new_zeros(count, direction.shape[1]).index_add(0, at, direction)
    most = 2 * math.sin(math.radians(angle) / 2)  # |u + v| of arms that turn by the angle
    straight = (total**2).sum(dim=1) <= most**2 * (1 + 1e-9)
    return (arms == 2) & straight & agree(at, count, labels)


def _components(owner: Tensor, hinge: Tensor, joins: Tensor, count: int) -> Tensor:
    """Number the parts of `count` things that hinges with `joins` connect `[count]`."""
    keep = joins[hinge]
    row, column = owner[keep].cpu().numpy(), hinge[keep].cpu().numpy() + count
    size = count + len(joins)
    graph = sp.coo_array((np.ones(len(row), np.int8), (row, column)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    return torch.from_numpy(label[:count].astype(np.int64)).to(owner.device)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)
