"""One step of a learned mover: the network's displacement, shortened where it would tangle."""

from __future__ import annotations

import torch
from torch import Tensor

from ..corners import FACTORIAL
from ..guard import halve, simplex_determinants
from .state import Problem

_KEEP = 0.1
"""A step may shrink no simplex below this fraction of its volume."""
FEW = 0.005
"""Share of a graph's simplices that may still shrink when the nodes are shortened one by one."""
_SHORTEST, _LOCAL = 2.0**-10, 12
"""Smallest share of the step of a whole graph; most halvings of each node's."""
_ROUNDS = 12
"""Rounds of shortening nodes one by one after which the whole step is too long: each round takes
the damage one ring further."""


def advance(problem: Problem, pos: Tensor, displacement: Tensor, few: float = FEW) -> Tensor:
    """The new positions `[n, d]`, every simplex above a tenth of its volume.

    Differentiable in `displacement`; the factors by which it is shortened count as constants.

    Args:
        problem: of the move.
        pos: valid positions `[n, d]`.
        displacement: `[n, d]`.
        few: see `shortened`.
    """
    factor, _ = shortened(problem, pos, displacement, few)
    return pos + factor[:, None] * displacement


@torch.no_grad()
def shortened(
    problem: Problem, pos: Tensor, displacement: Tensor, few: float = FEW
) -> tuple[Tensor, Tensor]:
    """The share of its displacement that each node takes, and that of its whole graph.

    Args:
        problem: of the move.
        pos: valid positions `[n, d]`.
        displacement: `[n, d]`.
        few: share of a graph's simplices that may shrink too far when nodes are shortened one by
            one; at 0 only the step of a whole graph is, and stays smooth.

    Returns:
        Factors `[n]` and `[graphs]`: powers of 1/2, the graph's and then the node's own.
    """
    energy, graph = problem.energy, problem.simplex_graph
    floor = _KEEP * energy.volumes(pos)
    most = few * torch.bincount(graph, minlength=problem.graphs)
    whole = torch.ones(problem.graphs, dtype=pos.dtype, device=pos.device)
    while True:
        factor = whole[problem.graph]
        moved = pos + factor[:, None] * displacement
        bad = torch.nonzero(~(energy.volumes(moved) > floor)).squeeze(1)
        if not len(bad):
            return factor, whole
        long = torch.bincount(graph[bad], minlength=problem.graphs) > most
        if not bool(long.any()):
            left = _one_by_one(problem, pos, displacement, factor, floor, bad)
            if not len(left):
                return factor, whole
            long[graph[left]] = True
        whole[long] = torch.where(whole[long] > _SHORTEST, whole[long] / 2, 0.0)


def _one_by_one(
    problem: Problem, pos: Tensor, displacement: Tensor, factor: Tensor, floor: Tensor, bad: Tensor
) -> Tensor:
    """Shorten the steps of the nodes of bad simplices, in place; the simplices still bad `[k]`."""
    corners, halvings = problem.energy.nodes, torch.zeros_like(factor)
    for _ in range(_ROUNDS):
        hit = torch.unique(corners[bad])
        halve(factor, halvings, hit, _LOCAL)
        # Only what touches these nodes has changed.
        near = problem.around(hit)
        at = corners[near]
        local, flat = torch.arange(at.numel(), device=at.device).view_as(at), at.reshape(-1)
        moved = pos[flat] + factor[flat, None] * displacement[flat]
        bad = near[~(simplex_determinants(moved, local) > FACTORIAL[pos.shape[1]] * floor[near])]
        if not len(bad):
            break
    return bad
