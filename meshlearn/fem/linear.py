"""Solves with symmetric positive definite sparse matrices on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


def amg(matrix: sp.csr_array, near_null: Array | None = None) -> Any:
    """Smoothed-aggregation hierarchy, the same at each call (pyamg draws random vectors)."""
    with _fixed_seed():
        return pyamg.smoothed_aggregation_solver(
            sp.csr_matrix(matrix), B=near_null, symmetry="symmetric"
        )


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
        tail = ", ".join(f"{r:.2e}" for r in residuals[-5:])
        raise SolveError(
            f"conjugate gradients stopped after {len(residuals) - 1} iterations above the relative "
            f"tolerance {tol:g}; last residuals {tail}"
        )
    return np.asarray(solution)


@contextmanager
def _fixed_seed() -> Iterator[None]:
    state = np.random.get_state()  # noqa: NPY002  (pyamg uses the global generator)
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
