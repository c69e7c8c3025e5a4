"""Winslow's variable diffusion: the map to the reference mesh is harmonic for the monitor."""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, inverse, product, trace, transposed
from ..mesh import Mesh, MeshError
from ..monitors import Monitor
from .base import Mover, Outcome, Progress
from .constraints import Freedom
from .corners import Shapes
from .equidistribution import density
from .search import minimise
from .simplex_energy import Block, SimplexEnergy


class WinslowEnergy(SimplexEnergy):
    """sum_K |K| tr(J M^-1 J^T), with M = m I for a scalar monitor.

    Winslow, J. Comput. Phys. 1 (1966); Brackbill, J. Comput. Phys. 108 (1993) for metrics.

    Args:
        reference: the mesh before the move.
        size: a typical m (the metric is about m I); it matters for warped 3D cells and for curved
            sides only.
        curved: whether nodes slide on curved sides: the volume between facets and curve then
            changes, and cells would be gained or lost for nothing.
    """

    def __init__(self, reference: Mesh, size: float = 1.0, *, curved: bool = False) -> None:
        pressure = (reference.dim - 2) / size
        super().__init__(reference, pressure)
        self.pressure = pressure if curved else self.pressure

    def _densities(
        self, block: Block, shapes: Shapes, value: Tensor, *, with_gradient: bool = False
    ) -> tuple[Tensor, Matrix, Tensor]:
        d = self.dim
        volume = block.volume_of(shapes)
        jacobian = product(block.reference_edges, shapes.inverse)
        gram = product(transposed(jacobian), jacobian)
        metric = block.at_simplices(value)
        if value.dim() == 1:
            inverse_metric: Matrix = []
            pulled = [[entry / metric for entry in row] for row in gram]
        else:
            inverse_metric = inverse([[metric[:, i, j] for j in range(d)] for i in range(d)])
            pulled = product(gram, inverse_metric)
        spread = trace(pulled)
        energy = volume * (spread - self.pressure)
        if not with_gradient:
            return energy, [], volume
        stress = [
            [-2 * volume * pulled[j][i] + (energy if i == j else 0.0) for j in range(d)]
            for i in range(d)
        ]
        if value.dim() == 1:
            return energy, stress, -volume * spread / metric
        sheared = product(inverse_metric, pulled)
        rows = [torch.stack([-volume * entry for entry in row], dim=1) for row in sheared]
        return energy, stress, torch.stack(rows, dim=1)


class Winslow(Mover):
    """Minimises Winslow's functional: smooth meshes that follow the monitor mildly.

    The residual is the relative Newton decrement of the energy, as in `Variational`.

    Args:
        tol: tolerance on the residual.
        max_iterations: gives up after so many.
    """

    def __init__(self, tol: float = 1e-6, max_iterations: int = 200) -> None:
        if tol <= 0:
            raise MeshError(f"tol must be positive, got {tol}")
        self.tol, self.max_iterations = tol, max_iterations

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        value = monitor(mesh.moved(start))
        size = density(value) if value.dim() == 1 else density(value) ** (2 / mesh.dim)
        functional = WinslowEnergy(mesh, float(size.mean()), curved=free.curved)
        return minimise(
            functional, mesh, monitor, free, start, progress, self.tol, self.max_iterations
        )
