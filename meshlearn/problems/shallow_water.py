"""Linear shallow water: long waves over a variable depth, as tsunamis in the open sea.

    eta_t + div(H u) = 0,    u_t + f k x u + r u = -g grad eta

Elevation quadratic, velocity linear and discontinuous (the P1DG-P2 pair: Cotter, Ham & Pain, Ocean
Modelling 26 (2009) 86-90): gradients of elevations are velocities, so that a lake at rest and
geostrophic balance stay as they are and nothing needs stabilising. The trapezoidal rule in time
conserves mass and, without friction and open sides, energy. The velocity is eliminated: a step is
one solve for the elevation, with one factorisation for all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..fem import (
    Field,
    FunctionSpace,
    LinearSolver,
    assemble,
    assemble_linear,
    dot,
    errors,
    grad,
    integrate,
)
from ..mesh import Mesh, MeshError
from .base import Function, as_function
from .output import nodal_values, plot_series, write_series
from .series import TimeFunction, at_time, checked_steps

Depth = float | Tensor | Function
_ORDER = 4
"""Degree of the quadrature where the depth varies."""


@dataclass(frozen=True)
class Waves:
    """Elevations and velocities at some times.

    Attributes:
        elevation_space, velocity_space: their spaces.
        times: `[k]`.
        elevations: coefficients `[k, dofs]`.
        velocities: coefficients `[k, dofs]`.
        problem: what was solved.
    """

    elevation_space: FunctionSpace
    velocity_space: FunctionSpace
    times: Tensor
    elevations: Tensor
    velocities: Tensor
    problem: ShallowWater

    @property
    def mesh(self) -> Mesh:
        """The mesh it was solved on."""
        return self.elevation_space.mesh

    @property
    def u(self) -> Tensor:
        """The last elevation at the nodes `[n]`."""
        return self.elevations[-1, : self.mesh.num_nodes]

    @property
    def velocity(self) -> Tensor:
        """The last velocity at the nodes `[n, 2]`, the mean of the cells around each."""
        return nodal_values(Field(self.velocity_space, self.velocities[-1]))

    @property
    def crest(self) -> Tensor:
        """The highest of the kept elevations at each node `[n]`."""
        return self.elevations[:, : self.mesh.num_nodes].amax(dim=0)

    @cached_property
    def mass(self) -> Tensor:
        """Integral of the elevation at each time `[k]`."""
        return self.elevations @ assemble_linear(lambda q, w: 1.0 * q, self.elevation_space)

    @cached_property
    def energy(self) -> Tensor:
        """Integral of (H |u|^2 + g eta^2) / 2 at each time `[k]`."""
        g, depth = self.problem.gravity, self.problem.depth_at
        fields = self.problem.fields(self.mesh)
        found = [
            integrate(
                lambda w: (depth(w) * dot(w.u, w.u) + g * w.eta.value**2) / 2,
                self.mesh,
                degree=_ORDER,
                eta=Field(self.elevation_space, eta),
                u=Field(self.velocity_space, u),
                **fields,
            )
            for eta, u in zip(self.elevations, self.velocities, strict=True)
        ]
        return torch.stack(found)

    def errors(
        self, exact: Function | None = None, exact_velocity: Function | None = None
    ) -> dict[str, float]:
        """Errors at the last time against exact functions (the problem's own if not given).

        Returns:
            "l2", "h1" and "max" of the elevation, and "velocity" (L2) if that is known.

        Raises:
            ValueError: the exact solution is not known.
        """
        end, problem = float(self.times[-1]), self.problem
        if exact is None and problem.exact is not None:
            exact = at_time(problem.exact, end)
        if exact_velocity is None and problem.exact_velocity is not None:
            exact_velocity = at_time(problem.exact_velocity, end)
        if exact is None:
            raise ValueError("the exact solution of this problem is not known; give `exact`")
        with torch.no_grad():
            found = errors(self.elevation_space, self.elevations[-1], exact)
            if exact_velocity is not None:
                flow = errors(self.velocity_space, self.velocities[-1], exact_velocity)
                found["velocity"] = flow["l2"]
        return found

    def write(self, path: str | Path) -> Path:
        """Write a .pvd file and beside it VTU files with `elevation` and `velocity` at nodes."""
        states = [
            {
                "elevation": eta[: self.mesh.num_nodes],
                "velocity": nodal_values(Field(self.velocity_space, u)),
            }
            for eta, u in zip(self.elevations, self.velocities, strict=True)
        ]
        return write_series(self.mesh, path, self.times, states)

    def plot(self, path: str | Path, panels: int = 3) -> Path:
        """Draw the elevation at some of the times, from the first to the last, into a PNG."""
        nodal = self.elevations[:, : self.mesh.num_nodes]
        return plot_series(self.mesh, path, self.times, lambda k: nodal[k], "elevation", panels)


class ShallowWater:
    """Long waves on a mesh of triangles; sides are coasts (no flow through them) unless open.

    Args:
        depth: H > 0 at rest, a number, values at the nodes `[n]` or a function `[m, d] -> [m]`.
        gravity: g.
        coriolis: f, a number.
        friction: r, a number.
        open_sides: facet tags where waves leave: H u.n = sqrt(g H) eta.
        elevation: eta at the start, a number or a function.
        velocity: u at the start, a function `[m, d] -> [m, d]`; at rest by default.
        exact, exact_velocity: the exact solution `(x, t)`, where known.
    """

    def __init__(
        self,
        depth: Depth,
        elevation: Function | float,
        velocity: Function | None = None,
        *,
        gravity: float = 9.81,
        coriolis: float = 0.0,
        friction: float = 0.0,
        open_sides: Sequence[str] = (),
        exact: TimeFunction | None = None,
        exact_velocity: TimeFunction | None = None,
    ) -> None:
        self.depth, self.gravity = depth, gravity
        self.coriolis, self.friction = coriolis, friction
        self.elevation, self.velocity = as_function(elevation), velocity
        self.open_sides = tuple(open_sides)
        self.exact, self.exact_velocity = exact, exact_velocity

    def depth_at(self, w: Any) -> Any:
        """The depth in a form."""
        return self.depth(w.x) if callable(self.depth) else w.depth

    def fields(self, mesh: Mesh) -> dict[str, Any]:
        """What forms that use `depth_at` need."""
        if callable(self.depth):
            return {}
        if not isinstance(self.depth, Tensor):
            return {"depth": float(self.depth)}
        return {"depth": Field(FunctionSpace(mesh, "P1"), self.depth.to(mesh.pos))}

    def solve(
        self,
        mesh: Mesh,
        end: float,
        steps: int,
        every: int = 1,
        start: tuple[Tensor, Tensor] | None = None,
    ) -> Waves:
        """Integrate from 0 to `end` by the trapezoidal rule.

        Args:
            mesh: triangles.
            end: the last time.
            steps: number of time steps.
            every: a state is kept after so many steps.
            start: coefficients of elevation and velocity to start from (a kept state), instead of
                the interpolated functions.

        Raises:
            MeshError: other cells than triangles, a depth that is not positive, or steps that do
                not fit.
        """
        dt = checked_steps(end, steps, every)
        if list(mesh.cells) != ["triangle"] or mesh.dim != 2:
            raise MeshError("shallow water needs a mesh of triangles in 2D")
        self._check_depth(mesh)
        heights, flows = FunctionSpace(mesh, "P2"), FunctionSpace(mesh, ("P1DG", 2))
        step = _Step(self, heights, flows, dt)
        eta, u = start or (
            heights.interpolate(self.elevation),
            flows.interpolate(self.velocity or torch.zeros_like),
        )
        kept = [(eta, u)]
        for k in range(1, steps + 1):
            eta, u = step(eta, u)
            if k % every == 0:
                kept.append((eta, u))
        times = torch.arange(0, steps + 1, every, dtype=torch.float64) * dt
        elevations, velocities = (torch.stack(part) for part in zip(*kept, strict=True))
        return Waves(heights, flows, times, elevations, velocities, self)

    def _check_depth(self, mesh: Mesh) -> None:
        depth = self.depth(mesh.pos) if callable(self.depth) else torch.as_tensor(self.depth)
        if depth.dim() and depth.shape != (mesh.num_nodes,):
            raise MeshError(
                f"the depth needs one value per node, [{mesh.num_nodes}], got {list(depth.shape)}"
            )
        if not bool((depth > 0).all()):
            raise MeshError("the depth must be positive everywhere; cut dry land out of the mesh")


class _Step:
    """One step of the trapezoidal rule, velocity eliminated.

    With F the matrix of rotation and friction, C = (I + dt F / 2)^-1 and R = C (I - dt F / 2),
    u1 = R u0 - dt g C grad(eta0 + eta1) / 2 holds pointwise.
    """

    def __init__(
        self, problem: ShallowWater, heights: FunctionSpace, flows: FunctionSpace, dt: float
    ) -> None:
        g, f, r = problem.gravity, problem.coriolis, problem.friction
        turn = dt / 2 * np.array([[r, -f], [f, r]])
        part = np.linalg.inv(np.eye(2) + turn)
        keep = part @ (np.eye(2) - turn)
        fields, depth = problem.fields(heights.mesh), problem.depth_at
        options: dict[str, Any] = {"degree": _ORDER, **fields}
        mass = assemble(lambda e, q, w: e * q, heights)
        stiff = assemble(
            lambda e, q, w: (dt**2 * g / 4 * _wet(depth(w))) * dot(dot(part, grad(e)), grad(q)),
            heights,
            **options,
        )
        for side in problem.open_sides:
            stiff = stiff + assemble(
                lambda e, q, w: (dt / 2 * (g * _wet(depth(w))) ** 0.5) * (e * q),
                heights,
                on=side,
                **options,
            )
        self._explicit = mass + stiff * -1.0
        self._solver = LinearSolver(mass + stiff)
        self._inflow = assemble(
            lambda u, q, w: (dt / 2 * _wet(depth(w))) * dot(dot(np.eye(2) + keep, u), grad(q)),
            flows,
            heights,
            **options,
        )
        self._slope = assemble(lambda e, v, w: dot(grad(e), v), heights, flows)
        self._flow_mass = LinearSolver(assemble(lambda u, v, w: dot(u, v), flows))
        self._keep, self._push = (
            torch.from_numpy(a).to(heights.mesh.pos) for a in (keep, -dt * g / 2 * part)
        )

    def __call__(self, eta: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        new = self._solver(self._explicit @ eta + self._inflow @ u)
        slope = self._flow_mass(self._slope @ (eta + new)).reshape(-1, 2)
        flow = u.reshape(-1, 2) @ self._keep.T + slope @ self._push.T
        return new, flow.reshape(-1)


def _wet(depth: Any) -> Any:
    return depth.value if hasattr(depth, "value") else depth
