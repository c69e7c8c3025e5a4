"""The monitors that the published movers were trained with."""

from __future__ import annotations

import torch
from torch import Tensor

from ...fem.recovery import recover
from ...mesh import Mesh
from ...monitors import Field, Hessian
from ...monitors.solution import mean_value

_ROUND_OFF = 1e-9
"""The largest of a Hessian that is not zero is 5 before smoothing: less is noise of the filter."""


def um2n_monitor(mesh: Mesh, u: Tensor) -> Field:
    """1 + 5 q / max q, q the squared Frobenius norm of the recovered Hessian (UM2N)."""

    def squared(value: Tensor) -> Tensor:
        norm = value - 1
        largest = norm.max()
        return 1 + 5 * (norm / largest) ** 2 if largest > _ROUND_OFF else torch.ones_like(value)

    return Hessian(mesh, u, "frobenius", 5.0).map(squared)


def dmm_monitor(mesh: Mesh, u: Tensor, share: float) -> Field:
    """1 + |grad u| / (share * mean |grad u|); the paper's share is 0.01 (DMM)."""
    slope = recover(mesh, u).gradient.norm(dim=1)
    mean = float(mean_value(mesh, slope))
    return Field(mesh, 1 + slope / (share * mean) if mean > 0 else 1 + 0 * slope)
