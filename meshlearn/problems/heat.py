"""The heat equation, u_t - div(k grad u) = f."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor

from ..fem import Dirichlet, FunctionSpace, assemble, assemble_linear, dot, grad
from ..fem.reference import laplacian_of
from ..fem.time import Scheme, crank_nicolson, march
from ..mesh import Mesh
from .base import Function, as_function
from .series import Series, TimeFunction, as_time_function, at_time, checked_steps, marched


class Heat:
    """u_t - div(k grad u) = f, u = g on all or some of the boundary, k du/dn = 0 elsewhere.

    Args:
        initial: u at t = 0, a number or a function `[m, d] -> [m]`.
        source: f, a number or a function `(x, t)`.
        boundary: g on the whole boundary, or `{facet tag: g}`; numbers or functions `(x, t)`.
        conductivity: k, a number, one per cell `[n_cells]` or a function `[m, d] -> [m]`.
        exact: the exact solution `(x, t)`, where known.
    """

    def __init__(
        self,
        initial: Function | float,
        source: TimeFunction | float = 0.0,
        boundary: TimeFunction | float | Mapping[str, TimeFunction | float] = 0.0,
        conductivity: float | Tensor | Function = 1.0,
        exact: TimeFunction | None = None,
    ) -> None:
        self.initial, self.conductivity, self.exact = as_function(initial), conductivity, exact
        self.source = None if source == 0.0 else as_time_function(source)
        given = boundary if isinstance(boundary, Mapping) else {"boundary": boundary}
        self.boundary = {tag: as_time_function(value) for tag, value in given.items()}

    @classmethod
    def manufactured(cls, exact: TimeFunction, conductivity: float = 1.0) -> Self:
        """The problem that `exact(x, t)` solves, with t a number or a time for each point `[m]`."""

        def source(x: Tensor, t: float) -> Tensor:
            with torch.enable_grad():
                time = torch.full_like(x[:, 0], t, requires_grad=True)
                (rate,) = torch.autograd.grad(
                    exact(x, time).sum(), time, create_graph=x.requires_grad
                )
            out: Tensor = rate - conductivity * laplacian_of(at_time(exact, t))(x)
            return out

        return cls(at_time(exact, 0.0), source, exact, conductivity, exact)

    def solve(
        self,
        mesh: Mesh,
        end: float,
        steps: int,
        every: int = 1,
        degree: int = 1,
        scheme: Scheme = crank_nicolson,
    ) -> Series:
        """Integrate from 0 to `end` with Lagrange elements; one factorisation for all steps.

        Args:
            mesh: the mesh.
            end: the last time.
            steps: number of time steps.
            every: a state is kept after so many steps.
            degree: of the elements.
            scheme: `fem.crank_nicolson`, `fem.implicit_euler`, `fem.bdf2` or `fem.theta_scheme(c)`.

        Raises:
            MeshError: no such element on these cells, an unknown tag, or steps that do not fit.
        """
        dt = checked_steps(end, steps, every)
        space = FunctionSpace(mesh, f"P{degree}")
        k, order = self.conductivity, 2 * degree + 2
        mass = assemble(lambda u, v, w: u * v, space)
        if callable(k):
            stiff = assemble(lambda u, v, w: k(w.x) * dot(grad(u), grad(v)), space, degree=order)
        else:
            stiff = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)

        def load(t: float) -> Tensor:
            source = at_time(self.source, t) if self.source else as_function(0.0)
            return assemble_linear(lambda v, w: source(w.x) * v, space, degree=order)

        def conditions(t: float) -> list[Dirichlet]:
            return [Dirichlet(space, tag, at_time(g, t)) for tag, g in self.boundary.items()]

        start = space.interpolate(self.initial)
        states = march(mass, stiff, start, dt, scheme, load if self.source else None, conditions)
        return marched(states, space, start, steps, every, self.exact)
