r"""Geometry-aware operator transformer: attention to tokens on a grid, a transformer, and back.

    encoder     z(y) = sum_x alpha(y, x) kappa(x - y, a(x)) L a(x),    tokens y, nodes x in B(y, r)
                alpha(y, x) = w_x c exp( cos(Q y, K x) / tau ) / sum of the same over B(y, r)
    geometry    z(y) <- M [ z(y), G s(y), y ],    s(y) = statistics of B(y, r)
    processor   z <- transformer(z), all tokens of one mesh with each other, long skips
    decoder     u(x) = Q [ sum_y alpha'(x, y) kappa'(y - x, a(x)) z(y), a(x) ]

s(y) is, in units of the ball: the volume of the nodes in it, mean and variance of their distance,
their centroid, and the eigenvalues of their covariance: 3 + 2 d numbers, means over the volume.
Tokens are a regular grid over the bounding box of each mesh. The volumes w_x make the softmax a
quadrature; c is a half cosine.

Wen et al., "Geometry aware operator transformer as an efficient and accurate neural surrogate for
PDEs on arbitrary domains" (arXiv 2505.18781, 2025); there the statistics count points, here volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..kernels import gather, segment_softmax, segment_sum
from ..mesh import Mesh, MeshError
from ..nn import LayerNorm, mlp
from .extension import IntegralOperator
from .gino import GridTransfer, grid_transfer
from .gno import Neighbourhood
from .variables import Variable


class AttentiveIntegral(nn.Module):
    """The integral of a kernel against a field, weighted with an attention over the ball.

    Args:
        width: channels.
        inputs: columns of a at the points.
        asked: columns of a at the centres.
        dim: dimension of space.
        hidden: width of the kernel's MLP.
    """

    def __init__(self, width: int, inputs: int, asked: int, dim: int, hidden: int) -> None:
        super().__init__()
        read = dim + 1 + inputs + asked
        self.kernel = mlp([read, hidden, hidden, width], norm=False, between="gelu")
        self.query, self.key = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.sharpness = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        values: Tensor,
        given: Tensor,
        asked: Tensor,
        places: tuple[Tensor, Tensor],
        near: Neighbourhood,
    ) -> Tensor:
        """Integrals `[q, width]`, 0 where a ball is empty.

        Args:
            values: at the points `[n, width]`.
            given: a at the points `[n, inputs]`.
            asked: a at the centres `[q, asked]`.
            places: of points `[n, dim]` and centres `[q, dim]`.
            near: the balls.
        """
        sender, receiver = near.pairs
        key = nn.functional.normalize(self.key(places[0]), dim=1)
        query = nn.functional.normalize(self.query(places[1]), dim=1)
        score = (gather(key, sender) * gather(query, receiver)).sum(dim=1, keepdim=True)
        # the weight of a point multiplies its exponential: a quadrature of the softmax
        share = near.weight.to(score)[:, None].clamp(min=1e-30).log()
        attention = segment_softmax(score * self.sharpness.exp() + share, near.segments)
        read = [near.features.to(given), gather(given, sender), gather(asked, receiver)]
        kernel = self.kernel(torch.cat(read, dim=1))
        return segment_sum(kernel * gather(values, sender) * attention, near.segments)


class TokenBlock(nn.Module):
    """Pre-norm attention between all tokens of a mesh, and an MLP.

    Args:
        width: of the tokens, a multiple of `heads`.
        heads: of the attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = LayerNorm(width), LayerNorm(width)
        self.read = nn.Linear(width, 3 * width)
        self.write = nn.Linear(width, width)
        self.own = mlp([width, 2 * width, width], norm=False, between="gelu")

    def forward(self, tokens: Tensor) -> Tensor:
        """`[graphs, tokens, width]` to the same shape."""
        split = self.read(self.first(tokens)).unflatten(2, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.write(found.transpose(1, 2).flatten(2))
        return tokens + self.own(self.second(tokens))


class GeometryAwareTransformer(IntegralOperator):
    """Attention to latent tokens that know the geometry around them, and back to the nodes.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        tokens: along each axis; their number is the same for every mesh, whatever its nodes.
        radius: of the balls, in units of the bounding box.
        width: of the tokens, a multiple of `heads`.
        blocks: of the transformer.
        heads: of its attention.
        hidden: width of the kernels' MLPs.
        geometry: "statistics" embeds those of the balls, "none" leaves them out.
        weights: see `gno.balls`; with "mean" and "none" the result changes with the mesh.
        conditions: see `IntegralOperator`.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        tokens: int = 12,
        radius: float = 0.15,
        width: int = 32,
        blocks: int = 3,
        heads: int = 4,
        hidden: int = 32,
        geometry: str = "statistics",
        weights: str = "volume",
        conditions: str = "extended",
    ) -> None:
        super().__init__(inputs, outputs, boundary, dim=dim, conditions=conditions, weights=weights)
        if geometry not in ("statistics", "none"):
            raise MeshError(f"geometry must be 'statistics' or 'none', got {geometry!r}")
        if heads < 1 or width % heads:
            raise MeshError(f"width {width} must be a multiple of the number of heads, {heads}")
        self.config |= {"tokens": tokens, "radius": radius, "width": width, "blocks": blocks}
        self.config |= {"heads": heads, "hidden": hidden, "geometry": geometry}
        given, known = self.columns_in, width if geometry == "statistics" else 0
        self.lift = mlp([given, width, width], norm=False, between="gelu")
        self.into = AttentiveIntegral(width, given, 0, dim, hidden)
        self.shape = mlp([3 + 2 * dim, width, width], norm=False, between="gelu") if known else None
        self.merge = nn.Linear(width + known + 2 * dim, width)
        self.blocks = nn.ModuleList(TokenBlock(width, heads) for _ in range(blocks))
        self.skips = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(blocks // 2))
        self.back = AttentiveIntegral(width, 0, given, dim, hidden)
        self.project = mlp([width + given, 2 * width, self.columns_out], norm=False, between="gelu")

    def geometry(self, mesh: Mesh) -> tuple[GridTransfer, Tensor]:
        """The tokens and balls, and the statistics of the balls."""
        c = self.config
        transfer = grid_transfer(mesh, c["tokens"], c["radius"], c["weights"])
        volume = transfer.grid.node_volume / c["radius"] ** mesh.dim
        if c["weights"] in ("mean", "none"):
            volume = torch.full_like(volume, 1.0 / len(volume))
        return transfer, ball_statistics(transfer.into, volume)

    def network(self, mesh: Mesh, nodes: Tensor, geometry: tuple[GridTransfer, Tensor]) -> Tensor:
        """See `IntegralOperator`."""
        transfer, statistics = geometry
        grid = transfer.grid
        points, at = grid.points.to(nodes), grid.nodes.to(nodes)
        none = nodes.new_zeros(len(points), 0)
        found = self.into(self.lift(nodes), nodes, none, (at, points), transfer.into)
        parts = [found, points, grid.sides.to(nodes)[grid.graph]]
        if self.shape is not None:
            parts.append(self.shape(statistics.to(nodes)))
        tokens = self.merge(torch.cat(parts, dim=1)).unflatten(0, (grid.graphs, -1))
        kept: list[Tensor] = []
        for k, block in enumerate(self.blocks):
            if k >= len(self.blocks) - len(self.skips):
                skip = self.skips[k - len(self.blocks) + len(self.skips)]
                tokens = tokens + skip(torch.cat([tokens, kept.pop()], dim=2))
            tokens = block(tokens)
            if k < len(self.skips):
                kept.append(tokens)
        found = self.back(tokens.flatten(0, 1), none, nodes, (points, at), transfer.back)
        return self.project(torch.cat([found, nodes], dim=1))


def ball_statistics(near: Neighbourhood, volume: Tensor) -> Tensor:
    """Shape of the part of each ball where there are points.

    Args:
        near: the balls.
        volume: of each point `[n]`, in units of radius^d.

    Returns:
        Volume, mean and variance of the distance, centroid and eigenvalues of the covariance, in
        units of the radius `[q, 3 + 2 d]`, float32; 0 where a ball is empty.
    """
    offset, length = near.features[:, :-1].double(), near.features[:, -1:].double()
    weight = volume[near.pairs[0]][:, None]
    dim = offset.shape[1]
    outer = (offset[:, :, None] * offset[:, None, :]).flatten(1)
    rows = torch.cat([torch.ones_like(length), length, length**2, offset, outer], dim=1)
    sums = segment_sum(rows * weight, near.segments)
    total = sums[:, :1]
    means = sums / total.clamp(min=1e-300)
    middle = means[:, 3 : 3 + dim]
    spread = means[:, 3 + dim :].reshape(-1, dim, dim) - middle[:, :, None] * middle[:, None, :]
    variance = means[:, 2:3] - means[:, 1:2] ** 2
    columns = [total, means[:, 1:2], variance, middle, torch.linalg.eigvalsh(spread)]
    return torch.cat(columns, dim=1).float()
