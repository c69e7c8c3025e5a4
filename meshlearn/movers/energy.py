"""The Huang-Kamenski functional on simplices: energy and its exact gradient.

For a simplex K of the moved mesh and its counterpart in the reference mesh, with edge matrices
E_x and E_ref, Jacobian J = E_ref E_x^-1, metric M averaged over the corners and rho = sqrt(det M):

    E = sum_K |K| { theta rho tr(J M^-1 J^T)^(d p / 2)
                    + (1 - 2 theta) d^(d p / 2) rho^(1 - p) det(J)^p }

Huang & Kamenski, J. Comput. Phys. 301 (2015). The first term aligns, the second equidistributes; E
is infinite where a simplex has no positive volume. Quads, hexahedra, wedges and pyramids enter
with the simplices of their corners, so that a finite energy means positive corner Jacobians.

Structure of arrays: every matrix is a d x d list of vectors over the simplices.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, determinant, inverse, product, trace, transposed
from ..mesh import CELL_TYPES, Mesh
from ..monitors import Sample
from .base import scatter_to_nodes

# Volume of a regular cell over the sum of the volumes of its corner simplices.
_WEIGHT = {"quad": 1 / 2, "hexahedron": 3 / 4, "wedge": 1 / 2, "pyramid": 1 / 2}


@dataclass(frozen=True)
class Evaluation:
    """Energy at a trial position, and what the next step of the optimiser needs.

    Attributes:
        energy: infinity where a simplex is not positive.
        gradient: with respect to the node positions `[n, d]`, monitor included.
    """

    energy: float
    gradient: Tensor


class HuangKamenski:
    """Energy of a moved mesh against its reference.

    Args:
        reference: the mesh before the move.
        theta: weight of alignment, 0 < theta <= 1/3 (below 1/2 the functional is coercive).
        p: exponent, above 1.
        density: a typical value of the monitor's density; it matters for warped 3D cells only.
    """

    def __init__(self, reference: Mesh, theta: float, p: float, density: float = 1.0) -> None:
        self.dim, self.theta, self.p = reference.dim, theta, p
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
        self.reference_edges = self._edges(reference.pos)
        self.reference_volume = determinant(self.reference_edges) / _FACTORIAL[self.dim]
        # Corner volumes of simplices and quads sum to a constant; those of warped 3D cells do not,
        # and without this term a uniform monitor would move them.
        pressure = self.dim ** (self.dim * p / 2) * (1 - p) * (1 - theta) * density ** (1 - p)
        self._null_lagrangian = pressure if curved else 0.0

    def _edges(self, pos: Tensor) -> Matrix:
        """Edge matrices, component by edge."""
        components = [pos[:, k].contiguous() for k in range(self.dim)]
        corners = [[component[c] for c in self._columns] for component in components]
        return [[x - corner[0] for x in corner[1:]] for corner in corners]

    def volumes(self, pos: Tensor) -> Tensor:
        """Signed volumes of the simplices `[s]`."""
        return determinant(self._edges(pos)) / _FACTORIAL[self.dim]

    def deformation(self, pos: Tensor) -> Tensor:
        """Volume-averaged dx/dxi at the nodes `[n, d, d]`."""
        forward = product(self._edges(pos), inverse(self.reference_edges))
        volume = self.weight * self.reference_volume
        stacked = torch.stack([torch.stack(row, dim=1) for row in forward], dim=1)
        weighted = (volume[:, None, None] * stacked)[:, None].expand(-1, self.dim + 1, -1, -1)
        count = len(pos)
        total = scatter_to_nodes(weighted, self.nodes, count)
        share = scatter_to_nodes(volume[:, None].expand(-1, self.dim + 1), self.nodes, count)
        return total / share[:, None, None]

    def energy(self, pos: Tensor, value: Tensor) -> float:
        """Energy only (see `evaluate`)."""
        edges = self._edges(pos)
        if not bool((determinant(edges) > 0).all()):
            return float("inf")
        return float(self._densities(edges, value)[0].sum())

    def evaluate(self, pos: Tensor, sample: Sample) -> Evaluation:
        """Energy and gradient.

        Args:
            pos: `[n, d]`, all simplices positive.
            sample: the monitor and its gradient at `pos`.
        """
        edges = self._edges(pos)
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
        return Evaluation(float(energy.sum()), gradient)

    def _densities(
        self, edges: Matrix, value: Tensor, *, with_gradient: bool = False
    ) -> tuple[Tensor, Matrix, Tensor]:
        """Energy, stress P (d x d) and derivative by the averaged metric, per simplex."""
        d, p, theta, q = self.dim, self.p, self.theta, self.dim * self.p / 2
        volume = self.weight * determinant(edges) / _FACTORIAL[d]
        jacobian = product(self.reference_edges, inverse(edges))
        det_j = self.weight * self.reference_volume / volume
        gram = product(transposed(jacobian), jacobian)
        metric = torch.stack([value[c] for c in self._columns]).mean(dim=0)
        if value.dim() == 1:
            rho = metric
            scale = rho ** (-2 / d)
            pulled = [[entry * scale for entry in row] for row in gram]
        else:
            parts = [[metric[:, i, j] for j in range(d)] for i in range(d)]
            rho, inverse_metric = determinant(parts).sqrt(), inverse(parts)
            pulled = product(gram, inverse_metric)
        spread = trace(pulled)
        align = theta * rho * spread**q
        equidistribute = (1 - 2 * theta) * d**q * rho ** (1 - p) * det_j**p
        null = self._null_lagrangian
        energy = volume * (align + equidistribute - null)
        if not with_gradient:
            return energy, [], volume
        pressure = volume * (align + (1 - p) * equidistribute - null)
        shear = -volume * 2 * q * align / spread
        stress = [
            [shear * pulled[j][i] + (pressure if i == j else 0.0) for j in range(d)]
            for i in range(d)
        ]
        if value.dim() == 1:
            return energy, stress, (1 - p) * volume * (align + equidistribute) / rho
        isotropic = volume * (align + (1 - p) * equidistribute) / 2
        sheared = product(inverse_metric, pulled)
        by_metric = [
            [isotropic * inverse_metric[i][j] + shear / 2 * sheared[i][j] for j in range(d)]
            for i in range(d)
        ]
        return energy, stress, torch.stack([torch.stack(r, dim=1) for r in by_metric], dim=1)


_FACTORIAL = {1: 1, 2: 2, 3: 6}
