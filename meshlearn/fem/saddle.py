"""Block-preconditioned Krylov methods for saddle-point systems, [[F, G], [B, 0]] (u, p) = b.

The velocity block F is done component by component, by multigrid. What matters is the Schur
complement S = B F^-1 G of the pressure:

- of a Stokes flow or a time step, F = sigma M - nu lap, S^-1 is M_p^-1 + sigma L^-1 with the
  pressure's mass matrix over nu and its Laplacian L = B D^-1 G, D the lumped mass matrix of the
  velocity (Cahouet & Chabard, Int. J. Numer. Methods Fluids 8 (1988) 869-895). The preconditioner
  is block diagonal and definite, for MINRES: the number of iterations does not depend on the mesh;
- with convection (Oseen, Newton), sigma L^-1 becomes M^-1 R L^-1 with R the reaction and convection
  of F on the space of the pressure (the pressure convection-diffusion preconditioner: Kay, Loghin &
  Wathen, SIAM J. Sci. Comput. 24 (2002) 237-256; split into its two parts no boundary condition
  is needed at outlets). The preconditioner is block triangular, for flexible GMRES.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .iterations import flexible_gmres, minres
from .linear import (
    DIRECT_2D,
    DIRECT_3D,
    SINGULAR,
    SolveError,
    amg,
    factorise,
    factorise_lu,
    last_residuals,
)
from .multigrid import Near, multigrid

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Apply = Callable[[Array], Array]

_STEPS, _TRIES = 300, 4
_CHEBYSHEV = 8
_INNER, _LOOSE = 12, 1e-2
"""Steps and relative residual of the velocity's components, where they have convection."""


@dataclass(frozen=True)
class Saddle:
    """What the unknowns of a saddle-point system stand for.

    Attributes:
        components: unknowns of each component of the velocity `[d][k]`.
        pressures: unknowns of the pressure `[m]`.
        places: degrees of freedom of these in the scalar element of the velocity `[d][k]`.
        near: of that element.
        momentum: lumped mass matrix of the velocity `[n]`, 1 at pressures.
        reaction: sigma.
        carried: R, of all degrees of freedom of the pressure `[m', m']`; None where it is
            sigma M, or where the pressure is not linear and continuous.
        mass: of the pressure `[m', m']`.
        thick: the same over nu.
        kept: which of these are unknowns `[m]`.
        bounds: smallest and largest eigenvalue of diag(mass)^-1 mass.
        closed: whether a constant pressure moves nothing; one pressure is then fixed.
    """

    components: list[Ints]
    pressures: Ints
    places: list[Ints]
    near: Near
    momentum: Array
    reaction: float
    carried: sp.csr_array | None
    mass: sp.csr_array
    thick: sp.csr_array
    kept: Ints
    bounds: tuple[float, float]
    closed: bool


class BlockSolver:
    """Solves with a saddle-point matrix or its transpose.

    Args:
        matrix: `[n, n]`.
        saddle: its unknowns.
        tol: relative residual.
        symmetric: MINRES, or else flexible GMRES.
        adjoint: whether the matrix is the transpose of what `saddle` was made from.

    Attributes:
        iterations: of the last solve.

    Raises:
        SolveError: a constant pressure moves nothing, and none is fixed.
    """

    def __init__(
        self,
        matrix: sp.csr_array,
        saddle: Saddle,
        tol: float,
        *,
        symmetric: bool,
        adjoint: bool = False,
    ) -> None:
        self._matrix, self._saddle, self._tol = matrix, saddle, tol
        self._symmetric = symmetric
        velocity = np.sort(np.concatenate(saddle.components))
        self._velocity, p = velocity, saddle.pressures
        self._force, self._slope = matrix[velocity][:, velocity], matrix[velocity][:, p]
        self._inflow = matrix[p][:, velocity]
        place = np.full(matrix.shape[0], -1)
        place[velocity] = np.arange(len(velocity))
        self._components = [place[c] for c in saddle.components]
        self._fixed = np.setdiff1d(np.arange(saddle.mass.shape[0]), saddle.kept)
        if saddle.closed and not len(self._fixed):
            raise SolveError(SINGULAR)
        self._shift = saddle.closed and len(self._fixed) == 1
        self._adjoint = adjoint
        self.iterations = 0

    def __call__(self, b: Array, transposed: bool = False) -> Array:
        """Solution `[n]`.

        Raises:
            SolveError: not converged, with the last residuals.
        """
        if transposed and not self._symmetric:
            x = self._transposed(b)
            self.iterations = self._transposed.iterations
            return x
        goal, n = self._tol * float(np.linalg.norm(b)), len(b)
        if goal == 0:
            return np.zeros(n)
        x, history, tol = np.zeros(n), [], self._tol
        for _ in range(_TRIES):
            x, found = self._iterate(b, x, tol)
            history += found[1:]
            self.iterations = len(history)
            left = float(np.linalg.norm(self._matrix @ x - b))
            if left <= goal:
                return x
            tol *= 0.1  # the iteration's own norm of the residual is another one
        name = "MINRES" if self._symmetric else "flexible GMRES"
        raise SolveError(
            f"{name} with a block preconditioner stopped above the relative tolerance "
            f"{self._tol:g} after {len(history)} steps; {last_residuals(history)}"
        )

    def _iterate(self, b: Array, x: Array, tol: float) -> tuple[Array, list[float]]:
        if self._symmetric:
            return minres(self._matrix, b, x, self._definite, tol, _STEPS)
        return flexible_gmres(self._matrix, b, x, self._triangular, tol, _STEPS)

    @cached_property
    def _transposed(self) -> BlockSolver:
        matrix = sp.csr_array(self._matrix.T)
        return BlockSolver(matrix, self._saddle, self._tol, symmetric=False, adjoint=True)

    def _definite(self, r: Array) -> Array:
        """Block diagonal preconditioner."""
        out, p = np.empty_like(r), self._saddle.pressures
        out[p] = self._schur(r[p])
        out[self._velocity] = self._velocity_part(r[self._velocity])
        return out

    def _triangular(self, r: Array) -> Array:
        """Block upper triangular preconditioner: the pressure first."""
        out, p = np.empty_like(r), self._saddle.pressures
        out[p] = -self._sign * self._schur(r[p])
        out[self._velocity] = self._velocity_part(r[self._velocity] - self._slope @ out[p])
        return out

    # -- the velocity --------------------------------------------------------------------------

    @cached_property
    def _parts(self) -> list[Apply]:
        """Approximate inverses of the diagonal blocks of F; equal blocks share theirs."""
        known: list[tuple[sp.csr_array, Apply]] = []
        for c, free in zip(self._components, self._saddle.places, strict=True):
            block = sp.csr_array(self._force[c][:, c])
            same = [run for other, run in known if _equal(block, other)]
            known.append((block, same[0] if same else self._part(block, free)))
        return [run for _, run in known]

    def _part(self, block: sp.csr_array, free: Ints) -> Apply:
        cycle = multigrid(block, self._saddle.near, free).cycle
        if self._symmetric:
            return cycle
        zero = np.zeros(block.shape[0])
        probe = np.sin(np.arange(len(zero)) + 1.0)
        _, history = flexible_gmres(block, probe, zero, cycle, _LOOSE, _INNER)
        if history[-1] > _LOOSE * history[0]:  # convection is too strong for the cells
            return factorise_lu(block).solve
        return lambda r: flexible_gmres(block, r, zero, cycle, _LOOSE, _INNER)[0]

    def _velocity_part(self, r: Array) -> Array:
        out = np.empty_like(r)
        for c, run in zip(self._components, self._parts, strict=True):
            out[c] = run(r[c])
        return out

    # -- the pressure --------------------------------------------------------------------------

    def _schur(self, r: Array) -> Array:
        """S^-1 r, up to its sign.

        Of a pressure that is fixed at one place r is the part of a load with sum 0.
        """
        saddle = self._saddle
        load = np.zeros(saddle.mass.shape[0])
        load[saddle.kept] = r
        if self._shift:
            load[self._fixed] = -load.sum()
        x = _chebyshev(saddle.thick, load, saddle.bounds)
        if saddle.carried is not None and not self._symmetric:
            carried = saddle.carried[:, saddle.kept]
            if self._adjoint:
                moved = carried.T @ _chebyshev(saddle.mass, load, saddle.bounds)
                x[saddle.kept] += self._by_laplacian(moved)
            else:
                moved = carried @ self._by_laplacian(r)
                x += _chebyshev(saddle.mass, moved, saddle.bounds)
        elif saddle.reaction:
            x[saddle.kept] += saddle.reaction * self._by_laplacian(r)
        if self._shift:
            x -= x[self._fixed]
        return x[saddle.kept]

    @cached_property
    def _laplacian(self) -> sp.csr_array:
        inverse = sp.diags_array(1 / self._saddle.momentum[self._velocity])
        return sp.csr_array(self._inflow @ inverse @ self._slope)

    @cached_property
    def _sign(self) -> float:
        """1 where G is B^T, -1 where it is -B^T."""
        return 1.0 if self._laplacian.trace() > 0 else -1.0

    @cached_property
    def _by_laplacian(self) -> Apply:
        """|L|^-1: factors, or multigrid (one cycle in MINRES, which needs a fixed operator)."""
        laplacian = self._sign * self._laplacian
        limit = DIRECT_2D if len(self._components) < 3 else DIRECT_3D
        if laplacian.shape[0] <= limit // 2:
            return factorise(laplacian)
        hierarchy = amg(laplacian)
        if self._symmetric:
            return hierarchy.aspreconditioner().matvec
        return lambda r: np.asarray(hierarchy.solve(r, tol=_LOOSE, accel="cg", maxiter=30))


def _equal(a: sp.csr_array, b: sp.csr_array) -> bool:
    if a.shape != b.shape or a.nnz != b.nnz:
        return False
    same = np.array_equal(a.indptr, b.indptr) and np.array_equal(a.indices, b.indices)
    return bool(same and np.allclose(a.data, b.data, rtol=1e-12, atol=1e-14 * abs(a.data).max()))


def _chebyshev(matrix: sp.csr_array, b: Array, bounds: tuple[float, float]) -> Array:
    """A few steps for A x = b from 0, preconditioned by the diagonal; linear and definite in b.

    Saad, Iterative Methods for Sparse Linear Systems (2003), algorithm 12.1.
    """
    inverse = 1 / matrix.diagonal()
    low, high = bounds
    centre, half = (high + low) / 2, (high - low) / 2
    if half <= 1e-9 * centre:
        return inverse * b / centre
    sigma = centre / half
    rho = 1 / sigma
    step = inverse * b / centre
    x, r = step, b - matrix @ step
    for _ in range(_CHEBYSHEV - 1):
        new = 1 / (2 * sigma - rho)
        step = new * rho * step + 2 * new / half * (inverse * r)
        x, r, rho = x + step, r - matrix @ step, new
    return x
