"""Burgers' equations in 2D, u_t + (u . grad) u = nu lap u, and their travelling front."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..fem import Dirichlet, FunctionSpace, assemble, dot, grad, inner
from ..fem.time import Scheme, bdf2, march_nonlinear
from ..mesh import Mesh, MeshError
from .base import Function
from .series import Series, TimeFunction, at_time, checked_steps, marched


class Burgers:
    """u_t + (u . grad) u = nu lap u for a velocity u; nu du/dn = 0 where it is not given.

    Args:
        viscosity: nu > 0.
        initial: u at t = 0, `[m, d] -> [m, d]`.
        boundary: u on the whole boundary, or on `{facet tag: value}`, functions `(x, t)`.
        exact: the exact solution `(x, t)`, where known.
    """

    def __init__(
        self,
        viscosity: float,
        initial: Function,
        boundary: TimeFunction | Mapping[str, TimeFunction],
        exact: TimeFunction | None = None,
    ) -> None:
        if not viscosity > 0:
            raise MeshError(f"the viscosity must be positive, got {viscosity}")
        self.viscosity, self.initial, self.exact = viscosity, initial, exact
        self.boundary = boundary if isinstance(boundary, Mapping) else {"boundary": boundary}

    def solve(
        self,
        mesh: Mesh,
        end: float,
        steps: int,
        every: int = 1,
        degree: int = 1,
        scheme: Scheme = bdf2,
    ) -> Series:
        """Integrate from 0 to `end`, each step by Newton's method.

        Args:
            mesh: the mesh.
            end: the last time.
            steps: number of time steps.
            every: a state is kept after so many steps.
            degree: of the Lagrange elements.
            scheme: `fem.bdf2`, `fem.crank_nicolson`, `fem.implicit_euler` or `fem.theta_scheme(c)`.

        Raises:
            MeshError: no such element on these cells, an unknown tag, or steps that do not fit.
            SolveError: Newton's method fails; take smaller steps.
        """
        dt = checked_steps(end, steps, every)
        space = FunctionSpace(mesh, (f"P{degree}", mesh.dim))

        def form(u: Any, v: Any, w: Any) -> Any:
            return dot(dot(grad(u), u), v) + self.viscosity * inner(grad(u), grad(v))

        def conditions(t: float) -> list[Dirichlet]:
            return [Dirichlet(space, tag, at_time(g, t)) for tag, g in self.boundary.items()]

        mass = assemble(lambda u, v, w: dot(u, v), space)
        start = space.interpolate(self.initial)
        states = march_nonlinear(
            form, space, mass, start, dt, scheme, conditions, degree=3 * degree
        )
        return marched(states, space, start, steps, every, self.exact)


def travelling_front(viscosity: float) -> Burgers:
    """The problem of an exact front at 45 degrees, of width about 30 nu.

    C. A. J. Fletcher, "Generating exact solutions of the two-dimensional Burgers' equations", Int.
    J. Numer. Methods Fluids 3 (1983) 213-216: with e = exp((4 y - 4 x - t) / (32 nu)),
    u = 3/4 - 1 / (4 (1 + e)) and v = 3/4 + 1 / (4 (1 + e)).
    """

    def exact(x: Tensor, t: float) -> Tensor:
        part = torch.sigmoid((4 * x[:, 0] - 4 * x[:, 1] + t) / (32 * viscosity)) / 4
        return torch.stack([0.75 - part, 0.75 + part], dim=1)

    return Burgers(viscosity, at_time(exact, 0.0), exact, exact)
