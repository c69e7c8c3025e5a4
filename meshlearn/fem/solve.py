"""Linear solves that autograd sees: forward one factorisation, backward its transpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import gmres
from torch import Tensor

from ..mesh import MeshError
from .elimination import Condition, reduction
from .krylov import bicgstab, conjugate_gradients
from .linear import DIRECT_2D, SolveError, amg, factorise, factorise_lu
from .sparse import csr_values, rows_of

Method = Literal["auto", "direct", "amg", "cg", "bicgstab"]
Array = NDArray[np.float64]

_SINGULAR = 1e-3
"""Relative residual of a direct solve that only a singular matrix leaves."""
_SAY_SINGULAR = (
    "the matrix is singular; are boundary conditions missing, or the mean of a pressure?"
)


def solve(
    matrix: Tensor,
    right: Tensor,
    bcs: Sequence[Condition] = (),
    method: Method = "auto",
    tol: float = 1e-10,
) -> Tensor:
    """Solve A u = b with strong boundary values.

    Args:
        matrix: sparse CSR `[n, n]`, as `assemble` gives it.
        right: `[n]`, or several right-hand sides `[n, k]`.
        bcs: Dirichlet, periodic and slip conditions, imposed by elimination; a symmetric matrix
            stays symmetric.
        method: see `LinearSolver`.
        tol: relative residual of iterative methods.

    Returns:
        `[n]` or `[n, k]`, differentiable in the matrix, right-hand side and boundary values.
    """
    return LinearSolver(matrix, bcs, method, tol)(right)


class LinearSolver:
    """A system whose factorisation (or multigrid hierarchy) serves many right-hand sides.

    Args:
        matrix: sparse CSR `[n, n]`.
        bcs: conditions, imposed by elimination.
        method: "direct" (SuperLU), "amg" (multigrid-preconditioned conjugate gradients or GMRES),
            "cg" and "bicgstab" (Jacobi-preconditioned, in torch, on the matrix's device). "auto":
            Krylov on a GPU; else direct up to 200,000 unknowns and multigrid above.
        tol: relative residual of iterative methods.

    Raises:
        SolveError: a singular matrix, or an iteration that did not converge (with its residuals).
    """

    def __init__(
        self,
        matrix: Tensor,
        bcs: Sequence[Condition] = (),
        method: Method = "auto",
        tol: float = 1e-10,
    ) -> None:
        if matrix.layout != torch.sparse_csr or matrix.shape[0] != matrix.shape[1]:
            raise MeshError("solve needs a square sparse CSR matrix, as assemble gives it")
        n, device = matrix.shape[0], matrix.device
        self._reduced = reduction(bcs, n, device)
        row, column, values = rows_of(matrix), matrix.col_indices(), csr_values(matrix)
        given = self._reduced.number[column] < 0
        self._coupling = (row[given], column[given], values[given])
        row, column, self._values = self._reduced.congruence(row, column, values)
        self._size = n
        self._system = _System(row, column, len(self._reduced.free), method, tol)

    def __call__(self, right: Tensor) -> Tensor:
        """Solution for `[n]` or `[n, k]`."""
        if right.shape[:1] != (self._size,):
            raise MeshError(
                f"the right-hand side must have {self._size} rows, got {list(right.shape)}"
            )
        flat = right.reshape(self._size, -1)
        row, column, values = self._coupling
        known = (values * self._reduced.given[column])[:, None].expand(-1, flat.shape[1])
        load = self._reduced.restricted(flat.index_add(0, row, -known))
        inner = _apply(self._values, load, self._system, transposed=False)
        return self._reduced.expanded(inner).reshape(right.shape)

    def with_values(self, bcs: Sequence[Condition]) -> LinearSolver:
        """The same factorisation with other values of the same conditions.

        Raises:
            MeshError: conditions on other degrees of freedom.
        """
        reduced = reduction(bcs, self._size, self._values.device)
        if not torch.equal(reduced.number, self._reduced.number):
            raise MeshError("the conditions must hold the same degrees of freedom as before")
        other = copy(self)
        other._reduced = reduced
        return other


class _System:
    """Free part of a matrix in coordinates, with a solver that is built when first used."""

    def __init__(self, row: Tensor, column: Tensor, size: int, method: Method, tol: float) -> None:
        self.row, self.column, self.size = row, column, size
        self.method, self.tol = method, tol
        self._prepared: Any = None
        self._symmetric = False

    def solve(self, values: Tensor, right: Tensor, *, transposed: bool) -> Tensor:
        """Solve with the matrix or its transpose, `[size, k]`."""
        if self.size == 0:
            return right
        method = self.method
        if method == "auto" and values.is_cuda:
            method = "cg" if self._is_symmetric(values) else "bicgstab"
        if method in ("cg", "bicgstab"):
            iterate = conjugate_gradients if method == "cg" else bicgstab
            pair = (self.column, self.row) if transposed else (self.row, self.column)
            columns = [iterate(*pair, values.detach(), b, self.tol) for b in right.unbind(dim=1)]
            return torch.stack(columns, dim=1)
        if self._prepared is None:
            self._prepare(values)
        b = right.detach().cpu().numpy()
        found = np.stack([self._prepared(c, transposed) for c in b.T], axis=1)
        return torch.from_numpy(found).to(right)

    def _matrix(self, values: Tensor) -> sp.csr_array:
        parts = (values.detach().cpu().numpy(), (self.row.cpu().numpy(), self.column.cpu().numpy()))
        return sp.csr_array(sp.coo_array(parts, shape=(self.size, self.size)))

    def _is_symmetric(self, values: Tensor) -> bool:
        x = torch.sin(torch.arange(self.size, dtype=values.dtype, device=values.device) + 1)
        forward = torch.zeros_like(x).index_add(0, self.row, values.detach() * x[self.column])
        backward = torch.zeros_like(x).index_add(0, self.column, values.detach() * x[self.row])
        return bool((forward - backward).norm() <= 1e-12 * forward.norm())

    def _prepare(self, values: Tensor) -> None:
        matrix = self._matrix(values)
        symmetric = self._is_symmetric(values)
        definite = symmetric and bool((matrix.diagonal() > 0).all())
        if self.method == "amg" or (self.method == "auto" and self.size > DIRECT_2D and definite):
            self._prepared = _multigrid(matrix, self.tol, symmetric=definite)
        elif definite:
            direct = factorise(matrix)
            self._prepared = _checked(matrix, lambda b, transposed: direct(b))
        else:
            factor = _lu(matrix)
            self._prepared = _checked(
                matrix, lambda b, transposed: factor.solve(b, "T" if transposed else "N")
            )


def _checked(matrix: sp.csr_array, run: Callable[[Array, bool], Array]) -> Any:
    """A direct solve that tells a singular matrix by its residual: rounding hides zero pivots."""

    def checked(b: Array, transposed: bool) -> Array:
        x = run(b, transposed)
        left = np.linalg.norm((matrix.T if transposed else matrix) @ x - b)
        if not left <= _SINGULAR * np.linalg.norm(b):
            raise SolveError(_SAY_SINGULAR)
        return x

    return checked


def _lu(matrix: sp.csr_array) -> Any:
    try:
        return factorise_lu(matrix)
    except RuntimeError as error:
        raise SolveError(_SAY_SINGULAR) from error


def _multigrid(matrix: sp.csr_array, tol: float, *, symmetric: bool) -> Any:
    hierarchy = amg(matrix)
    transposed_matrix = sp.csr_array(matrix.T)

    def run(b: Array, transposed: bool) -> Array:
        residuals: list[float] = []
        if symmetric:
            x = hierarchy.solve(b, tol=tol, accel="cg", maxiter=200, residuals=residuals)
        else:
            operator = transposed_matrix if transposed else matrix
            x, _ = gmres(
                operator,
                b,
                rtol=tol,
                restart=50,
                maxiter=20,
                M=hierarchy.aspreconditioner(),
                callback=residuals.append,
                callback_type="pr_norm",
            )
        left = float(np.linalg.norm((transposed_matrix if transposed else matrix) @ x - b))
        if not left <= 10 * tol * max(float(np.linalg.norm(b)), 1e-300):
            tail = ", ".join(f"{r:.2e}" for r in residuals[-5:])
            raise SolveError(
                f"the multigrid-preconditioned iteration stopped above the relative tolerance "
                f"{tol:g} after {len(residuals)} steps; last residuals {tail}"
            )
        return np.asarray(x)

    return run


def _apply(values: Tensor, right: Tensor, system: _System, *, transposed: bool) -> Tensor:
    out: Tensor = _Solve.apply(values, right, system, transposed)  # type: ignore[no-untyped-call]
    return out


class _Solve(torch.autograd.Function):
    """x = A^-1 b (or A^-T b); the backward pass is one solve with the other of the two."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, right: Tensor, system: _System, transposed: bool) -> Any:
        solution = system.solve(values, right, transposed=transposed)
        ctx.save_for_backward(values, solution)
        ctx.system, ctx.transposed = system, transposed
        return solution

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        values, solution = ctx.saved_tensors
        system: _System = ctx.system
        adjoint = _apply(values, grads[0], system, transposed=not ctx.transposed)
        first, second = (solution, adjoint) if ctx.transposed else (adjoint, solution)
        slope = -(first[system.row] * second[system.column]).sum(dim=1)
        return slope, adjoint, None, None
