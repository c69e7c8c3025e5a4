r"""Graph kernel network (graph neural operator), with quadrature.

    v'(x) = v(x) + sigma( W v(x) + 1/|B_r| int_{B(x, r)} c(|x - y|) kappa(x, y) v(y) dy )

and the integral is the sum over the nodes y in the ball, each with the volume w_y that belongs to
it (the lumped mass): the same weights of the network then give the same operator on finer meshes.
kappa is an MLP of (y - x) / r, |y - x| / r and the inputs a; it multiplies channel by channel, and
c(s) = cos^2(pi s / 2 r) takes it to 0 at the edge of the ball, so that nodes enter smoothly.
Dirichlet data enter as continuous fields (see `extension`).

Anandkumar et al., "Neural operator: graph kernel network for partial differential equations" (2020,
arXiv 2003.03485); quadrature as in Kovachki et al., JMLR 24 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..fem.p1 import lumped_mass
from ..kernels import Segments, gather, segment_sum
from ..mesh import Mesh, MeshError
from ..nn import mlp, pair_segments, radius_pairs
from .extension import WEIGHTS, IntegralOperator
from .sites import site_graph
from .variables import Variable

GAIN = 50.0
"""Factor of all kernels: means over a ball are small next to the other terms, and learn slowly."""


@dataclass(frozen=True)
class Neighbourhood:
    """The balls around the nodes of a mesh.

    Attributes:
        pairs: senders y and receivers x `[2, m]`, x itself among them.
        segments: the pairs by receiver.
        features: (y - x) / r and |y - x| / r `[m, d + 1]`, float32.
        weight: of each pair in the sum `[m]`, float32.
    """

    pairs: Tensor
    segments: Segments
    features: Tensor
    weight: Tensor


def neighbourhood(mesh: Mesh, radius: float, weights: str = "volume") -> Neighbourhood:
    """Balls of a radius around the nodes of a mesh or batch.

    Args:
        mesh: any.
        radius: in the mesh's units.
        weights: see `balls`.

    Raises:
        MeshError: unknown weights, or a radius that is not positive.
    """
    pos, graph = mesh.pos.detach(), site_graph(mesh, "P1")
    return balls((pos, graph), (pos, graph), radius, lumped_mass(mesh).detach(), weights)


def balls(
    points: tuple[Tensor, Tensor],
    centres: tuple[Tensor, Tensor],
    radius: float,
    volume: Tensor,
    weights: str = "volume",
) -> Neighbourhood:
    """Balls around centres, and the points in them.

    Args:
        points: y `[n, d]`, and the graph of a batch that each belongs to `[n]`.
        centres: x, likewise.
        radius: in their units.
        volume: that belongs to each point `[n]`.
        weights: "volume": quadrature over the ball; "average": the same over the part of it where
            there are points, sum w c v / sum w c; "mean": one over the number of points in the
            ball; "none": 1.

    Raises:
        MeshError: unknown weights, or a radius that is not positive.
    """
    if weights not in WEIGHTS:
        raise MeshError(f"weights must be one of {WEIGHTS}, got {weights!r}")
    if not radius > 0:
        raise MeshError(f"the radius must be positive, got {radius}")
    (at, own), (around, asked) = points, centres
    pairs = radius_pairs(at, around, radius, points_batch=own, queries_batch=asked)
    by_receiver = pair_segments(pairs, len(around))
    offset = (at[pairs[0]] - around[pairs[1]]) / radius
    length = offset.norm(dim=1, keepdim=True)
    weight = (0.5 * math.pi * length[:, 0]).cos() ** 2
    if weights in ("volume", "average"):
        weight = weight * volume[pairs[0]]
    if weights == "volume":
        dim = at.shape[1]
        weight = weight / (math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * radius**dim)
    elif weights == "average":
        total = segment_sum(weight[:, None], by_receiver)[pairs[1], 0]
        weight = weight / total.clamp(min=torch.finfo(total.dtype).tiny)
    elif weights == "mean":
        weight = weight / by_receiver.counts[pairs[1]]
    features = torch.cat([offset, length], dim=1)
    return Neighbourhood(pairs, by_receiver, features.float(), weight.float())


class KernelIntegral(nn.Module):
    """The integral of a kernel against a field, channel by channel.

    Args:
        width: channels.
        inputs: columns of a at y.
        dim: dimension of space.
        hidden: width of the kernel's MLP.
        asked: columns of a at x; those at y by default.
    """

    def __init__(
        self, width: int, inputs: int, dim: int, hidden: int, asked: int | None = None
    ) -> None:
        super().__init__()
        read = dim + 1 + inputs + (inputs if asked is None else asked)
        self.kernel = mlp([read, hidden, hidden, width], norm=False, between="gelu")

    def forward(
        self, values: Tensor, given: Tensor, near: Neighbourhood, asked: Tensor | None = None
    ) -> Tensor:
        """Integrals `[q, width]` around the centres.

        Args:
            values: v at the points `[n, width]`.
            given: a at the points `[n, inputs]`.
            near: the balls.
            asked: a at the centres `[q, asked]`; by default the centres are the points.
        """
        sender, receiver = near.pairs
        own = given if asked is None else asked
        both = [near.features.to(given), gather(given, sender), gather(own, receiver)]
        kernel = self.kernel(torch.cat(both, dim=1))
        weight = GAIN * near.weight.to(values)[:, None]
        terms = kernel * gather(values, sender) * weight
        return segment_sum(terms, near.segments)


class GraphKernelNetwork(IntegralOperator):
    """Integral kernels over balls, weighted with the volumes of the nodes.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        radius: of the balls, in the mesh's units.
        width: channels.
        blocks: integral layers.
        hidden: width of the kernels' MLPs.
        weights: see `balls`; with "mean" and "none" the result changes with the mesh.
        conditions: see `IntegralOperator`.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        radius: float = 0.2,
        width: int = 24,
        blocks: int = 4,
        hidden: int = 32,
        weights: str = "volume",
        conditions: str = "extended",
    ) -> None:
        super().__init__(inputs, outputs, boundary, dim=dim, conditions=conditions, weights=weights)
        self.config |= {"radius": radius, "width": width, "blocks": blocks, "hidden": hidden}
        given = self.columns_in
        self.lift = mlp([given, width, width], norm=False, between="gelu")
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.integrals = nn.ModuleList(
            KernelIntegral(width, given, dim, hidden) for _ in range(blocks)
        )
        self.project = mlp([width, width, self.columns_out], norm=False, between="gelu")

    def geometry(self, mesh: Mesh) -> Neighbourhood:
        """The balls around the nodes."""
        return neighbourhood(mesh, self.config["radius"], self.config["weights"])

    def network(self, mesh: Mesh, nodes: Tensor, geometry: Neighbourhood) -> Tensor:
        """See `IntegralOperator`."""
        values = self.lift(nodes)
        for own, integral in zip(self.own, self.integrals, strict=True):
            values = values + nn.functional.gelu(own(values) + integral(values, nodes, geometry))
        return self.project(values)
