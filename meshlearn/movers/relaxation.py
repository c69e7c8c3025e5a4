"""Movers whose nodes balance on a weighted graph or diffusion operator, K(m) x = K(1) X.

The right-hand side makes the original mesh the answer to a uniform monitor, whatever its sizes.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..fem.linear import solve_spd
from ..mesh import Mesh, MeshError
from ..mesh.geometry import extent
from ..monitors import Monitor
from .base import Mover, Outcome, Progress
from .constraints import Freedom
from .displace import Displacer
from .equidistribution import density
from .guard import guard


class Relaxation(Mover, Displacer):
    """Fixed-point iteration over the monitor's values; subclasses give the operator.

    Nodes on curved sides stay, whatever `slide` says; the report repeats it. The residual is the
    largest step of an iteration over the diameter of the domain. A step that would invert cells is
    shortened where it would.

    Args:
        tol: tolerance on the residual.
        max_iterations: gives up after so many.
        damping: share of each step that is taken, 0 to 1.
    """

    def __init__(self, tol: float = 1e-6, max_iterations: int = 100, damping: float = 0.5) -> None:
        if not 0 < damping <= 1:
            raise MeshError(f"damping must be in (0, 1], got {damping}")
        self.tol, self.max_iterations, self.damping = tol, max_iterations, damping

    @abstractmethod
    def operator(self, mesh: Mesh, value: Tensor) -> sp.csr_array:
        """Symmetric positive semi-definite matrix `[n, n]` for nodal densities `[n]`."""

    def extend(self, mesh: Mesh, held: Tensor, displacement: Tensor) -> Tensor:
        """Balanced displacement of all nodes `[n, d]` from that of the held nodes `[k, d]`."""
        matrix = self.operator(mesh, torch.ones_like(mesh.pos[:, 0]))
        fixed = np.zeros(matrix.shape[0], bool)
        fixed[held.cpu().numpy()] = True
        inner = np.flatnonzero(~fixed)
        out = np.zeros(mesh.pos.shape)
        out[held.cpu().numpy()] = displacement.cpu().numpy()
        right = -(matrix @ out)[inner]
        system = sp.csr_array(matrix[inner][:, inner])
        for k in range(mesh.dim):
            out[inner, k] = solve_spd(system, right[:, k], mesh.dim)
        return torch.from_numpy(out).to(mesh.pos)

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        # On curves the linear balance pulls nodes to one side and cells flat: there they stay.
        held = " (nodes on curved sides stay)" if free.curved else ""
        free = free.held()
        basis = free.basis()
        uniform = self.operator(mesh, torch.ones_like(mesh.pos[:, 0]))
        balance = uniform @ mesh.pos.cpu().numpy()
        size = extent(mesh)
        pos, residual, iteration = start, float("inf"), 0
        for iteration in range(1, self.max_iterations + 1):
            value = density(monitor(mesh.moved(pos)))
            matrix = self.operator(mesh, value / value.mean())
            here = pos.cpu().numpy()
            pull = basis.T @ (balance - matrix @ here).reshape(-1)
            coupled = sp.kron(matrix, sp.eye_array(mesh.dim), format="csr")
            system = sp.csr_array(basis.T @ coupled @ basis)
            step = (basis @ solve_spd(system, pull, mesh.dim)).reshape(here.shape)
            new = guard(mesh, pos + self.damping * torch.from_numpy(step).to(pos), free)
            residual = float((new - pos).norm(dim=1).max()) / size
            pos = new
            progress(iteration, residual)
            if residual <= self.tol:
                reason = f"residual below {self.tol:g}{held}"
                return Outcome(pos, True, reason, iteration, residual)
        reason = f"stopped after {iteration} iterations{held}"
        return Outcome(pos, False, reason, iteration, residual)
