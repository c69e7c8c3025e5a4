"""How the nodes of a mesh may move: inside freely, on flat sides along them, corners not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.boundary import FLAT_TOLERANCE, sliding_directions

Slide = Literal["flat", "none"]


@dataclass(frozen=True)
class Freedom:
    """Directions in which each node may move.

    Attributes:
        nodes: nodes that are not entirely free `[k]`.
        directions: orthonormal rows `[k, d, d]`.
        free: how many of the first rows are allowed `[k]`.
        num_nodes: of the mesh.
    """

    nodes: Tensor
    directions: Tensor
    free: Tensor
    num_nodes: int

    def project(self, vectors: Tensor) -> Tensor:
        """Remove from `[n, d]` what is not allowed."""
        out = vectors.clone()
        out[self.nodes] = (self._projector @ vectors[self.nodes][:, :, None])[:, :, 0]
        return out

    @property
    def _projector(self) -> Tensor:
        rows = self.directions * self._allowed[:, :, None]
        return rows.transpose(1, 2) @ rows

    @property
    def _allowed(self) -> Tensor:
        d = self.directions.shape[1]
        return (torch.arange(d, device=self.free.device) < self.free[:, None]).to(torch.float64)

    def basis(self) -> sp.csr_array:
        """Orthonormal basis of all allowed motions, node-major: `[n d, degrees of freedom]`."""
        d = self.directions.shape[1]
        nodes, free = self.nodes.cpu().numpy(), self.free.cpu().numpy()
        inner = np.ones(self.num_nodes, bool)
        inner[nodes] = False
        unit = (np.flatnonzero(inner)[:, None] * d + np.arange(d)).reshape(-1)
        which, row = np.nonzero(np.arange(d) < free[:, None])
        values = self.directions.cpu().numpy()[which, row].reshape(-1)
        rows = (nodes[which][:, None] * d + np.arange(d)).reshape(-1)
        columns = np.repeat(np.arange(len(which)) + len(unit), d)
        # Columns in the order of the nodes keep the factorisation's ordering good.
        owner = np.r_[unit // d, nodes[which]]
        rank = np.empty(len(owner), np.int64)
        rank[np.argsort(owner, kind="stable")] = np.arange(len(owner))
        return sp.csr_array(
            sp.coo_array(
                (
                    np.r_[np.ones(len(unit)), values],
                    (np.r_[unit, rows], rank[np.r_[np.arange(len(unit)), columns]]),
                ),
                shape=(self.num_nodes * d, len(owner)),
            )
        )

    def departure(self, displacement: Tensor) -> Tensor:
        """Distance of each constrained node from where it may be `[k]`."""
        moved = displacement[self.nodes]
        blocked = (self.directions @ moved[:, :, None])[:, :, 0] * (1 - self._allowed)
        return blocked.norm(dim=1)


def freedom(
    mesh: Mesh,
    fixed: Iterable[str] | Tensor = (),
    slide: Slide = "flat",
    flat_tolerance: float = FLAT_TOLERANCE,
) -> Freedom:
    """Sliding on flat sides and straight ridges; corners, curved parts and `fixed` stay.

    Args:
        mesh: the mesh whose shape is to be kept.
        fixed: names of tags ("boundary" for all), or node indices `[k]`.
        slide: "flat", or "none" to keep the whole boundary.
        flat_tolerance: angle in radians below which neighbouring facets are one flat side.

    Raises:
        MeshError: unknown tag or node.
    """
    nodes, directions, free = sliding_directions(mesh, flat_tolerance)
    if slide not in ("flat", "none"):
        raise MeshError(f'slide must be "flat" or "none", got {slide!r}')
    if slide == "none":
        free = torch.zeros_like(free)
    kept = fixed_nodes(mesh, fixed)
    d = mesh.dim
    all_free = torch.full((len(mesh.pos),), d, device=nodes.device)
    rows = torch.eye(d, dtype=torch.float64, device=nodes.device).repeat(len(mesh.pos), 1, 1)
    all_free[nodes], rows[nodes] = free, directions
    all_free[kept] = 0
    bound = torch.nonzero(all_free < d).squeeze(1)
    return Freedom(bound, rows[bound], all_free[bound], len(mesh.pos))


def fixed_nodes(mesh: Mesh, fixed: Iterable[str] | Tensor) -> Tensor:
    """Nodes named by tags or given by index `[k]`."""
    if isinstance(fixed, str):
        fixed = [fixed]
    if not isinstance(fixed, Tensor) and all(isinstance(item, str) for item in fixed):
        names: Sequence[str] = list(fixed)
        empty = torch.empty(0, dtype=torch.int64, device=mesh.pos.device)
        return torch.cat([empty, *(mesh.tagged_nodes(name) for name in names)])
    nodes = torch.as_tensor(fixed, dtype=torch.int64, device=mesh.pos.device).reshape(-1)
    outside = (nodes < 0) | (nodes >= len(mesh.pos))
    if outside.any():
        raise MeshError(
            f"fixed names node {int(nodes[outside][0])}, but there are {len(mesh.pos)} nodes"
        )
    return nodes
