"""Two independent ways to solve the equation of `potential`: Newton-Krylov, and relaxation.

Newton: exact derivative, GMRES preconditioned by the continuous linearisation (factorised, or a
cycle of multigrid on large meshes), steps shortened until the residual falls. Relaxation: steps
along the inverse Laplacian of the residual, with the adaptive size of J. Barzilai, J. M. Borwein,
IMA J. Numer. Anal. 8 (1988) 141-148, kept from going beyond where the residual still points ahead
(the residual is the gradient of a convex function: its norm may well rise on the way).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from torch import Tensor

from ..fem.linear import Solve, amg, factorise
from .base import Progress
from .potential import Equation, State

Array = NDArray[np.float64]

_SHIFT = 1e-9
"""Share of the diagonal that makes the preconditioner regular: potentials have a free constant."""
_DIRECT_2D, _DIRECT_3D = 15_000, 3_000
"""Unknowns up to which factorising beats multigrid here: each factor serves few solves."""
_ROUGH = 0.1
"""Residual of a solve by multigrid."""
_FORCING = (1e-3, 0.3)
"""Least and largest reduction of the linear residual in a Newton step."""
_KRYLOV = 60
_TINY = 1e-14
_WARM_REDUCTION = 1e-9
_STALE = 1.5
"""Growth of the number of Krylov iterations after which the preconditioner is built anew."""
_FLOOR, _SHRINK = 0.1, 0.9
"""A step may make no simplex hold less than this, or this share of the least before."""
_ARMIJO = 1e-4
_CUT, _MAX_CUTS = 0.7, 24
"""Factor by which a step is shortened, and how often."""
_MOST_SHORT = 3
"""Steps in a row that may be shorter than wanted."""
_PATIENCE, _GAIN = 8, 0.98
"""Newton gives up when so many iterations have not brought the residual below this share."""
_BEYOND = 0.9
"""A relaxation step may reverse the residual along itself by this share at most."""


@dataclass(frozen=True)
class Solution:
    """Where an iteration ended.

    Attributes:
        state: the last one.
        iterations: of this call.
        reached: whether its residual is below the tolerance.
        reason: why it ended.
    """

    state: State
    iterations: int
    reached: bool
    reason: str


def newton(
    equation: Equation,
    state: State,
    tol: float,
    limit: int,
    shortest: float,
    progress: Progress,
    done: int = 0,
) -> Solution:
    """Newton's method from a valid state.

    Args:
        equation: of the move.
        state: where to start; its tau and exponent are kept.
        tol: of the residual's norm.
        limit: largest number of iterations.
        shortest: gives up after three steps in a row of which no more than this share was possible.
        progress: called after each iteration.
        done: iterations before this call, for `progress`.
    """
    history, inverse, usual, count = [state.norm], None, 0, 0
    taken, short = 0.0, 0
    while state.norm > tol:
        iteration = len(history) - 1
        if iteration == limit:
            return Solution(state, iteration, False, f"stopped after {done + iteration} iterations")
        if iteration >= _PATIENCE and state.norm > _GAIN * history[-1 - _PATIENCE]:
            return Solution(state, iteration, False, "the residual no longer falls")
        if short == _MOST_SHORT:
            return Solution(state, iteration, False, "cells get flat where steps are taken")
        new = None
        if taken < 1:  # while steps are cut short anyway, the preconditioner's are as good
            inverse, usual = _inverse(equation.tangent(state), equation.dim), 0
            new, taken = _shortened(equation, state, inverse.solve(state.residual))
        if new is None:
            if inverse is None or count > _STALE * usual + 2:
                inverse, usual = _inverse(equation.tangent(state), equation.dim), 0
            reduction = _forcing(history, tol)
            apply = equation.derivative(state)
            minus = -state.residual
            step, count = gmres(apply, _negative(inverse.apply), minus, reduction, _KRYLOV)
            usual = usual or count
            new, taken = _shortened(equation, state, step)
        if new is None:
            return Solution(state, iteration, False, "no Newton step lowers the residual")
        state, short = new, short + 1 if taken < shortest else 0
        history.append(state.norm)
        progress(done + len(history) - 1, state.norm)
    return Solution(state, len(history) - 1, True, f"residual below {tol:g}")


def _negative(apply: Solve) -> Solve:
    """The derivative is near minus the stiffness matrix that was inverted."""
    return lambda b: -apply(b)


def _forcing(history: list[float], tol: float) -> float:
    """Reduction of the linear residual that the next Newton step is worth.

    S. C. Eisenstat, H. F. Walker, SIAM J. Sci. Comput. 17 (1996) 16-32, choice 2.
    """
    rate = history[-1] / history[-2] if len(history) > 1 else 1.0
    wanted = min(_FORCING[1], max(_FORCING[0], 0.9 * rate**2))
    return max(wanted, 0.3 * tol / history[-1])


def relax(
    equation: Equation,
    state: State,
    tol: float,
    limit: int,
    shortest: float,
    progress: Progress,
    done: int = 0,
) -> Solution:
    """Adaptive relaxation from a valid state (see `newton` for the arguments)."""
    laplacian = equation.laplacian
    solve = _inverse(laplacian, equation.dim).solve
    size = 2 / max(2.0, float(state.load.share.max()))
    direction, iteration, short = solve(state.residual), 0, 0
    while state.norm > tol:
        if iteration == limit:
            return Solution(state, iteration, False, f"stopped after {done + iteration} iterations")
        if short == _MOST_SHORT:
            return Solution(state, iteration, False, "cells get flat where steps are taken")
        new, taken = _before_reversal(equation, state, direction, size)
        if new is None:
            return Solution(state, iteration, False, "no step along the residual is possible")
        short = short + 1 if taken < shortest * size else 0
        moved, change = new.phi - state.phi, state.residual - new.residual
        curvature = float(moved @ change)
        stretch = float(moved @ (laplacian @ moved))
        size = stretch / curvature if curvature > 0 else size
        state, iteration = new, iteration + 1
        direction = solve(state.residual)
        progress(done + iteration, state.norm)
    return Solution(state, iteration, True, f"residual below {tol:g}")


def warm(equation: Equation, start: Tensor, cold: State) -> State:
    """The state among `cold` and those near given positions that is nearest to a solution.

    Two guesses: the potential that moves nodes to `start` as nearly as can be, and the one that is
    the solution if they are that of a solution.
    """
    if torch.equal(start, equation.mesh.pos):
        return cold
    solve = _inverse(equation.laplacian, equation.dim).apply
    plain = equation.toward(start)
    load = equation.weigh(start.detach().cpu().numpy())
    assert load is not None  # the guard has checked the start
    found = [cold]
    for right in (plain, plain + load.imbalance):
        phi, _ = gmres(
            lambda v: equation.stabilised(v, cold.tau), solve, right, _WARM_REDUCTION, _KRYLOV
        )
        state = equation.evaluate(phi, cold.tau)
        found += [] if state is None else [state]
    return min(found, key=lambda state: state.norm)


@dataclass(frozen=True)
class _Inverse:
    """Two inverses of a stiffness matrix that has constants in its kernel.

    Attributes:
        solve: to a tenth of the residual or better.
        apply: linear, for Krylov methods: the factors, or a cycle of multigrid.
    """

    solve: Solve
    apply: Solve


def _inverse(matrix: sp.csr_array, dim: int) -> _Inverse:
    regular = sp.csr_array(matrix + sp.diags_array(_SHIFT * matrix.diagonal()))
    if matrix.shape[0] <= (_DIRECT_2D if dim < 3 else _DIRECT_3D):
        factors = factorise(regular)
        return _Inverse(factors, factors)
    hierarchy = amg(regular)
    cycle = hierarchy.aspreconditioner()
    return _Inverse(
        lambda b: np.asarray(hierarchy.solve(b, tol=_ROUGH, accel="cg", maxiter=20)),
        lambda b: np.asarray(cycle @ b),
    )


def _shortened(equation: Equation, state: State, step: Array) -> tuple[State | None, float]:
    """Shorten a step until its residual is lower (None where it never is); the share taken."""
    alpha, least = 1.0, _least(state)
    for _ in range(_MAX_CUTS):
        new = _moved(equation, state, alpha * step)
        lower = new is not None and new.norm < (1 - _ARMIJO * alpha) * state.norm
        if new is not None and lower and float(new.load.share.min()) >= least:
            return new, alpha
        alpha *= _CUT
    return None, 0.0


def _before_reversal(
    equation: Equation, state: State, direction: Array, size: float
) -> tuple[State | None, float]:
    """Shorten a step until it reverses the residual along it by `_BEYOND` at most; its size."""
    ahead, alpha, least = float(state.residual @ direction), size, _least(state)
    for _ in range(2 * _MAX_CUTS):
        new = _moved(equation, state, alpha * direction)
        onward = new is not None and float(new.residual @ direction) >= -_BEYOND * ahead
        if new is not None and onward and float(new.load.share.min()) >= least:
            return new, alpha
        alpha *= _CUT
    return None, 0.0


def _least(state: State) -> float:
    return min(_FLOOR, _SHRINK * float(state.load.share.min()))


def _moved(equation: Equation, state: State, step: Array) -> State | None:
    return equation.evaluate(state.phi + step, state.tau, state.exponent, state.load.hint)


def gmres(
    apply: Callable[[Array], Array],
    precondition: Callable[[Array], Array],
    right: Array,
    reduction: float,
    limit: int,
) -> tuple[Array, int]:
    """GMRES, preconditioned from the right, without restarts (Saad & Schultz, 1986).

    Args:
        apply: the matrix.
        precondition: an approximate inverse, the same each time.
        right: right-hand side `[n]`.
        reduction: of the residual's Euclidean norm.
        limit: largest number of iterations (and of vectors kept).

    Returns:
        The solution `[n]` and the number of iterations.
    """
    basis, images = np.empty((limit + 1, len(right))), np.empty((limit, len(right)))
    triangle, rest = np.zeros((limit, limit)), np.zeros(limit + 1)
    rotations: list[tuple[float, float]] = []
    rest[0] = length = float(np.linalg.norm(right))
    basis[0] = right / length
    for k in range(limit):
        images[k] = precondition(basis[k])
        w, known = apply(images[k]), basis[: k + 1]
        column = known @ w
        w -= column @ known
        again = known @ w  # once more against rounding
        w -= again @ known
        column += again
        below = float(np.linalg.norm(w))
        for j, (c, s) in enumerate(rotations):
            column[j : j + 2] = (
                c * column[j] + s * column[j + 1],
                c * column[j + 1] - s * column[j],
            )
        radius = float(np.hypot(column[k], below))
        rotations.append((column[k] / radius, below / radius))
        triangle[:k, k], triangle[k, k] = column[:k], radius
        rest[k : k + 2] = rotations[k][0] * rest[k], -rotations[k][1] * rest[k]
        if abs(rest[k + 1]) <= reduction * length or below <= _TINY * radius:
            break
        basis[k + 1] = w / below
    count = len(rotations)
    coefficients = solve_triangular(triangle[:count, :count], rest[:count])
    return coefficients @ images[:count], count
