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
"""A step is better when the estimate falls at least by this factor."""
_PATIENCE = 2
"""The loop stops after so many steps that are not: the first one into a layer may look bad."""


@dataclass(frozen=True)
class Step:
    """One state of the loop.

    Attributes:
        mesh: the mesh.
        solution: the problem's solution on it.
        estimate: estimated L2 error of linear interpolation (`fem.recovery.l2_error_estimate`):
            each mesh is compared with the best one before by the Hessian of its own solution, and
            the ratios are chained. The lowest is the best step.
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
    best, failures, reason = 0, 0, f"{iterations} moves done"
    for k in range(1, iterations + 1):
        current = steps[-1]
        if isinstance(build, Monitor):
            density: Monitor = build
        else:
            density = build(current.mesh, current.solution.u)
        moved = mover.move(
            mesh, density, fixed=fixed, slide=slide, start=current.mesh, progress=progress
        )
        new = _solved(problem, moved.mesh, degree, moved.report)
        own, of_best = _compared(new, steps[best])
        if k == 1:
            steps[0] = replace(steps[0], estimate=of_best)
        steps.append(replace(new, estimate=steps[best].estimate * (own / of_best)))
        failures = 0 if steps[-1].estimate < _GAIN * steps[best].estimate else failures + 1
        best = min(range(len(steps)), key=lambda j: steps[j].estimate)
        if failures == _PATIENCE:
            reason = "the estimated error no longer falls"
            break
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


def _compared(new: Step, best: Step) -> tuple[float, float]:
    """Estimated errors on two meshes with one Hessian, that of the new solution."""
    hessian = recover(new.mesh, new.solution.u).hessian
    own = l2_error_estimate(new.mesh, new.mesh, hessian)
    of_best = l2_error_estimate(best.mesh, new.mesh, hessian)
    return (own, of_best) if of_best > 0 else (1.0, 1.0)
