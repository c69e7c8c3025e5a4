"""Coordinates in a unit box: what networks see that were trained on the unit square."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...mesh import Mesh


@dataclass(frozen=True)
class Frame:
    """A mesh (or each mesh of a batch) shifted to the origin, its longest side scaled to 1.

    On the unit square nothing changes.

    Attributes:
        pos: scaled positions `[n, d]`, float64.
        low: lower corner of each node's mesh `[n, d]`, in the mesh's units.
        scale: longest side of the bounding box of each node's mesh `[n, 1]`, in the mesh's units.
        graph: mesh of the batch that each node belongs to `[n]`; all 0 for one mesh.
        graphs: how many.
    """

    pos: Tensor
    low: Tensor
    scale: Tensor
    graph: Tensor
    graphs: int

    @classmethod
    def of(cls, mesh: Mesh) -> Frame:
        """The frame of a mesh or batch."""
        pos, own = mesh.pos, mesh.get("batch")
        graph = torch.zeros(len(pos), dtype=torch.int64, device=pos.device) if own is None else own
        graphs = int(graph.max()) + 1
        low, high = _extreme(pos, graph, graphs, "amin"), _extreme(pos, graph, graphs, "amax")
        scale = (high - low).amax(dim=1, keepdim=True)
        return cls((pos - low[graph]) / scale[graph], low[graph], scale[graph], graph, graphs)

    def relative(self, values: Tensor) -> Tensor:
        """Values `[n]` over the largest absolute value of each mesh, float32; 0 where all are."""
        largest = _extreme(values.abs(), self.graph, self.graphs, "amax")[self.graph]
        return (values / torch.where(largest > 0, largest, 1.0)).float()


def _extreme(values: Tensor, graph: Tensor, graphs: int, which: str) -> Tensor:
    """Largest or smallest row of each graph `[n, ...] -> [graphs, ...]`."""
    index = graph.reshape(-1, *(1 for _ in values.shape[1:])).expand_as(values)
    empty = values.new_zeros(graphs, *values.shape[1:])
    return empty.scatter_reduce(0, index, values, which, include_self=False)
