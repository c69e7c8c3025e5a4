"""The loop: solve, build a monitor, move, and again; the best mesh by error estimate is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from torch import Tensor

from ..fem.recovery import l2_error_estimate, recover
from ..mesh import Mesh, MeshError
from ..monitors import Hessian, Monitor
from ..problems import Problem, Solution
from .base import Mover, Progress
from .constraints import Slide
from .report import MoveReport
from .variational import Variational

MonitorFrom = Callable[[Mesh, Tensor], Monitor]
"""Builds a monitor from a mesh and nodal values on it."""

_GAIN = 0.99
"""The loop stops when the estimate falls by less than this factor."""


@dataclass(frozen=True)
class Step:
    """One state of the loop.

    Attributes:
        mesh: the mesh.
        solution: the problem's solution on it.
        estimate: estimated L2 error of linear interpolation on this mesh, with the Hessian of the
            last solution (it picks the best step; `fem.recovery.l2_error_estimate`).
        errors: "l2", "h1", "max" where the exact solution is known.
        interpolation_errors: the same of the interpolant of the exact solution.
        report: of the move that led here; None for the initial mesh.
    """

    mesh: Mesh
    solution: Solution
    estimate: float
    errors: dict[str, float] | None
    interpolation_errors: dict[str, float] | None
    report: MoveReport | None = None


@dataclass(frozen=True)
class AdaptResult:
    """What the loop went through.

    Attributes:
        steps: the initial state and one for each move.
        best: index of the step with the lowest estimate (0: no move helped).
        reason: why the loop stopped.
    """

    steps: list[Step]
    best: int
    reason: str

    @property
    def mesh(self) -> Mesh:
        """The best mesh."""
        return self.steps[self.best].mesh

    @property
    def solution(self) -> Solution:
        """The solution on the best mesh."""
        return self.steps[self.best].solution


def adapt(
    problem: Problem,
    mesh: Mesh,
    mover: Mover | None = None,
    monitor: Monitor | MonitorFrom | None = None,
    iterations: int = 3,
    *,
    degree: int = 1,
    fixed: Iterable[str] | Tensor = (),
    slide: Slide = "flat",
    progress: Progress | None = None,
) -> AdaptResult:
    """Adapt a mesh to the solution of a problem.

    Each move starts from the current mesh and is measured against the initial one. The loop ends
    after `iterations` moves, or when the estimated error no longer falls.

    Args:
        problem: what to solve on each mesh.
        mesh: the initial mesh.
        mover: `Variational()` by default.
        monitor: a monitor, or a function of mesh and nodal solution that builds one; the
            L2-optimal Hessian density by default.
        iterations: largest number of moves.
        degree: of the finite elements.
        fixed, slide: see `Mover.move`.
        progress: called after each iteration of the mover.

    Returns:
        All steps; `result.mesh` is the best one, which may be the initial mesh.
    """
    if iterations < 1:
        raise MeshError(f"iterations must be at least 1, got {iterations}")
    mover = mover or Variational()
    build = monitor or Hessian
    steps = [_solved(problem, mesh, degree, None)]
    reason = f"{iterations} moves done"
    for _ in range(iterations):
        current = steps[-1]
        if isinstance(build, Monitor):
            density: Monitor = build
        else:
            density = build(current.mesh, current.solution.u)
        moved = mover.move(
            mesh, density, fixed=fixed, slide=slide, start=current.mesh, progress=progress
        )
        steps.append(_solved(problem, moved.mesh, degree, moved.report))
        steps = _estimated(steps)
        if steps[-1].estimate > _GAIN * min(step.estimate for step in steps[:-1]):
            reason = "the estimated error no longer falls"
            break
    best = min(range(len(steps)), key=lambda k: steps[k].estimate)
    return AdaptResult(steps, best, reason)


def _solved(problem: Problem, mesh: Mesh, degree: int, report: MoveReport | None) -> Step:
    solution = problem.solve(mesh, degree)
    known = problem.exact is not None
    return Step(
        mesh,
        solution,
        float("nan"),
        solution.errors() if known else None,
        problem.interpolation_errors(mesh, degree) if known else None,
        report,
    )


def _estimated(steps: list[Step]) -> list[Step]:
    """All steps judged with the Hessian of the last solution."""
    last = steps[-1].mesh
    hessian = recover(last, steps[-1].solution.u).hessian
    return [replace(step, estimate=l2_error_estimate(step.mesh, last, hessian)) for step in steps]
