"""Encode, process, decode: the whole graph network.

Nodes and edges are encoded to one width by an MLP each, updated by a sequence of blocks, and the
nodes decoded (Sanchez-Gonzalez et al., ICML 2020; Pfaff et al., ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..kernels import Segments
from ..mesh import Mesh
from .block import MeshBlock
from .features import edge_features, segments
from .mlp import mlp

_CHUNK = 1 << 16
"""Edges that are encoded at once where memory is to be saved."""


class Processor(nn.Module):
    """Blocks one after the other, each called as `block(nodes, edges, edge_index, segments)`.

    Args:
        blocks: `MeshBlock`, `AttentionBlock` or any module of that signature.
        recompute: keep the inputs of every `recompute` blocks only, and compute what is between
            again in the backward pass; 0 keeps everything.
    """

    def __init__(self, blocks: Iterable[nn.Module], *, recompute: int = 0) -> None:
        super().__init__()
        self.blocks, self.recompute = nn.ModuleList(blocks), recompute

    def forward(
        self, nodes: Tensor, edges: Tensor, edge_index: Tensor, segments: Segments
    ) -> tuple[Tensor, Tensor]:
        """Update nodes `[n, width]` and edges `[m, width]`; arguments as `MeshBlock`."""
        if not self.recompute or not torch.is_grad_enabled():
            return self._run(0, len(self.blocks), nodes, edges, edge_index, segments)
        for first in range(0, len(self.blocks), self.recompute):
            last = min(first + self.recompute, len(self.blocks))
            nodes, edges = checkpoint(
                self._run, first, last, nodes, edges, edge_index, segments, use_reentrant=False
            )
        return nodes, edges

    def _run(
        self,
        first: int,
        last: int,
        nodes: Tensor,
        edges: Tensor,
        edge_index: Tensor,
        segments: Segments,
    ) -> tuple[Tensor, Tensor]:
        for block in self.blocks[first:last]:
            nodes, edges = block(nodes, edges, edge_index, segments)
        return nodes, edges


class MeshNet(nn.Module):
    """A graph network from node features to node features of a mesh.

    Args:
        node_in: columns of the node features.
        out: columns of the result.
        edge_in: columns of the edge features: 3 in 2D and 4 in 3D for `edge_features`.
        width: of everything inside.
        blocks: number of `MeshBlock`s, or the modules themselves.
        recompute: see `Processor`.
    """

    def __init__(
        self,
        node_in: int,
        out: int,
        edge_in: int = 3,
        *,
        width: int = 128,
        blocks: int | Iterable[nn.Module] = 15,
        recompute: int = 0,
    ) -> None:
        super().__init__()
        chain = [MeshBlock(width) for _ in range(blocks)] if isinstance(blocks, int) else blocks
        self.encode_nodes = mlp([node_in, width, width])
        self.encode_edges = mlp([edge_in, width, width])
        self.processor = Processor(chain, recompute=recompute)
        self.decode = mlp([width, width, out], norm=False)

    def forward(self, mesh: Mesh, nodes: Tensor, edges: Tensor | None = None) -> Tensor:
        """Node features `[n, node_in]` of a mesh or batch to `[n, out]`.

        Args:
            mesh: the graph.
            nodes: node features.
            edges: edge features `[m, edge_in]` in the order of `mesh.topology.edge_index`;
                `edge_features(mesh)` by default.
        """
        features = edge_features(mesh) if edges is None else edges
        hidden, messages = self.encode_nodes(nodes), self._encoded(features)
        edge_index, by_receiver = mesh.topology.edge_index, segments(mesh)
        return self.decode(self.processor(hidden, messages, edge_index, by_receiver)[0])

    def _encoded(self, features: Tensor) -> Tensor:
        """Encoded edges; with `recompute` in chunks, whose inner layers are not kept either."""
        if not self.processor.recompute or not torch.is_grad_enabled():
            return self.encode_edges(features)
        chunks = [
            checkpoint(self.encode_edges, chunk, use_reentrant=False)
            for chunk in torch.split(features, _CHUNK)
        ]
        return torch.cat(chunks)
