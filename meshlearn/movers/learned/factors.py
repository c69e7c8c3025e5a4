"""The factors of a mesh's elliptic solve, kept for its next move."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from ...mesh import Mesh
from ..constraints import Freedom
from ..preconditioner import Preconditioner

FACTORS = "preconditioner of the last learned move"
"""The name under which a topology remembers it."""
_KEPT = 100_000
"""Most nodes for which the factors are kept with the mesh."""


def preconditioner(mesh: Mesh, nodes: Tensor, free: Freedom) -> Preconditioner:
    """That of the last move where positions and freedom are the same, else a new one.

    Args:
        mesh: the reference mesh, whose topology keeps one.
        nodes: simplices at the corners of its cells `[s, d + 1]`.
        free: allowed motions; those on curves and between periodic sides are not kept.
    """
    kept: list[tuple[Tensor, Freedom, Preconditioner]]
    kept = mesh.topology.remember(FACTORS, list)
    if kept and torch.equal(kept[0][0], mesh.pos) and _same(kept[0][1], free):
        return copy(kept[0][2])
    found = Preconditioner(mesh.pos, nodes, free)
    if len(mesh.pos) <= _KEPT:
        kept[:] = [(mesh.pos.clone(), free, copy(found))]
    return found


def _same(one: Freedom, other: Freedom) -> bool:
    if one.tracks or other.tracks or one.ties is not None or other.ties is not None:
        return False
    pairs = [(f.nodes, f.free, f.directions) for f in (one, other)]
    return all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))
