"""Straight ways from one valid mesh to another that stay valid from end to end."""

from __future__ import annotations

import torch
from torch import Tensor

from ..mesh import Mesh
from ..mesh.geometry import corner_simplices
from .guard import MIN_RATIO, check_valid, halve, simplex_determinants
from .periodic import Ties

# From values at 0, 1/d, ..., 1 to the inner Bernstein coefficients of a polynomial of degree d.
_INNER = {
    1: [],
    2: [[-0.5, 2.0, -0.5]],
    3: [[-5 / 6, 3.0, -1.5, 1 / 3], [1 / 3, -1.5, 3.0, -5 / 6]],
}


def safe_path(
    mesh: Mesh, goal: Tensor, *, min_ratio: float = MIN_RATIO, tied: Ties | None = None
) -> Tensor:
    """Positions as near to `goal` as nodes can move in straight lines without tangling `[n, d]`.

    On the way each corner Jacobian is a polynomial of degree d in time. It is positive where its
    Bernstein coefficients are (sufficient, and necessary up to a factor for short ways); where they
    are not, the nodes around go half as far, and so on.

    Args:
        mesh: the valid mesh to start from.
        goal: where the nodes should go `[n, d]`.
        min_ratio: smallest allowed coefficient over the corner Jacobian at the start.
        tied: periodic nodes, which go as far as their partners.

    Raises:
        MeshError: the mesh is not valid.
    """
    check_valid(mesh)
    displacement = goal - mesh.pos
    nodes, _ = corner_simplices(mesh)
    start = simplex_determinants(mesh.pos, nodes)
    factor = torch.ones(len(mesh.pos), dtype=torch.float64, device=mesh.pos.device)
    halvings = torch.zeros_like(factor)
    while True:
        step = factor[:, None] * displacement
        bad = ~(_least(mesh, step, nodes, start) > min_ratio * start)
        if not bool(bad.any()):
            return mesh.pos + step
        halve(factor, halvings, torch.unique(nodes[bad]))
        if tied is not None:
            factor = tied.smallest(factor)


def _least(mesh: Mesh, step: Tensor, nodes: Tensor, start: Tensor) -> Tensor:
    """Smallest Bernstein coefficient but the first of each corner Jacobian `[s]`."""
    d = mesh.dim
    later = [simplex_determinants(mesh.pos + k / d * step, nodes) for k in range(1, d + 1)]
    values = torch.stack([start, *later])
    inner = torch.tensor(_INNER[d], dtype=values.dtype, device=values.device).reshape(-1, d + 1)
    return torch.cat([inner @ values, values[-1:]]).amin(dim=0)
