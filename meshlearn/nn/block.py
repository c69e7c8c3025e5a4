"""The message-passing block of MeshGraphNets, with the first layer applied before the gather.

    e_ij <- e_ij + f_e(e_ij, h_i, h_j)            j sends to i
    h_i  <- h_i  + f_v(h_i, sum_j e_ij)

Pfaff, Fortunato, Sanchez-Gonzalez & Battaglia, "Learning mesh-based simulation with graph
networks", ICLR 2021. The first linear layer of f_e is split, W [e, h_i, h_j] = W_e e + W_r h_i +
W_s h_j: the last two cost one row a node in place of one an edge, and nothing is concatenated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..kernels import Segments, segment_max
from ._activations import PIECES
from ._tile import Plan
from ._tiled import TiledUpdate, plain_update
from .mlp import LayerNorm, activation

AGGREGATIONS = ("sum", "mean", "max")
"""How the edges of a node are reduced to one message."""


class MeshBlock(nn.Module):
    """One edge update and one node update, both residual.

    On the CPU both run in tiles of rows with a backward pass of their own (see `_tiled`), which
    needs the results as they are: do not change them in place. On other devices, and under
    `torch.compile`, they run as plain layers. The results are the same.

    Args:
        width: of node and edge features.
        hidden: of the hidden layers; `width` by default.
        aggregation: of `AGGREGATIONS`.
        between: activation of `mlp.ACTIVATIONS`.
        recompute: keep no activations of the edges and nodes for the backward pass but compute
            them again there: of each edge only its input is kept.
        tile: rows of a tile; 0 for plain layers on the CPU, too.
    """

    def __init__(
        self,
        width: int,
        hidden: int | None = None,
        *,
        aggregation: str = "sum",
        between: str = "relu",
        recompute: bool = False,
        tile: int = 2048,
    ) -> None:
        super().__init__()
        if aggregation not in AGGREGATIONS:
            known = ", ".join(AGGREGATIONS)
            raise ValueError(f"unknown aggregation {aggregation!r}; known are {known}")
        hidden = hidden or width
        self.aggregation, self.between = aggregation, between
        self.recompute, self.tile = recompute, tile
        self.edge_in = nn.Linear(width, hidden, bias=False)
        self.sender_in = nn.Linear(width, hidden, bias=False)
        self.receiver_in = nn.Linear(width, hidden)
        self.edge_out = nn.Sequential(
            activation(between), nn.Linear(hidden, width), LayerNorm(width)
        )
        self.node_in = nn.Linear(width, hidden, bias=False)
        self.message_in = nn.Linear(width, hidden)
        self.node_out = nn.Sequential(
            activation(between), nn.Linear(hidden, width), LayerNorm(width)
        )

    def forward(
        self, nodes: Tensor, edges: Tensor, edge_index: Tensor, segments: Segments
    ) -> tuple[Tensor, Tensor]:
        """Update nodes `[n, width]` and edges `[m, width]`.

        Args:
            nodes: node features.
            edges: edge features, sorted by receiver.
            edge_index: senders and receivers `[2, m]`.
            segments: the edges by receiver.
        """
        sources = ((nodes, self.receiver_in), (nodes, self.sender_in))
        by_row = (segments.receiver, edge_index[0])
        summed = None if self.aggregation == "max" else segments
        edges, total = self._update(edges, self.edge_in, self.edge_out, sources, by_row, summed)
        if total is None:
            total = segment_max(edges, segments)
        elif self.aggregation == "mean":
            total = total / segments.divisor(total.dtype)[:, None]
        message, own = ((total, self.message_in),), (None,)
        return self._update(nodes, self.node_in, self.node_out, message, own, None)[0], edges

    def _update(
        self,
        x: Tensor,
        first: nn.Linear,
        out: nn.Sequential,
        sources: tuple[tuple[Tensor, nn.Linear], ...],
        indices: tuple[Tensor | None, ...],
        summed: Segments | None,
    ) -> tuple[Tensor, Tensor | None]:
        between, second, norm = out
        assert isinstance(second, nn.Linear)
        assert isinstance(norm, LayerNorm)
        pieces = PIECES[self.between]
        keep = torch.is_grad_enabled() and not self.recompute
        plan = Plan(indices, summed, pieces, between, norm.eps, self.tile, keep)
        tensors = [first.weight, second.weight, second.bias, norm.weight, norm.bias]
        for source, layer in sources:
            tensors += [source, layer.weight, layer.bias]
        if self.tile and x.device.type == "cpu" and not torch.compiler.is_compiling():
            return TiledUpdate.apply(plan, x, *tensors)  # type: ignore[no-untyped-call]
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(plain_update, plan, x, *tensors, use_reentrant=False)
        return plain_update(plan, x, *tensors)
