"""UM2N: graph transformer and graph-attention deformer, trained on Monge-Ampere meshes.

Zhang, Wang, Kramer, Wallwork, Li, Liu, Chen & Piggott, "Towards universal mesh movement networks",
NeurIPS 2024. A baseline: its attention runs over all pairs of nodes, so that time and memory grow
with their square, and it needs labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.utils import to_dense_batch

from ...mesh import Mesh
from ...monitors import Monitor
from ...nn import segments
from ..constraints import Freedom
from .deform import Deformer, EdgeSum, boundary_flag
from .frame import Frame
from .one_pass import Network, OnePass, nodal_density


class UM2NNet(Network):
    """Nodes see x, y and m / max |m|; edges see x_j - x_i, |x_j - x_i|, m_i and m_j.

    Args:
        width, attention_heads, hidden: of the transformer block.
        out: features of a node from the transformer and from the edges.
        first, widths, heads: of the deformer (see `deform`).
        sliding: whether boundary nodes slide (see `deform`).
    """

    def __init__(
        self,
        width: int = 64,
        attention_heads: int = 4,
        hidden: int = 256,
        out: int = 16,
        first: int = 254,
        widths: Sequence[int] = (508, 250, 120, 20),
        heads: int = 6,
        sliding: bool = True,
    ) -> None:
        super().__init__()
        self.config = {
            "width": width,
            "attention_heads": attention_heads,
            "hidden": hidden,
            "out": out,
            "first": first,
            "widths": list(widths),
            "heads": heads,
            "sliding": sliding,
        }
        self.embed = nn.Linear(3, width)
        self.attention = nn.TransformerEncoderLayer(
            width, attention_heads, hidden, dropout=0.0, batch_first=True
        )
        self.read = nn.Linear(width, out)
        self.edges = EdgeSum(1, 64, out)
        self.deformer = Deformer(2 * out + 1, first, widths, heads, sliding)

    def displacement(self, mesh: Mesh, monitor: Monitor, free: Freedom) -> Tensor:
        """See `Network`; also of a batch."""
        frame = Frame.of(mesh)
        value = frame.relative(nodal_density(mesh, monitor))[:, None]
        seen = torch.cat([frame.pos.float(), value], dim=1)
        nodes = self.read(self._attend(self.embed(seen), frame))
        edges = self.edges(frame.pos, value, mesh.topology.edge_index[0], segments(mesh))
        features = torch.cat([boundary_flag(mesh), nodes, edges], dim=1)
        return self.deformer(mesh, frame, features, free)

    def _attend(self, h: Tensor, frame: Frame) -> Tensor:
        """Dense attention over the nodes of each mesh: quadratic in their number."""
        dense, there = to_dense_batch(h, frame.graph, batch_size=frame.graphs)
        mask = None if bool(there.all()) else ~there
        return self.attention(dense, src_key_padding_mask=mask)[there]


class UM2N(OnePass):
    """The mover of `UM2NNet`; see `OnePass`."""

    kind = UM2NNet
