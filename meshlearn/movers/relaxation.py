"""Movers whose nodes balance on a weighted graph or diffusion operator, K(m) x = K(1) X.

The right-hand side makes the original mesh the answer to a uniform monitor, whatever its sizes. On
curved sides it turns with their tangents: what pulled along a side still does, and what pulled
across it is taken up by the side.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from ..fem.linear import solve_spd
from ..fem.pattern import build_pattern
from ..mesh import Mesh, MeshError
from ..mesh.geometry import extent
from ..monitors import Monitor
from .anderson import Anderson
from .base import Mover, Outcome, Progress
from .constraints import Freedom
from .displace import Displacer
from .equidistribution import density
from .guard import guard, volume_error
from .periodic import Ties
from .preconditioner import Preconditioner

Array = NDArray[np.float64]

_STALE, _ROUGH = 12, 1e-3
"""Conjugate gradients with the last factorisation: iterations after which a new one is cheaper, and
relative tolerance."""
_FULL = 0.1
"""Share of the first imbalance below which steps are no longer damped."""
_FALL, _TRIES, _HALVINGS, _RECENT = 1e-3, 2, 6, 3
"""A step is taken if the imbalance falls by so much, in its share, below the largest of the last
states (Grippo, Lampariello & Lucidi, SIAM J. Numer. Anal. 23 (1986)), else half of it."""


class Operator:
    """K(m): local matrices of elements, each times the mean density at its nodes.

    Args:
        nodes: of the elements `[e, w]`.
        local: symmetric matrices `[e, w, w]` that take constants to zero.
        size: number of nodes of the mesh.
    """

    def __init__(self, nodes: Tensor, local: Tensor, size: int) -> None:
        self.nodes = nodes
        self._local = local.permute(1, 2, 0).contiguous()
        pattern = build_pattern([nodes], [nodes], (size, size), nodes.device)
        self._slots = pattern.slots[0].long()
        self._columns, self._rowptr = (a.cpu().numpy() for a in (pattern.columns, pattern.rowptr))
        self._shape = (size, size)

    def __call__(self, value: Tensor) -> sp.csr_array:
        """The matrix `[n, n]` for nodal densities `[n]`."""
        entries = self._local * value[self.nodes].mean(dim=1)
        data = torch.zeros(len(self._columns), dtype=entries.dtype, device=entries.device)
        data.index_add_(0, self._slots.reshape(-1), entries.reshape(-1))
        return sp.csr_array((data.cpu().numpy(), self._columns, self._rowptr), shape=self._shape)


class Relaxation(Mover, Displacer):
    """Fixed-point iteration over the monitor's values; subclasses give the operator.

    Each step solves the balance for the monitor of the moment, accelerated by Anderson's method and
    shortened until the nodes are nearer to balance. A step that would invert cells is shortened
    where it would; where the balance itself is tangled no step helps any more, the report says so,
    and the nodes are where they were nearest to it. The residual is the largest step to balance
    over the diameter of the domain.

    Args:
        tol: tolerance on the residual.
        max_iterations: gives up after so many.
        damping: share of the first steps that is taken, 0 to 1; near the balance all is.
    """

    def __init__(self, tol: float = 1e-6, max_iterations: int = 100, damping: float = 0.5) -> None:
        if not 0 < damping <= 1:
            raise MeshError(f"damping must be in (0, 1], got {damping}")
        self.tol, self.max_iterations, self.damping = tol, max_iterations, damping

    @abstractmethod
    def operator(self, mesh: Mesh) -> Operator:
        """K, of the reference mesh; positive semi-definite."""

    def extend(
        self, mesh: Mesh, held: Tensor, displacement: Tensor, tied: Ties | None = None
    ) -> Tensor:
        """Balanced displacement of all nodes, see `Displacer.extend`."""
        matrix = self.operator(mesh)(torch.ones_like(mesh.pos[:, 0]))
        fixed = np.zeros(mesh.pos.shape, bool)
        fixed[held.cpu().numpy()] = True
        out = np.zeros(mesh.pos.shape)
        out[held.cpu().numpy()] = displacement.cpu().numpy()
        right = -(matrix @ out)
        if tied is None:  # component by component
            inner = np.flatnonzero(~fixed[:, 0])
            system = sp.csr_array(matrix[inner][:, inner])
            for k in range(mesh.dim):
                out[inner, k] = solve_spd(system, right[inner, k], mesh.dim)
            return torch.from_numpy(out).to(mesh.pos)
        fixed[tied.members.cpu().numpy()] = True
        spread = tied.spread(mesh.dim)[:, np.flatnonzero(~fixed.reshape(-1))]
        vector = sp.kron(matrix, sp.eye_array(mesh.dim), format="csr")
        system = sp.csr_array(spread.T @ vector @ spread)
        found = solve_spd(system, spread.T @ right.reshape(-1), mesh.dim)
        return torch.from_numpy(out + (spread @ found).reshape(out.shape)).to(mesh.pos)

    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        balance = _Balance(mesh, monitor, free, self.operator(mesh))
        state = balance.state(start)
        recent, first = deque([state.imbalance], maxlen=_RECENT), state.imbalance
        anderson, size, iteration = Anderson(), extent(mesh), 0
        best, step = state, balance.solve(state)
        least = residual = balance.length(state, step) / size
        while residual > self.tol:
            if iteration == self.max_iterations:
                reason = f"stopped after {iteration} iterations"
                return Outcome(best.pos, False, reason, iteration, least)
            share = min(1.0, max(self.damping, _FULL * first / state.imbalance))
            new = balance.nearer(state, anderson.step(step, share), max(recent), _TRIES)
            if new is None:
                anderson.forget()
                new = balance.nearer(state, share * step, max(recent), _HALVINGS)
            if new is None:
                reason = "no valid step brings the nodes nearer to balance"
                return Outcome(best.pos, False, reason, iteration, least)
            taken = balance.coordinates(state, new.pos - state.pos)
            following = balance.solve(new)
            anderson.remember(taken, following - step)
            state, step, iteration = new, following, iteration + 1
            recent.append(state.imbalance)
            residual = balance.length(state, step) / size
            if state.imbalance < best.imbalance:
                best, least = state, residual
            progress(iteration, residual)
        return Outcome(state.pos, True, f"residual below {self.tol:g}", iteration, residual)


@dataclass(frozen=True)
class _State:
    """Where the nodes are, and how far from balance.

    Attributes:
        pos: `[n, d]`.
        matrix: K(m) there `[n, n]`.
        basis: of the allowed motions there `[n d, degrees of freedom]`.
        pull: what is missing from balance, along the allowed motions `[degrees of freedom]`.
        imbalance: its size, the same at all states for the same pull.
    """

    pos: Tensor
    matrix: sp.csr_array
    basis: sp.csr_array
    pull: Array
    imbalance: float


class _Balance:
    """The balance of one move, in coordinates of the allowed motions."""

    def __init__(self, mesh: Mesh, monitor: Monitor, free: Freedom, operator: Operator) -> None:
        self.mesh, self.monitor, self.free, self.operator = mesh, monitor, free, operator
        self.here = free  # with the tangents of the last state
        self.basis = free.basis()
        uniform = operator(torch.ones_like(mesh.pos[:, 0]))
        self.load = self.basis.T @ (uniform @ mesh.pos.cpu().numpy()).reshape(-1)
        self.measure = Preconditioner(mesh.pos, operator.nodes, free, uniform)
        self.inverse: Preconditioner | None = None

    def state(self, pos: Tensor) -> _State:
        """The state at positions `[n, d]`."""
        value = density(self.monitor(self.mesh.moved(pos)))
        matrix = self.operator(value / value.mean())
        basis = self.basis
        if self.free.curved:
            basis = self.here.at(pos).basis()
        pull = self.load - basis.T @ (matrix @ pos.cpu().numpy()).reshape(-1)
        return _State(pos, matrix, basis, pull, float(pull @ self.measure(pull)) ** 0.5)

    def solve(self, state: _State) -> Array:
        """The step to balance at the monitor of the moment `[degrees of freedom]`."""
        self.here = self.here.at(state.pos)  # frames turn least from those of the last state
        if self.inverse is not None:
            size = len(state.pull)
            apply = LinearOperator(
                (size, size), matvec=lambda v: self.coordinates(state, state.matrix @ (
                    (state.basis @ v).reshape(state.pos.shape)
                )), dtype=np.float64,
            )  # fmt: skip
            inverse = LinearOperator((size, size), matvec=self.inverse, dtype=np.float64)
            step, left = cg(apply, state.pull, rtol=_ROUGH, maxiter=_STALE, M=inverse)
            if left == 0:
                return np.asarray(step)
        self.inverse = Preconditioner(state.pos, self.operator.nodes, self.here, state.matrix)
        return self.inverse(state.pull)

    def nearer(self, state: _State, step: Array, bound: float, tries: int) -> _State | None:
        """The state after a step, or after a shorter one, if its imbalance is below a bound."""
        share = 1.0
        for _ in range(tries):
            pos = self.free.retract(state.pos + share * self.motion(state, step))
            if self._within_limits(pos):
                new = self.state(guard(self.mesh, pos, self.free))
                if new.imbalance <= (1 - _FALL * share) * bound:
                    return new
            share /= 2
        return None

    def _within_limits(self, pos: Tensor) -> bool:
        """Whether curved sides keep the lengths of their edges and the measure of the domain.

        The guard would take back all steps on curves where they do not.
        """
        if not self.free.curved:
            return True
        if self.free.stretch is not None and len(self.free.stretch.beyond(pos)):
            return False
        return volume_error(self.mesh, self.mesh.moved(pos)) <= self.free.tolerance

    def motion(self, state: _State, step: Array) -> Tensor:
        """Of all nodes `[n, d]`."""
        moved = torch.from_numpy((state.basis @ step).reshape(state.pos.shape))
        return moved.to(state.pos)

    def length(self, state: _State, step: Array) -> float:
        """Of the longest motion of a node."""
        return float(self.motion(state, step).norm(dim=1).max())

    @staticmethod
    def coordinates(state: _State, motion: Tensor | Array) -> Array:
        """Of a motion `[n, d]` along the allowed ones `[degrees of freedom]`."""
        flat = motion.cpu().numpy() if isinstance(motion, Tensor) else motion
        return np.asarray(state.basis.T @ flat.reshape(-1))
