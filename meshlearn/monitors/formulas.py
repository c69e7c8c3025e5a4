"""Monitors from formulas: bells, balls and rings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..mesh import MeshError
from .base import Function


def ball(
    centre: Sequence[float], radius: float, amplitude: float = 10.0, width: float = 200.0
) -> Function:
    """1 + a / cosh^2(b (|x - c|^2 - r^2)): dense at the surface of a ball (in 2D: a ring).

    McRae, Cotter & Budd, SIAM J. Sci. Comput. 40 (2018).

    Args:
        centre: `[d]`.
        radius: r; 0 gives a bell at the centre.
        amplitude: a.
        width: b, per length squared.
    """
    if amplitude <= -1:
        raise MeshError(f"amplitude must be above -1 for a positive monitor, got {amplitude}")
    middle = torch.tensor(list(centre), dtype=torch.float64)

    def density(x: Tensor) -> Tensor:
        if x.shape[1] != len(middle):
            raise MeshError(f"the centre has {len(middle)} coordinates, the mesh {x.shape[1]}")
        distance = ((x - middle.to(x.device)) ** 2).sum(dim=1) - radius**2
        # 4 e^-2|z| / (1 + e^-2|z|)^2 is 1 / cosh^2 z without overflow.
        decay = torch.exp(-2 * (width * distance).abs())
        return 1 + amplitude * 4 * decay / (1 + decay) ** 2

    return Function(density)


ring = ball
