"""Solutions that change in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..fem import Field, FunctionSpace, assemble_linear
from ..fem.time import run
from ..mesh import Mesh, MeshError
from .base import Function, Solution
from .output import animate_series, nodal_values, plot_series, write_series

TimeFunction = Callable[[Tensor, Any], Tensor]
"""A torch function of positions `[m, d]` and time that returns `[m]`, or `[m, k]` for vectors."""


@dataclass(frozen=True)
class Series:
    """States of a time-dependent solution.

    Attributes:
        space: of all states.
        times: `[k]`.
        states: coefficients `[k, num_dofs]`.
        exact: the exact solution, where known.
    """

    space: FunctionSpace
    times: Tensor
    states: Tensor
    exact: TimeFunction | None = None

    @property
    def mesh(self) -> Mesh:
        """The mesh it was solved on."""
        return self.space.mesh

    @property
    def u(self) -> Tensor:
        """The last state at the nodes `[n]`, `[n, k]` of a vector."""
        return self[-1].u

    @cached_property
    def mass(self) -> Tensor:
        """Integral of a scalar solution at each time `[k]`."""
        return self.states @ assemble_linear(lambda v, w: 1.0 * v, self.space)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, k: int) -> Solution:
        """The state at `times[k]`."""
        exact = None if self.exact is None else at_time(self.exact, float(self.times[k]))
        return Solution(Field(self.space, self.states[k]), exact)

    def errors(
        self, exact: Function | None = None, exact_gradient: Function | None = None
    ) -> dict[str, float]:
        """Errors of the last state, see `Solution.errors`."""
        return self[-1].errors(exact, exact_gradient)

    def write(self, path: str | Path) -> Path:
        """Write a .pvd file and beside it a VTU file with the nodal field `u` for each time."""
        states = [{"u": nodal_values(Field(self.space, s))} for s in self.states]
        return write_series(self.mesh, path, self.times, states)

    def plot(self, path: str | Path, panels: int = 3) -> Path:
        """Draw some of the states, from the first to the last, into a PNG."""
        label = "u" if self.u.dim() == 1 else "|u|"
        return plot_series(self.mesh, path, self.times, lambda k: self[k].u, label, panels)

    def animate(self, path: str | Path, frames: int = 20) -> Path:
        """Draw some of the states, from the first to the last, into a GIF."""
        label = "u" if self.u.dim() == 1 else "|u|"
        return animate_series(self.mesh, path, self.times, lambda k: self[k].u, label, frames)


def at_time(function: TimeFunction, time: float) -> Function:
    """The function of position at one time."""
    return partial(_swapped, function, time)


def as_time_function(value: TimeFunction | float) -> TimeFunction:
    """A number as a constant scalar function."""
    if callable(value):
        return value
    constant = float(value)
    return lambda x, t: torch.full_like(x[:, 0], constant)


def checked_steps(end: float, steps: int, every: int) -> float:
    """The length of a time step; states are kept after each `every` steps.

    Raises:
        MeshError: no time, no steps, or an `every` that does not divide them.
    """
    if not end > 0 or steps < 1:
        raise MeshError(f"a run needs end > 0 and at least one step, got {end} and {steps}")
    if every < 1 or steps % every:
        raise MeshError(f"`every` must divide the {steps} steps, got {every}")
    return end / steps


def marched(
    states: Iterator[tuple[float, Tensor]],
    space: FunctionSpace,
    start: Tensor,
    steps: int,
    every: int,
    exact: TimeFunction | None,
) -> Series:
    """The start, and the states kept of those that a time stepper gives.

    Args:
        states: pairs of time and coefficients, step by step.
        space: of the states.
        start: coefficients at t = 0.
        steps: how many to take.
        every: a state is kept after so many.
        exact: the exact solution, where known.
    """
    history = run(states, count=steps, every=every)
    times = torch.cat([history.times.new_zeros(1), history.times])
    return Series(space, times, torch.cat([start[None], history.states]), exact)


def _swapped(function: TimeFunction, time: float, x: Tensor) -> Tensor:
    return function(x, time)
