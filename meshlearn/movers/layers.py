"""Boundary layers that keep their shape: they stay, or move as their wall moves."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.geometry import extent

_RIGID = 1e-9
"""Departure of a wall's motion from a rigid one, over the diameter, that rounding explains."""


def layer_nodes(mesh: Mesh, tags: Iterable[str]) -> Tensor:
    """Nodes of the cells with these tags, sorted `[k]`.

    Raises:
        MeshError: not a cell tag.
    """
    names = [tags] if isinstance(tags, str) else list(tags)
    for name in names:
        if name not in mesh.cell_tags:
            known = ", ".join(map(repr, mesh.cell_tags)) or "none"
            raise MeshError(f"rigid names {name!r}, which is no cell tag; there are {known}")
    empty = torch.empty(0, dtype=torch.int64, device=mesh.pos.device)
    return torch.unique(torch.cat([empty, *(mesh.tagged_nodes(name) for name in names)]))


def carried(
    mesh: Mesh, layer: Tensor, moving: Tensor, still: Tensor, displacement: Tensor
) -> tuple[Tensor, Tensor]:
    """Displacement of the nodes of layers from that of their walls.

    A wall that moves rigidly takes its layer along as one body. Otherwise each node of the layer
    goes with the wall node that it is nearest to along the edges of the layer: a column is moved,
    not bent.

    Args:
        mesh: before the motion.
        layer: nodes `[k]`.
        moving, still: nodes whose motion is prescribed, and those that are held `[n]`, bool.
        displacement: of the prescribed nodes `[n, d]`.

    Returns:
        Nodes of the layers `[k]` and their displacement `[k, d]`.

    Raises:
        MeshError: a part of a layer that touches no wall.
    """
    member = torch.zeros(len(mesh.pos), dtype=torch.bool, device=mesh.pos.device)
    member[layer] = True
    edges = mesh.topology.edges
    edges = edges[member[edges].all(dim=1)]
    graph = _graph(mesh, edges)
    count, label = connected_components(graph, directed=False)
    part = torch.from_numpy(label.astype(np.int64)).to(layer.device)
    # The wall of a part is what moves of it, or else what is held.
    moves = torch.zeros(count, dtype=torch.bool, device=layer.device)
    moves[part[member & moving]] = True
    wall = member & torch.where(moves[part], moving, still)
    walled = torch.zeros_like(moves)
    walled[part[wall]] = True
    if not bool(walled[part[layer]].all()):
        lost = int(layer[~walled[part[layer]]][0])
        raise MeshError(
            f"the rigid layer at node {lost} touches no boundary that moves or is held: there is "
            "nothing that it could move with"
        )
    sources = torch.nonzero(wall).squeeze(1).cpu().numpy()
    _, _, nearest = dijkstra(
        graph, directed=False, indices=sources, min_only=True, return_predecessors=True
    )
    base = torch.from_numpy(np.asarray(nearest, np.int64)).to(layer.device)[layer]
    column = displacement[base]
    rigid, body = _rigid_motion(mesh, wall, part, count, displacement)
    turn, shift = body
    as_body = (turn[part[layer]] @ mesh.pos[layer][:, :, None])[:, :, 0] + shift[part[layer]]
    out = torch.where(rigid[part[layer]][:, None], as_body - mesh.pos[layer], column)
    on_wall = wall[layer][:, None]
    return layer, torch.where(on_wall, displacement[layer], out)


def _rigid_motion(
    mesh: Mesh, wall: Tensor, part: Tensor, count: int, displacement: Tensor
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Which parts' walls move rigidly `[c]`, and how: rotation `[c, d, d]`, then shift `[c, d]`.

    The best rotation by the singular value decomposition (Kabsch, Acta Cryst. A 32 (1976)).
    """
    d, at = mesh.dim, part[wall]
    before = mesh.pos[wall]
    after = before + displacement[wall]
    zero = before.new_zeros(count, d)
    weight = before.new_zeros(count).index_add(0, at, torch.ones_like(before[:, 0])).clamp(min=1)
    centres = [zero.index_add(0, at, x) / weight[:, None] for x in (before, after)]
    outer = (after - centres[1][at])[:, :, None] * (before - centres[0][at])[:, None, :]
    u, _, v = torch.linalg.svd(before.new_zeros(count, d, d).index_add(0, at, outer))
    mirror = torch.ones(count, d, dtype=torch.float64, device=before.device)
    mirror[:, -1] = torch.sign(torch.linalg.det(u @ v))
    turn = u @ (mirror[:, :, None] * v)
    shift = centres[1] - (turn @ centres[0][:, :, None])[:, :, 0]
    gap = ((turn[at] @ before[:, :, None])[:, :, 0] + shift[at] - after).norm(dim=1)
    worst = before.new_zeros(count).scatter_reduce(0, at, gap, "amax")
    # A translation is one of columns as well, without rounding.
    turns = (turn - torch.eye(d, dtype=turn.dtype, device=turn.device)).abs().amax(dim=(1, 2))
    return (worst <= _RIGID * extent(mesh)) & (turns > _RIGID), (turn, shift)


def _graph(mesh: Mesh, edges: Tensor) -> sp.csr_array:
    length = (mesh.pos[edges[:, 1]] - mesh.pos[edges[:, 0]]).norm(dim=1).cpu().numpy()
    first, second = edges.cpu().numpy().T
    size = len(mesh.pos)
    return sp.csr_array(sp.coo_array((length, (first, second)), shape=(size, size)))
