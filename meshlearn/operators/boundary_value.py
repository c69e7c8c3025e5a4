r"""Solution operator of boundary value problems by Chebyshev graph convolutions.

    h = MLP( E f, chi_D, g, n, h_i )         n the boundary normal, h_i the local size; no positions
    h <- h + sigma( LN( sum over k < K of T_k(L') h Theta_k ) )
    u = MLP( h )

L' is the scaled symmetric Laplacian of the mesh graph with lengths as weights (`nn.chebyshev`).
Loetzsch, Ohler & Otterbach, "Learning the solution operator of boundary value problems using graph
neural networks" (2022, arXiv 2206.14092): K = 5, three convolutions of width 128, and no positions
among the features, so that what is learned belongs to no place. Ours adds residual
sums and layer normalisation, and its width is smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..mesh import Mesh, MeshError
from ..nn import (
    EDGE_WEIGHTS,
    ChebyshevConv,
    LayerNorm,
    boundary_normals,
    local_size,
    mlp,
    scaled_laplacian,
)
from .base import Operator
from .variables import Variable


class BoundaryValueGNN(Operator):
    """Polynomials of the graph Laplacian, between MLPs of each node.

    Moving the mesh does not change the result. Normals turn with the mesh, as vector fields do.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        width: channels.
        blocks: convolutions.
        order: K of each, see `nn.ChebyshevConv`.
        weights: of the edges, see `nn.EDGE_WEIGHTS`.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        width: int = 64,
        blocks: int = 3,
        order: int = 5,
        weights: str = "length",
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        self._check_nodal()
        if weights not in EDGE_WEIGHTS:
            raise MeshError(f"weights must be one of {EDGE_WEIGHTS}, got {weights!r}")
        if min(width, blocks, order) < 1:
            raise MeshError(
                f"width, blocks and order are at least 1, got {width}, {blocks}, {order}"
            )
        self.config |= {"dim": dim, "width": width, "blocks": blocks, "order": order}
        self.config |= {"weights": weights}
        self.encode = mlp([self.columns_in + dim + 1, width, width], norm=False, between="gelu")
        self.convolutions = nn.ModuleList(ChebyshevConv(width, width, order) for _ in range(blocks))
        self.norms = nn.ModuleList(LayerNorm(width) for _ in range(blocks))
        self.decode = mlp([width, width, self.columns_out], norm=False, between="gelu")

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Any) -> Tensor:
        """See `Operator`."""
        self._check_dim(mesh)
        laplacian = scaled_laplacian(mesh, self.config["weights"])
        size = (local_size(mesh)[:, None] / self.typical_size.double()).log()
        hidden = self.encode(torch.cat([nodes, boundary_normals(mesh), size.float()], dim=1))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            hidden = hidden + nn.functional.gelu(norm(convolution(mesh, laplacian, hidden)))
        return self.decode(hidden)
