"""A U-net on the levels of a hierarchy: down with restriction, up with prolongation.

Fortunato, Pfaff, Wirnsberger, Pritzel & Battaglia, "MultiScale MeshGraphNets" (2022); the transfer
is finite-element interpolation, as in a V-cycle of multigrid, in place of learned edges.

    down:  h_l <- blocks(h_l),   h_{l+1} <- W R h_l
    up:    h_l <- blocks(W [h_l, P h_{l+1}])
"""

from __future__ import annotations

from torch import Tensor, nn

from ..mesh import Mesh
from .block import MeshBlock
from .features import relative_positions
from .hierarchy import Hierarchy, Prolongation, coarsened_hierarchy
from .mesh_net import Processor
from .mlp import mlp


class Pool(nn.Module):
    """To the coarser level: the weighted mean of the fine nodes, through a linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, nodes: Tensor, prolongation: Prolongation) -> Tensor:
        """`[n_fine, width] -> [n_coarse, width]`."""
        return self.linear(prolongation.restrict(nodes))


class Unpool(nn.Module):
    """To the finer level: W [h, P h_coarse], where the fine features are h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        self.below = nn.Linear(width, width, bias=False)

    def forward(self, coarse: Tensor, nodes: Tensor, prolongation: Prolongation) -> Tensor:
        """`[n_coarse, width]`, `[n_fine, width] -> [n_fine, width]`."""
        return self.own(nodes) + prolongation.prolong(self.below(coarse))


class MultiscaleNet(nn.Module):
    """Encode, one V-cycle of message passing, decode; reach grows by about two with each level.

    Args:
        node_in: columns of the node features.
        out: columns of the result.
        edge_in: columns of the edge features, 3 in 2D and 4 in 3D: those of `edge_features`.
        width: of everything inside.
        levels: number of levels, the mesh included.
        down, bottom, up: number of blocks at each level on the way down, at the coarsest level, and
            on the way up.
    """

    def __init__(
        self,
        node_in: int,
        out: int,
        edge_in: int = 3,
        *,
        width: int = 64,
        levels: int = 3,
        down: int = 1,
        bottom: int = 2,
        up: int = 1,
    ) -> None:
        super().__init__()
        self.levels = levels
        self.encode_nodes = mlp([node_in, width, width])
        self.encode_edges = nn.ModuleList(mlp([edge_in, width, width]) for _ in range(levels))
        finer = range(levels - 1)
        self.down = nn.ModuleList(_blocks(width, down) for _ in finer)
        self.pool = nn.ModuleList(Pool(width) for _ in finer)
        self.bottom = _blocks(width, bottom)
        self.unpool = nn.ModuleList(Unpool(width) for _ in finer)
        self.up = nn.ModuleList(_blocks(width, up) for _ in finer)
        self.decode = mlp([width, width, out], norm=False)

    def forward(self, mesh: Mesh, nodes: Tensor, hierarchy: Hierarchy | None = None) -> Tensor:
        """Node features `[n, node_in]` of a mesh or batch to `[n, out]`.

        Args:
            mesh: the finest level.
            nodes: node features.
            hierarchy: `coarsened_hierarchy(mesh, levels)` by default.

        Raises:
            ValueError: the hierarchy has another number of levels.
        """
        scale = hierarchy or coarsened_hierarchy(mesh, self.levels)
        if len(scale) != self.levels:
            raise ValueError(f"the network has {self.levels} levels, the hierarchy {len(scale)}")
        return self.on_levels(scale, mesh.pos, nodes)

    def on_levels(self, scale: Hierarchy, pos: Tensor, nodes: Tensor) -> Tensor:
        """The same on any hierarchy of as many levels, `pos [n, d]` being those of the finest."""
        edges = self._edges(pos, scale)
        hidden, skipped = self.encode_nodes(nodes), []
        for k, (blocks, pool) in enumerate(zip(self.down, self.pool, strict=True)):
            level = scale.levels[k]
            hidden, edges[k] = blocks(hidden, edges[k], level.edge_index, level.segments)
            skipped.append(hidden)
            hidden = pool(hidden, scale.prolongations[k])
        level = scale.levels[-1]
        hidden, _ = self.bottom(hidden, edges[-1], level.edge_index, level.segments)
        for k in reversed(range(self.levels - 1)):
            level = scale.levels[k]
            hidden = self.unpool[k](hidden, skipped[k], scale.prolongations[k])
            hidden, _ = self.up[k](hidden, edges[k], level.edge_index, level.segments)
        return self.decode(hidden)

    def _edges(self, pos: Tensor, scale: Hierarchy) -> list[Tensor]:
        """Encoded edge features of every level."""
        placed = zip(scale.positions(pos), scale.levels, strict=True)
        features = [relative_positions(x, level.edge_index, level.segments) for x, level in placed]
        return [f(e) for f, e in zip(self.encode_edges, features, strict=True)]


def _blocks(width: int, count: int) -> Processor:
    return Processor(MeshBlock(width) for _ in range(count))
