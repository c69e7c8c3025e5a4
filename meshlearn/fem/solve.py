"""Linear solves that autograd sees: forward one factorisation, backward its transpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mesh import MeshError
from .elimination import Condition, reduction
from .krylov import bicgstab, conjugate_gradients, diagonal_of
from .linear import SINGULAR, SolveError, factorise, factorise_lu
from .meaning import Meaning
from .multigrid import MultigridSolver
from .saddle import BlockSolver
from .space import FunctionSpace
from .sparse import csr_values, rows_of

Method = Literal["auto", "direct", "amg", "block", "cg", "bicgstab"]
Array = NDArray[np.float64]

_SINGULAR = 1e-3
"""Relative residual of a direct solve that only a singular matrix leaves."""


def solve(
    matrix: Tensor,
    right: Tensor,
    bcs: Sequence[Condition] = (),
    method: Method = "auto",
    tol: float = 1e-10,
    space: FunctionSpace | None = None,
) -> Tensor:
    """Solve A u = b with strong boundary values.

    Args:
        matrix: sparse CSR `[n, n]`, as `assemble` gives it.
        right: `[n]`, or several right-hand sides `[n, k]`.
        bcs: Dirichlet, periodic and slip conditions, imposed by elimination; a symmetric matrix
            stays symmetric.
        method: see `LinearSolver`.
        tol: relative residual of iterative methods.
        space: see `LinearSolver`.

    Returns:
        `[n]` or `[n, k]`, differentiable in the matrix, right-hand side and boundary values.
    """
    return LinearSolver(matrix, bcs, method, tol, space)(right)


class LinearSolver:
    """A system whose factorisation (or multigrid hierarchy) serves many right-hand sides.

    Args:
        matrix: sparse CSR `[n, n]`.
        bcs: conditions, imposed by elimination.
        method: "direct" (SuperLU), "amg" (multigrid-preconditioned conjugate gradients or GMRES),
            "block" (velocities and pressures: MINRES or flexible GMRES, see `saddle`), "cg" and
            "bicgstab" (Jacobi-preconditioned, in torch, on the matrix's device). "auto": Krylov on
            a GPU (but for flows); else direct up to the sizes of `linear.DIRECT_2D` and so on,
            above them multigrid for definite matrices and "block" for flows.
        tol: relative residual of iterative methods.
        space: of the unknowns; by default that of the conditions. Multigrid and block solvers learn
            from it what unknowns stand for (rigid motions, vertices, velocities and pressures).

    Raises:
        MeshError: no square CSR matrix, or "block" without velocities and pressures.
        SolveError: a singular matrix, or an iteration that did not converge (with its residuals).
    """

    def __init__(
        self,
        matrix: Tensor,
        bcs: Sequence[Condition] = (),
        method: Method = "auto",
        tol: float = 1e-10,
        space: FunctionSpace | None = None,
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
        meaning = Meaning(_space_of(space, bcs, n), matrix.detach(), self._reduced)
        self._system = _System(row, column, meaning, method, tol)

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

    def change(self, right: Tensor) -> Tensor:
        """Change of the solution with a right-hand side that is changed by `[n]` or `[n, k]`."""
        load = self._reduced.restricted(right.reshape(self._size, -1))
        inner = _apply(self._values, load, self._system, transposed=False)
        return self._reduced.change(inner).reshape(right.shape)

    @property
    def iterations(self) -> int | None:
        """Steps of the last solve by "amg" or "block"."""
        return self._system.iterations

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


def _space_of(
    space: FunctionSpace | None, bcs: Sequence[Condition], size: int
) -> FunctionSpace | None:
    spaces = [space, *(getattr(bc, "space", None) for bc in bcs)]
    return next((s for s in spaces if s is not None and s.num_dofs == size), None)


class _System:
    """Free part of a matrix in coordinates, with a solver that is built when first used."""

    def __init__(
        self, row: Tensor, column: Tensor, meaning: Meaning, method: Method, tol: float
    ) -> None:
        self.row, self.column, self.size = row, column, len(meaning.reduced.free)
        self.method, self.tol, self._meaning = method, tol, meaning
        self._prepared: Any = None
        self._together = False  # whether it takes all right-hand sides at once

    def solve(self, values: Tensor, right: Tensor, *, transposed: bool) -> Tensor:
        """Solve with the matrix or its transpose, `[size, k]`."""
        if self.size == 0:
            return right
        undecided = self.method == "auto" and self._prepared is None
        if undecided and values.device.type != "cpu" and self._has_diagonal(values):
            self.method = "cg" if self._is_symmetric(values) else "bicgstab"
        if self.method in ("cg", "bicgstab"):
            iterate = conjugate_gradients if self.method == "cg" else bicgstab
            pair = (self.column, self.row) if transposed else (self.row, self.column)
            columns = [iterate(*pair, values.detach(), b, self.tol) for b in right.unbind(dim=1)]
            return torch.stack(columns, dim=1)
        if self._prepared is None:
            self._prepare(values)
        b = right.detach().cpu().numpy()
        if self._together:
            found = np.ascontiguousarray(self._prepared(b, transposed))
        else:
            found = np.stack([self._prepared(c, transposed) for c in b.T], axis=1)
        return torch.from_numpy(found).to(right)

    @property
    def iterations(self) -> int | None:
        return getattr(self._prepared, "iterations", None)

    def _matrix(self, values: Tensor) -> sp.csr_array:
        parts = (values.detach().cpu().numpy(), (self.row.cpu().numpy(), self.column.cpu().numpy()))
        return sp.csr_array(sp.coo_array(parts, shape=(self.size, self.size)))

    def _has_diagonal(self, values: Tensor) -> bool:
        """Whether Jacobi's preconditioner exists: flows are solved on the CPU."""
        return bool((diagonal_of(self.row, self.column, values, self.size) != 0).all())

    def _is_symmetric(self, values: Tensor) -> bool:
        x = torch.sin(torch.arange(self.size, dtype=values.dtype, device=values.device) + 1)
        forward = torch.zeros_like(x).index_add(0, self.row, values.detach() * x[self.column])
        backward = torch.zeros_like(x).index_add(0, self.column, values.detach() * x[self.row])
        return bool((forward - backward).norm() <= 1e-12 * forward.norm())

    def _prepare(self, values: Tensor) -> None:
        matrix, meaning = self._matrix(values), self._meaning
        symmetric = self._is_symmetric(values)
        definite = symmetric and bool((matrix.diagonal() > 0).all())
        method = self.method
        if method == "auto":
            method = meaning.choice(self.size, symmetric=symmetric, definite=definite)
        if method == "block":
            saddle = meaning.saddle(symmetric=symmetric)
            self._prepared = BlockSolver(matrix, saddle, self.tol, symmetric=symmetric)
        elif method == "amg":
            hierarchy = meaning.hierarchy(matrix)
            self._prepared = MultigridSolver(matrix, hierarchy, self.tol, definite=definite)
        elif definite:
            direct = factorise(matrix)
            self._prepared = _checked(matrix, lambda b, transposed: direct(b))
            self._together = True
        else:
            factor = _lu(matrix)
            self._prepared = _checked(
                matrix, lambda b, transposed: factor.solve(b, "T" if transposed else "N")
            )


def _checked(matrix: sp.csr_array, run: Callable[[Array, bool], Array]) -> Any:
    """A direct solve that tells a singular matrix by its residual: rounding hides zero pivots."""

    def checked(b: Array, transposed: bool) -> Array:
        x = run(b, transposed)
        left = np.linalg.norm((matrix.T if transposed else matrix) @ x - b, axis=0)
        if not np.all(left <= _SINGULAR * np.linalg.norm(b, axis=0)):
            raise SolveError(SINGULAR)
        return x

    return checked


def _lu(matrix: sp.csr_array) -> Any:
    try:
        return factorise_lu(matrix)
    except RuntimeError as error:
        raise SolveError(SINGULAR) from error


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
        slope = None
        if ctx.needs_input_grad[0]:
            first, second = (solution, adjoint) if ctx.transposed else (adjoint, solution)
            slope = -(first[system.row] * second[system.column]).sum(dim=1)
        return slope, adjoint, None, None
