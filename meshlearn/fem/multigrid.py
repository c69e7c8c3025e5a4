"""Algebraic multigrid that knows the elements: rigid motions, and the vertices as a coarse space.

Smoothed aggregation (Vanek, Mandel & Brezina, Computing 56 (1996) 179-196) is told what the
operator hardly changes: constants, or for displacements the rigid motions. Elements of degree 2 and
more, and bubbles, first go down to the linear functions of the vertices: aggregates of their
unknowns are poor, and the number of iterations would grow with the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyamg
import scipy.sparse as sp
from numpy.typing import NDArray
from pyamg.relaxation.smoothing import change_smoothers
from scipy.sparse.linalg import LinearOperator, gmres

from .elements import ReferenceElement, corner_weights
from .linear import SolveError, amg, last_residuals
from .space import Block, FunctionSpace, geometry_nodes

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
_STEPS = 200
_SMOOTHER = ("gauss_seidel", {"sweep": "symmetric"})


@dataclass(frozen=True)
class Near:
    """What multigrid has to know of an element.

    Attributes:
        width: components at each place.
        null: what the operator hardly changes `[n, k]`, n degrees of freedom.
        coarse: the linear functions of the vertices in terms of the element `[n, n']`; None where
            it is linear itself.
        coarse_null: `null` at the vertices `[n', k]`.
    """

    width: int
    null: Array
    coarse: sp.csr_array | None
    coarse_null: Array


@dataclass(frozen=True)
class Multigrid:
    """A hierarchy for the free unknowns of a system.

    Attributes:
        hierarchy: pyamg's, for all degrees of freedom, where those that are not free are held.
        free: which are.
    """

    hierarchy: Any
    free: Ints

    @property
    def size(self) -> int:
        """Degrees of freedom."""
        return int(self.hierarchy.levels[0].A.shape[0])

    def cycle(self, r: Array) -> Array:
        """One V-cycle `[f] -> [f]`, linear; symmetric for a symmetric matrix."""
        return np.asarray(self.hierarchy.solve(self._whole(r), maxiter=1, tol=1e-30))[self.free]

    def solve(self, b: Array, tol: float, steps: int, residuals: list[float]) -> Array:
        """Conjugate gradients with a cycle a step; norms of residuals are appended."""
        whole = self._whole(b)
        x = self.hierarchy.solve(whole, tol=tol, accel="cg", maxiter=steps, residuals=residuals)
        return np.asarray(x)[self.free]

    def _whole(self, r: Array) -> Array:
        whole = np.zeros(self.size)
        whole[self.free] = r
        return whole


class MultigridSolver:
    """Conjugate gradients (of a definite matrix) or GMRES with a cycle of multigrid.

    Args:
        matrix: `[n, n]`.
        hierarchy: for it.
        tol: relative residual.
        definite: symmetric positive definite.

    Attributes:
        iterations: of the last solve.
    """

    def __init__(
        self, matrix: sp.csr_array, hierarchy: Multigrid, tol: float, *, definite: bool
    ) -> None:
        self._matrix, self._hierarchy, self._tol = matrix, hierarchy, tol
        self._definite, self._transposed = definite, sp.csr_array(matrix.T)
        self.iterations = 0

    def __call__(self, b: Array, transposed: bool = False) -> Array:
        """Solution `[n]` with the matrix or its transpose.

        Raises:
            SolveError: not converged, with the last residuals.
        """
        operator = self._transposed if transposed else self._matrix
        residuals: list[float] = []
        if self._definite:
            x = self._hierarchy.solve(b, self._tol, _STEPS, residuals)
        else:
            cycle = self._hierarchy.cycle
            x, _ = gmres(
                operator,
                b,
                rtol=self._tol,
                restart=50,
                maxiter=20,
                M=LinearOperator(operator.shape, matvec=cycle, dtype=np.float64),
                callback=residuals.append,
                callback_type="pr_norm",
            )
        self.iterations = len(residuals) - self._definite  # those of CG begin at the start
        left = float(np.linalg.norm(operator @ x - b))
        if not left <= 10 * self._tol * max(float(np.linalg.norm(b)), 1e-300):
            raise SolveError(
                f"the multigrid-preconditioned iteration stopped above the relative tolerance "
                f"{self._tol:g} after {len(residuals)} steps; {last_residuals(residuals)}"
            )
        return np.asarray(x)


def near_of(space: FunctionSpace, block: Block, *, rigid: bool, width: int | None = None) -> Near:
    """Constants or rigid motions of a scalar element or a vector of them.

    Args:
        space: gives the mesh.
        block: the element.
        rigid: with rotations, for displacements.
        width: components; those of the element by default (1: one of them alone).
    """
    width = max(block.components, 1) if width is None else width
    vertices, plain = _vertices(space, block), is_linear(block)
    points = space.mesh.pos.detach().cpu().numpy()
    at_vertices = _motions(points, width, rigid=rigid)
    whole = sp.kron(vertices, sp.eye_array(width), format="csr")
    coarse = None if plain else sp.csr_array(whole)
    return Near(width, whole @ at_vertices, coarse, at_vertices)


def multigrid(matrix: sp.csr_array, near: Near, free: Ints) -> Multigrid:
    """Hierarchy for a matrix of free degrees of freedom.

    It is built as for a symmetric matrix: with convection, too, that was the faster one.

    Args:
        matrix: `[f, f]`.
        near: of its element.
        free: degrees of freedom of the unknowns `[f]`, ascending.
    """
    n, width = near.null.shape[0], near.width
    fixed = np.ones(n, bool)
    fixed[free] = False
    matrix = _embedded(matrix, free, np.flatnonzero(fixed), n)
    null = np.where(fixed[:, None], 0.0, near.null)
    if near.coarse is None:
        return Multigrid(amg(matrix, null, width), free)
    down, held = _restricted(near.coarse, fixed)
    small = sp.csr_array(down.T @ matrix @ down)
    small = small + sp.diags_array(held * matrix.diagonal().mean())
    null = np.where(held[:, None], 0.0, near.coarse_null)
    rest = amg(small, null, width)
    top = pyamg.MultilevelSolver.Level()
    top.A, top.P, top.R = sp.csr_matrix(matrix), sp.csr_matrix(down), sp.csr_matrix(down.T)
    built = pyamg.MultilevelSolver([top, *rest.levels])
    change_smoothers(built, _SMOOTHER, _SMOOTHER)
    return Multigrid(built, free)


def _embedded(matrix: sp.csr_array, free: Ints, fixed: Ints, n: int) -> sp.csr_array:
    """The matrix among all degrees of freedom; those that are fixed are alone."""
    entries = sp.coo_array(matrix)
    scale = matrix.diagonal().mean() if len(free) else 1.0
    rows = np.concatenate([free[entries.row], fixed])
    columns = np.concatenate([free[entries.col], fixed])
    values = np.concatenate([entries.data, np.full(len(fixed), scale)])
    return sp.csr_array(sp.coo_array((values, (rows, columns)), shape=(n, n)))


def _restricted(coarse: sp.csr_array, fixed: NDArray[np.bool_]) -> tuple[sp.csr_array, Any]:
    """Interpolation between free unknowns, and which of the coarse ones are held `[n']`."""
    entries = sp.coo_array(coarse)
    alone = np.isclose(entries.data, 1.0)
    held = np.zeros(coarse.shape[1], bool)
    held[entries.col[alone & fixed[entries.row]]] = True
    keep = ~fixed[entries.row] & ~held[entries.col]
    parts = (entries.data[keep], (entries.row[keep], entries.col[keep]))
    down = sp.csr_array(sp.coo_array(parts, shape=coarse.shape))
    reached = np.zeros(coarse.shape[1], bool)
    reached[down.indices] = True
    return down, ~reached


def is_linear(block: Block) -> bool:
    """Whether all degrees of freedom are at vertices."""
    return all(len(e.nodes) == 1 for element in block.elements.values() for e in element.entities)


def _vertices(space: FunctionSpace, block: Block) -> sp.csr_array:
    """Linear or multilinear functions of the vertices in terms of a scalar element `[k, nodes]`."""
    count = block.size // max(block.components, 1)
    rows, columns, values = [], [], []
    for cell, nodes in space.mesh.cells.items():
        weights = _weights(cell, block.elements[cell])
        at = geometry_nodes(cell, nodes).cpu().numpy()
        dofs = block.dofs[cell].cpu().numpy()
        for k, row in enumerate(weights):
            for j in np.flatnonzero(row):
                rows.append(dofs[:, k])
                columns.append(at[:, j])
                values.append(np.full(len(at), row[j]))
    row, column = np.concatenate(rows), np.concatenate(columns)
    value, shape = np.concatenate(values), (count, space.mesh.num_nodes)
    total = sp.csr_array(sp.coo_array((value, (row, column)), shape=shape))
    times = sp.csr_array(sp.coo_array((np.ones_like(value), (row, column)), shape=shape))
    total.data /= times.data  # every cell around says the same
    return total


def _weights(cell: str, element: ReferenceElement) -> Array:
    weights = corner_weights(cell, element.points).numpy()
    weights = np.where(np.abs(weights) < 1e-12, 0.0, weights)
    if not element.nodal:  # bubbles are added to the linear functions
        whole = max(len(e.nodes) for e in element.entities)
        weights[[len(e.nodes) == whole for e in element.entities]] = 0.0
    return weights


def _motions(points: Array, width: int, *, rigid: bool) -> Array:
    """Translations, and rotations if asked for, at points `[n, d] -> [n width, k]`."""
    n, d = points.shape
    modes = [np.eye(width)[k] * np.ones((n, 1)) for k in range(width)]
    if rigid and width == d:
        x = points - points.mean(axis=0)
        x = x / np.abs(x).max()
        for i in range(d):
            for j in range(i):
                turn = np.zeros((n, d))
                turn[:, i], turn[:, j] = x[:, j], -x[:, i]
                modes.append(turn)
    return np.stack([mode.reshape(-1) for mode in modes], axis=1)
