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

from ..kernels import Segments, gather_combine, segment_sum
from .mlp import LayerNorm


class MeshBlock(nn.Module):
    """One edge update and one node update, both residual.

    Args:
        width: of node and edge features.
        hidden: of the hidden layers; `width` by default.
        recompute: keep no edge activations for the backward pass but compute them again there
            (memory falls by about the edge MLP's activations, time rises by one forward pass).
    """

    def __init__(self, width: int, hidden: int | None = None, *, recompute: bool = False) -> None:
        super().__init__()
        hidden = hidden or width
        self.recompute = recompute
        self.edge_in = nn.Linear(width, hidden)
        self.sender_in = nn.Linear(width, hidden, bias=False)
        self.receiver_in = nn.Linear(width, hidden, bias=False)
        self.edge_out = nn.Sequential(nn.ReLU(), nn.Linear(hidden, width), LayerNorm(width))
        self.node_in = nn.Linear(width, hidden)
        self.message_in = nn.Linear(width, hidden, bias=False)
        self.node_out = nn.Sequential(nn.ReLU(), nn.Linear(hidden, width), LayerNorm(width))

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
        senders = edge_index[0]
        if self.recompute and torch.is_grad_enabled():
            edges = checkpoint(
                self._edge_update, nodes, edges, senders, segments, use_reentrant=False
            )
        else:
            edges = self._edge_update(nodes, edges, senders, segments)
        gathered = self.node_in(nodes) + self.message_in(segment_sum(edges, segments))
        return nodes + self.node_out(gathered), edges

    def _edge_update(
        self, nodes: Tensor, edges: Tensor, senders: Tensor, segments: Segments
    ) -> Tensor:
        first = gather_combine(
            self.receiver_in(nodes), self.sender_in(nodes), self.edge_in(edges), senders, segments
        )
        return edges + self.edge_out(first)
