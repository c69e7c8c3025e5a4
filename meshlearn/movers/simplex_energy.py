"""Energies of a moved mesh against its reference, simplex by simplex, with exact gradients.

Quads, hexahedra, wedges and pyramids enter with the simplices of their corners, so that a finite
energy means positive corner Jacobians. Structure of arrays: every matrix is a d x d list of vectors
over the simplices.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, determinant, inverse, product
from ..mesh import CELL_TYPES, Mesh
from ..monitors import Sample
from .base import scatter_to_nodes

# Volume of a regular cell over the sum of the volumes of its corner simplices.
_WEIGHT = {"quad": 1 / 2, "hexahedron": 3 / 4, "wedge": 1 / 2, "pyramid": 1 / 2}
_FACTORIAL = {1: 1, 2: 2, 3: 6}


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
        reference_edges: E_ref, edge vectors as columns.
    """

    def __init__(self, reference: Mesh, pressure: float = 0.0) -> None:
        self.dim = reference.dim
        nodes, weights, curved = [], [], False
        for name, cell in reference.cells.items():
            corners = torch.tensor(CELL_TYPES[name].corners, device=cell.device)
            nodes.append(cell[:, corners].reshape(-1, corners.shape[1]))
            weight = _WEIGHT.get(name, 1.0)
            weights.append(torch.full((len(nodes[-1]),), weight, dtype=torch.float64))
            curved |= CELL_TYPES[name].dim == 3 and not CELL_TYPES[name].is_simplex
        self.nodes = torch.cat(nodes)
        self.weight = torch.cat(weights).to(reference.pos.device)
        self._columns = [column.contiguous() for column in self.nodes.unbind(dim=1)]
        self.reference_edges = self.edges(reference.pos)
        self.reference_volume = determinant(self.reference_edges) / _FACTORIAL[self.dim]
        self.pressure = pressure if curved else 0.0

    @abstractmethod
    def _densities(
        self, edges: Matrix, value: Tensor, *, with_gradient: bool = False
    ) -> tuple[Tensor, Matrix, Tensor]:
        """Energy `[s]`, stress P (d x d) and derivative by the averaged monitor, per simplex.

        The pull on the corner with barycentric gradient g is P^T g. Without gradient only the
        energy counts.
        """

    def edges(self, pos: Tensor) -> Matrix:
        """Edge matrices, component by edge."""
        components = [pos[:, k].contiguous() for k in range(self.dim)]
        corners = [[component[c] for c in self._columns] for component in components]
        return [[x - corner[0] for x in corner[1:]] for corner in corners]

    def volumes(self, pos: Tensor) -> Tensor:
        """Signed volumes of the simplices `[s]`."""
        return determinant(self.edges(pos)) / _FACTORIAL[self.dim]

    def deformation(self, pos: Tensor) -> Tensor:
        """Volume-averaged dx/dxi at the nodes `[n, d, d]`."""
        forward = product(self.edges(pos), inverse(self.reference_edges))
        volume = self.weight * self.reference_volume
        stacked = torch.stack([torch.stack(row, dim=1) for row in forward], dim=1)
        weighted = (volume[:, None, None] * stacked)[:, None].expand(-1, self.dim + 1, -1, -1)
        count = len(pos)
        total = scatter_to_nodes(weighted, self.nodes, count)
        share = scatter_to_nodes(volume[:, None].expand(-1, self.dim + 1), self.nodes, count)
        return total / share[:, None, None]

    def energy(self, pos: Tensor, value: Tensor) -> float:
        """Energy only (see `evaluate`)."""
        edges = self.edges(pos)
        if not bool((determinant(edges) > 0).all()):
            return float("inf")
        return float(self._densities(edges, value)[0].sum())

    def evaluate(self, pos: Tensor, sample: Sample) -> Evaluation:
        """Energy and gradient.

        Args:
            pos: `[n, d]`, all simplices positive.
            sample: the monitor and its gradient at `pos`.
        """
        edges = self.edges(pos)
        energy, stress, by_metric = self._densities(edges, sample.value, with_gradient=True)
        inverted = inverse(edges)
        # Gradient of barycentric coordinate j is row j - 1 of the inverse edge matrix.
        pull = product(inverted, stress)
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

    def volume_of(self, edges: Matrix) -> Tensor:
        """Weighted volumes of simplices given by their edge matrices `[s]`."""
        return self.weight * determinant(edges) / _FACTORIAL[self.dim]

    def at_simplices(self, value: Tensor) -> Tensor:
        """Mean of nodal values over the corners of each simplex `[s, ...]`."""
        return torch.stack([value[c] for c in self._columns]).mean(dim=0)
