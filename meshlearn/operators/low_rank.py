r"""Low-rank neural operator.

    v'(x) = v(x) + sigma( W v(x) + sum_r phi_r(x) <psi_r, v> ),
    <psi_r, v> = 1/|Omega| int_Omega psi_r(y) . v(y) dy

The kernel sum_r phi_r(x) psi_r(y)^T acts on the whole domain at the cost of n r; the integral is
the sum over the nodes, each with the volume w_y that belongs to it. phi_r and psi_r are vectors of
the channels, MLPs of the position in the bounding box, the sides of the box, and the inputs a.

Kovachki et al., "Neural operator: learning maps between function spaces", JMLR 24 (2023), sec. 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..fem.p1 import lumped_mass
from ..kernels import Segments, row_pointers, segment_sum
from ..mesh import Mesh, MeshError
from ..nn import mlp
from .extension import IntegralOperator, boxes
from .variables import Variable


@dataclass(frozen=True)
class Domain:
    """Where the integrals of a mesh or batch run.

    Attributes:
        graph: of each node `[n]`.
        segments: the nodes by graph.
        place: position in the bounding box and log of its sides `[n, 2 d]`, float32.
        weight: of each node in the sum `[n]`, float32.
    """

    graph: Tensor
    segments: Segments
    place: Tensor
    weight: Tensor


def domain(mesh: Mesh, weights: str = "volume") -> Domain:
    """Quadrature over the whole of each mesh of a batch.

    Args:
        mesh: a mesh or batch.
        weights: "volume" and "average": share of the volume; "mean": one over the number of nodes;
            "none": 1.
    """
    graph, lower, sides = boxes(mesh)
    by_graph = Segments.from_rowptr(row_pointers(torch.bincount(graph, minlength=len(sides))))
    inside = (mesh.pos.detach() - lower[graph]) / sides.clamp(min=1e-300)[graph]
    place = torch.cat([inside, sides.clamp(min=1e-300).log()[graph]], dim=1)
    weight = torch.ones_like(inside[:, 0])
    if weights in ("volume", "average"):
        weight = lumped_mass(mesh).detach()
    if weights != "none":
        weight = weight / segment_sum(weight[:, None], by_graph)[graph, 0]
    return Domain(graph, by_graph, place.float(), weight.float())


class LowRankKernel(nn.Module):
    """The integral of a kernel of low rank against a field.

    Args:
        width: channels.
        inputs: columns of a and of the place together.
        rank: r.
        hidden: width of the MLPs.
    """

    def __init__(self, width: int, inputs: int, rank: int, hidden: int) -> None:
        super().__init__()
        self.shape = (-1, rank, width)
        self.phi = mlp([inputs, hidden, rank * width], norm=False, between="gelu")
        self.psi = mlp([inputs, hidden, rank * width], norm=False, between="gelu")

    def forward(self, values: Tensor, given: Tensor, over: Domain) -> Tensor:
        """`[n, width]` and inputs `[n, inputs]` to `[n, width]`."""
        product = torch.einsum("nrc,nc->nr", self.psi(given).view(self.shape), values)
        moments = segment_sum(product * over.weight.to(product)[:, None], over.segments)
        return torch.einsum("nrc,nr->nc", self.phi(given).view(self.shape), moments[over.graph])


class LowRankNO(IntegralOperator):
    """Kernels of low rank over the whole domain; costs grow as the number of nodes.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        rank: of the kernels.
        width: channels.
        blocks: integral layers.
        hidden: width of the kernels' MLPs.
        weights: see `domain`; with "mean" and "none" the result changes with the mesh.
        conditions: see `IntegralOperator`.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        rank: int = 8,
        width: int = 24,
        blocks: int = 4,
        hidden: int = 32,
        weights: str = "volume",
        conditions: str = "extended",
    ) -> None:
        super().__init__(inputs, outputs, boundary, dim=dim, conditions=conditions, weights=weights)
        if rank < 1:
            raise MeshError(f"the rank must be at least 1, got {rank}")
        self.config |= {"rank": rank, "width": width, "blocks": blocks, "hidden": hidden}
        given = self.columns_in + 2 * dim
        self.lift = mlp([given, width, width], norm=False, between="gelu")
        self.own = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.integrals = nn.ModuleList(
            LowRankKernel(width, given, rank, hidden) for _ in range(blocks)
        )
        self.project = mlp([width + given, width, self.columns_out], norm=False, between="gelu")

    def geometry(self, mesh: Mesh) -> Domain:
        """The quadrature over the domain."""
        return domain(mesh, self.config["weights"])

    def network(self, mesh: Mesh, nodes: Tensor, geometry: Domain) -> Tensor:
        """See `IntegralOperator`."""
        given = torch.cat([nodes, geometry.place.to(nodes)], dim=1)
        values = self.lift(given)
        for own, integral in zip(self.own, self.integrals, strict=True):
            values = values + nn.functional.gelu(own(values) + integral(values, given, geometry))
        return self.project(torch.cat([values, given], dim=1))
