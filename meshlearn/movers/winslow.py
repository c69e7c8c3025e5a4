"""Winslow's variable diffusion: the map to the reference mesh is harmonic for the monitor."""

from __future__ import annotations

from dataclasses import replace

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
from .simplex_energy import SimplexEnergy


class WinslowEnergy(SimplexEnergy):
    """sum_K |K| tr(J M^-1 J^T), with M = m I for a scalar monitor.

    Winslow, J. Comput. Phys. 1 (1966); Brackbill, J. Comput. Phys. 108 (1993) for metrics.

    Args:
        reference: the mesh before the move.
        size: a typical m (the metric is about m I); it matters for warped 3D cells only.
    """

    def __init__(self, reference: Mesh, size: float = 1.0) -> None:
        super().__init__(reference, pressure=(reference.dim - 2) / size)

    def _densities(
        self, shapes: Shapes, value: Tensor, *, with_gradient: bool = False
    ) -> tuple[Tensor, Matrix, Tensor]:
        d = self.dim
        volume = self.volume_of(shapes)
        jacobian = product(self.reference_edges, shapes.inverse)
        gram = product(transposed(jacobian), jacobian)
        metric = self.at_simplices(value)
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

    Nodes on curved sides stay, whatever `slide` says; the report repeats it.

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
        # On closed curves and surfaces the map may slip for nothing: there nodes stay.
        held = " (nodes on curved sides stay)" if free.curved else ""
        value = monitor(mesh.moved(start))
        size = density(value) if value.dim() == 1 else density(value) ** (2 / mesh.dim)
        functional = WinslowEnergy(mesh, float(size.mean()))
        found = minimise(
            functional, mesh, monitor, free.held(), start, progress, self.tol, self.max_iterations
        )
        return replace(found, reason=found.reason + held)
