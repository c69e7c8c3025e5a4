"""Losses of movers: all differentiable in the node positions, none needs a label but the last.

- `energy`: logarithm of the Huang-Kamenski energy, equidistribution and alignment;
- `uniformity`: spread of the monitor's integral over the cells around each node;
- `solution_error`: logarithm of the true L2 error of our own solve on the moved mesh;
- `barrier`: smooth, grows where cells come near inversion;
- `volumes`, `chamfer`, `coordinates`: distances from a target mesh (UM2N, UM2N, M2N).
"""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from ...fem.p1 import simplex_volumes
from ...mesh import Mesh
from ...movers.equidistribution import density, log_density_gradient
from ...movers.learned.state import Problem, State
from ...problems import Helmholtz
from .samples import squared_error


def energy(pos: Tensor, state: State) -> Tensor:
    """log E at `pos` `[n, d]`; `state` is the problem's look at the same positions.

    The gradient is the exact one of the functional, monitor included.
    """
    total = state.energy.sum()
    slope = (state.gradient / total).detach()
    surrogate = (slope * pos).sum()
    return torch.log(total).detach() + surrogate - surrogate.detach()


def uniformity(problem: Problem, pos: Tensor, state: State) -> Tensor:
    """Mean over the nodes of the variance of log(m_K |K| / |K_0|) over the cells around them."""
    corners = problem.energy.nodes
    value, slope = density(state.sample.value), state.sample.gradient
    if slope.dim() > 2:
        slope = value[:, None] * log_density_gradient(state.sample.value, slope)
    # First order in the motion: the monitor is sampled, not differentiated through.
    moving = value + (slope * (pos - pos.detach())).sum(dim=1)
    volume = simplex_volumes(pos, corners)
    load = torch.log(moving[corners].mean(dim=1) * volume / problem.energy.reference_volume)
    width = corners.shape[1]
    flat = corners.reshape(-1)
    spread = load.repeat_interleave(width)
    count = torch.bincount(flat, minlength=len(pos)).clamp(min=1)
    mean = torch.zeros_like(moving).index_add(0, flat, spread) / count
    return ((spread - mean[flat]) ** 2).mean()


def solution_error(mesh: Mesh, pos: Tensor, problem: Helmholtz, before: float) -> Tensor:
    """log(e / e_0) of the L2 error of a solve on the mesh moved to `pos`.

    Args:
        before: squared error e_0^2 of the solve on `mesh`.
    """
    return 0.5 * torch.log(squared_error(problem, problem.solve(mesh.moved(pos))) / before)


def barrier(problem: Problem, pos: Tensor, floor: float = 0.1) -> Tensor:
    """Mean of softplus(floor - |K| / |K_0|), scaled to 1 at inversion: small on valid meshes."""
    ratio = simplex_volumes(pos, problem.energy.nodes) / problem.energy.reference_volume
    sharp = 4 / floor
    scale = torch.nn.functional.softplus(torch.tensor(4.0, dtype=pos.dtype))
    return (torch.nn.functional.softplus(sharp * (floor - ratio)) / scale).mean()


def volumes(mesh: Mesh, pos: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of cell volumes over the mean volume (UM2N's loss).

    Args:
        target: positions of the target mesh `[n, d]`.
    """
    wanted = mesh.moved(target).volumes()
    return (mesh.moved(pos).volumes() - wanted).abs().mean() / wanted.mean()


def chamfer(pos: Tensor, target: Tensor) -> Tensor:
    """Mean squared distance of each node from the nearest of the other mesh, both ways (UM2N).

    Args:
        pos, target: positions `[n, d]` and `[k, d]`.
    """
    here, there = pos.detach().cpu().numpy(), target.detach().cpu().numpy()
    nearest = torch.from_numpy(cKDTree(there).query(here)[1]).to(pos.device)
    back = torch.from_numpy(cKDTree(here).query(there)[1]).to(pos.device)
    ahead = ((pos - target[nearest]) ** 2).sum(dim=1).mean()
    return ahead + ((target - pos[back]) ** 2).sum(dim=1).mean()


def coordinates(mesh: Mesh, pos: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of coordinates over the mean size of a cell (M2N's loss)."""
    size = mesh.volumes().abs().mean() ** (1 / mesh.dim)
    return (pos - target).abs().mean() / size
