"""March a time-dependent problem while the mesh follows its solution, with one topology throughout.

Every so many steps a monitor is built from the solution, smoothed in time, and the mover says where
the nodes should be when the next one is due; until then they move there at constant speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from ..fem import Field, FunctionSpace, assemble_linear, transfer
from ..fem.transfer import Bounds
from ..mesh import Mesh, MeshError
from ..monitors import Field as Density
from ..monitors import Hessian, Monitor
from ..monitors.metric import average
from ..problems import Advection, Burgers
from ..problems.base import Solution
from ..problems.moving import Moving, MovingAdvection, MovingBurgers
from ..problems.output import nodal_values
from ..problems.series import TimeFunction, at_time, checked_steps
from .adapt import MonitorFrom
from .base import Mover
from .constraints import Slide
from .path import safe_path
from .periodic import PeriodicPairs, Ties, ties
from .report import MoveReport, MoveResult
from .variational import Variational

Method = Literal["ale", "rezone"]
"""Moving nodes in the equation itself, or projections onto each new mesh between its steps."""


@dataclass(frozen=True)
class TimeStep:
    """One time step.

    Attributes:
        time: at its end.
        mass: integral of each component of the solution at its end `[k]`.
        defect: change of `mass` that neither the sides nor the equation account for `[k]`:
            rounding, and the solver's tolerance.
        substeps: into how many shorter ones the problem cut it.
        inverted_cells: 0 on the mesh at its end and on all those on the way.
        min_volume_ratio: smallest |K| / |K_0| over the cells of the mesh at its end.
        largest_motion: largest distance a node moved.
        report: of the mover, where it was asked for a new goal; else None.
    """

    time: float
    mass: Tensor
    defect: Tensor
    substeps: int
    inverted_cells: int
    min_volume_ratio: float
    largest_motion: float
    report: MoveReport | None


@dataclass(frozen=True)
class MovingSeries:
    """A solution on a mesh that moved with it.

    Attributes:
        times: of the states kept `[k]`.
        fields: the states, each on its own mesh; all of one topology.
        steps: a report on each time step.
        exact: the exact solution, where known.
    """

    times: Tensor
    fields: list[Field]
    steps: list[TimeStep]
    exact: TimeFunction | None = None

    @property
    def mesh(self) -> Mesh:
        """The last mesh."""
        return self.fields[-1].space.mesh

    @property
    def meshes(self) -> list[Mesh]:
        """The meshes of the states."""
        return [field.space.mesh for field in self.fields]

    @property
    def mass_defect(self) -> float:
        """Largest accumulated defect of a component's integral over the run."""
        return float(torch.stack([step.defect for step in self.steps]).cumsum(dim=0).abs().max())

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, k: int) -> Solution:
        """The state at `times[k]`."""
        exact = None if self.exact is None else at_time(self.exact, float(self.times[k]))
        return Solution(self.fields[k], exact)


def adapt_in_time(
    problem: Moving | Advection | Burgers,
    mesh: Mesh,
    end: float,
    steps: int,
    mover: Mover | None = None,
    monitor: MonitorFrom | None = None,
    *,
    every: int = 1,
    keep: int = 1,
    memory: float = 0.3,
    pace: float = 0.3,
    settle: int = 3,
    method: Method = "ale",
    bounds: Bounds | None = None,
    fixed: Iterable[str] | Tensor = (),
    slide: Slide = "flat",
    rigid: Iterable[str] = (),
    periodic: PeriodicPairs = (),
    progress: Callable[[TimeStep], None] | None = None,
) -> MovingSeries:
    """March from 0 to `end` while the mesh follows the solution.

    Args:
        problem: what to solve, see `problems.moving`.
        mesh: the mesh; relative cell sizes are measured against it throughout.
        end: the last time.
        steps: number of time steps.
        mover: `Variational()` by default.
        monitor: function of mesh and nodal solution; the L2-optimal Hessian density by default.
        every: steps from one goal of the nodes to the next.
        keep: a state is kept after so many steps.
        memory: share, 0 to below 1, of the last monitor (its logarithm) in the new one, so that
            nodes do not jitter.
        pace: share, up to 1, of the way to where the mover wants the nodes that they go until the
            next goal: less jitter for some delay.
        settle: moves to the initial values before the first step.
        method: "ale", or "rezone": a conservative projection to the new mesh, then a step on it.
        bounds: that the projections of "rezone" keep, see `fem.transfer`.
        fixed, slide, rigid, periodic: see `Mover.move`.
        progress: called after each time step.

    Raises:
        MeshError: numbers that make no sense, bounds without "rezone", and what the mover and the
            problem raise.
    """
    dt = _checked(end, steps, every, keep, memory, pace, method, bounds)
    march = _moving(problem)
    move = partial(
        (mover or Variational()).move,
        mesh,
        fixed=fixed,
        slide=slide,
        rigid=rigid,
        periodic=periodic,
    )
    chase = _Chase(mesh, move, monitor or Hessian, memory, ties(mesh, periodic))
    field = march.start(mesh)
    for _ in range(settle):
        chase.aim(field, 1.0)
        field = march.start(mesh.moved(chase.goal))
    chase.forget()
    mass, fields, reports = _mass(field), [field], []
    for k in range(steps):
        current = field.space.mesh
        report = chase.aim(field, pace) if k % every == 0 else None
        new = chase.at((k % every + 1) / every)
        if method == "rezone":
            space = FunctionSpace(new, field.space.specs[0])
            field = Field(space, transfer(field, space, "conservative", bounds=bounds))
        stepped = march.step(field, new, k * dt, dt)
        field, before, mass = stepped.field, mass, _mass(stepped.field)
        done = TimeStep(
            time=(k + 1) * dt,
            mass=mass,
            defect=mass - before - stepped.supplied,
            substeps=stepped.substeps,
            inverted_cells=len(new.inverted_cells()),
            min_volume_ratio=float((new.volumes() / mesh.volumes()).min()),
            largest_motion=float((new.pos - current.pos).norm(dim=1).max()),
            report=report,
        )
        reports.append(done)
        if (k + 1) % keep == 0:
            fields.append(field)
        if progress is not None:
            progress(done)
    times = torch.arange(0, steps + 1, keep, dtype=torch.float64) * dt
    return MovingSeries(times, fields, reports, march.exact)


class _Chase:
    """Where the nodes come from and where they go next.

    Attributes:
        goal: positions `[n, d]` of the nodes when the next goal is due.
    """

    def __init__(
        self,
        reference: Mesh,
        move: Callable[..., MoveResult],
        build: MonitorFrom,
        memory: float,
        tied: Ties | None,
    ) -> None:
        self._reference, self._move, self._build = reference, move, build
        self._memory, self._tied = memory, tied
        self._origin = self.goal = reference.pos
        self._last: Monitor | None = None

    def aim(self, field: Field, pace: float) -> MoveReport:
        """A new goal from the state on the mesh of the moment."""
        mesh = field.space.mesh
        new = self._build(mesh, nodal_values(field))
        if self._last is not None and self._memory > 0:
            new = _blended(mesh, new, self._last, self._memory)
        result = self._move(new, start=mesh)
        self._last, self._origin = new, mesh.pos
        wanted = mesh.pos + pace * (result.mesh.pos - mesh.pos)
        self.goal = safe_path(mesh, wanted, tied=self._tied)
        return result.report

    def at(self, share: float) -> Mesh:
        """The mesh on the way, `share` of 1 at the goal."""
        return self._reference.moved(self._origin + share * (self.goal - self._origin))

    def forget(self) -> None:
        """Start with a new memory: moves onto the initial values are no history."""
        self._last = None


def _blended(mesh: Mesh, new: Monitor, old: Monitor, memory: float) -> Monitor:
    """Geometric mean at the nodes, log-Euclidean for metrics, each first scaled to unit mean."""
    fresh, stale = new.normalise(mesh).values, old.normalise(mesh).values
    if fresh.dim() == 1:
        return Density(mesh, fresh ** (1 - memory) * stale**memory)
    return Density(mesh, average([fresh, stale], [1 - memory, memory]))


def _mass(field: Field) -> Tensor:
    """Integral of each component `[k]`."""
    block = field.space.blocks[0]
    scalar = FunctionSpace(field.space.mesh, block.name)
    weights = assemble_linear(lambda v, w: 1.0 * v, scalar)
    return weights @ field.dofs.reshape(len(weights), -1)


def _moving(problem: Moving | Advection | Burgers) -> Moving:
    if isinstance(problem, Moving):
        return problem
    if isinstance(problem, Advection):
        return MovingAdvection(problem)
    if isinstance(problem, Burgers):
        return MovingBurgers(problem)
    raise MeshError(
        f"{type(problem).__name__} cannot step on a moving mesh; derive a problem from "
        "problems.Moving"
    )


def _checked(
    end: float,
    steps: int,
    every: int,
    keep: int,
    memory: float,
    pace: float,
    method: Method,
    bounds: Bounds | None,
) -> float:
    if every < 1:
        raise MeshError(f"`every` must be at least 1, got {every}")
    if not 0 <= memory < 1:
        raise MeshError(f"memory must be at least 0 and below 1, got {memory}")
    if not 0 < pace <= 1:
        raise MeshError(f"pace must be above 0 and at most 1, got {pace}")
    if method not in ("ale", "rezone"):
        raise MeshError(f'method must be "ale" or "rezone", got {method!r}')
    if bounds is not None and method != "rezone":
        raise MeshError('bounds are kept by projections only: use method="rezone"')
    return checked_steps(end, steps, keep)
