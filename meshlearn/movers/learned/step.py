"""One step of a learned mover: the network's displacement, shortened where it would tangle."""

from __future__ import annotations

import torch
from torch import Tensor

from .state import Problem

_KEEP = 0.1
"""A step may shrink no simplex below this fraction of its volume."""
_FEW = 0.005
"""Share of a graph's simplices that may still shrink when the nodes are shortened one by one."""
_GLOBAL, _LOCAL = 10, 12
"""Most halvings of the whole step of a graph, then of each node's."""


def advance(problem: Problem, pos: Tensor, displacement: Tensor) -> Tensor:
    """The new positions `[n, d]`, every simplex above a tenth of its volume.

    Differentiable in `displacement`; the factors by which it is shortened count as constants.
    """
    with torch.no_grad():
        factor = _factors(problem, pos, displacement)
    return pos + factor[:, None] * displacement


def _factors(problem: Problem, pos: Tensor, displacement: Tensor) -> Tensor:
    """The share of its displacement that each node takes `[n]`: a graph's, then its own."""
    energy, corners = problem.energy, problem.energy.nodes
    floor = _KEEP * energy.volumes(pos)
    graph = problem.simplex_graph
    count = torch.bincount(graph, minlength=problem.graphs)
    factor = torch.ones_like(pos[:, 0])
    for _ in range(_GLOBAL):
        bad = ~(energy.volumes(pos + factor[:, None] * displacement) > floor)
        many = torch.bincount(graph[bad], minlength=problem.graphs) > _FEW * count
        if not bool(many.any()):
            break
        factor = torch.where(many[problem.graph], factor / 2, factor)
    halvings = torch.zeros_like(factor)
    while bool((bad := ~(energy.volumes(pos + factor[:, None] * displacement) > floor)).any()):
        nodes = torch.unique(corners[bad])
        halvings[nodes] += 1
        factor[nodes] *= 0.5
        factor[halvings > _LOCAL] = 0.0
    return factor
