"""The Huang-Kamenski functional on simplices: energy and its exact gradient.

For a simplex K of the moved mesh and its counterpart in the reference mesh, with edge matrices
E_x and E_ref, Jacobian J = E_ref E_x^-1, metric M averaged over the corners and rho = sqrt(det M):

    E = sum_K |K| { theta rho tr(J M^-1 J^T)^(d p / 2)
                    + (1 - 2 theta) d^(d p / 2) rho^(1 - p) det(J)^p }

Huang & Kamenski, J. Comput. Phys. 301 (2015). The first term aligns, the second equidistributes;
E is infinite where a simplex has no positive volume.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, determinant, inverse, product, trace, transposed
from ..mesh import Mesh
from .corners import Shapes
from .simplex_energy import Block, SimplexEnergy


class HuangKamenski(SimplexEnergy):
    """Alignment and equidistribution of a moved mesh against its reference.

    Args:
        reference: the mesh before the move.
        theta: weight of alignment, 0 < theta <= 1/3 (below 1/2 the functional is coercive).
        p: exponent, above 1.
        density: a typical value of the monitor's density; it matters for warped 3D cells and for
            curved sides only.
        curved: whether nodes slide on curved sides. The area between chords and curve then
            changes, and with it the energy: cells would be gained or lost for nothing. At
            equidistribution the pull of that is c rho per volume, so c rho |K| is taken off.
    """

    def __init__(
        self,
        reference: Mesh,
        theta: float,
        p: float,
        density: float = 1.0,
        *,
        curved: bool = False,
    ) -> None:
        d = reference.dim
        pull = d ** (d * p / 2) * (1 - p) * (1 - theta) * density ** (1 - p)
        super().__init__(reference, 0.0 if curved else pull)
        self.theta, self.p = theta, p
        self.pull = pull / density if curved else 0.0

    def misalignment(self, pos: Tensor, value: Tensor) -> Tensor:
        """tr(J M^-1 J^T) / (d det(J M^-1 J^T)^(1/d)) per simplex `[s]`; 1 where shapes fit.

        The alignment measure of Huang, J. Comput. Phys. 204 (2005), of the inverse map; 1 for
        every density on the unmoved mesh.

        Args:
            pos: `[n, d]`, all simplices positive.
            value: monitor at the nodes.
        """
        found, axes = [], range(self.dim)
        for block, at in self._at(pos):
            jacobian = product(block.reference_edges, at.inverse)
            pulled = product(transposed(jacobian), jacobian)
            if value.dim() > 1:
                metric = block.at_simplices(value)
                pulled = product(pulled, inverse([[metric[:, i, j] for j in axes] for i in axes]))
            found.append(trace(pulled) / (self.dim * determinant(pulled) ** (1 / self.dim)))
        return torch.cat(found)

    def energy_of(self, pos: Tensor, metric: Tensor) -> float:
        """Energy for values of the monitor averaged over each simplex `[s, ...]`."""
        parts = [
            self._densities(block, at, metric[block.rows], averaged=True)[0].sum()
            for block, at in self._at(pos)
        ]
        return float(torch.stack(parts).sum())

    def _densities(
        self,
        block: Block,
        shapes: Shapes,
        value: Tensor,
        *,
        with_gradient: bool = False,
        averaged: bool = False,
    ) -> tuple[Tensor, Matrix, Tensor]:
        """Energy, stress P (d x d) and derivative by the averaged metric, per simplex."""
        d, p, theta, q = self.dim, self.p, self.theta, self.dim * self.p / 2
        volume = block.volume_of(shapes)
        jacobian = product(block.reference_edges, shapes.inverse)
        det_j = block.weight * block.reference_volume / volume
        gram = product(transposed(jacobian), jacobian)
        metric = value if averaged else block.at_simplices(value)
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
        null = self.pressure + self.pull * rho
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
            by_density = (1 - p) * (align + equidistribute) / rho - self.pull
            return energy, stress, volume * by_density
        isotropic = volume * (align + (1 - p) * equidistribute - self.pull * rho) / 2
        sheared = product(inverse_metric, pulled)
        by_metric = [
            [isotropic * inverse_metric[i][j] + shear / 2 * sheared[i][j] for j in range(d)]
            for i in range(d)
        ]
        return energy, stress, torch.stack([torch.stack(r, dim=1) for r in by_metric], dim=1)
