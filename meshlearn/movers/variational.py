"""The production mover: Huang-Kamenski functional, preconditioned L-BFGS, barrier line search."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..mesh import Mesh, MeshError
from ..monitors import Monitor
from .approach import ITERATIONS, THETA, TOL, approach, jumped
from .base import Mover, Outcome, Progress
from .constraints import Freedom
from .energy import HuangKamenski
from .equidistribution import density
from .search import minimise


class Variational(Mover):
    """Minimises the Huang-Kamenski functional (see `energy`) over the node positions.

    Works on non-convex domains with holes, in 2D and 3D, on every cell type, for scalar monitors
    and for anisotropic metrics. L-BFGS, preconditioned by F A^-1 F^T (see `preconditioner`), with a
    line search that accepts only untangled meshes.

    Where a metric asks for cells far longer than those of the start, the first iterations follow
    milder ones (see `approach`), and their mesh is kept where cells then jump over a feature.

    The residual is the relative Newton decrement -g.d / E of the preconditioned step;
    `converged` means that it is below `tol`.

    Args:
        theta: weight of alignment; smaller equidistributes more (0.1 halves the spread), larger
            keeps rounder cells.
        p: exponent of the functional.
        tol: tolerance on the residual.
        max_iterations: gives up after so many (and says so).
        flat_tolerance: radians, see `constraints.freedom`.
    """

    def __init__(
        self,
        theta: float = 1 / 3,
        p: float = 1.5,
        tol: float = 1e-6,
        max_iterations: int = 200,
        flat_tolerance: float = Mover.flat_tolerance,
    ) -> None:
        if not 0 < theta <= 0.5:
            raise MeshError(f"theta must be in (0, 1/2], got {theta}")
        if p <= 1:
            raise MeshError(f"p must be above 1, got {p}")
        self.theta, self.p, self.tol = theta, p, tol
        self.max_iterations = max_iterations
        self.flat_tolerance = flat_tolerance

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        functional, done = self._functional(mesh, monitor, free, start, self.theta), 0
        for milder in approach(functional, monitor, start):
            easier = self._functional(mesh, milder, free, start, min(self.theta, THETA))
            tol, limit = max(self.tol, TOL), min(done + ITERATIONS, self.max_iterations // 2)
            found = minimise(easier, mesh, milder, free, start, progress, tol, limit, done)
            start, done = found.pos, found.iterations
        found = minimise(
            functional, mesh, monitor, free, start, progress, self.tol, self.max_iterations, done
        )
        # A monitor on a batch is known at the nodes only: nothing to check there.
        if done and "batch" not in mesh and jumped(functional, monitor, start, found.pos):
            reason = "cells jumped over a feature of the metric: those of its milder forms are kept"
            return replace(found, pos=start, converged=False, reason=reason)
        return found

    def _functional(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, theta: float
    ) -> HuangKamenski:
        typical = float(density(monitor(mesh.moved(start))).mean())
        return HuangKamenski(mesh, theta, self.p, typical, curved=free.curved)
