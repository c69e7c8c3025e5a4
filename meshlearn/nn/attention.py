"""Attention over the edges of a mesh, in two styles, as blocks that can replace a `MeshBlock`.

Transformer (Vaswani et al., NeurIPS 2017; on graphs Shi et al., IJCAI 2021), per head:

    a_ij = softmax_j ( q_i . k_j / sqrt(d) + b(e_ij) ),     out_i = sum_j a_ij v_j

GATv2 (Brody, Alon & Yahav, ICLR 2022), per head, with the split first layer:

    a_ij = softmax_j ( a . leaky_relu(W_r h_i + W_s h_j + W_e e_ij) ),   out_i = sum_j a_ij W_s h_j

The softmax runs over the edges that arrive at i. Around either, the pre-norm residual block
h <- h + W out(norm h), h <- h + mlp(norm h). Edge features are read and not changed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..kernels import Segments, gather, gather_combine, segment_softmax, segment_sum
from .mlp import LayerNorm, mlp


class TransformerAttention(nn.Module):
    """Multi-head dot-product attention over edges, with a bias from the edge features.

    Args:
        width: of node features; a multiple of `heads`.
        heads: number of heads.
        edge_width: of edge features; `width` by default.
    """

    def __init__(self, width: int, heads: int = 4, edge_width: int | None = None) -> None:
        super().__init__()
        self.heads, self.head_width = heads, _head_width(width, heads)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.edge_bias = nn.Linear(edge_width or width, heads)

    def forward(
        self, nodes: Tensor, edges: Tensor, edge_index: Tensor, segments: Segments
    ) -> Tensor:
        """Attended values `[n, width]`; 0 at nodes without edges."""
        query = gather(self.query(nodes), segments.receiver)
        key, value = gather(self.key_value(nodes), edge_index[0]).chunk(2, dim=1)
        score = (query * key).view(-1, self.heads, self.head_width).sum(
            dim=2
        ) / self.head_width**0.5
        return _attend(score + self.edge_bias(edges), value, segments)


class GraphAttention(nn.Module):
    """GATv2 attention over edges; arguments as `TransformerAttention`."""

    def __init__(self, width: int, heads: int = 4, edge_width: int | None = None) -> None:
        super().__init__()
        self.heads, self.head_width = heads, _head_width(width, heads)
        self.receiver_in = nn.Linear(width, width)
        self.sender_in = nn.Linear(width, width)
        self.edge_in = nn.Linear(edge_width or width, width, bias=False)
        self.score = nn.Parameter(torch.randn(heads, self.head_width) / self.head_width**0.5)

    def forward(
        self, nodes: Tensor, edges: Tensor, edge_index: Tensor, segments: Segments
    ) -> Tensor:
        """Attended values `[n, width]`; 0 at nodes without edges."""
        value = self.sender_in(nodes)
        first = gather_combine(
            self.receiver_in(nodes), value, self.edge_in(edges), edge_index[0], segments
        )
        hidden = nn.functional.leaky_relu(first, 0.2).view(-1, *self.score.shape)
        score = (hidden * self.score).sum(dim=2)
        return _attend(score, gather(value, edge_index[0]), segments)


ATTENTIONS = {"transformer": TransformerAttention, "gat": GraphAttention}
"""Attention layers by name."""


class AttentionBlock(nn.Module):
    """Pre-norm residual attention over edges and a node MLP; called like a `MeshBlock`.

    Args:
        width: of node features; a multiple of `heads`.
        heads: number of heads.
        hidden: of the node MLP; twice the width by default.
        attention: of `ATTENTIONS`.
        edge_width: of edge features; `width` by default.
        between: activation of `mlp.ACTIVATIONS`.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        hidden: int | None = None,
        *,
        attention: str = "transformer",
        edge_width: int | None = None,
        between: str = "gelu",
    ) -> None:
        super().__init__()
        if attention not in ATTENTIONS:
            raise ValueError(f"unknown attention {attention!r}; known are {', '.join(ATTENTIONS)}")
        self.attention = ATTENTIONS[attention](width, heads, edge_width)
        self.attention_norm, self.node_norm = LayerNorm(width), LayerNorm(width)
        self.attention_out = nn.Linear(width, width)
        self.node_mlp = mlp([width, hidden or 2 * width, width], norm=False, between=between)

    def forward(
        self, nodes: Tensor, edges: Tensor, edge_index: Tensor, segments: Segments
    ) -> tuple[Tensor, Tensor]:
        """Update nodes `[n, width]`; arguments as `MeshBlock`, edges are returned as they came."""
        attended = self.attention(self.attention_norm(nodes), edges, edge_index, segments)
        nodes = nodes + self.attention_out(attended)
        return nodes + self.node_mlp(self.node_norm(nodes)), edges


def _head_width(width: int, heads: int) -> int:
    if heads < 1 or width % heads:
        raise ValueError(f"width {width} must be a multiple of the number of heads, got {heads}")
    return width // heads


def _attend(score: Tensor, value: Tensor, segments: Segments) -> Tensor:
    """Values `[m, heads * k]` weighted with the softmax of `score [m, heads]`, and added up."""
    # float32 under autocast: weights of a node must add up to 1
    wide = score.float() if score.dtype == torch.bfloat16 else score
    weight = segment_softmax(wide, segments).to(value.dtype)
    heads = value.reshape(len(value), score.shape[1], -1)
    return segment_sum((heads * weight[:, :, None]).flatten(1), segments)
