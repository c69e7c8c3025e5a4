"""A limit on how much longer the edges of a curved side may get.

Nodes on a curve are held by nothing but the cells: where these are wanted elsewhere the chords
grow, the domain between chords and curve is lost or gained, and with it energy, and chords grow
further. A barrier keeps the edges below a multiple of their length; it vanishes where they shrink.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..mesh import Mesh

LIMIT = 2.0
"""A chord of twice the length is four times as far from its curve."""
_STRENGTH = 0.1
"""Of the barrier, in units of the energy of the cells beside an edge."""


@dataclass(frozen=True)
class Stretch:
    """Edges of curved sides, and how long they may get.

    Attributes:
        edges: `[k, 2]`.
        length: before the move `[k]`.
        weight: of each edge in the barrier, its share of the domain `[k]`.
        limit: largest ratio of lengths.
    """

    edges: Tensor
    length: Tensor
    weight: Tensor
    limit: float = LIMIT

    def ratio(self, pos: Tensor) -> Tensor:
        """Length over that before the move `[k]`."""
        return self._vectors(pos).norm(dim=1) / self.length

    def energy(self, pos: Tensor) -> float:
        """Sum of weight ((s - 1) / (limit - s))^2 over edges with ratio s > 1; infinite beyond."""
        s = self.ratio(pos)
        if bool((s >= self.limit).any()):
            return float("inf")
        over = (s - 1).clamp(min=0.0) / (self.limit - s)
        return float((self.weight * over**2).sum())

    def gradient(self, pos: Tensor) -> Tensor:
        """Derivative of `energy` with respect to the positions `[n, d]`."""
        vectors = self._vectors(pos)
        length = vectors.norm(dim=1)
        s = length / self.length
        over = (s - 1).clamp(min=0.0) / (self.limit - s)
        slope = 2 * self.weight * over * (self.limit - 1) / (self.limit - s) ** 2
        pull = (slope / self.length / length)[:, None] * vectors
        out = torch.zeros_like(pos)
        return out.index_add_(0, self.edges[:, 1], pull).index_add_(0, self.edges[:, 0], -pull)

    def beyond(self, pos: Tensor) -> Tensor:
        """Nodes of edges that are too long, each once `[m]`."""
        return torch.unique(self.edges[self.ratio(pos) > self.limit])

    def _vectors(self, pos: Tensor) -> Tensor:
        return pos[self.edges[:, 1]] - pos[self.edges[:, 0]]


def stretch(mesh: Mesh, facets: Tensor, sliding: Tensor, limit: float) -> Stretch:
    """The edges of facets `[k, w]` that have a sliding node."""
    member = torch.zeros(len(mesh.pos), dtype=torch.bool, device=facets.device)
    member[sliding] = True
    pairs = facets
    if facets.shape[1] > 2:
        pairs = torch.stack([facets, facets.roll(-1, dims=1)], dim=2).reshape(-1, 2)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    edges = torch.unique(pairs.sort(dim=1).values, dim=0)
    edges = edges[member[edges].any(dim=1)]
    length = (mesh.pos[edges[:, 1]] - mesh.pos[edges[:, 0]]).norm(dim=1)
    weight = _STRENGTH * length**mesh.dim / mesh.volumes().sum()
    return Stretch(edges, length, weight, limit)
