"""Energies of a moved mesh against its reference, simplex by simplex, with exact gradients.

All cells enter with the simplices of their corners (see `corners`), so that a finite energy means
positive corner Jacobians.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, inverse, product
from ..mesh import CELL_TYPES, Mesh
from ..monitors import Sample
from .base import scatter_to_nodes
from .corners import FACTORIAL, Corners, Shapes


@dataclass(frozen=True)
class Evaluation:
    """Energy at a trial position, and what the next step of the optimiser needs.

    Attributes:
        energy: infinity where a simplex is not positive.
        gradient: with respect to the node positions `[n, d]`, monitor included.
        parts: energy of each simplex `[s]`.
    """

    energy: float
    gradient: Tensor
    parts: Tensor


class SimplexEnergy(ABC):
    """Energy of a moved mesh against its reference.

    Args:
        reference: the mesh before the move.
        pressure: energy density per volume whose pull is that of the unmoved mesh; it is taken off
            on warped 3D cells. Corner volumes of simplices and quads sum to a constant; those of
            warped cells do not, and without this term a uniform monitor would move them.

    Attributes:
        nodes: the simplices `[s, d + 1]`.
        weight: share of each one's volume that counts `[s]`.
        reference_edges: E_ref, edge vectors as columns.
        reference_volume: `[s]`.
    """

    def __init__(self, reference: Mesh, pressure: float = 0.0) -> None:
        self.dim, self._num_nodes = reference.dim, len(reference.pos)
        self._corners = Corners(reference)
        self.nodes, self.weight = self._corners.nodes, self._corners.weight
        before = self.shapes(reference.pos)
        self.reference_edges, self.reference_volume = before.edges, before.volume
        kinds = [CELL_TYPES[name] for name in reference.cells]
        warped = any(kind.dim == 3 and not kind.is_simplex for kind in kinds)
        self.pressure = pressure if warped else 0.0

    @abstractmethod
    def _densities(
        self, shapes: Shapes, value: Tensor, *, with_gradient: bool = False
    ) -> tuple[Tensor, Matrix, Tensor]:
        """Energy `[s]`, stress P (d x d) and derivative by the averaged monitor, per simplex.

        The pull on the corner with barycentric gradient g is P^T g. Without gradient only the
        energy counts.
        """

    def shapes(self, pos: Tensor) -> Shapes:
        """The simplices at positions `[n, d]`."""
        return self._corners.shapes(pos)

    def volumes(self, pos: Tensor) -> Tensor:
        """Signed volumes of the simplices `[s]`."""
        return self.shapes(pos).volume

    def deformation(self, pos: Tensor, shapes: Shapes | None = None) -> Tensor:
        """Volume-averaged dx/dxi at the nodes `[n, d, d]`.

        Args:
            pos: `[n, d]`.
            shapes: of the simplices at `pos`, if known.
        """
        edges = (shapes or self.shapes(pos)).edges
        forward = product(edges, inverse(self.reference_edges))
        volume = self.weight * self.reference_volume
        stacked = torch.stack([torch.stack(row, dim=1) for row in forward], dim=1)
        weighted = (volume[:, None, None] * stacked)[:, None].expand(-1, self.dim + 1, -1, -1)
        total = scatter_to_nodes(weighted, self.nodes, len(pos))
        return total / self._reference_share[:, None, None]

    @cached_property
    def _reference_share(self) -> Tensor:
        """Volume of the simplices around each node before the move `[n]`."""
        volume = self.weight * self.reference_volume
        around = volume[:, None].expand(-1, self.dim + 1)
        return scatter_to_nodes(around, self.nodes, self._num_nodes)

    def energy(self, pos: Tensor, value: Tensor) -> float:
        """Energy only (see `evaluate`)."""
        shapes = self.shapes(pos)
        if not bool((shapes.determinant > 0).all()):
            return float("inf")
        return float(self.parts(shapes, value).sum())

    def parts(self, shapes: Shapes, value: Tensor) -> Tensor:
        """Energy of each simplex `[s]`, all of them positive, for nodal values of the monitor."""
        return self._densities(shapes, value)[0]

    def evaluate(self, pos: Tensor, sample: Sample, shapes: Shapes | None = None) -> Evaluation:
        """Energy and gradient.

        Args:
            pos: `[n, d]`, all simplices positive.
            sample: the monitor and its gradient at `pos`.
            shapes: of the simplices at `pos`, if known.
        """
        shapes = shapes or self.shapes(pos)
        energy, stress, by_metric = self._densities(shapes, sample.value, with_gradient=True)
        pull = product(shapes.inverse, stress)
        others = torch.stack([torch.stack(row, dim=1) for row in pull], dim=1)
        local = torch.cat([-others.sum(dim=1, keepdim=True), others], dim=1)
        gradient = scatter_to_nodes(local, self.nodes, len(pos))
        share = by_metric / (self.dim + 1)
        spread = share[:, None].expand(-1, self.dim + 1, *share.shape[1:])
        at_nodes = scatter_to_nodes(spread, self.nodes, len(pos))
        if sample.value.dim() == 1:
            gradient += at_nodes[:, None] * sample.gradient
        else:
            gradient += (at_nodes[..., None] * sample.gradient).sum(dim=(1, 2))
        return Evaluation(float(energy.sum()), gradient, energy)

    def volume_of(self, shapes: Shapes) -> Tensor:
        """Weighted volumes of the simplices `[s]`."""
        return self.weight * shapes.determinant / FACTORIAL[self.dim]

    def at_simplices(self, value: Tensor) -> Tensor:
        """Mean of nodal values over the corners of each simplex `[s, ...]`."""
        return torch.stack([value[c] for c in self._corners.columns]).mean(dim=0)
