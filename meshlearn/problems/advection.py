"""Unsteady advection, u_t + s(t) b . grad u = 0 with div b = 0, by discontinuous Galerkin.

Upwind fluxes, and the strong-stability-preserving Runge-Kutta method of order 3 (Shu & Osher,
J. Comput. Phys. 77 (1988) 439-471). What leaves one cell enters the next: mass is conserved to
rounding where no flow crosses the boundary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..fem import (
    Field,
    FunctionSpace,
    LinearSolver,
    assemble,
    assemble_linear,
    dot,
    grad,
    integrate,
    side,
)
from ..mesh import Mesh
from .base import Function, as_function, as_vector_function
from .series import Series, TimeFunction, as_time_function, at_time, checked_steps

_COURANT = 0.8
"""Of the step that is chosen; 1 is where the linear element with this method becomes unstable."""


@dataclass(frozen=True)
class Transport(Series):
    """An advected quantity; errors count in L1 too, where jumps are better judged."""

    def errors(
        self, exact: Function | None = None, exact_gradient: Function | None = None
    ) -> dict[str, float]:
        """Errors "l1", "l2", "max" of the last state, "h1" where it makes sense.

        Raises:
            ValueError: the exact solution is not known.
        """
        found = super().errors(exact, exact_gradient)
        truth = exact or self[-1].exact
        distance = integrate(
            lambda w: (w.u.value - truth(w.x)).abs() if truth else 0.0,
            self.mesh,
            degree=8,
            u=Field(self.space, self.states[-1].detach()),
        )
        return {"l1": float(distance), **found}


class Advection:
    """u_t + s(t) b . grad u = 0; u = g where the flow comes in.

    Args:
        velocity: b, free of divergence, a vector or a torch function `[m, d] -> [m, d]`.
        initial: u at t = 0, a function `[m, d] -> [m]`.
        speed: s, a function of time; 1 by default.
        inflow: g, a number or a function `(x, t)`.
        exact: the exact solution `(x, t)`, where known.
    """

    def __init__(
        self,
        velocity: Function | Sequence[float],
        initial: Function | float,
        speed: Callable[[float], float] | None = None,
        inflow: TimeFunction | float = 0.0,
        exact: TimeFunction | None = None,
    ) -> None:
        self.velocity, self.initial = as_vector_function(velocity), as_function(initial)
        self.speed, self.exact = speed or (lambda t: 1.0), exact
        self.inflow = None if inflow == 0.0 else as_time_function(inflow)

    def solve(
        self,
        mesh: Mesh,
        end: float,
        steps: int | None = None,
        every: int | None = None,
        degree: int = 1,
    ) -> Transport:
        """Integrate from 0 to `end` with discontinuous elements of degree 1 or 2.

        Args:
            mesh: any cells with such elements.
            end: the last time.
            steps: number of time steps; as few as are stable by default.
            every: a state is kept after so many steps; only the last one by default.
            degree: of the elements.

        Raises:
            MeshError: no such element, or steps that do not fit.
        """
        space = FunctionSpace(mesh, f"P{degree}DG")
        if steps is None:
            steps = self._stable_steps(mesh, end, degree)
            steps += -steps % (every or 1)
        every = steps if every is None else every
        dt = checked_steps(end, steps, every)
        rate = _Rate(self, space)
        u = space.interpolate(self.initial)
        kept = [u]
        for k in range(steps):
            t = k * dt
            first = u + dt * rate(u, t)
            second = (3 * u + first + dt * rate(first, t + dt)) / 4
            u = (u + 2 * (second + dt * rate(second, t + dt / 2))) / 3
            if (k + 1) % every == 0:
                kept.append(u)
        times = torch.arange(0, steps + 1, every, dtype=torch.float64) * dt
        return Transport(space, times, torch.stack(kept), self.exact)

    def _stable_steps(self, mesh: Mesh, end: float, degree: int) -> int:
        """From the share of each cell's content that flows out of it per time."""
        cells = FunctionSpace(mesh, "P0")
        through = assemble_linear(
            lambda v, w: self._across(w).abs() * (side(v, 0) + side(v, 1)),
            cells,
            on="interior",
            degree=3,
        ) + assemble_linear(lambda v, w: self._across(w).abs() * v, cells, on="boundary", degree=3)
        share = float((through / mesh.volumes().abs()).max()) / 2
        fastest = max(abs(self.speed(end * k / 64)) for k in range(65))
        return max(1, math.ceil(end * fastest * share * (2 * degree + 1) / _COURANT))

    def _across(self, w: Any) -> Tensor:
        out: Tensor = dot(self.velocity(w.x), w.n)
        return out


class _Rate:
    """du/dt = M^-1 (|s| A u + inflow), with one A for each sign of s."""

    def __init__(self, problem: Advection, space: FunctionSpace) -> None:
        self._problem, self._space = problem, space
        self._order = 2 * space.degree + 2
        self._mass = LinearSolver(assemble(lambda u, v, w: u * v, space))
        self._operators: dict[float, Tensor] = {}

    def __call__(self, u: Tensor, time: float) -> Tensor:
        speed = self._problem.speed(time)
        sign = 1.0 if speed >= 0 else -1.0
        if sign not in self._operators:
            self._operators[sign] = self._operator(sign)
        change = abs(speed) * (self._operators[sign] @ u)
        if self._problem.inflow is not None:
            change = change + abs(speed) * self._inflow(sign, time)
        return self._mass(change)

    def _operator(self, sign: float) -> Tensor:
        space, order, problem = self._space, self._order, self._problem
        inside = assemble(
            lambda u, v, w: u * dot(sign * problem.velocity(w.x), grad(v)), space, degree=order
        )

        def upwind(u: Any, v: Any, w: Any) -> Any:
            flow = sign * problem._across(w)
            flux = flow.clamp(min=0) * side(u, 0) + flow.clamp(max=0) * side(u, 1)
            return flux * (side(v, 1) - side(v, 0))

        between = assemble(upwind, space, on="interior", degree=order)
        out = assemble(
            lambda u, v, w: -(sign * problem._across(w)).clamp(min=0) * (u * v),
            space,
            on="boundary",
            degree=order,
        )
        return inside + between + out

    def _inflow(self, sign: float, time: float) -> Tensor:
        problem = self._problem
        value = at_time(problem.inflow, time) if problem.inflow else as_function(0.0)
        return assemble_linear(
            lambda v, w: (-sign * problem._across(w)).clamp(min=0) * value(w.x) * v,
            self._space,
            on="boundary",
            degree=self._order,
        )
