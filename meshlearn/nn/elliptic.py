r"""Pointwise networks and one elliptic solve a round: fluxes are learned, their reach is global.

    h   = E(x)                                                features of the sites
    F_c = sum over c' of A_cc'(h, z, |grad u|^2) grad u_c'    fluxes at quadrature points
    w_c = L^-1 (s_c(h) - div F_c)                             by finite elements
    u_c <- u_c + w_c,   h <- h + U(h, u, w)                   before the next round

for a few fields u_c, the first of which is the result and begins as what it is given; the others
begin at 0. x are fields at the sites, z those known in cells; E, A, s and U are networks that act
at points, the last three others in each round. L^-1 solves Laplace's equation, which knows nothing
but the mesh, with 0 where values are held. With A = -k and s = f a round would be a step of the
iteration u <- u + L^-1 (f + div(k grad u)): what flux and source are is learned.

Nothing is passed along edges. Derivatives and solves are those of finite elements, so that the
result converges when the mesh is refined; it does not change when the mesh turns. Gradients are
taken in units of `length`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .mlp import mlp
from .weak_form import WeakForm

Solve = Callable[[Tensor], Tensor]
"""L^-1: loads `[n, out, channels]` to fields of the same shape."""


class EllipticNet(nn.Module):
    """Rounds of learned fluxes and elliptic solves.

    Args:
        node_in: columns of the fields at the sites.
        point_in: columns of those in cells.
        out: columns of the result.
        width: of the features and hidden layers.
        channels: fields u_c of each column of the result.
        rounds: how many solves there are.

    Attributes:
        length: unit of length, of the size of the domains; 1 to begin with.
    """

    length: Tensor

    def __init__(
        self,
        node_in: int,
        point_in: int,
        out: int,
        *,
        width: int = 32,
        channels: int = 8,
        rounds: int = 6,
    ) -> None:
        super().__init__()
        self.out, self.channels = out, channels
        fields = out * channels
        self.encode = mlp([node_in, width, width], between="silu")
        # untrained fluxes are small: no round does much
        self.fluxes = nn.ModuleList(
            _mlp([width + point_in + fields, width, fields**2], deviation=0.1 / width**0.5)
            for _ in range(rounds)
        )
        self.sources = nn.ModuleList(_mlp([width, width, fields]) for _ in range(rounds))
        self.updates = nn.ModuleList(
            mlp([width + 2 * fields, width, width], between="silu") for _ in range(rounds - 1)
        )
        self.register_buffer("length", torch.ones(()))

    def forward(
        self, form: WeakForm, nodes: Tensor, known: Tensor, start: Tensor, solve: Solve
    ) -> Tensor:
        """The result `[n, out]`, float32.

        Args:
            form: of the mesh.
            nodes: fields at the sites `[n, node_in]`.
            known: fields in cells, at the quadrature points `[q, point_in]`.
            start: u_0 `[n, out]`.
            solve: L^-1.
        """
        h = self.encode(nodes)
        u = torch.zeros(*start.shape, self.channels).to(start)
        u[:, :, 0] = start
        u = w = u.flatten(1)
        for k, (flux, source) in enumerate(zip(self.fluxes, self.sources, strict=True)):
            if k:
                h = h + self.updates[k - 1](torch.cat([h, u, w], dim=1))
            slope = self.length * form.gradients(u)
            size = slope.square().sum(dim=0)
            at_points = torch.cat([form.values(h), known, torch.log1p(size)], dim=1)
            matrix = flux(at_points).reshape(len(known), slope.shape[2], slope.shape[2])
            load = form.divergence(torch.einsum("dqa,qab->dqb", slope, matrix)) / self.length
            load = load + form.load(form.values(source(h))) / self.length**2
            w = solve(load.reshape(-1, self.out, self.channels)).flatten(1)
            u = u + w
        return u.reshape(-1, self.out, self.channels)[:, :, 0]


def _mlp(widths: list[int], deviation: float | None = None) -> nn.Sequential:
    layers = mlp(widths, norm=False, between="silu")
    last = layers[-1]
    if deviation is not None and isinstance(last, nn.Linear):
        nn.init.normal_(last.weight, std=deviation)
        nn.init.zeros_(last.bias)
    return layers
