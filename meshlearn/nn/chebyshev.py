r"""Chebyshev graph convolutions: polynomials of the graph Laplacian, one sparse product a degree.

    L = I - D^-1/2 W D^-1/2,   L' = 2 L / lambda - I,   lambda = 2, the bound of its spectrum
    T_0 = x,   T_1 = L' x,   T_k = 2 L' T_{k-1} - T_{k-2}
    y = sum over k < K of T_k Theta_k + b

With lambda = 2, L' = -D^-1/2 W D^-1/2 has no diagonal: it lives on the edges. Defferrard, Bresson &
Vandergheynst, "Convolutional neural networks on graphs with fast localized spectral filtering",
NeurIPS 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..kernels import Segments, segment_sum, sparse_dense
from ..mesh import Mesh
from .features import segments

EDGE_WEIGHTS = ("length", "inverse", "none")
"""W of an edge: its length, one over it, or 1."""


def scaled_laplacian(mesh: Mesh, weights: str = "length") -> Tensor:
    """L' at the edges of a mesh or batch `[m]`, float32; turning and scaling do not change it.

    Args:
        mesh: the graph.
        weights: of `EDGE_WEIGHTS`.

    Raises:
        ValueError: unknown weights.
    """
    return edge_laplacian(mesh.pos, mesh.topology.edge_index, segments(mesh), weights)


def edge_laplacian(
    pos: Tensor, edge_index: Tensor, by_receiver: Segments, weights: str = "length"
) -> Tensor:
    """`scaled_laplacian` of any graph on points `pos [n, d]`: `[m]`, float32."""
    if weights not in EDGE_WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(EDGE_WEIGHTS)}, got {weights!r}")
    sender, receiver = edge_index
    weight = (pos[sender] - pos[receiver]).norm(dim=1)
    if weights != "length":
        weight = 1 / weight if weights == "inverse" else torch.ones_like(weight)
    degree = segment_sum(weight, by_receiver)
    return (-weight * (degree[sender] * degree[receiver]).rsqrt()).float()


def chebyshev_terms(mesh: Mesh, laplacian: Tensor, values: Tensor, count: int) -> list[Tensor]:
    """T_0(L') x to T_{count - 1}(L') x, each `[n, k]`.

    Args:
        mesh: the graph.
        laplacian: L' at its edges, see `scaled_laplacian`.
        values: x `[n, k]`.
        count: at least 1.
    """
    return chebyshev_series(segments(mesh), laplacian, values, count)


def chebyshev_series(
    by_receiver: Segments, laplacian: Tensor, values: Tensor, count: int
) -> list[Tensor]:
    """`chebyshev_terms` of any graph, its edges by receiver."""
    sparsity, entries = by_receiver.sparsity, laplacian.to(values)
    terms = [values]
    for k in range(1, count):
        product = sparse_dense(entries, terms[-1], sparsity)
        terms.append(product if k == 1 else 2 * product - terms[-2])
    return terms


class ChebyshevConv(nn.Module):
    """y = sum over k < K of T_k(L') x Theta_k + b.

    Args:
        columns: of x.
        out: columns of y.
        order: K, at least 1: a node hears of those K - 1 edges away.

    Raises:
        ValueError: an order below 1.
    """

    def __init__(self, columns: int, out: int, order: int = 5) -> None:
        super().__init__()
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.order = order
        self.mix = nn.Linear(order * columns, out)

    def forward(self, mesh: Mesh, laplacian: Tensor, values: Tensor) -> Tensor:
        """`[n, out]` of `[n, columns]`; arguments as `chebyshev_terms`."""
        return self.mix(torch.cat(chebyshev_terms(mesh, laplacian, values, self.order), dim=1))
