"""Exact incompressible flows that the tests of flow problems share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from meshlearn.fem.reference import gradient_of, laplacian_of

Function = Callable[[Tensor], Tensor]


def eddies(x: Tensor) -> Tensor:
    """A smooth velocity without divergence in the plane."""
    a, b = x.unbind(dim=1)
    return torch.stack(
        [torch.sin(2 * a) * torch.cos(3 * b), -torch.cos(2 * a) * torch.sin(3 * b) * 2 / 3], 1
    )


def swirls(x: Tensor) -> Tensor:
    """A smooth velocity without divergence in space."""
    a, b, c = x.unbind(dim=1)
    return torch.stack([torch.sin(2 * b) * c, torch.cos(2 * c) + a, torch.sin(2 * a) * b], 1)


def waves(x: Tensor) -> Tensor:
    """A smooth pressure."""
    return torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, 1])


def body_force(velocity: Function, pressure: Function, nu: float, inertia: float = 0.0) -> Function:
    """f = inertia (u . grad) u - nu lap u + grad p."""

    def force(x: Tensor) -> Tensor:
        dim = x.shape[1]
        parts = [partial(_component, velocity, k) for k in range(dim)]
        viscous = torch.stack([laplacian_of(part)(x) for part in parts], dim=1)
        slope = torch.stack([gradient_of(part)(x) for part in parts], dim=1)
        carried = torch.einsum("mij,mj->mi", slope, velocity(x))
        return inertia * carried - nu * viscous + gradient_of(pressure)(x)

    return force


def kovasznay(reynolds: float) -> tuple[Function, Function]:
    """Velocity and pressure of the steady flow behind a grid, an exact solution of Navier-Stokes.

    L. I. G. Kovasznay, Math. Proc. Camb. Phil. Soc. 44 (1948) 58-62.
    """
    rate = reynolds / 2 - (reynolds**2 / 4 + 4 * torch.pi**2) ** 0.5

    def velocity(x: Tensor) -> Tensor:
        decay, phase = torch.exp(rate * x[:, 0]), 2 * torch.pi * x[:, 1]
        across = rate / (2 * torch.pi) * decay * torch.sin(phase)
        return torch.stack([1 - decay * torch.cos(phase), across], dim=1)

    return velocity, lambda x: -torch.exp(2 * rate * x[:, 0]) / 2


def _component(function: Function, k: int, x: Tensor) -> Tensor:
    return function(x)[:, k]
