r"""Forced Burgers equation on a periodic interval, by WENO5.

    u_t + (u^2 / 2)_x = nu u_xx + f(x, t),    u(x, 0) = f(x, 0),    x in [0, L), L = 16
    f = sum_j A_j sin(w_j t + 2 pi l_j x / L + phi_j),    j = 1 ... 5

with A in [-0.5, 0.5], w in [-0.4, 0.4], l in {1, 2, 3}, phi in [0, 2 pi), nu in [0, 0.2]: problem
E2 of Brandstetter, Worrall & Welling, ICLR 2022. In space finite differences: WENO5 (Jiang & Shu,
J. Comput. Phys. 126, 1996) of the split fluxes (u^2 / 2 +- a u) / 2 with a = max |u|, and
differences of order 4 for u_xx; in time the Runge-Kutta method of order 3 of Shu & Osher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...mesh import Mesh, MeshError

LENGTH = 16.0
"""Of the interval."""


@dataclass(frozen=True)
class Forcing:
    """Sums of sine waves for a batch of runs; all attributes `[runs, waves]`, see the module."""

    amplitude: Tensor
    frequency: Tensor
    waves: Tensor
    phase: Tensor

    def __call__(self, x: Tensor, time: float) -> Tensor:
        """Values at points `x [n]`: `[runs, n]`."""
        turns = 2 * math.pi * self.waves[:, :, None] * x / LENGTH
        angle = self.frequency[:, :, None] * time + turns + self.phase[:, :, None]
        return (self.amplitude[:, :, None] * angle.sin()).sum(dim=1)


def drawn(runs: int, seed: int) -> tuple[Forcing, Tensor]:
    """Forcing and viscosities `[runs]` of as many runs; the same for the same seed."""
    rng = np.random.default_rng(seed)
    shape = (runs, 5)
    forcing = Forcing(
        torch.from_numpy(rng.uniform(-0.5, 0.5, shape)),
        torch.from_numpy(rng.uniform(-0.4, 0.4, shape)),
        torch.from_numpy(rng.integers(1, 4, shape)).double(),
        torch.from_numpy(rng.uniform(0, 2 * math.pi, shape)),
    )
    return forcing, torch.from_numpy(rng.uniform(0, 0.2, runs))


def ring(n: int) -> tuple[Mesh, Tensor]:
    """A line mesh of `n` nodes closed by an edge from last to first, and its points `[n]`."""
    x = LENGTH / n * torch.arange(n, dtype=torch.float64)
    first = torch.arange(n - 1)
    cells = torch.cat([torch.stack([first, first + 1], dim=1), torch.tensor([[0, n - 1]])])
    # the last cell lies over the others: the interval has no room for a ring
    return Mesh.from_cells(x[:, None], {"line": cells}, allow=["nonmanifold"]), x


def solved(
    forcing: Forcing,
    nu: Tensor,
    n: int,
    steps: int,
    duration: float = 4.0,
    *,
    begin: float = 0.0,
    first: Tensor | None = None,
) -> Tensor:
    """States at equal times, `[runs, steps + 1, n]`.

    Args:
        forcing: of the runs.
        nu: viscosities `[runs]`.
        n: points.
        steps: states after the start.
        duration: time from the start to the last.
        begin: time of the start.
        first: the start `[runs, n]`; by default the forcing at its time.

    Raises:
        MeshError: fewer points than the stencil has.
    """
    if n < 6:
        raise MeshError(f"WENO5 needs at least 6 points, got {n}")
    h = LENGTH / n
    x = h * torch.arange(n, dtype=torch.float64)
    u = forcing(x, begin) if first is None else first
    dt = duration / steps
    # below the limits of stability of transport at |u| <= 4 and of diffusion
    inner = math.ceil(dt * max(4 / (0.6 * h), float(nu.max()) / (0.3 * h * h)))
    tau, states = dt / inner, [u]

    def rate(u: Tensor, time: float) -> Tensor:
        return transported(u, h) + nu[:, None] * curvature(u, h) + forcing(x, time)

    for k in range(steps):
        for j in range(inner):
            time = begin + k * dt + j * tau
            one = u + tau * rate(u, time)
            two = 0.75 * u + 0.25 * (one + tau * rate(one, time + tau))
            u = u / 3 + 2 / 3 * (two + tau * rate(two, time + tau / 2))
        states.append(u)
    return torch.stack(states, dim=1)


def transported(u: Tensor, h: float) -> Tensor:
    """-(u^2 / 2)_x of periodic values `[runs, n]` at spacing `h`."""
    speed = u.abs().amax(dim=1, keepdim=True)
    right, left = (u * u / 2 + speed * u) / 2, (u * u / 2 - speed * u) / 2
    # flux at the point half-way to the next: from the left, and the mirror image from the right
    flux = _upwind(right) + _upwind(left.flip(1)).flip(1).roll(-1, 1)
    return (flux.roll(1, 1) - flux) / h


def curvature(u: Tensor, h: float) -> Tensor:
    """u_xx of periodic values `[runs, n]` at spacing `h`, of order 4."""
    near, far = u.roll(1, 1) + u.roll(-1, 1), u.roll(2, 1) + u.roll(-2, 1)
    return (16 * near - far - 30 * u) / (12 * h * h)


def _upwind(f: Tensor) -> Tensor:
    """WENO5 flux half-way to the next point, for what moves to the right."""
    a, b, c, d, e = (f.roll(s, 1) for s in (2, 1, 0, -1, -2))
    parts = (
        (2 * a - 7 * b + 11 * c) / 6,
        (-b + 5 * c + 2 * d) / 6,
        (2 * c + 5 * d - e) / 6,
    )
    rough = (
        13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4,
        13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4,
        13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4,
    )
    weights = [g / (1e-6 + r) ** 2 for g, r in zip((0.1, 0.6, 0.3), rough, strict=True)]
    blend = sum(w * p for w, p in zip(weights, parts, strict=True))
    return blend / (weights[0] + weights[1] + weights[2])
