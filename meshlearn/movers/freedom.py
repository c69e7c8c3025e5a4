"""The space of allowed motions of the nodes: on sides, curves and surfaces, and in pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .periodic import Ties
from .stretch import Stretch

TOLERANCE = 2e-3
"""Largest change of the measure of the domain or of a tagged part by nodes on curved sides."""


class Shape(Protocol):
    """A curve (`dim` 1) or a surface (2) that nodes slide on."""

    @property
    def dim(self) -> int:
        """1 for a curve, 2 for a surface."""

    def closest(self, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest points `[k, d]` and orthonormal tangents there `[k, dim, d]`.

        Args:
            points: `[k, d]`.
            rows: which of the nodes of the track they belong to `[k]`.
        """


@dataclass(frozen=True)
class Track:
    """Nodes that slide on a shape.

    Attributes:
        nodes: `[m]`.
        shape: what they slide on.
    """

    nodes: Tensor
    shape: Shape

    def closest(self, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest points of the shape to positions `[m, d]`, and tangents `[m, dim, d]`."""
        return self.shape.closest(pos, torch.arange(len(self.nodes), device=pos.device))


@dataclass(frozen=True)
class Freedom:
    """Directions in which each node may move, and the way back where these are tangents.

    On flat sides the directions are the same everywhere. On curves and surfaces they are tangents
    at the current position (`at`), and a step along them ends with `retract`.

    Attributes:
        nodes: nodes that are not entirely free, sorted `[k]`.
        directions: orthonormal rows `[k, d, d]`.
        free: how many of the first rows are allowed `[k]`.
        num_nodes: of the mesh.
        origin: positions before the move `[n, d]`; needed where there are tracks or ties.
        tracks: nodes on curves and surfaces.
        ties: periodic nodes.
        stretch: limit on the edges of curved sides; with tracks only.
        tolerance: largest relative change of a measure that sliding on curved sides may cause.
    """

    nodes: Tensor
    directions: Tensor
    free: Tensor
    num_nodes: int
    origin: Tensor | None = None
    tracks: tuple[Track, ...] = ()
    ties: Ties | None = None
    stretch: Stretch | None = None
    tolerance: float = TOLERANCE

    @property
    def curved(self) -> bool:
        """Whether nodes slide on curves or surfaces."""
        return bool(self.tracks)

    def project(self, vectors: Tensor) -> Tensor:
        """Remove from `[n, d]` what is not allowed (at the position of the directions)."""
        out = vectors.clone() if self.ties is None else self.ties.averaged(vectors)
        out[self.nodes] = (self._projector @ out[self.nodes][:, :, None])[:, :, 0]
        return out

    def held(self) -> Freedom:
        """The same freedom, but nodes on curves and surfaces stay."""
        if not self.tracks:
            return self
        still = torch.isin(self.nodes, torch.cat([track.nodes for track in self.tracks]))
        if self.ties is not None:
            of_root = torch.zeros(self.num_nodes, dtype=torch.bool, device=still.device)
            of_root[self.nodes[still]] = True
            still |= torch.isin(self.nodes, self.ties.members[of_root[self.ties.roots]])
        free = torch.where(still, 0, self.free)
        return replace(self, free=free, tracks=(), stretch=None)

    def at(self, pos: Tensor) -> Freedom:
        """The same freedom with the tangents at other positions `[n, d]`."""
        if not self.tracks:
            return self
        directions = self.directions.clone()
        for track in self.tracks:
            row = torch.searchsorted(self.nodes, track.nodes)
            _, tangents = track.closest(pos[track.nodes])
            directions[row] = _frames(tangents, directions[row])
        if self.ties is not None:
            row = torch.searchsorted(self.nodes, self.ties.members)
            root = torch.searchsorted(self.nodes, self.ties.roots)
            directions[row] = directions[root] @ self.ties.rotations.transpose(1, 2)
        return replace(self, directions=directions)

    def retract(self, pos: Tensor) -> Tensor:
        """Put nodes on their curves and surfaces, and periodic ones beside their partners `[n, d]`.

        Nodes that have not moved stay bit for bit; without tracks and ties nothing changes.
        """
        if not self.tracks and self.ties is None:
            return pos
        out, origin = pos.clone(), self._origin
        for track in self.tracks:
            here, before = pos[track.nodes], origin[track.nodes]
            still = (here == before).all(dim=1, keepdim=True)
            out[track.nodes] = torch.where(still, before, track.closest(here)[0])
        if self.ties is not None:
            self.ties.follow(out, origin)
        return out

    def place(self, pos: Tensor) -> Tensor:
        """Allowed positions nearest to `[n, d]`."""
        origin = self._origin
        shift = pos - origin if self.ties is None else self.ties.averaged(pos - origin)
        out = origin + self.project(shift)
        for track in self.tracks:  # the way along a curve is not along the first tangent
            out[track.nodes] = origin[track.nodes] + shift[track.nodes]
        return self.retract(out)

    def basis(self) -> sp.csr_array:
        """Orthonormal basis of all allowed motions, node-major: `[n d, degrees of freedom]`."""
        d = self.directions.shape[1]
        nodes, free = self.nodes.cpu().numpy(), self.free.cpu().numpy()
        if self.ties is not None:  # partners follow: they have no degrees of freedom of their own
            free = np.where(np.isin(nodes, self.ties.members.cpu().numpy()), 0, free)
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
        basis = sp.csr_array(
            sp.coo_array(
                (
                    np.r_[np.ones(len(unit)), values],
                    (np.r_[unit, rows], rank[np.r_[np.arange(len(unit)), columns]]),
                ),
                shape=(self.num_nodes * d, len(owner)),
            )
        )
        return basis if self.ties is None else sp.csr_array(self.ties.spread(d) @ basis)

    def departure(self, displacement: Tensor) -> Tensor:
        """Distance of each constrained node from where it may be `[k]`."""
        moved = displacement[self.nodes]
        blocked = (self.directions @ moved[:, :, None])[:, :, 0] * (1 - self._allowed)
        out = blocked.norm(dim=1)
        for track in self.tracks:
            here = self._origin[track.nodes] + displacement[track.nodes]
            still = (displacement[track.nodes] == 0).all(dim=1)
            gap = (here - track.closest(here)[0]).norm(dim=1)
            out[torch.searchsorted(self.nodes, track.nodes)] = torch.where(still, 0.0, gap)
        if self.ties is not None:
            ties = self.ties
            lag = displacement[ties.members] - ties.turned(displacement[ties.roots])
            root = torch.searchsorted(self.nodes, ties.roots)
            out[torch.searchsorted(self.nodes, ties.members)] = out[root] + lag.norm(dim=1)
        return out

    @property
    def _origin(self) -> Tensor:
        assert self.origin is not None
        return self.origin

    @property
    def _projector(self) -> Tensor:
        rows = self.directions * self._allowed[:, :, None]
        return rows.transpose(1, 2) @ rows

    @property
    def _allowed(self) -> Tensor:
        d = self.directions.shape[1]
        return (torch.arange(d, device=self.free.device) < self.free[:, None]).to(torch.float64)


def _frames(tangents: Tensor, before: Tensor) -> Tensor:
    """Orthonormal rows `[m, d, d]`, tangents `[m, dim, d]` first, turned least from those before.

    So that a number of degrees of freedom means the same motion at both positions.
    """
    dim = tangents.shape[1]
    plane = tangents.transpose(1, 2) @ tangents
    u, _, v = torch.linalg.svd(before[:, :dim] @ plane, full_matrices=False)
    first = u @ v
    rest = torch.linalg.eigh(plane).eigenvectors.transpose(1, 2)[:, : before.shape[1] - dim]
    return torch.cat([first, rest], dim=1)
