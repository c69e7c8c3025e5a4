"""The one function that every move ends with: what leaves it is a valid mesh of the same domain.

A step that would tangle the mesh is shortened where it would, not everywhere: the nodes of bad
cells go back towards where they were, halfway at a time, until every corner Jacobian is positive
and not below a small fraction of the original one. The start is valid, so this always ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.geometry import corner_simplices, determinant, extent
from .constraints import Freedom

MIN_RATIO = 1e-6
"""A corner Jacobian may not fall below this fraction of its original value."""
HALVINGS = 12
"""A node that had to go back more often stays where it was."""
_DISTANCE = 1e-12
"""Departure from a side, over the diameter of the domain, that rounding explains."""


def guard(mesh: Mesh, pos: Tensor, free: Freedom, *, min_ratio: float = MIN_RATIO) -> Tensor:
    """Positions as near to `pos` as needed for a valid mesh `[n, d]`.

    Args:
        mesh: the valid mesh before the move.
        pos: proposed positions `[n, d]`.
        free: how nodes may move; what leaves a side is put back on it.
        min_ratio: smallest allowed corner Jacobian over its original value.

    Returns:
        Positions with no inverted or degenerate cell, constrained nodes on their sides and fixed
        nodes unmoved (bit for bit); equal to the projected `pos` where that is valid.

    Raises:
        MeshError: the mesh before the move is not valid.
    """
    check_valid(mesh)
    displacement = _allowed(mesh, pos, free)
    displacement[free.nodes[free.free == 0]] = 0.0
    nodes, _ = corner_simplices(mesh)
    floor = min_ratio * simplex_determinants(mesh.pos, nodes)
    factor = torch.ones(len(mesh.pos), dtype=torch.float64, device=mesh.pos.device)
    halvings = torch.zeros_like(factor)
    while True:
        moved = free.retract(mesh.pos + factor[:, None] * displacement)
        bad = ~(simplex_determinants(moved, nodes) > floor)
        if bool(bad.any()):
            hit = torch.unique(nodes[bad])
        elif free.stretch is not None and len(longer := free.stretch.beyond(moved)):
            hit = longer
        elif free.curved and volume_error(mesh, mesh.moved(moved)) > free.tolerance:
            hit = torch.cat([track.nodes for track in free.tracks])
        else:
            return moved
        halve(factor, halvings, hit)
        if free.ties is not None:
            factor = free.ties.smallest(factor)


def halve(factor: Tensor, halvings: Tensor, nodes: Tensor, most: int = HALVINGS) -> None:
    """Halve the share of its step that each of some nodes takes, in place; 0 after `most` times.

    Args:
        factor: shares `[n]`.
        halvings: how often each was halved `[n]`.
        nodes: `[k]`, each once.
        most: see above.
    """
    halvings[nodes] += 1
    factor[nodes] = torch.where(halvings[nodes] > most, 0.0, factor[nodes] / 2)


def _allowed(mesh: Mesh, pos: Tensor, free: Freedom) -> Tensor:
    """Displacement to the nearest allowed positions; values that are not finite count as none."""
    shift = torch.nan_to_num(pos - mesh.pos, nan=0.0, posinf=0.0, neginf=0.0)
    if not free.curved:
        return free.project(shift)
    return free.place(mesh.pos + shift) - mesh.pos


def check_valid(mesh: Mesh) -> None:
    """Raise `MeshError` if a cell is inverted: movers start from valid meshes."""
    bad = mesh.inverted_cells()
    if len(bad):
        raise MeshError(
            f"{len(bad)} of {mesh.num_cells} cells are inverted before the move, first cell "
            f"{int(bad[0])}; repair the mesh first"
        )


def shortened(mesh: Mesh, pos: Tensor, moved: Tensor, free: Freedom) -> int:
    """How many nodes the guard kept from reaching their allowed position."""
    wanted = _allowed(mesh, pos, free)
    scale = extent(mesh) * _DISTANCE
    return int(((moved - mesh.pos - wanted).norm(dim=1) > scale).sum())


def boundary_error(mesh: Mesh, moved: Tensor, free: Freedom) -> float:
    """Largest distance of a constrained node from its side over the diameter of the domain."""
    if not len(free.nodes):
        return 0.0
    return float(free.departure(moved - mesh.pos).max()) / extent(mesh)


def volume_error(mesh: Mesh, moved: Mesh) -> float:
    """Largest relative change of the measure of the domain and of each cell-tagged part."""
    before, after = mesh.volumes(), moved.volumes()
    parts = [torch.arange(mesh.num_cells), *(ids for ids in mesh.cell_tags.values() if len(ids))]
    sums = [(float(before[ids].sum()), float(after[ids].sum())) for ids in parts]
    return max(abs(b - a) / abs(a) for a, b in sums)


def simplex_determinants(pos: Tensor, nodes: Tensor) -> Tensor:
    """Determinants of the edge vectors of simplices `[s, d + 1] -> [s]`."""
    points = pos.index_select(0, nodes.reshape(-1)).view(*nodes.shape, pos.shape[1])
    return determinant(points[:, 1:] - points[:, :1])
