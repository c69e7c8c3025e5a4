"""LeVeque's deformation flow on the unit square, and the shapes that are carried in it.

R. J. LeVeque, "High-resolution conservative algorithms for advection in incompressible flow",
SIAM J. Numer. Anal. 33 (1996) 627-665: the flow turns round at half the period, so that everything
is back at its place at its end, however strongly it was drawn out in between.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .advection import Advection
from .base import Function


def swirl(initial: Function, period: float = 1.5) -> Advection:
    """Advection in the deformation flow; the exact solution is known at multiples of the period.

    Args:
        initial: u at the start, `[m, 2] -> [m]`, on the unit square.
        period: after which all is back.
    """
    return Advection(
        swirl_velocity,
        initial,
        speed=lambda t: math.cos(math.pi * t / period),
        exact=lambda x, t: initial(x),
    )


def swirl_velocity(x: Tensor) -> Tensor:
    """The flow at t = 0, `[m, 2] -> [m, 2]`; none crosses the sides of the unit square."""
    once, twice = torch.sin(torch.pi * x), torch.sin(2 * torch.pi * x)
    return torch.stack([once[:, 0] ** 2 * twice[:, 1], -(once[:, 1] ** 2) * twice[:, 0]], dim=1)


def rotation(initial: Function, centre: tuple[float, float] = (0.5, 0.5)) -> Advection:
    """Solid-body rotation, one turn in a unit of time; the exact solution is known at all times."""

    def about(x: Tensor) -> Tensor:
        return x - torch.tensor(centre).to(x)

    def velocity(x: Tensor) -> Tensor:
        a, b = about(x).unbind(dim=1)
        return 2 * math.pi * torch.stack([-b, a], dim=1)

    def exact(x: Tensor, t: float) -> Tensor:
        cosine, sine = math.cos(2 * math.pi * t), math.sin(2 * math.pi * t)
        a, b = about(x).unbind(dim=1)
        before = torch.stack([cosine * a + sine * b, cosine * b - sine * a], dim=1)
        return initial(before + torch.tensor(centre).to(x))

    return Advection(velocity, initial, exact=exact)


def bump(x: Tensor, centre: tuple[float, float] = (0.25, 0.5), radius: float = 0.15) -> Tensor:
    """LeVeque's smooth hump, (1 + cos(pi r)) / 4 within the radius `[m]`."""
    r = ((x - torch.tensor(centre).to(x)).norm(dim=1) / radius).clamp(max=1)
    return (1 + torch.cos(torch.pi * r)) / 4


def slotted_disc(
    x: Tensor, centre: tuple[float, float] = (0.5, 0.75), radius: float = 0.15
) -> Tensor:
    """Zalesak's disc, 1 in a disc with a slot a third of its radius wide, 0 outside `[m]`."""
    a, b = (x - torch.tensor(centre).to(x)).unbind(dim=1)
    slot = (a.abs() < radius / 6) & (b < 2 / 3 * radius)
    return ((a**2 + b**2 < radius**2) & ~slot).to(x.dtype)


def cone(x: Tensor, centre: tuple[float, float] = (0.5, 0.25), radius: float = 0.15) -> Tensor:
    """LeVeque's cone, 1 - r within the radius `[m]`."""
    r = (x - torch.tensor(centre).to(x)).norm(dim=1) / radius
    return (1 - r).clamp(min=0)
