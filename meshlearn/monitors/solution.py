"""Monitors from a nodal field: gradient, arc length, Hessian."""

from __future__ import annotations

import math
from typing import Literal

import torch
from scipy.optimize import brentq
from torch import Tensor

from ..fem.p1 import lumped_mass
from ..fem.recovery import recover
from ..mesh import Mesh, MeshError
from .field import Field

HessianKind = Literal["l2", "frobenius", "metric"]

_CONSTANT, _LINEAR = 1e-13, 1e-10
"""Variation, and curvature along any edge, of a field relative to its size that is but round-off:
its derivatives are noise that the monitors would scale up."""


class Gradient(Field):
    """1 + a |grad u|^2 / max |grad u|^2.

    Args:
        mesh: mesh of the field, kept as background mesh.
        u: nodal field `[n]`, or several `[n, k]` (their squared gradients add up).
        amplitude: a; the density at the steepest node is 1 + a.
    """

    def __init__(self, mesh: Mesh, u: Tensor, amplitude: float = 1.0) -> None:
        square = _squared_gradient(mesh, u)
        largest = square.max()
        super().__init__(mesh, 1 + amplitude * square / largest if largest > 0 else 1 + 0 * square)


class ArcLength(Field):
    """sqrt(1 + a^2 |grad u|^2): equal arc length of the graph of a u.

    Args:
        mesh: mesh of the field, kept as background mesh.
        u: nodal field `[n]`, or several `[n, k]`.
        scale: a; by default 1 over the mean of |grad u|, so that the scale of u does not matter.
    """

    def __init__(self, mesh: Mesh, u: Tensor, scale: float | None = None) -> None:
        square = _squared_gradient(mesh, u)
        if scale is None:
            mean = mean_value(mesh, square.sqrt())
            scale = float(1 / mean) if mean > 0 else 0.0
        super().__init__(mesh, (1 + scale**2 * square).sqrt())


class Hessian(Field):
    """Density or metric from the recovered Hessian of a field.

    With ||H|| the Frobenius norm and d the dimension:

    - "l2": (1 + ||H|| / a)^g with g = 2 d / (d + 4), the density that minimises the L2 error of
      linear interpolation, a such that (||H|| / a)^g has mean `strength` (Huang & Russell,
      *Adaptive Moving Mesh Methods*, 2011, ch. 2);
    - "frobenius": 1 + strength ||H|| / max ||H||;
    - "metric": the anisotropic counterpart of "l2",
      det(I + |H| / a)^(-1 / (d + 4)) (I + |H| / a), a such that the mean density is 1 + strength.

    Args:
        mesh: mesh of the field, kept as background mesh.
        u: nodal field `[n]`, or several `[n, k]` (their |H| add up, each over its largest).
        kind: see above.
        strength: share of the nodes that the monitor gets: 1 spreads half of them evenly over the
            domain, 3 a quarter.
        smoothing: length of the Helmholtz filter, in the mesh's units; by default 0.7 times the
            mean distance of nodes (recovered Hessians are noisy at that scale). 0 switches it off.
    """

    def __init__(
        self,
        mesh: Mesh,
        u: Tensor,
        kind: HessianKind = "l2",
        strength: float = 3.0,
        smoothing: float | None = None,
    ) -> None:
        if kind not in ("l2", "frobenius", "metric"):
            raise MeshError(f'kind must be "l2", "frobenius" or "metric", got {kind!r}')
        if strength <= 0:
            raise MeshError(f"strength must be positive, got {strength}")
        size = _absolute_hessian(mesh, u)
        values = {"l2": _l2_density, "frobenius": _frobenius, "metric": _l2_metric}[kind](
            mesh, size, strength
        )
        length = 0.7 * mean_size(mesh) if smoothing is None else smoothing
        super().__init__(mesh, Field(mesh, values).smoothed(length).values)


def _is_constant(u: Tensor) -> bool:
    return bool(u.max() - u.min() <= _CONSTANT * u.abs().max())


def _is_linear(mesh: Mesh, u: Tensor, hessian: Tensor) -> bool:
    first, second = mesh.topology.edges.unbind(dim=1)
    edge = mesh.pos[second] - mesh.pos[first]
    curved = torch.einsum("ei,eij,ej->e", edge, (hessian[first] + hessian[second]) / 2, edge)
    return bool(curved.abs().max() <= _LINEAR * u.abs().max())


def _columns(u: Tensor) -> list[Tensor]:
    return list(u.reshape(len(u), -1).unbind(dim=1))


def _squared_gradient(mesh: Mesh, u: Tensor) -> Tensor:
    parts = [
        (recover(mesh, column).gradient ** 2).sum(dim=1) * (not _is_constant(column))
        for column in _columns(u)
    ]
    return torch.stack(parts).sum(dim=0)


def _absolute_hessian(mesh: Mesh, u: Tensor) -> Tensor:
    """|H| `[n, d, d]`: the recovered Hessian with absolute eigenvalues, summed over fields."""
    total = torch.zeros(len(mesh.pos), mesh.dim, mesh.dim, dtype=torch.float64)
    columns = _columns(u)
    for column in columns:
        hessian = recover(mesh, column).hessian
        if _is_linear(mesh, column, hessian):
            continue
        values, vectors = torch.linalg.eigh(hessian.cpu())
        absolute = (vectors * values.abs()[:, None, :]) @ vectors.transpose(1, 2)
        largest = absolute.abs().max() if len(columns) > 1 else torch.tensor(1.0)
        total += absolute / largest if largest > 0 else 0
    return total.to(mesh.pos.device)


def _l2_density(mesh: Mesh, size: Tensor, strength: float) -> Tensor:
    norm = torch.linalg.matrix_norm(size)
    gamma = 2 * mesh.dim / (mesh.dim + 4)
    level = (mean_value(mesh, norm**gamma) / strength) ** (1 / gamma)
    return (1 + norm / level) ** gamma if level > 0 else torch.ones_like(norm)


def _frobenius(mesh: Mesh, size: Tensor, strength: float) -> Tensor:
    norm = torch.linalg.matrix_norm(size)
    return 1 + strength * norm / norm.max() if norm.max() > 0 else torch.ones_like(norm)


def _l2_metric(mesh: Mesh, size: Tensor, strength: float) -> Tensor:
    d = mesh.dim
    values, vectors = torch.linalg.eigh(size)
    values = values.clamp(min=0)
    if not values.max() > 0:
        return torch.eye(d, dtype=torch.float64, device=size.device).repeat(len(size), 1, 1)
    # The mean density falls from infinity to 1 as the level grows; the logarithm of both is near a
    # straight line.
    mass = lumped_mass(mesh)
    share = mass / mass.sum()

    def excess(level: float) -> float:
        density = torch.log1p(values * math.exp(-level)).sum(dim=1).mul(2 / (d + 4)).exp()
        return math.log(float(share @ density)) - math.log1p(strength)

    high = float(torch.log(values.max())) + 40.0
    low = high - 120.0
    if excess(low) > 0 > excess(high):
        high = float(brentq(excess, low, high, xtol=1e-14))
    elif excess(low) <= 0:
        high = low
    stretched = 1 + values * math.exp(-high)
    scale = stretched.log().sum(dim=1).mul(-1 / (d + 4)).exp()
    return (vectors * (scale[:, None] * stretched)[:, None, :]) @ vectors.transpose(1, 2)


def mean_value(mesh: Mesh, values: Tensor) -> Tensor:
    """Mean of a nodal field over the domain."""
    mass = lumped_mass(mesh)
    return (mass * values).sum() / mass.sum()


def mean_size(mesh: Mesh) -> float:
    """Edge of the cube of the mean volume per node."""
    return float((mesh.volumes().sum() / len(mesh.pos)) ** (1 / mesh.dim))
