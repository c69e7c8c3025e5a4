"""Steady Navier-Stokes equations, (u . grad) u - nu lap u + grad p = f, div u = 0."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..fem import Field, SolveError, assemble, assemble_linear, newton, residual, solve
from ..fem.solve import Method
from ..mesh import Mesh, MeshError
from .flow import Discrete, Element, Flow, FlowSolution, convection, creeping, discretised

_PICARD_STEPS, _NEWTON_STEPS, _TRIALS = 3, 12, 16
_LOOSE = 1e-6
"""Tolerance on the way to the viscosity that is asked for."""


class NavierStokes(Flow):
    """Steady incompressible flow in 2D or 3D; arguments as `Stokes`.

    Example: a lid that drives the fluid in a square at Reynolds number 100.

    >>> import meshlearn as ml
    >>> cavity = ml.problems.NavierStokes(0.01, {"top": (1.0, 0.0), "left": 0.0,
    ...                                          "right": 0.0, "bottom": 0.0})
    >>> mesh = ml.generate.rectangle(16, 16)
    >>> solution = cavity.solve(mesh)
    >>> centre = (mesh.pos - 0.5).norm(dim=1).argmin()
    >>> round(float(solution.u[centre, 0]), 2)
    -0.21
    """

    def solve(
        self,
        mesh: Mesh,
        element: Element = "taylor-hood",
        start: FlowSolution | None = None,
        tol: float = 1e-10,
        method: Method = "auto",
    ) -> FlowSolution:
        """Picard's iteration, then Newton's, from flows of larger viscosity where it needs them.

        Args:
            mesh: the mesh.
            element: see `flow.Element`.
            start: a solution in the same space, a similar flow; Stokes flow by default.
            tol: of the residual, relative to that at the start.
            method: of the linear systems, see `LinearSolver`: large ones are solved by "block".

        Returns:
            The flow; differentiable in positions and data.

        Raises:
            MeshError: unknown tag or element, or values or a start that do not fit.
            SolveError: no steady flow was found.
        """
        problem = discretised(self, mesh, element)
        first = None if start is None else start.field.dofs.detach()
        if first is not None and first.shape != (problem.space.num_dofs,):
            raise MeshError("the start must be a solution with the same elements on the same mesh")
        dofs = problem.with_mean_pressure(_continued(problem, first, tol, method))
        form = partial(momentum, problem)
        left = residual(form, problem.space, dofs, degree=problem.degree)
        return FlowSolution(Field(problem.space, dofs), left)


def momentum(problem: Discrete, u: Any, v: Any, w: Any) -> Any:
    """Residual form of a steady flow."""
    viscous = creeping(problem.flow.viscosity, u, v)
    return viscous + convection(u[0], u[0], v[0]) - problem.load(v, w)


def tangent(problem: Discrete, du: Any, v: Any, w: Any) -> Any:
    """Its derivative at the state `w.u`."""
    (u, _), (change, _), (test, _) = w.u, du, v
    viscous = creeping(problem.flow.viscosity, du, v)
    return viscous + convection(u, change, test) + convection(change, u, test)


def picard(problem: Discrete, u: Any, v: Any, w: Any) -> Any:
    """The flow that the velocity `w.u` carries along: Oseen's equations."""
    return creeping(problem.flow.viscosity, u, v) + convection(w.u[0], u[0], v[0])


def _continued(problem: Discrete, start: Tensor | None, tol: float, method: Method) -> Tensor:
    """Solution by continuation: thicker fluids until one is solved, then back, halfway if needed.

    Steps are those of the logarithm of the viscosity.
    """
    factor, solved, failure = 1.0, math.inf, None
    for _ in range(_TRIALS):
        flow = replace(problem.flow, viscosity=problem.flow.viscosity * factor)
        last = factor == 1.0
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and last):
                dofs = _iterated(
                    replace(problem, flow=flow), start, tol if last else _LOOSE, method
                )
        except SolveError as error:
            failure = error
            factor = 4 * factor if math.isinf(solved) else (factor * solved) ** 0.5
        else:
            if last:
                return dofs
            start, solved, factor = dofs, factor, 1.0
    raise SolveError(f"no steady flow was found: {failure}")


def _iterated(problem: Discrete, start: Tensor | None, tol: float, method: Method) -> Tensor:
    space, degree = problem.space, problem.degree
    if start is None:
        with torch.no_grad():
            start = _carried(problem, method)
    found = newton(
        partial(momentum, problem),
        space,
        problem.conditions,
        start,
        partial(tangent, problem),
        tol,
        _NEWTON_STEPS,
        degree=degree,
        method=method,
    )
    return found.dofs


def _carried(problem: Discrete, method: Method) -> Tensor:
    """A few of Picard's steps from Stokes flow."""
    space, degree = problem.space, problem.degree
    viscosity = problem.flow.viscosity
    right = assemble_linear(problem.load, space, degree=degree)
    matrix = assemble(lambda u, v, w: creeping(viscosity, u, v), space)
    dofs = solve(matrix, right, problem.conditions, method)
    for _ in range(_PICARD_STEPS):
        field = Field(space, dofs)
        matrix = assemble(partial(picard, problem), space, degree=degree, u=field)
        dofs = solve(matrix, right, problem.conditions, method)
    return dofs
