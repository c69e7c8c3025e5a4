"""Preconditioned L-BFGS over node positions with a line search that accepts only valid meshes.

Shared by the movers that minimise an energy: it needs the energy's value and gradient, and the
volumes of the simplices that must stay positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mesh import Mesh
from ..monitors import Monitor, Sample
from ..monitors.base import checked
from .base import Outcome, Progress
from .constraints import Freedom
from .memory import Memory
from .preconditioner import Preconditioner
from .simplex_energy import SimplexEnergy

Array = NDArray[np.float64]

_BARRIER = 0.5
"""A step may shrink no simplex below this fraction of its volume: once it is nearly flat, the
energy is so stiff there that many more steps are needed (a third more in all with 0.1)."""
_ARMIJO = 1e-4
_MAX_HALVINGS = 30


def minimise(
    energy: SimplexEnergy,
    mesh: Mesh,
    monitor: Monitor,
    free: Freedom,
    start: Tensor,
    progress: Progress,
    tol: float,
    max_iterations: int,
    done: int = 0,
) -> Outcome:
    """Minimise from a valid start until the relative Newton decrement -g.d / E is below `tol`.

    Args:
        energy: of the mover.
        mesh: the reference mesh, whose stiffness preconditions.
        monitor: evaluated at every trial position.
        free: allowed motions.
        start: `[n, d]`, all simplices positive.
        progress: called after each iteration.
        tol: of the decrement.
        max_iterations: gives up after so many.
        done: iterations of an earlier search that led to the start; they count.
    """
    search = _Search(energy, monitor, Preconditioner(mesh.pos, energy.nodes, free), free)
    state = search.state(start)
    direction, decrement = search.direction(state)
    iteration, reason = done, f"residual below {tol:g}"
    while decrement > tol:
        if iteration == max_iterations:
            reason = f"stopped after {iteration} iterations"
            break
        new = search.step(state, direction, first=iteration == done)
        if new is None and search.memory.forget():
            direction, decrement = search.direction(state)
            continue
        if new is None:
            reason = "no step along the steepest preconditioned descent lowers the energy"
            break
        if new.step is not None:
            search.memory.remember(new.step, new.gradient - state.gradient)
        state, iteration = new, iteration + 1
        direction, decrement = search.direction(state)
        progress(iteration, decrement)
    return Outcome(state.pos, decrement <= tol, reason, iteration, decrement)


@dataclass(frozen=True)
class _State:
    pos: Tensor
    energy: float
    gradient: Array  # with respect to the degrees of freedom
    hint: Tensor | None
    step: Array | None = None  # of the degrees of freedom that led here


class _Search:
    """L-BFGS on the degrees of freedom of one move."""

    def __init__(
        self,
        functional: SimplexEnergy,
        monitor: Monitor,
        preconditioner: Preconditioner,
        free: Freedom,
    ) -> None:
        self.functional, self.monitor = functional, monitor
        self.preconditioner, self.free = preconditioner, free
        self.scale: float | None = None  # of the barrier on edges: the energy at the start
        self.memory = Memory()

    def state(self, pos: Tensor, sample: Sample | None = None, step: Array | None = None) -> _State:
        """Energy and reduced gradient at a valid position."""
        sample = sample or self._sample(pos, None)
        found = self.functional.evaluate(pos, sample)
        energy, gradient = found.energy, found.gradient
        if self.free.stretch is not None:
            self.scale = abs(energy) if self.scale is None else self.scale
            energy += self.scale * self.free.stretch.energy(pos)
            gradient = gradient + self.scale * self.free.stretch.gradient(pos)
        if self.free.curved:
            self.free = self.free.at(pos)  # frames turn least from those of the last position
            self.preconditioner.turn(self.free)
        reduced = self.preconditioner.basis_t @ gradient.cpu().numpy().reshape(-1)
        return _State(pos, energy, reduced, sample.hint, step)

    def _sample(self, pos: Tensor, hint: Tensor | None) -> Sample:
        sample = self.monitor.sample(pos, hint)
        checked(sample.value)
        return sample

    def direction(self, state: _State) -> tuple[Array, float]:
        """Where to go, and the relative decrement -g.d / E."""
        self.preconditioner.deform(self.functional.deformation(state.pos).cpu().numpy())
        direction = self.memory.direction(state.gradient, self.preconditioner)
        return direction, -float(state.gradient @ direction) / state.energy

    def step(self, state: _State, direction: Array, *, first: bool) -> _State | None:
        """Barrier, then Armijo by halving; None where no step lowers the energy."""
        shape = state.pos.shape
        motion = torch.from_numpy((self.preconditioner.basis @ direction).reshape(shape))
        motion = motion.to(state.pos.device)
        slope = float(state.gradient @ direction)
        if not slope < 0:
            return None
        alpha = self._longest(state.pos, motion)
        if first:
            alpha = min(alpha, self._half_a_cell(state.pos, motion))
        for _ in range(_MAX_HALVINGS):
            pos = self.free.retract(state.pos + alpha * motion)
            sample = self.monitor.sample(pos, state.hint)
            if self._energy(pos, sample) <= state.energy + _ARMIJO * alpha * slope:
                checked(sample.value)
                return self.state(pos, sample, alpha * direction)
            alpha /= 2
        return None

    def _energy(self, pos: Tensor, sample: Sample) -> float:
        """Energy at a trial position, infinite where a cell or an edge is beyond its limits."""
        energy = self.functional.energy(pos, sample.value)
        if self.free.stretch is not None and self.scale is not None:
            energy += self.scale * self.free.stretch.energy(pos)
        return energy

    def _longest(self, pos: Tensor, motion: Tensor) -> float:
        """Largest 0.7^k that keeps each simplex above half of its volume."""
        floor = _BARRIER * self.functional.volumes(pos)
        alpha = 1.0
        while alpha > 1e-12 and not bool(
            (self.functional.volumes(self.free.retract(pos + alpha * motion)) > floor).all()
        ):
            alpha *= 0.7
        return alpha

    def _half_a_cell(self, pos: Tensor, motion: Tensor) -> float:
        """Step after which no node has moved by more than half the local size."""
        size = self.functional.volumes(pos).abs() ** (1 / pos.shape[1])
        local = torch.full((len(pos),), float("inf"), dtype=pos.dtype, device=pos.device)
        corners = self.functional.nodes
        local = local.scatter_reduce(
            0, corners.reshape(-1), size.repeat_interleave(corners.shape[1]), "amin"
        )
        longest = float((motion.norm(dim=1) / local).max())
        return min(1.0, 0.5 / longest) if longest > 0 else 1.0
