"""Projections that keep bounds and mass: flux limiting between the lumped and the full solution.

The lumped solution u_L = b / m is a mean of source values, so it keeps their bounds; the full one,
M u_H = b, is more accurate and does not. They differ by fluxes between degrees of freedom,
m (u_H - u_L) = sum_j M_ij (u_H,i - u_H,j), of which as much is added to u_L as the bounds allow
(Zalesak's limiter); fluxes are antisymmetric, so that no mass is lost. Kuzmin, Moeller, Shadid &
Shashkov, "Failsafe flux limiting and constrained data projections for equations of gas dynamics",
J. Comput. Phys. 229 (2010).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..mesh import MeshError
from .sparse import csr_values, rows_of

_ROUND_OFF = 1e-12


def limited(mass: Tensor, low: Tensor, high: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Move from the lumped towards the full solution as far as bounds allow.

    Args:
        mass: M, CSR `[n, n]`.
        low, high: u_L and u_H `[n, k]`.
        lower, upper: bounds `[n, k]` that u_L keeps.

    Returns:
        `[n, k]` with the mass of u_L.
    """
    row, column, values = rows_of(mass), mass.col_indices(), csr_values(mass)
    lumped = torch.zeros_like(values[:1]).expand(len(low)).index_add(0, row, values)[:, None]
    flux = values[:, None] * (high[row] - high[column])
    gain = torch.zeros_like(low).index_add(0, row, flux.clamp(min=0))
    loss = torch.zeros_like(low).index_add(0, row, flux.clamp(max=0))
    up = _share(lumped * (upper - low), gain)
    down = _share(lumped * (lower - low), loss)
    allowed = torch.where(
        flux > 0, torch.minimum(up[row], down[column]), torch.minimum(down[row], up[column])
    )
    return low + torch.zeros_like(low).index_add(0, row, allowed * flux) / lumped


def with_mass(
    values: Tensor, weights: Tensor, mass: Tensor, lower: Tensor | None, upper: Tensor | None
) -> Tensor:
    """Add what is missing of an integral, within bounds if there are any.

    Without bounds the defect is spread evenly; with bounds in proportion to the room that each
    value has, and where the local bounds have none left, within the global ones.

    Args:
        values: `[n, k]`.
        weights: integral of each basis function `[n]`.
        mass: wanted integrals `[k]`.
        lower, upper: bounds `[n, k]`.

    Raises:
        MeshError: values within the bounds cannot have this integral.
    """
    defect = mass - weights @ values
    if lower is None or upper is None:
        return values + defect / weights.sum()
    negligible = _ROUND_OFF * (weights @ values.abs()) + 1e-300
    for widened in (False, True):
        low = lower.amin(dim=0).expand_as(lower) if widened else lower
        high = upper.amax(dim=0).expand_as(upper) if widened else upper
        room = torch.where(defect > 0, high - values, values - low).clamp(min=0)
        total = weights @ room
        share = torch.where(total > 0, defect / total.clamp(min=1e-300), 0.0)
        values = values + share.clamp(-1, 1) * room
        defect = mass - weights @ values
        if bool((defect.abs() <= negligible).all()):
            return values
    raise MeshError(
        "no field within the bounds has the integral of the source; do both meshes cover the same "
        "domain? Transfer without bounds, or give wider ones"
    )


def _share(room: Tensor, wanted: Tensor) -> Tensor:
    """Part of the wanted change that fits, in [0, 1]."""
    safe = torch.where(wanted == 0, torch.ones_like(wanted), wanted)
    return torch.where(wanted == 0, torch.ones_like(wanted), (room / safe).clamp(0, 1))
