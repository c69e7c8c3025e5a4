"""How evenly a mesh spreads a monitor over its cells."""

from __future__ import annotations

import torch
from torch import Tensor

from ..mesh import Mesh
from ..mesh.geometry import per_cell


def density(value: Tensor) -> Tensor:
    """The scalar density `[n]` of a monitor `[n]`, or sqrt(det M) of a metric `[n, d, d]`."""
    return value if value.dim() == 1 else torch.linalg.det(value).sqrt()


def log_density_gradient(value: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of the logarithm of the density `[n, d]`, from a monitor's value and gradient."""
    if value.dim() == 1:
        return gradient / value[:, None]
    # d log sqrt(det M) = tr(M^-1 dM) / 2
    return torch.einsum("nij,njik->nk", torch.linalg.inv(value), gradient) / 2


def equidistribution(reference: Mesh, mesh: Mesh, value: Tensor) -> tuple[float, float]:
    """Spread of (int_K m dx) / |K_0| over the cells.

    Args:
        reference: the mesh before the move, with cell volumes |K_0|.
        mesh: the mesh on which the monitor was evaluated.
        value: monitor at the nodes of `mesh`, `[n]` or `[n, d, d]`.

    Returns:
        std/mean, weighted by |K_0| (0 is perfect), and max/min (1 is perfect).
    """
    load = cell_density(mesh, density(value)) * mesh.volumes()
    base = reference.volumes()
    ratio = load / base
    mean = load.sum() / base.sum()
    variance = (base * (ratio - mean) ** 2).sum() / base.sum()
    return float(variance.sqrt() / mean), float(ratio.max() / ratio.min())


def cell_density(mesh: Mesh, value: Tensor) -> Tensor:
    """Mean of a nodal field over the corners of each cell `[n_cells]`."""
    return per_cell(mesh, lambda name, _: value[mesh.cells[name]].mean(dim=1))
