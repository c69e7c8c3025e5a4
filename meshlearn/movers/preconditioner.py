"""Approximate inverse Hessian of the mover's energy: F A^-1 F^T with A the reference stiffness.

In reference coordinates the Hessian is near the Laplacian; F = dx/dxi carries it to the moved mesh.
`variational_mover` measurements: three times fewer iterations than the plain Laplacian.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from torch import Tensor

from ..fem.linear import DIRECT_3D, Solve, amg, factorise
from ..fem.p1 import stiffness
from .constraints import Freedom

Array = NDArray[np.float64]

_SHIFT = 1e-6


class Preconditioner:
    """Apply Q^T F Q_0 A^-1 Q_0^T F^T Q to vectors of degrees of freedom.

    Args:
        pos: reference positions `[n, d]`.
        simplices: `[s, d + 1]`.
        freedom: allowed motions, with basis Q_0 at the reference; Q is the current one.
        laplacian: in place of the stiffness of the simplices `[n, n]`.
    """

    def __init__(
        self,
        pos: Tensor,
        simplices: Tensor,
        freedom: Freedom,
        laplacian: sp.csr_array | None = None,
    ) -> None:
        d = pos.shape[1]
        self.dim = d
        self.basis = freedom.basis()
        self.basis_t = sp.csr_array(self.basis.T)
        laplacian = stiffness(pos, simplices) if laplacian is None else laplacian
        vector = sp.kron(laplacian, sp.eye_array(d), format="csr")
        matrix = sp.csr_array(self.basis_t @ vector @ self.basis)
        matrix = sp.csr_array(matrix + sp.diags_array(_SHIFT * matrix.diagonal()))
        self._solve = _solver(matrix, self.basis_t @ np.tile(np.eye(d), (len(pos), 1)), d)
        self._reference, self._reference_t = self.basis, self.basis_t
        self.deform(np.broadcast_to(np.eye(d), (len(pos), d, d)))

    def turn(self, freedom: Freedom) -> None:
        """Take the basis of allowed motions elsewhere: tangents of curves turn on the way."""
        self.basis = freedom.basis()
        self.basis_t = sp.csr_array(self.basis.T)

    def deform(self, deformation: Array) -> None:
        """Set F `[n, d, d]`."""
        self._deformation = deformation

    def __call__(self, residual: Array) -> Array:
        """Approximate solve for `residual` `[degrees of freedom]`, or several as columns."""
        pulled = _each(self._deformation.transpose(0, 2, 1), self.basis @ residual)
        solved = self._solve(self._reference_t @ pulled)
        pushed = _each(self._deformation, self._reference @ solved)
        out: Array = self.basis_t @ pushed
        return out


def _each(matrices: Array, vectors: Array) -> Array:
    """Matrices `[n, d, d]` times the vectors of the nodes, `[n d]` or columns `[n d, k]`."""
    if vectors.ndim == 1:
        return np.einsum("nij,nj->ni", matrices, vectors.reshape(matrices.shape[:2])).reshape(-1)
    return np.stack([_each(matrices, column) for column in vectors.T], axis=1)


def _solver(matrix: sp.csr_array, near_null: Array, dim: int) -> Solve:
    if dim < 3 or matrix.shape[0] <= DIRECT_3D:
        return factorise(matrix)
    hierarchy = amg(matrix, near_null)

    def cycles(b: Array) -> Array:
        if b.ndim == 1:
            return np.asarray(hierarchy.solve(b, maxiter=2, tol=1e-300))
        return np.stack([cycles(column) for column in b.T], axis=1)

    return cycles
