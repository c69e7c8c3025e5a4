"""One step of a learned mover: the network's displacement, shortened where it would tangle."""

from __future__ import annotations

import torch
from torch import Tensor

from ..guard import halve
from .state import Problem

_KEEP = 0.1
"""A step may shrink no simplex below this fraction of its volume."""
FEW = 0.005
"""Share of a graph's simplices that may still shrink when the nodes are shortened one by one."""
_GLOBAL, _LOCAL = 10, 12
"""Most halvings of the whole step of a graph, then of each node's."""


def advance(problem: Problem, pos: Tensor, displacement: Tensor, few: float = FEW) -> Tensor:
    """The new positions `[n, d]`, every simplex above a tenth of its volume.

    Differentiable in `displacement`; the factors by which it is shortened count as constants.

    Args:
        problem: of the move.
        pos: valid positions `[n, d]`.
        displacement: `[n, d]`.
        few: share of a graph's simplices that may shrink too far when nodes are shortened one by
            one; at 0 only the step of a whole graph is, and stays smooth.
    """
    with torch.no_grad():
        factor = _factors(problem, pos, displacement, few)
    return pos + factor[:, None] * displacement


def _factors(problem: Problem, pos: Tensor, displacement: Tensor, few: float = FEW) -> Tensor:
    """The share of its displacement that each node takes `[n]`: a graph's, then its own."""
    energy, corners = problem.energy, problem.energy.nodes
    floor = _KEEP * energy.volumes(pos)
    graph = problem.simplex_graph
    count = torch.bincount(graph, minlength=problem.graphs)
    factor, whole = torch.ones_like(pos[:, 0]), _GLOBAL
    halvings = torch.zeros_like(factor)
    while bool((bad := ~(energy.volumes(pos + factor[:, None] * displacement) > floor)).any()):
        many = torch.bincount(graph[bad], minlength=problem.graphs) > few * count
        if whole and bool(many.any()):
            factor[many[problem.graph]] *= 0.5
            whole -= 1
        else:
            halve(factor, halvings, torch.unique(corners[bad]), _LOCAL)
            whole = 0
    return factor
