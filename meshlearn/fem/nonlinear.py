"""Newton's method for nonlinear forms, with derivatives of the solution.

>>> import meshlearn as ml
>>> from meshlearn.fem import Dirichlet, FunctionSpace, dot, grad, newton
>>> V = FunctionSpace(ml.generate.rectangle(8, 8), "P2")
>>> found = newton(lambda u, v, w: (1 + u**2) * dot(grad(u), grad(v)) - 1.0 * v, V,
...                [Dirichlet(V, "boundary", 0.0)])
>>> found.iterations
3
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mesh import MeshError
from .context import Field
from .elimination import Condition, Reduction, reduction
from .linear import SolveError
from .linearise import Forms, derivative, listed, residual, tangent
from .solve import LinearSolver, Method
from .space import FunctionSpace
from .sparse import multiply, rows_of

_DECREASE, _SMALLEST_STEP, _ROUNDING = 1e-4, 2.0**-12, 1e-14


@dataclass(frozen=True)
class NewtonResult:
    """What Newton's method found.

    Attributes:
        dofs: the solution `[num_dofs]`; differentiable, see `newton`.
        residuals: norm of the free part of the residual, at the start and after each step.
        iterations: number of steps.
    """

    dofs: Tensor
    residuals: list[float]
    iterations: int


def newton(
    form: Forms,
    space: FunctionSpace,
    bcs: Sequence[Condition] = (),
    start: Tensor | None = None,
    jacobian: Forms | None = None,
    tol: float = 1e-10,
    max_iterations: int = 25,
    *,
    on: str = "cells",
    degree: int | None = None,
    derivatives: int = 1,
    method: Method = "auto",
    **fields: Any,
) -> NewtonResult:
    """Solve F(u; v) = 0 for all v by Newton's method with backtracking.

    The result is differentiable in boundary values, node positions, fields and whatever else the
    form depends on, by the implicit function theorem: backward costs one solve with the transposed
    tangent at the solution.

    Args:
        form: `(u, v, w) -> scalar` as for `residual`, or pairs (form, on) that are summed.
        space: of u and v.
        bcs: conditions; the start is made to satisfy them.
        start: coefficients `[num_dofs]`, 0 by default.
        jacobian: bilinear form `(du, v, w)` that finds the state as `w.u` (or pairs of them with
            `on`), in place of the exact tangent: Picard's iteration, for example. It steers the
            iteration only; derivatives of the result use the exact one.
        tol: of the residual, relative to the whole residual (reactions included) at the start; a
            residual that is down to rounding errors also counts as solved.
        max_iterations: steps before it gives up.
        on: where to integrate, for a single form.
        degree: of the quadrature.
        derivatives: how many orders of derivatives of the result are right (1: gradients).
        method: of the linear systems, see `LinearSolver`.
        **fields: see `assemble`.

    Raises:
        SolveError: not converged, with the residuals.
    """
    if start is not None and start.shape != (space.num_dofs,):
        raise MeshError(f"the start must be [{space.num_dofs}], got {list(start.shape)}")
    exact = [(derivative(one), where) for one, where in listed(form, on)]
    given = exact if jacobian is None else listed(jacobian, on)

    def force(u: Tensor) -> Tensor:
        return residual(form, space, u, on=on, degree=degree, **fields)

    def slope(u: Tensor) -> Tensor:
        extra = {} if jacobian is None else {"u": Field(space, u)}
        return tangent(given, space, u, degree, fields | extra)

    first = space.mesh.pos.new_zeros(space.num_dofs) if start is None else start
    result = newton_system(
        force, slope, first, bcs, tol, max_iterations, derivatives=0, method=method
    )
    return differentiable(
        result,
        force,
        lambda u: tangent(exact, space, u, degree, fields),
        bcs,
        derivatives,
        method,
    )


def newton_system(
    residual: Callable[[Tensor], Tensor],
    jacobian: Callable[[Tensor], Tensor],
    start: Tensor,
    bcs: Sequence[Condition] = (),
    tol: float = 1e-10,
    max_iterations: int = 25,
    derivatives: int = 1,
    method: Method = "auto",
) -> NewtonResult:
    """Newton's method for functions of the coefficients: what `newton` and time steps run on.

    Args:
        residual: `[n] -> [n]`.
        jacobian: `[n]` -> sparse CSR `[n, n]`.
        start: `[n]`.
        bcs: conditions.
        tol: see `newton`.
        max_iterations: steps before it gives up.
        derivatives: see `newton`.
        method: see `newton`.

    Raises:
        SolveError: not converged, with the residuals.
    """
    with torch.no_grad():
        reduced = reduction(bcs, len(start), start.device)
        u = reduced.imposed(start.detach().to(torch.float64))
        whole = residual(u)
        scale, history = float(whole.norm()), [float(reduced.restricted(whole).norm())]
        for iteration in range(max_iterations + 1):
            if not torch.isfinite(whole).all():
                raise SolveError("the residual is not finite at the start of Newton's method")
            if history[-1] <= tol * scale:
                break
            matrix = jacobian(u)
            if history[-1] <= _ROUNDING * _magnitude(matrix, u):
                break
            if iteration == max_iterations:
                raise SolveError(f"Newton's method did not converge; residuals {_shown(history)}")
            try:
                direction = LinearSolver(matrix, bcs, method).change(-whole)
            except SolveError as error:
                raise SolveError(
                    f"{error}; residuals of Newton's method {_shown(history)}"
                ) from error
            u, whole, size = _step(residual, reduced, u, direction, history)
            history.append(size)
    result = NewtonResult(u, history, len(history) - 1)
    return differentiable(result, residual, jacobian, bcs, derivatives, method)


def differentiable(
    result: NewtonResult,
    residual: Callable[[Tensor], Tensor],
    jacobian: Callable[[Tensor], Tensor],
    bcs: Sequence[Condition],
    derivatives: int,
    method: Method = "auto",
) -> NewtonResult:
    """Attach derivatives to a solution: each step with the frozen tangent adds an order.

    u - J^-1 F(u, theta) is u again, with derivative -J^-1 dF/dtheta.
    """
    u = result.dofs
    if not torch.is_grad_enabled() or derivatives < 1:
        return result
    force = residual(u)
    if not force.requires_grad and not reduction(bcs, len(u), u.device).requires_grad:
        return result
    with torch.no_grad():
        matrix = jacobian(u)
    solver = LinearSolver(matrix, bcs, method)
    for order in range(derivatives):
        force = residual(u) if order else force
        u = solver(multiply(matrix, u) - force)
    return NewtonResult(u, result.residuals, result.iterations)


def _step(
    residual: Callable[[Tensor], Tensor],
    reduced: Reduction,
    u: Tensor,
    direction: Tensor,
    history: list[float],
) -> tuple[Tensor, Tensor, float]:
    """The longest of the steps 1, 1/2, 1/4, ... that lowers the residual enough."""
    length = 1.0
    while length >= _SMALLEST_STEP:
        trial = u + length * direction
        whole = residual(trial)
        size = float(reduced.restricted(whole).norm())
        if size <= (1 - _DECREASE * length) * history[-1]:
            return trial, whole, size
        length /= 2
    raise SolveError(
        f"Newton's line search found no step that lowers the residual; residuals {_shown(history)}"
    )


def _shown(history: list[float]) -> str:
    return ", ".join(f"{r:.2e}" for r in history)


def _magnitude(matrix: Tensor, u: Tensor) -> float:
    """Norm of |J| |u|, which rounding errors of the residual are proportional to."""
    terms = (matrix.values() * u[matrix.col_indices()]).abs()
    return float(torch.zeros_like(u).index_add(0, rows_of(matrix), terms).norm())
