"""Data-free mesh mover (DMM): a network that solves the Monge-Ampere equation, without labels.

Hu, Wang & Ma, "Better neural PDE solvers through data-free mesh movers", ICLR 2024:

    f(xi) = xi + grad psi(xi),      psi(xi) = sum_k b_k(m) t_k(xi)

with a branch network b of the monitor m on a grid and a trunk network t. Derivatives are taken by
automatic differentiation. Where I + H(psi) is positive definite, the map is one to one and so, for
fine meshes, is the mesh: in 2D exactly where determinant *and* trace are positive. (Positive
diagonal entries, as published, are not enough.) A baseline: one network for one family of
monitors on one box.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ...mesh import Mesh
from ...monitors import Monitor
from ...monitors.base import checked
from ..constraints import Freedom
from ..equidistribution import density
from .frame import Frame
from .m2n import grid_points
from .one_pass import Network, OnePass, single


class DataFreeNet(Network):
    """The potential psi in a unit box.

    Args:
        resolution: points of the grid along each axis; a multiple of 8.
        channels: of the branch's convolutions.
        trunk: widths of the trunk's layers; the last is the number of terms of psi.
    """

    def __init__(
        self, resolution: int = 32, channels: int = 16, trunk: Sequence[int] = (32, 512)
    ) -> None:
        super().__init__()
        self.config = {"resolution": resolution, "channels": channels, "trunk": list(trunk)}
        self.resolution = resolution
        sizes = ((1, channels), (channels, 2 * channels), (2 * channels, 2 * channels))
        layers: list[nn.Module] = []
        for before, after in sizes:
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GELU()]
        flat = 2 * channels * (resolution // 8) ** 2
        self.branch = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, trunk[-1]), nn.Tanh())
        self.terms = nn.Linear(trunk[-1], trunk[-1])
        # psi begins small: the first map is close to the identity.
        nn.init.normal_(self.terms.weight, std=0.1 / trunk[-1])
        nn.init.zeros_(self.terms.bias)
        widths, parts = [2, *trunk], []
        for before, after in pairwise(widths):
            parts += [nn.Linear(before, after), nn.Tanh()]
        self.trunk = nn.Sequential(*parts)

    @property
    def last_layer(self) -> list[nn.Parameter]:
        """Weights of the trunk's last layer, which L-BFGS refines."""
        return list(self.trunk[-2].parameters())

    def coefficients(self, picture: Tensor) -> Tensor:
        """b `[terms]` from the picture of a monitor `[resolution, resolution]`."""
        return self.terms(self.branch(picture[None, None]))[0]

    def derivatives(self, picture: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient `[q, 2]` and Hessian `[q, 2, 2]` of psi at points of the unit box `[q, 2]`.

        Differentiable in the weights where gradients are on.
        """
        tracked = torch.is_grad_enabled()
        with torch.enable_grad():
            slope, x = self._gradient(picture, points)
            rows = [
                torch.autograd.grad(slope[:, k].sum(), x, create_graph=tracked, retain_graph=True)
                for k in range(2)
            ]
        hessian = torch.stack([row[0] for row in rows], dim=1)
        return (slope, hessian) if tracked else (slope.detach(), hessian.detach())

    def _gradient(self, picture: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        x = points.detach().float().requires_grad_(True)
        psi = self.trunk(2 * x - 1) @ self.coefficients(picture)
        return torch.autograd.grad(psi.sum(), x, create_graph=True)[0], x

    def displacement(self, mesh: Mesh, monitor: Monitor, free: Freedom) -> Tensor:
        """See `Network`; `free` is left to the guard.

        Raises:
            MeshError: a batch.
        """
        single(mesh, "the data-free mover")
        frame = Frame.of(mesh)
        shown = picture(frame, monitor, self.resolution)
        with torch.enable_grad():
            slope = self._gradient(shown, frame.pos)[0]
        return frame.scale * slope.double()


class DataFreeMover(OnePass):
    """The mover of `DataFreeNet`; see `OnePass`."""

    kind = DataFreeNet


def picture(frame: Frame, monitor: Monitor, resolution: int) -> Tensor:
    """Logarithm of the density less its mean, on a grid over one mesh, float32."""
    value = density(checked(monitor.sample(grid_points(frame, resolution)).value)).log()
    return (value - value.mean()).float().view(resolution, resolution)
