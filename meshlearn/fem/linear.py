"""Sparse factorisations, and solves with symmetric positive definite matrices, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyamg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]
Solve = Callable[[Array], Array]

DIRECT_2D, DIRECT_3D = 200_000, 30_000
"""Unknowns up to which a factorisation beats AMG-preconditioned conjugate gradients."""
VECTOR_2D, VECTOR_3D = 200_000, 8_000
"""The same for displacements."""
SADDLE_2D, SADDLE_3D = 200_000, 6_000
"""Unknowns up to which a factorisation beats block-preconditioned MINRES for flows."""
OSEEN_2D, OSEEN_3D = 300_000, 10_000
"""The same with convection."""


_PIVOT, _SWEEPS = 1e-8, 3
"""A diagonal pivot is taken if it is not below this fraction of its column, after scaling."""
_BACKWARD_ERROR = 1e-12


SINGULAR = "the matrix is singular; are boundary conditions missing, or the mean of a pressure?"


class SolveError(RuntimeError):
    """A linear solve did not reach its tolerance; the message has the residuals."""


def factorise(matrix: sp.csr_array) -> Solve:
    """Sparse direct factorisation, for many right-hand sides.

    SuperLU with the ordering and pivoting that suit symmetric positive definite matrices (its
    defaults are several times slower on them).
    """
    if matrix.shape[0] == 0:
        return lambda b: b
    factor = splu(
        sp.csc_matrix(matrix),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return lambda b: np.asarray(factor.solve(b))


@dataclass(frozen=True)
class Factors:
    """LU factors of D A D.

    Attributes:
        lu: SuperLU's object.
        scale: the diagonal of D `[n]`.
    """

    lu: Any
    scale: Array

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self.lu.L.nnz + self.lu.U.nnz)

    def solve(self, b: Array, transposed: str = "N") -> Array:
        """Solve with the matrix ("N") or its transpose ("T")."""
        return np.asarray(self.scale * self.lu.solve(self.scale * b, transposed))


def factorise_lu(matrix: sp.csr_array) -> Factors:
    """SuperLU factors of any matrix.

    Saddle-point and convection-diffusion matrices have symmetric patterns. For these a symmetric
    ordering, with pivots on the diagonal unless they are tiny, takes a third of the time and of the
    memory of SuperLU's defaults. The matrix is scaled first, so that what is tiny depends neither
    on units nor on the viscosity: unscaled, pivoting off the diagonal can fill the factors up. A
    probe tells whether they are accurate; if not, and for other patterns, the defaults are used.

    Raises:
        RuntimeError: an exactly singular matrix.
    """
    columns = sp.csc_matrix(matrix)
    if _symmetric_pattern(columns):
        scale = _equilibration(matrix)
        scaled = columns.copy()
        scaled.data *= scale[scaled.indices] * np.repeat(scale, np.diff(scaled.indptr))
        with suppress(RuntimeError):
            lu = splu(
                scaled,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=_PIVOT,
                options={"SymmetricMode": True},
            )
            if _accurate(scaled, lu):
                return Factors(lu, scale)
    return Factors(splu(columns), np.ones(columns.shape[0]))


def _equilibration(matrix: sp.csr_array) -> Array:
    """D such that the largest entry of each row of D A D is near 1 (Ruiz, RAL-TR-2001-034)."""
    start, column, size = matrix.indptr, matrix.indices, np.abs(matrix.data)
    filled = np.flatnonzero(np.diff(start))
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(start))
    scale = np.ones(matrix.shape[0])
    for _ in range(_SWEEPS):
        largest = np.ones_like(scale)
        largest[filled] = np.maximum.reduceat(
            size * scale[row] * scale[column], start[filled].astype(np.intp)
        )
        scale /= np.sqrt(np.where(largest > 0, largest, 1.0))
    return scale


def _symmetric_pattern(matrix: sp.csc_matrix) -> bool:
    other = sp.csc_matrix(matrix.T)
    for a in (matrix, other):
        a.sort_indices()
    return np.array_equal(matrix.indptr, other.indptr) and np.array_equal(
        matrix.indices, other.indices
    )


def _accurate(matrix: sp.csc_matrix, factor: Any) -> bool:
    """Backward error of a probe, which diagonal pivots can spoil."""
    b = np.sin(np.arange(matrix.shape[0]) + 1.0)
    x = factor.solve(b)
    scale = np.abs(matrix.data).max() * np.abs(x).max() + 1.0
    return bool(np.abs(matrix @ x - b).max() <= _BACKWARD_ERROR * scale)


def amg(matrix: sp.csr_array, near_null: Array | None = None, width: int = 1) -> Any:
    """Smoothed-aggregation hierarchy, the same at each call (pyamg draws random vectors).

    Args:
        matrix: `[n, n]`.
        near_null: what the operator hardly changes `[n, k]`; constants by default.
        width: unknowns at each place, which stay together.
    """
    given = sp.csr_matrix(matrix) if width == 1 else sp.bsr_matrix(matrix, blocksize=(width, width))
    with _fixed_seed():
        return pyamg.smoothed_aggregation_solver(given, B=near_null, symmetry="symmetric")


def solve_spd(matrix: sp.csr_array, right: Array, dim: int, tol: float = 1e-12) -> Array:
    """Solve A x = b for a symmetric positive definite matrix.

    Args:
        matrix: `[n, n]`.
        right: `[n]`.
        dim: dimension of the mesh, which decides where multigrid beats a factorisation.
        tol: relative residual of the iterative solve.

    Raises:
        SolveError: not converged; the message gives the residual history.
    """
    if matrix.shape[0] <= (DIRECT_2D if dim < 3 else DIRECT_3D):
        return factorise(matrix)(right)
    residuals: list[float] = []
    hierarchy = amg(matrix)
    solution = hierarchy.solve(right, tol=tol, accel="cg", maxiter=200, residuals=residuals)
    if not residuals[-1] <= tol * max(float(np.linalg.norm(right)), 1e-300) * 1.01:
        raise not_converged("conjugate gradients", tol, residuals)
    return np.asarray(solution)


def not_converged(name: str, tol: float, history: list[float]) -> SolveError:
    """The error of an iteration whose residuals, from the start on, stayed above a tolerance."""
    return SolveError(
        f"{name} stopped after {len(history) - 1} iterations above the relative tolerance {tol:g}; "
        f"{last_residuals(history)}"
    )


def last_residuals(history: list[float]) -> str:
    """The end of an error of an iteration."""
    return "last residuals " + ", ".join(f"{r:.2e}" for r in history[-5:])


@contextmanager
def _fixed_seed() -> Iterator[None]:
    """pyamg draws from the global generator: the same numbers within, as before after."""
    state = np.random.get_state()  # noqa: NPY002  (pyamg uses the global generator)
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
