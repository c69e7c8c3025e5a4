"""Quality optimisation and untangling: the one mover that accepts an invalid mesh."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mesh import Mesh
from .constraints import Freedom, Slide, freedom
from .guard import guard
from .memory import Memory
from .periodic import PeriodicPairs
from .preconditioner import Preconditioner
from .shape_energy import ShapeEnergy

Array = NDArray[np.float64]

_SMALL = 1e-6
"""Regularisation of valid meshes; squared it must still count beside 1."""
_SAFE, _SHARE = 1e-3, 0.2
"""Determinant above which a cell needs no more; regularisation over the worst one below."""
_LEAST_FALL = 0.1
_ITERATIONS = 20
"""Of a round; the preconditioner is that of its start."""
_TOL, _ROUGH = 1e-9, 1e-4
"""On the relative Newton decrement -g.d / E: of valid meshes, and on the way there."""
_ARMIJO, _HALVINGS = 1e-4, 30


@dataclass(frozen=True)
class OptimiseReport:
    """How an optimisation went.

    Attributes:
        converged: all corner Jacobians are positive and the gradient is small.
        reason: why it stopped, one sentence.
        rounds: outer iterations of the regularisation.
        seconds: wall time.
        inverted_before, inverted_cells: cells with a corner that is not positive.
        min_quality_before, min_quality: smallest mean-ratio quality of a cell (0 if inverted).
        mean_quality_before, mean_quality: mean over the cells.
        max_displacement: largest distance a node moved.
    """

    converged: bool
    reason: str
    rounds: int
    seconds: float
    inverted_before: int
    inverted_cells: int
    min_quality_before: float
    min_quality: float
    mean_quality_before: float
    mean_quality: float
    max_displacement: float


@dataclass(frozen=True)
class OptimiseResult:
    """The optimised mesh and the report."""

    mesh: Mesh
    report: OptimiseReport


class Optimise:
    """Moves nodes so that cells come near regular ones, from valid or tangled meshes.

    Minimises, over the simplices at the corners of all cells, with A the map from the corner of a
    regular cell of mean size,

        |A|^2 / (d chi(det A)^(2/d)) + lambda (det A^2 + 1) / (2 chi(det A))

    with chi(D) = (D + sqrt(eps^2 + D^2)) / 2, which is positive for tangled cells too; eps falls to
    zero as the worst cell improves, at the rate for which the method provably untangles where it
    can (Garanzha, Kaporin, Kudryavtseva, Protais, Ray & Sokolov, ACM Trans. Graph. 40 (2021)), and
    faster where the mesh comes to rest before. Rounds of limited-memory BFGS, preconditioned by the
    Laplacian of `ShapeEnergy` at the start of each.

    Args:
        size_weight: how much cells are kept from differing in size (lambda), 0 or more.
        max_rounds: of the regularisation.
    """

    def __init__(self, size_weight: float = 0.1, max_rounds: int = 60) -> None:
        self.size_weight, self.max_rounds = size_weight, max_rounds

    def move(
        self,
        mesh: Mesh,
        *,
        fixed: Iterable[str] | Tensor = (),
        slide: Slide = "flat",
        rigid: Iterable[str] = (),
        periodic: PeriodicPairs = (),
    ) -> OptimiseResult:
        """Optimise a mesh; `mesh` itself is not changed.

        Args:
            mesh: cells that fill space; may be tangled inside, with a sound boundary.
            fixed, slide, rigid, periodic: see `Mover.move`.

        Returns:
            The optimised mesh; a valid mesh never becomes invalid, nor its worst cell worse.
        """
        begin = time.perf_counter()
        free = freedom(mesh, fixed, slide, rigid=rigid, periodic=periodic)
        before = len(mesh.inverted_cells())
        quality = mesh.quality("mean_ratio")
        pos, rounds, settled = _Repair(mesh, free, self.size_weight).run(mesh.pos, self.max_rounds)
        moved = mesh.moved(guard(mesh, pos, free) if before == 0 else free.retract(pos))
        inverted = len(moved.inverted_cells())
        if inverted > before or (
            before == 0 and float(moved.quality("mean_ratio").min()) < float(quality.min())
        ):
            moved, inverted = mesh, before
        after = moved.quality("mean_ratio")
        if inverted:
            reason = f"{inverted} cells are still inverted after {rounds} rounds"
        elif settled:
            reason = "the energy no longer falls"
        else:
            reason = f"stopped after {rounds} rounds"
        report = OptimiseReport(
            converged=settled and inverted == 0,
            reason=reason,
            rounds=rounds,
            seconds=time.perf_counter() - begin,
            inverted_before=before,
            inverted_cells=inverted,
            min_quality_before=float(quality.min()),
            min_quality=float(after.min()),
            mean_quality_before=float(quality.mean()),
            mean_quality=float(after.mean()),
            max_displacement=float((moved.pos - mesh.pos).norm(dim=1).max()),
        )
        return OptimiseResult(moved, report)


@dataclass(frozen=True)
class _Round:
    """Where a round of the regularisation ended.

    Attributes:
        pos: `[n, d]`.
        fall: share of the energy that it took off.
        still: the gradient is small, or no step lowers the energy.
    """

    pos: Tensor
    fall: float
    still: bool


class _Repair:
    """Rounds of preconditioned L-BFGS on the shape energy with ever less regularisation."""

    def __init__(self, mesh: Mesh, free: Freedom, size_weight: float) -> None:
        self.shape, self.free = ShapeEnergy(mesh, size_weight), free
        self.barrier = len(self.shape.nodes) * (1 + size_weight)  # energy of regular cells

    def run(self, pos: Tensor, max_rounds: int) -> tuple[Tensor, int, bool]:
        """Positions, rounds used, and whether the energy has settled on a valid mesh."""
        size, rounds = self.shape.determinants(pos), 0
        most = max(1.0, float(size.abs().mean()))
        eps = _regularisation(float(size.min()), most, 1.0)
        while rounds < max_rounds:
            rounds += 1
            found = self._round(pos, eps)
            pos, lowest = found.pos, float(self.shape.determinants(found.pos).min())
            proven = eps * (1 - max(found.fall, _LEAST_FALL) / 2)
            less = _regularisation(lowest, proven, _SHARE if found.still else 1.0)
            if found.still and less == eps:
                return pos, rounds, lowest > 0
            eps = less
        return pos, rounds, False

    def _round(self, pos: Tensor, eps: float) -> _Round:
        """Descend until the gradient is small, so many iterations at most."""
        self.free = self.free.at(pos)
        matrix = self.shape.laplacian(pos, eps)
        precondition = Preconditioner(pos, self.shape.nodes, self.free, matrix)
        energy, gradient = self._evaluate(pos, eps, precondition)
        memory, first = Memory(), energy
        tol = _TOL if eps == _SMALL else _ROUGH
        for _ in range(_ITERATIONS):
            direction = memory.direction(gradient, precondition)
            slope = float(gradient @ direction)
            if -slope <= tol * energy:
                return _Round(pos, 1 - energy / first, still=True)
            motion = torch.from_numpy((precondition.basis @ direction).reshape(pos.shape)).to(pos)
            share, new = self._search(pos, motion, energy, slope, eps)
            if share == 0.0:
                if not memory.forget():
                    return _Round(pos, 1 - energy / first, still=True)
                continue
            pos, before = new, gradient
            if self.free.curved:  # frames turn least from those of the last position
                self.free = self.free.at(pos)
                precondition.turn(self.free)
            energy, gradient = self._evaluate(pos, eps, precondition)
            memory.remember(share * direction, gradient - before)
        return _Round(pos, 1 - energy / first, still=False)

    def _search(
        self, pos: Tensor, motion: Tensor, energy: float, slope: float, eps: float
    ) -> tuple[float, Tensor]:
        """Armijo by halving: share of the motion and where it leads; 0 where none helps."""
        share = 1.0
        for _ in range(_HALVINGS):
            new = self.free.retract(pos + share * motion)
            if self._energy(new, eps) <= energy + _ARMIJO * share * slope:
                return share, new
            share /= 2
        return 0.0, pos

    def _energy(self, pos: Tensor, eps: float) -> float:
        found = self.shape.energy(pos, eps)
        if self.free.stretch is not None:
            found += self.barrier * self.free.stretch.energy(pos)
        return found

    def _evaluate(
        self, pos: Tensor, eps: float, precondition: Preconditioner
    ) -> tuple[float, Array]:
        """Energy, and its gradient by the degrees of freedom."""
        energy, gradient = self.shape.evaluate(pos, eps)
        if self.free.stretch is not None:
            energy += self.barrier * self.free.stretch.energy(pos)
            gradient = gradient + self.barrier * self.free.stretch.gradient(pos)
        return energy, precondition.basis_t @ gradient.cpu().numpy().reshape(-1)


def _regularisation(lowest: float, proven: float, share: float) -> float:
    """The next one for a worst determinant: none once all are safely positive.

    Args:
        lowest: the worst determinant.
        proven: what the theory allows.
        share: of the worst determinant that is enough; where the mesh came to rest with the last
            regularisation it may be small.
    """
    if lowest > _SAFE:
        return _SMALL
    return max(min(proven, share * abs(lowest)), _SAFE * math.sqrt(1 + lowest**2))
