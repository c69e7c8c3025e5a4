"""Learned embeddings of boundary types, by the names of the mesh's tags."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..mesh import Mesh, MeshError
from ..mesh.tags import flatten_names


class TagEmbedding(nn.Module):
    """One learned vector for each declared facet or point tag; a node has the sum of its tags'.

    Nodes on the boundary that carry no tag have a vector of their own, nodes inside have 0.

    Args:
        names: the tags, in the order of the rows of `weight`; the first row is the untagged
            boundary's.
        width: of the vectors.
        ignore: tags that may be on a mesh and mean nothing here.
    """

    def __init__(self, names: Sequence[str], width: int, *, ignore: Sequence[str] = ()) -> None:
        super().__init__()
        if len(set(names)) < len(names):
            raise ValueError(f"tag names must differ, got {list(names)}")
        self.names, self.ignore = tuple(names), frozenset(ignore)
        self.weight = nn.Parameter(torch.randn(len(names) + 1, width) / width**0.5)

    def forward(self, mesh: Mesh) -> Tensor:
        """Embedding of every node `[n, width]`.

        Raises:
            MeshError: the mesh carries a tag that was not declared.
        """
        found = flatten_names([mesh["facet_tag_names"], mesh["point_tag_names"]])
        unknown = [n for n in dict.fromkeys(found) if n not in {*self.names, *self.ignore}]
        if unknown:
            raise MeshError(
                f"no embedding was declared for tag {', '.join(map(repr, unknown))}; declared are "
                f"{', '.join(map(repr, self.names)) or 'none'}: declare it or pass it as `ignore`"
            )
        present = [name for name in self.names if name in found]
        rows = [(mesh.tagged_nodes(name), 1 + self.names.index(name)) for name in present]
        untagged = torch.zeros(mesh.num_nodes, dtype=torch.bool, device=mesh.pos.device)
        untagged[mesh.boundary_nodes] = True
        out = self.weight.new_zeros(mesh.num_nodes, self.weight.shape[1])
        for nodes, row in rows:
            untagged[nodes] = False
            out = out.index_add(0, nodes, self.weight[row].expand(len(nodes), -1))
        return out + untagged[:, None] * self.weight[0]
