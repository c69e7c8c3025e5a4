"""Unsteady Navier-Stokes equations, u_t + (u . grad) u - nu lap u + grad p = f, div u = 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..fem import (
    Dirichlet,
    Field,
    FunctionSpace,
    LinearSolver,
    assemble,
    assemble_linear,
    dot,
    multiply,
)
from ..fem.solve import Method
from ..fem.sparse import plus
from ..mesh import Mesh, MeshError
from .flow import Discrete, Element, Flow, FlowSolution, convection, creeping, discretised
from .forces import reaction_force
from .output import chosen, nodal_values, plot_series, write_series
from .series import checked_steps

_RATES = {1: (1.0, -1.0), 2: (1.5, -2.0, 0.5)}
"""Backward differences by order."""
_EXTRAPOLATION = {1: (1.0,), 2: (2.0, -1.0)}


def _constant(time: float) -> float:
    return 1.0


@dataclass(frozen=True)
class FlowSeries:
    """A flow in time.

    Attributes:
        space: of all states.
        times: of the states kept `[k]`.
        states: coefficients `[k, num_dofs]`.
        reactions: of the states, see `FlowSolution`; 0 for the first `[k, num_dofs]`.
        step_times: of all steps `[steps]`.
        forces: on the bodies after each step, per density `{tag: [steps, d]}`.
    """

    space: FunctionSpace
    times: Tensor
    states: Tensor
    reactions: Tensor
    step_times: Tensor
    forces: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, k: int) -> FlowSolution:
        """The flow at `times[k]`."""
        return FlowSolution(Field(self.space, self.states[k]), self.reactions[k])

    def drag_lift(self, tag: str, speed: float = 1.0, length: float = 1.0) -> tuple[Tensor, Tensor]:
        """Coefficients of a body after each step `[steps]`, see `forces.drag_lift`."""
        x, y = (2 * self.forces[tag][:, :2] / (speed**2 * length)).unbind(dim=1)
        return x, y

    def write(self, path: str | Path) -> Path:
        """Write a .pvd file and beside it a VTU file with the nodal `u` and `p` for each time."""
        fields = [Field(self.space, state) for state in self.states]
        states = [{"u": nodal_values(f, 0), "p": nodal_values(f, 1)} for f in fields]
        return write_series(self.space.mesh, path, self.times, states)

    def plot(self, path: str | Path, field: str = "speed", panels: int = 3) -> Path:
        """Draw "speed" or "pressure" at some times, from the first to the last, into a PNG."""

        def values(k: int) -> Tensor:
            known = {"speed": self[k].u.norm(dim=1), "pressure": self[k].p}
            return chosen(field, known)

        return plot_series(self.space.mesh, path, self.times, values, field, panels)


@dataclass(frozen=True)
class UnsteadyNavierStokes:
    """Incompressible flow in time.

    Attributes:
        flow: viscosity, velocities and body force, for example a `NavierStokes` problem.
        factor: of the given velocities as a function of time; constant by default.
    """

    flow: Flow
    factor: Callable[[float], float] = _constant

    def solve(
        self,
        mesh: Mesh,
        end: float,
        steps: int,
        every: int | None = None,
        start: FlowSolution | None = None,
        bodies: tuple[str, ...] = (),
        element: Element = "taylor-hood",
        method: Method = "auto",
    ) -> FlowSeries:
        """Integrate from 0 to `end` by BDF2, convection along the extrapolated velocity.

        Each step is one linear system; the order is 2 in the time step. (The first step is one of
        the implicit Euler method.)

        Args:
            mesh: the mesh.
            end: the last time.
            steps: number of time steps.
            every: a state is kept after so many steps; only the first and last by default.
            start: the flow at t = 0; at rest by default.
            bodies: facet tags whose forces are recorded after each step.
            element: see `flow.Element`.
            method: of the linear systems, see `LinearSolver`: large ones are solved by "block".

        Raises:
            MeshError: unknown tag or element, or a start or steps that do not fit.
        """
        every = steps if every is None else every
        dt = checked_steps(end, steps, every)
        problem = discretised(self.flow, mesh, element)
        space = problem.space
        first = problem.start() * 0 if start is None else start.field.dofs
        if first.shape != (space.num_dofs,):
            raise MeshError("the start must be a flow with the same elements on the same mesh")
        kept = [(0.0, first, torch.zeros_like(first))]
        times, forces = [], {tag: [] for tag in bodies}  # type: ignore[var-annotated]
        stepper = _march(problem, first, dt, self.factor, method)
        for count, (t, state, reactions) in zip(range(1, steps + 1), stepper, strict=False):
            times.append(t)
            for tag in bodies:
                forces[tag].append(reaction_force(space, reactions, tag))
            if count % every == 0:
                kept.append((t, state, reactions))
        return FlowSeries(
            space,
            torch.tensor([t for t, _, _ in kept], dtype=torch.float64),
            torch.stack([state for _, state, _ in kept]),
            torch.stack([left for _, _, left in kept]),
            torch.tensor(times, dtype=torch.float64),
            {tag: torch.stack(rows) for tag, rows in forces.items()},
        )


def _inertia(u: Any, v: Any, w: Any) -> Any:
    return dot(u[0], v[0])


def _carried(u: Any, v: Any, w: Any) -> Any:
    """Convection of u along the velocity of `w.along`."""
    return convection(w.along[0], u[0], v[0])


def _march(
    problem: Discrete,
    start: Tensor,
    dt: float,
    factor: Callable[[float], float],
    method: Method,
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Time, state and reactions after each step."""
    space, degree, flow = problem.space, problem.degree, problem.flow
    mass = assemble(_inertia, space)
    viscous = assemble(lambda u, v, w: creeping(flow.viscosity, u, v), space)
    known, count = [start], 0
    while True:
        count += 1
        order = min(count, 2)
        rate = [c / dt for c in _RATES[order]]
        along = _combined(_EXTRAPOLATION[order], known)
        matrix = plus(mass * rate[0], viscous)
        carried = assemble(_carried, space, degree=degree, along=Field(space, along))
        matrix = plus(matrix, carried)
        scale = factor(count * dt)
        now = replace(problem, excess=problem.excess * scale)
        load = assemble_linear(now.load, space, degree=degree)
        right = load - multiply(mass, _combined(rate[1:], known))
        state = LinearSolver(matrix, _scaled(problem.conditions, scale), method)(right)
        state = problem.with_mean_pressure(state)
        yield count * dt, state, multiply(matrix, state) - right
        known = [state, *known][:2]


def _combined(weights: Any, states: list[Tensor]) -> Tensor:
    terms = [c * state for c, state in zip(weights, states, strict=False)]
    return sum(terms[1:], terms[0])


def _scaled(conditions: list[Dirichlet], scale: float) -> list[Dirichlet]:
    return [Dirichlet(bc.space, bc.dofs, bc.values * scale) for bc in conditions]
