r"""Trajectories: states of time-dependent problems at equal time steps, on random meshes.

    heat:                 u_t - k lap u = 0
    advection-diffusion:  u_t + b . grad u - k lap u = 0,  b = omega (1/2 - y, x - 1/2)
    burgers:              u_t + (u . grad) u - k lap u = 0  for a velocity u
    cylinder-wake:        see `wakes`; k is the viscosity

The first three on the unit square, u = 0 on the boundary; the start is a sum of Gaussians times a
function that vanishes there. P1 elements in space; Crank-Nicolson, for Burgers BDF2, in time,
`refine` steps to one that is kept.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field as Setting
from pydantic import model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from ...fem import Dirichlet, Field, FunctionSpace, assemble, dot, grad
from ...fem.time import crank_nicolson, march
from ...mesh import Mesh
from ...operators import Variable
from ...problems import Burgers, Heat
from ..pool import HELD_OUT, CachedPool, State
from ..settings import Settings
from ..shapes import meshed_polygon
from . import wakes

Rng = np.random.Generator
KINDS = ("heat", "advection-diffusion", "burgers", "cylinder-wake")
_RANGES = {"heat": (0.02, 0.1), "advection-diffusion": (0.001, 0.01), "burgers": (0.01, 0.05)}
"""The smallest and the largest k."""


@dataclass(frozen=True)
class Trajectory:
    """One run.

    Attributes:
        kind: of the settings that made it.
        mesh: where the fields live.
        dt: time between states.
        states: coefficients by name, `[steps + 1, n]` or `[steps + 1, n, k]`.
        fields: inputs that do not change: ours have `log_k` `[n_cells]`, with advection `b`
            `[n, 2]`, too.
        bcs: Dirichlet conditions by name of the state.
    """

    kind: str
    mesh: Mesh
    dt: float
    states: dict[str, Tensor]
    fields: dict[str, Tensor]
    bcs: dict[str, list[Dirichlet]]

    @property
    def steps(self) -> int:
        """How many follow the start."""
        return len(next(iter(self.states.values()))) - 1

    def at(self, k: int) -> State:
        """State number `k`."""
        return {name: values[k] for name, values in self.states.items()}

    def rate(self, k: int) -> State:
        """du/dt at state `k`, by central differences of order 4 (of order 2 near the ends).

        Raises:
            IndexError: the first or the last state.
        """
        if not 0 < k < self.steps:
            raise IndexError(f"states 1 to {self.steps - 1} have a rate, not {k}")
        out = {}
        for name, u in self.states.items():
            near = (u[k + 1] - u[k - 1]) / (2 * self.dt)
            if 2 <= k <= self.steps - 2:
                near = (4 * near - (u[k + 2] - u[k - 2]) / (4 * self.dt)) / 3
            out[name] = near
        return out


class RunSettings(Settings):
    """Base of the settings of trajectories.

    Attributes:
        kind: its name in settings files.
    """

    kind: str

    @property
    @abstractmethod
    def step(self) -> float:
        """The time between states."""

    @abstractmethod
    def variables(self) -> tuple[tuple[Variable, ...], tuple[Variable, ...]]:
        """Of what does not change, and of the states."""

    @abstractmethod
    def make(self, number: int) -> Trajectory:
        """Run `number`: always the same for the same settings."""

    @abstractmethod
    def others(self) -> Self:
        """Runs of the same kind to judge on."""

    def pool(self, count: int, folder: str | Path) -> Trajectories:
        """The first `count` runs."""
        return Trajectories(self, count, folder)


class TrajectorySettings(RunSettings):
    """What the runs are like.

    Attributes:
        kind: of `KINDS`.
        nodes: about how many a mesh has.
        steps: states after the start.
        dt: time between them; by default what fits the kind.
        refine: time steps of the solver to one that is kept.
        finer: how often the mesh is refined uniformly for the solver, on the unit square; the
            states are kept at the nodes that the mesh had before.
        k: the smallest and the largest, on the unit square; by default what fits the kind.
        seed: of all runs.
    """

    kind: Literal["heat", "advection-diffusion", "burgers", "cylinder-wake"] = "heat"
    nodes: int = Setting(250, ge=30)
    steps: int = Setting(40, ge=4)
    dt: float | None = Setting(None, gt=0)
    refine: int = Setting(4, ge=1)
    finer: int = Setting(0, ge=0)
    k: tuple[float, float] | None = None
    seed: int = Setting(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "cylinder-wake" and (self.k or self.finer):
            raise PydanticCustomError("wake", "a cylinder wake has no settings k and finer")
        if self.k and not 0 < self.k[0] <= self.k[1]:
            raise PydanticCustomError("k", "k must be two positive numbers, the smaller first")
        return self

    @property
    def step(self) -> float:
        """The time between states."""
        return self.dt or (0.01 if self.kind == "heat" else wakes.STEP)

    def variables(self) -> tuple[tuple[Variable, ...], tuple[Variable, ...]]:
        """See `RunSettings`."""
        moving = self.kind == "advection-diffusion"
        vector = self.kind in ("burgers", "cylinder-wake")
        fields = (Variable("log_k", "P0"), *([Variable("b", "P1", 2)] if moving else []))
        return fields, (Variable("u", "P1", 2 if vector else 0),)

    def make(self, number: int) -> Trajectory:
        """See `RunSettings`."""
        return make_trajectory(self, number)

    def others(self) -> Self:
        """Runs of the same kind to judge on; they come from another seed."""
        return self.model_copy(update={"seed": self.seed + HELD_OUT})


class Trajectories(CachedPool[Trajectory]):
    """The first `count` runs; see `CachedPool`.

    Args:
        settings: of the runs.
        count: how many there are.
        folder: of the caches; runs with other settings may share it.

    Attributes:
        fields, states: variables of what does not change and of the states.
    """

    def __init__(self, settings: RunSettings, count: int, folder: str | Path) -> None:
        digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]
        super().__init__(Path(folder) / f"{settings.kind}_{digest}", count)
        self.settings = settings
        self.fields, self.states = settings.variables()

    def maker(self) -> Callable[[int], Trajectory]:
        """See `CachedPool`."""
        return self.settings.make

    @staticmethod
    def state(item: Trajectory) -> State:
        """See `CachedPool`."""
        return {
            "kind": item.kind,
            "pos": item.mesh.pos,
            "cells": dict(item.mesh.cells),
            "dt": item.dt,
            "states": item.states,
            "fields": item.fields,
            "bcs": {name: [(b.dofs, b.values) for b in bcs] for name, bcs in item.bcs.items()},
        }

    def restored(self, number: int, state: State) -> Trajectory:
        """See `CachedPool`."""
        mesh = Mesh.from_cells(state["pos"], state["cells"])
        spaces = {v.name: v.space(mesh) for v in self.states}
        bcs = {
            name: [Dirichlet(spaces[name], dofs, values) for dofs, values in pairs]
            for name, pairs in state["bcs"].items()
        }
        given = {key: state[key] for key in ("kind", "dt", "states", "fields")}
        return Trajectory(mesh=mesh, bcs=bcs, **given)


def make_trajectory(settings: TrajectorySettings, number: int) -> Trajectory:
    """Run `number`: always the same for the same settings."""
    rng = np.random.default_rng([settings.seed, number])
    if settings.kind == "cylinder-wake":
        with torch.no_grad():
            return _wake(settings, rng)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    mesh = meshed_polygon(rng, square, [], settings.nodes)
    k = float(np.exp(rng.uniform(*np.log(settings.k or _RANGES[settings.kind]))))
    solve = {"heat": _heat, "advection-diffusion": _advected, "burgers": _burgers}
    with torch.no_grad():
        run = solve[settings.kind](settings, rng, _refined(mesh, settings.finer), k)
        return _restricted(run, mesh) if settings.finer else run


def _heat(settings: TrajectorySettings, rng: Rng, mesh: Mesh, k: float) -> Trajectory:
    count, every = settings.steps * settings.refine, settings.refine
    run = Heat(_bumps(rng), conductivity=k).solve(
        mesh, settings.steps * settings.step, count, every
    )
    return _kept(settings, mesh, k, run.space, run.states)


def _burgers(settings: TrajectorySettings, rng: Rng, mesh: Mesh, k: float) -> Trajectory:
    parts = [_bumps(rng), _bumps(rng)]
    problem = Burgers(
        k, lambda x: torch.stack([f(x) for f in parts], dim=1), lambda x, t: torch.zeros_like(x)
    )
    count, every = settings.steps * settings.refine, settings.refine
    run = problem.solve(mesh, settings.steps * settings.step, count, every)
    states = run.states.view(len(run.states), -1, 2)
    return _kept(settings, mesh, k, run.space, states)


def _advected(settings: TrajectorySettings, rng: Rng, mesh: Mesh, k: float) -> Trajectory:
    turn = rng.uniform(1, 3) * (1 if rng.random() < 0.5 else -1)
    b = turn * torch.stack([0.5 - mesh.pos[:, 1], mesh.pos[:, 0] - 0.5], dim=1)
    space = FunctionSpace(mesh, "P1")
    flow = FunctionSpace(mesh, ("P1", 2))

    def form(u: Any, v: Any, w: Any) -> Any:
        return k * dot(grad(u), grad(v)) + dot(w.b.value, grad(u)) * v

    operator = assemble(form, space, b=Field(flow, b.reshape(-1)))
    mass = assemble(lambda u, v, w: u * v, space)
    start = space.interpolate(_bumps(rng))
    held = [Dirichlet(space, "boundary", 0.0)]
    dt, states = settings.step / settings.refine, [start]
    steps = march(mass, operator, start, dt, crank_nicolson, bcs=held)
    for number in range(1, settings.steps * settings.refine + 1):
        _, u = next(steps)
        if number % settings.refine == 0:
            states.append(u)
    kept = _kept(settings, mesh, k, space, torch.stack(states))
    kept.fields["b"] = b
    return kept


def _wake(settings: TrajectorySettings, rng: Rng) -> Trajectory:
    mesh, k, states, held = wakes.wake(
        rng, settings.nodes, settings.steps, settings.step, settings.refine
    )
    return _recorded(settings, mesh, k, states, held)


def _refined(mesh: Mesh, times: int) -> Mesh:
    """Each triangle in four, so many times; nodes keep their numbers."""
    if not times:
        return mesh
    return Mesh.from_skfem(mesh.to_skfem().refined(times), repair=["inverted"])


def _restricted(run: Trajectory, mesh: Mesh) -> Trajectory:
    """A run of a refined mesh at the nodes of the mesh itself; k is the same everywhere."""
    n = mesh.num_nodes
    # copies: a file would hold all that a view is cut from
    states = {name: u[:, :n].clone() for name, u in run.states.items()}
    rows = {"log_k": mesh.num_cells, "b": n}
    fields = {name: values[: rows[name]].clone() for name, values in run.fields.items()}
    (held,) = run.bcs["u"]
    space = FunctionSpace(mesh, held.space.specs[0])
    bcs = {"u": [Dirichlet(space, "boundary", 0.0)]}
    return replace(run, mesh=mesh, states=states, fields=fields, bcs=bcs)


def _bumps(rng: Rng) -> Callable[[Tensor], Tensor]:
    """A sum of Gaussians of either sign, 0 on the boundary of the unit square."""
    count = int(rng.integers(1, 4))
    centre = torch.from_numpy(rng.uniform(0.2, 0.8, (count, 2)))
    width = torch.from_numpy(rng.uniform(0.08, 0.2, count))
    height = torch.from_numpy(rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 1.5, count))

    def start(x: Tensor) -> Tensor:
        away = (x[:, None] - centre).square().sum(dim=2) / width**2
        inside = (16 * (x * (1 - x)).prod(dim=1)).clamp(0, 1)
        return inside.sqrt() * (height * torch.exp(-away)).sum(dim=1)

    return start


def _kept(
    settings: TrajectorySettings, mesh: Mesh, k: float, space: FunctionSpace, states: Tensor
) -> Trajectory:
    return _recorded(settings, mesh, k, states, Dirichlet(space, "boundary", 0.0))


def _recorded(
    settings: TrajectorySettings, mesh: Mesh, k: float, states: Tensor, held: Dirichlet
) -> Trajectory:
    fields = {"log_k": torch.full((mesh.num_cells,), float(np.log(k)), dtype=torch.float64)}
    return Trajectory(settings.kind, mesh, settings.step, {"u": states}, fields, {"u": [held]})
