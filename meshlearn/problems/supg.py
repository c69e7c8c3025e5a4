"""The streamline-upwind Petrov-Galerkin method: element length along the flow and its parameter."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fem.elements import reference_element, vertices
from ..fem.mapping import mapping
from ..mesh import Mesh

_TINY = 1e-30


def corner_slopes(mesh: Mesh) -> Tensor:
    """Gradients of the linear or multilinear functions of the corners at each cell's centre.

    Returns:
        `[n_cells, nodes, d]` in canonical order; cells with fewer corners have zeros at the end.
    """
    width = max(nodes.shape[1] for nodes in mesh.cells.values())
    parts, order = [], []
    for cell, nodes in mesh.cells.items():
        centre = vertices(cell).mean(dim=0, keepdim=True)
        inverse = torch.stack(
            [torch.stack(row)[:, 0] for row in mapping(mesh, cell, centre).inverse]
        )
        _, slope = reference_element("P1", cell).tabulate(centre)
        local = torch.einsum("ka,aic->cki", slope[0].to(inverse), inverse)
        parts.append(torch.nn.functional.pad(local, (0, 0, 0, width - nodes.shape[1])))
        order.append(mesh.cell_ids[cell])
    return torch.cat(parts)[torch.cat(order).argsort()]


def stabilisation(velocity: Tensor, diffusion: float, slopes: Tensor) -> Tensor:
    """The parameter tau = h / (2 |b|) (coth Pe - 1 / Pe) with Pe = |b| h / (2 k).

    Brooks & Hughes, Comput. Methods Appl. Mech. Eng. 32 (1982) 199-259; h = 2 |b| / sum_i |b.grad
    N_i| is the length of the cell along the flow (Tezduyar & Park, ibid. 59 (1986) 307-325).

    Args:
        velocity: b `[m, d]`.
        diffusion: k >= 0.
        slopes: `corner_slopes` of the cell of each point `[m, nodes, d]`.

    Returns:
        `[m]`.
    """
    across = torch.einsum("mki,mi->mk", slopes, velocity).abs().sum(dim=1) + _TINY
    if diffusion == 0:
        return 1 / across
    peclet = (velocity**2).sum(dim=1) / (across * diffusion)
    small = peclet < 1e-2
    safe = torch.where(small, torch.ones_like(peclet), peclet)
    factor = torch.where(small, peclet / 3 - peclet**3 / 45, 1 / torch.tanh(safe) - 1 / safe)
    return factor / across
