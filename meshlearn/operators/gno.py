r"""Graph kernel network (graph neural operator), with quadrature.

    v'(x) = v(x) + sigma( W v(x) + 1/|B_r| int_{B(x, r)} c(|x - y|) kappa(x, y) v(y) dy )

and the integral is the sum over the nodes y in the ball, each with the volume w_y that belongs to
it (the lumped mass): the same weights of the network then give the same operator on finer meshes.
kappa is an MLP of (y - x) / r, |y - x| / r and the inputs a; it multiplies channel by channel, and
c(s) = cos^2(pi s / 2 r) takes it to 0 at the edge of the ball, so that nodes enter smoothly.

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
from .base import Operator
from .sites import site_graph
from .variables import Variable

WEIGHTS = ("volume", "mean", "none")


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
        weights: "volume": quadrature; "mean": one over the number of nodes in the ball; "none": 1.

    Raises:
        MeshError: unknown weights, or a radius that is not positive.
    """
    if weights not in WEIGHTS:
        raise MeshError(f"weights must be one of {WEIGHTS}, got {weights!r}")
    if not radius > 0:
        raise MeshError(f"the radius must be positive, got {radius}")
    pos, graph = mesh.pos.detach(), site_graph(mesh, "P1")
    pairs = radius_pairs(pos, pos, radius, points_batch=graph, queries_batch=graph)
    by_receiver = pair_segments(pairs, mesh.num_nodes)
    offset = (pos[pairs[0]] - pos[pairs[1]]) / radius
    length = offset.norm(dim=1, keepdim=True)
    weight = (0.5 * math.pi * length[:, 0]).cos() ** 2
    if weights == "volume":
        ball = math.pi ** (mesh.dim / 2) / math.gamma(mesh.dim / 2 + 1) * radius**mesh.dim
        weight = weight * lumped_mass(mesh).detach()[pairs[0]] / ball
    elif weights == "mean":
        weight = weight / by_receiver.counts[pairs[1]]
    features = torch.cat([offset, length], dim=1)
    return Neighbourhood(pairs, by_receiver, features.float(), weight.float())


class KernelIntegral(nn.Module):
    """The integral of a kernel against a field, channel by channel.

    Args:
        width: channels.
        inputs: columns of a.
        dim: dimension of space.
        hidden: width of the kernel's MLP.
    """

    def __init__(self, width: int, inputs: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.kernel = mlp([dim + 1 + 2 * inputs, hidden, hidden, width], norm=False, between="gelu")

    def forward(self, values: Tensor, given: Tensor, near: Neighbourhood) -> Tensor:
        """`[n, width]` and inputs `[n, inputs]` to `[n, width]`."""
        sender, receiver = near.pairs
        both = [near.features.to(given), gather(given, sender), gather(given, receiver)]
        kernel = self.kernel(torch.cat(both, dim=1))
        terms = kernel * gather(values, sender) * near.weight.to(values)[:, None]
        return segment_sum(terms, near.segments)


class GraphKernelNetwork(Operator):
    """Integral kernels over balls, weighted with the volumes of the nodes.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        radius: of the balls, in the mesh's units.
        width: channels.
        blocks: integral layers.
        hidden: width of the kernels' MLPs.
        weights: see `neighbourhood`; other than "volume" the result changes with the mesh.
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
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        if weights not in WEIGHTS:
            raise MeshError(f"weights must be one of {WEIGHTS}, got {weights!r}")
        options = {"dim": dim, "radius": radius, "width": width, "blocks": blocks}
        self.config |= {**options, "hidden": hidden, "weights": weights}
        given = self.columns_in
        self.lift = mlp([given, width, width], norm=False, between="gelu")
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.integrals = nn.ModuleList(
            KernelIntegral(width, given, dim, hidden) for _ in range(blocks)
        )
        self.project = mlp([width, width, self.columns_out], norm=False, between="gelu")

    def prepare(self, mesh: Mesh) -> Neighbourhood:
        """The balls around the nodes."""
        self._check_dim(mesh)
        return neighbourhood(mesh, self.config["radius"], self.config["weights"])

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Neighbourhood) -> Tensor:
        """See `Operator`."""
        values = self.lift(nodes)
        for own, integral in zip(self.own, self.integrals, strict=True):
            values = values + nn.functional.gelu(own(values) + integral(values, nodes, prepared))
        return self.project(values)
