r"""Time-dependent problems on meshes whose nodes move: arbitrary Lagrangian-Eulerian time steps.

With w the velocity of the mesh (linear in each cell, constant over a step) and test functions that
are carried along, :math:`u_t + f(u) = 0` becomes

.. math:: \frac{d}{dt} \int u \varphi = \int \operatorname{div}(w u) \varphi - f(u) \varphi.

This is the conservative form: the sum over all test functions loses nothing but what crosses the
sides. A time step that integrates the change of the cells' volumes exactly (the geometric
conservation law) keeps constants as well: a midpoint rule in 2D, two Gauss points in 3D, or a
Runge-Kutta method of order 3 whose volumes are stepped by itself. Donea, Huerta, Ponthot &
Rodriguez-Ferran, "Arbitrary Lagrangian-Eulerian methods", Encyclopedia of Computational Mechanics
(2004); Klingenberg, Schnuecke & Xia, Math. Comp. 86 (2017) for discontinuous elements.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
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
    div,
    dot,
    grad,
    inner,
    multiply,
    newton_system,
    side,
)
from ..fem.elimination import reduction
from ..fem.linearise import jacobian, residual
from ..fem.p1 import basis_gradients
from ..fem.sparse import plus
from ..mesh import CELL_TYPES, Mesh, MeshError
from .advection import Advection
from .base import as_function
from .burgers import Burgers
from .series import TimeFunction, at_time

_GAUSS = {1: (0.5,), 2: (0.5,), 3: (0.5 - 0.75**0.5 / 3, 0.5 + 0.75**0.5 / 3)}
"""Points in time that integrate the change of a cell's volume exactly, by dimension."""
_COURANT = 1.0
"""Share of a cell's content that may leave it in a step, times 2 k + 1: the limit of stability."""


@dataclass(frozen=True)
class Stepped:
    """The state after a time step.

    Attributes:
        field: on the mesh that was stepped to.
        supplied: integral of each component that sides and equation added `[k]`; the rest of the
            change of the total is what the method lost.
        substeps: how many shorter steps stability asked for.
    """

    field: Field
    supplied: Tensor
    substeps: int = 1


class Moving(ABC):
    """A time-dependent problem that can step from a mesh to a moved copy of it.

    Attributes:
        exact: the exact solution `(x, t)`, where known.
    """

    exact: TimeFunction | None = None

    @abstractmethod
    def start(self, mesh: Mesh) -> Field:
        """The state at t = 0."""

    @abstractmethod
    def step(self, field: Field, mesh: Mesh, time: float, dt: float) -> Stepped:
        """One step from `time`, while the mesh of the field moves to `mesh` at constant speed."""


class MovingBurgers(Moving):
    """Burgers' equations by Lagrange elements and the midpoint rule (order 2).

    Args:
        problem: the equations.
        degree: of the elements.
        tol: of Newton's method.
    """

    def __init__(self, problem: Burgers, degree: int = 1, tol: float = 1e-12) -> None:
        self.problem, self.degree, self.tol = problem, degree, tol
        self.exact = problem.exact

    def start(self, mesh: Mesh) -> Field:
        """Interpolated initial values."""
        space = FunctionSpace(mesh, (f"P{self.degree}", mesh.dim))
        return Field(space, space.interpolate(self.problem.initial))

    def step(self, field: Field, mesh: Mesh, time: float, dt: float) -> Stepped:
        """One step, by Newton's method.

        Raises:
            SolveError: Newton's method fails; take smaller steps.
        """
        old, start = field.space.mesh, field.dofs
        new = FunctionSpace(mesh, field.space.specs[0])
        shares = _GAUSS[mesh.dim]
        between = [FunctionSpace(_between(old, mesh, s), field.space.specs[0]) for s in shares]
        velocity = [_velocity(old, mesh, space.mesh, dt) for space in between]
        mass = assemble(_product, new)
        before = multiply(assemble(_product, field.space), start)
        order = 3 * self.degree

        def change(u: Tensor) -> Tensor:
            parts = [
                residual(self._form, space, (start + u) / 2, degree=order, mesh_velocity=w)
                for space, w in zip(between, velocity, strict=True)
            ]
            return multiply(mass, u) - before + dt / len(parts) * sum(parts[1:], parts[0])

        def slope(u: Tensor) -> Tensor:
            out = mass
            for space, w in zip(between, velocity, strict=True):
                part = jacobian(self._form, space, (start + u) / 2, degree=order, mesh_velocity=w)
                out = plus(out, part * (dt / 2 / len(between)))
            return out

        held = [
            Dirichlet(new, tag, at_time(g, time + dt)) for tag, g in self.problem.boundary.items()
        ]
        u = newton_system(change, slope, start, held, self.tol).dofs
        held_back = change(u)
        held_back[reduction(held, new.num_dofs, mesh.pos.device).free] = 0.0
        middle = (start + u) / 2
        own = [residual(self._equation, space, middle, degree=order) for space in between]
        flow = held_back - dt / len(own) * sum(own[1:], own[0])
        return Stepped(Field(new, u), flow.reshape(-1, mesh.dim).sum(dim=0))

    def _equation(self, u: Any, v: Any, w: Any) -> Any:
        return dot(dot(grad(u), u), v) + self.problem.viscosity * inner(grad(u), grad(v))

    def _form(self, u: Any, v: Any, w: Any) -> Any:
        mesh_velocity = w.mesh_velocity
        carried = dot(grad(u), mesh_velocity.value)
        return self._equation(u, v, w) - dot(carried, v) - div(mesh_velocity) * dot(u, v)


class MovingAdvection(Moving):
    """Advection by discontinuous elements, upwind fluxes and a Runge-Kutta method of order 3.

    Steps that are too long to be stable on the cells of the moment are cut into shorter ones.

    Args:
        problem: the equation.
        degree: of the elements, 1 or 2.
    """

    def __init__(self, problem: Advection, degree: int = 1) -> None:
        self.problem, self.degree, self.exact = problem, degree, problem.exact

    def start(self, mesh: Mesh) -> Field:
        """Interpolated initial values.

        Raises:
            MeshError: other cells than simplices, whose mass matrices scale with their volumes.
        """
        if not all(CELL_TYPES[cell].is_simplex for cell in mesh.cells):
            raise MeshError(
                f"advection on a moving mesh needs simplices, got {', '.join(mesh.cells)}; split "
                "the cells"
            )
        space = FunctionSpace(mesh, f"P{self.degree}DG")
        return Field(space, space.interpolate(self.problem.initial))

    def step(self, field: Field, mesh: Mesh, time: float, dt: float) -> Stepped:
        """One step, or as many shorter ones as are stable."""
        old = field.space.mesh
        count = max(1, math.ceil(self._courant(old, mesh, time, dt) / _COURANT - 1e-9))
        supplied = field.dofs.new_zeros(1)
        for k in range(count):
            goal = mesh if k + 1 == count else _between(old, mesh, (k + 1) / count)
            field, more = self._stable(field, goal, time + k * dt / count, dt / count)
            supplied = supplied + more
        return Stepped(field, supplied, count)

    def _stable(self, field: Field, mesh: Mesh, t: float, dt: float) -> tuple[Field, Tensor]:
        """Shu and Osher's method for M u and for the volumes, which it steps exactly."""
        old = field.space.mesh
        spaces = [FunctionSpace(m, field.space.specs[0]) for m in (old, mesh)]
        spaces.append(FunctionSpace(_between(old, mesh, 0.5), field.space.specs[0]))
        volumes = [space.mesh.volumes() for space in spaces]
        # The derivative of a quadratic (in 3D cubic) volume at both ends and the middle.
        swell = _swelling(old, mesh, dt)
        mass = _Mass.of(field.space)
        content, volume = mass.times(field.dofs, volumes[0]), volumes[0]
        first, come = self._rate(spaces[0], field.dofs, old, mesh, t, dt)
        content_1, volume_1 = content + dt * first, volume + dt * swell[0]
        u_1 = mass.solve(content_1, volume_1)
        second, come_1 = self._rate(spaces[1], u_1, old, mesh, t + dt, dt)
        content_2 = (3 * content + content_1 + dt * second) / 4
        volume_2 = (3 * volume + volume_1 + dt * swell[1]) / 4
        u_2 = mass.solve(content_2, volume_2)
        third, come_2 = self._rate(spaces[2], u_2, old, mesh, t + dt / 2, dt)
        u = mass.solve((content + 2 * (content_2 + dt * third)) / 3, volumes[1])
        return Field(spaces[1], u), dt * (come + come_1 + 4 * come_2)[None] / 6

    def _rate(
        self, space: FunctionSpace, u: Tensor, old: Mesh, new: Mesh, time: float, dt: float
    ) -> tuple[Tensor, Tensor]:
        """d(M u)/dt, and how much of its sum came through the sides."""
        problem, order = self.problem, 2 * self.degree + 2
        speed, field = problem.speed(time), Field(space, u)
        w = _velocity(old, new, space.mesh, dt)
        given = at_time(problem.inflow, time) if problem.inflow else as_function(0.0)

        def relative(c: Any, motion: Any) -> Tensor:
            return speed * problem.velocity(c.x) - motion

        def upwind(v: Any, c: Any) -> Any:
            motion, value = c.w, c.u  # each look-up evaluates a field
            flow = dot(relative(c, side(motion, 0)), c.n)
            flux = flow.clamp(min=0) * side(value, 0) + flow.clamp(max=0) * side(value, 1)
            return flux * (side(v, 1) - side(v, 0))

        def through(v: Any, c: Any) -> Any:
            flow = dot(relative(c, c.w.value), c.n)
            return -(flow.clamp(min=0) * c.u.value + flow.clamp(max=0) * given(c.x)) * v

        inside = assemble_linear(
            lambda v, c: c.u.value * dot(relative(c, c.w.value), grad(v)),
            space,
            degree=order,
            u=field,
            w=w,
        )
        between = assemble_linear(upwind, space, on="interior", degree=order, u=field, w=w)
        sides = assemble_linear(through, space, on="boundary", degree=order, u=field, w=w)
        return inside + between + sides, sides.sum()

    def _courant(self, old: Mesh, new: Mesh, time: float, dt: float) -> float:
        """Largest share of a cell's content that flows out in a step, times 2 k + 1.

        With the barycentric functions' gradients, out of a simplex with velocity b there flows the
        share sum_i |b . grad lambda_i| d / 2 of it in a unit of time.
        """
        speeds = [self.problem.speed(time + s * dt) for s in (0.0, 0.5, 1.0)]
        flow, motion = self.problem.velocity(old.pos), (new.pos - old.pos) / dt
        largest = 0.0
        for nodes in old.cells.values():
            for mesh in (old, new):
                slopes = basis_gradients(mesh.pos, nodes)
                for speed in speeds:
                    relative = (speed * flow - motion)[nodes]
                    share = torch.einsum("cnj,cij->cni", relative, slopes).abs().sum(dim=2)
                    largest = max(largest, float(share.max()))
        return dt * largest * old.dim / 2 * (2 * self.degree + 1)


@dataclass(frozen=True)
class _Mass:
    """Mass matrices of discontinuous elements on simplices: volume times that of a unit cell."""

    matrix: Tensor
    solver: LinearSolver
    volume: Tensor
    cell: Tensor  # of each degree of freedom

    @classmethod
    def of(cls, space: FunctionSpace) -> _Mass:
        """Built once for a topology."""

        def build() -> _Mass:
            owner = torch.empty(space.num_dofs, dtype=torch.int64, device=space.mesh.pos.device)
            for cell, ids in space.mesh.cell_ids.items():
                dofs = space.cell_dofs(cell)
                owner[dofs] = ids[:, None].expand_as(dofs)
            matrix = assemble(lambda u, v, w: u * v, space)
            return cls(matrix, LinearSolver(matrix), space.mesh.volumes(), owner)

        found: _Mass = space.mesh.topology.remember(("moving mass", space.specs[0]), build)
        return found

    def times(self, u: Tensor, volume: Tensor) -> Tensor:
        return multiply(self.matrix, u) * (volume / self.volume)[self.cell]

    def solve(self, content: Tensor, volume: Tensor) -> Tensor:
        return self.solver(content * (self.volume / volume)[self.cell])


def _product(u: Any, v: Any, w: Any) -> Any:
    return dot(u, v)


def _between(old: Mesh, new: Mesh, share: float) -> Mesh:
    return old.moved(old.pos + share * (new.pos - old.pos))


def _velocity(old: Mesh, new: Mesh, on: Mesh, dt: float) -> Field:
    """Velocity of the mesh as a continuous linear function on one of the meshes passed through."""
    name = "P1" if all(CELL_TYPES[cell].is_simplex for cell in on.cells) else "Q1"
    return Field(FunctionSpace(on, (name, on.dim)), ((new.pos - old.pos) / dt).reshape(-1))


def _swelling(old: Mesh, new: Mesh, dt: float) -> tuple[Tensor, Tensor]:
    """Rates of change of the cells' volumes at the start and at the end of a step."""
    thirds = [_between(old, new, k / 3).volumes() for k in range(4)]
    a, b, c, e = thirds
    at_start = (-11 * a + 18 * b - 9 * c + 2 * e) / 2
    at_end = (11 * e - 18 * c + 9 * b - 2 * a) / 2
    return at_start / dt, at_end / dt
