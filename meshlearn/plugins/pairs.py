"""Periodic sides: the nodes of a pair move alike."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.geometry import corner_simplices
from ..movers.constraints import Freedom, Slide, freedom
from ..movers.guard import MIN_RATIO, simplex_determinants

_HALVINGS = 12
_BLOCKED = 1e-10
"""Squared sine of an angle from which a direction counts as blocked."""


def together(
    mesh: Mesh,
    moved: Mesh,
    pairs: Tensor,
    fixed: Iterable[str] | Tensor = (),
    slide: Slide = "flat",
) -> Mesh:
    """The moved mesh with one displacement for all nodes that are the same by pairs.

    It is their mean, in the directions that all of them may take; where a cell would tangle, all
    nodes of the groups in it go back towards where they were (see `movers.guard`).

    Args:
        mesh: the valid mesh before the move.
        moved: after it.
        pairs: nodes `[k, 2]`, the sides a translation apart; a corner is in several pairs.
        fixed, slide: see `Mover.move`.

    Raises:
        MeshError: a pair names a node that does not exist.
    """
    group, size = groups(mesh.num_nodes, pairs)
    displacement = moved.pos - mesh.pos
    shared = _shared(group, displacement, freedom(mesh, fixed, slide))
    alone = (size == 1)[group][:, None]
    displacement = torch.where(alone, displacement, shared[group])
    nodes, _ = corner_simplices(mesh)
    floor = MIN_RATIO * simplex_determinants(mesh.pos, nodes)
    factor = torch.ones(len(size), dtype=torch.float64)
    halvings = torch.zeros_like(factor)
    while True:
        pos = mesh.pos + factor[group][:, None] * displacement
        bad = ~(simplex_determinants(pos, nodes) > floor)
        if not bool(bad.any()):
            return moved.moved(pos)
        hit = torch.unique(group[nodes[bad]])
        halvings[hit] += 1
        factor[hit] *= 0.5
        factor[halvings > _HALVINGS] = 0.0


def groups(num_nodes: int, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Group of each node `[n]` and number of nodes of each group: those that pairs connect.

    Raises:
        MeshError: not pairs, or a node that does not exist.
    """
    if pairs.dim() != 2 or pairs.shape[1] != 2:
        raise MeshError(f"pairs must be nodes [k, 2], got shape {list(pairs.shape)}")
    outside = (pairs < 0) | (pairs >= num_nodes)
    if bool(outside.any()):
        raise MeshError(
            f"pairs name node {int(pairs[outside][0])}, but there are {num_nodes} nodes"
        )
    first, second = pairs.numpy().T
    graph = coo_array((np.ones(len(pairs)), (first, second)), shape=(num_nodes, num_nodes))
    _, label = connected_components(graph, directed=False)
    group = torch.from_numpy(label.astype(np.int64))
    return group, torch.bincount(group)


def _shared(group: Tensor, displacement: Tensor, free: Freedom) -> Tensor:
    """Mean displacement of each group, in the directions that all of its nodes may take."""
    count, d = int(group.max()) + 1, displacement.shape[1]
    total = displacement.new_zeros(count, d).index_add_(0, group, displacement)
    mean = total / torch.bincount(group)[:, None]
    stays = torch.arange(d) >= free.free[:, None]
    rows = free.directions * stays[:, :, None]
    blocked = displacement.new_zeros(count, d, d)
    blocked.index_add_(0, group[free.nodes], rows.transpose(1, 2) @ rows)
    values, vectors = torch.linalg.eigh(blocked)
    open_ = vectors * (values < _BLOCKED)[:, None, :]
    shared = (open_ @ (open_.transpose(1, 2) @ mean[:, :, None]))[:, :, 0]
    shared[(values >= _BLOCKED).all(dim=1)] = 0.0
    return shared
