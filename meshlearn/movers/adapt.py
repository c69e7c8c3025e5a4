"""The loop: solve, build a monitor, move, and again; the best mesh by error estimate is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..fem.recovery import l2_error_estimate, recover
from ..mesh import Mesh, MeshError
from ..monitors import Hessian, Monitor
from ..problems import FlowSolution, NavierStokes, Problem, Solution, Stokes
from .base import Mover, Progress
from .constraints import Slide
from .periodic import PeriodicPairs
from .report import MoveReport
from .variational import Variational

MonitorFrom = Callable[[Mesh, Tensor], Monitor]
"""Builds a monitor from a mesh and nodal values on it."""
Solved = Solution | FlowSolution
Solvable = Problem | NavierStokes | Stokes | Callable[[Mesh], Solved]
"""A problem, or a function that solves one on a mesh."""

_GAIN = 0.99
"""A step is better when the estimate falls at least by this factor."""
_PATIENCE = 2
"""The loop stops after so many steps that are not: the first one into a layer may look bad."""


@dataclass(frozen=True)
class FromSolution:
    """Marks a function that builds a monitor from the whole solution, not its nodal values only.

    >>> import meshlearn as ml
    >>> zz = ml.movers.FromSolution(lambda s: ml.monitors.Indicator(
    ...     s.mesh, ml.fem.recovery_estimate(s.field.space, s.field.dofs).cells ** 2))
    >>> mesh = ml.generate.rectangle(12, 12)
    >>> result = ml.adapt(ml.problems.named_problem("bell", mesh), mesh, monitor=zz, iterations=1)

    Attributes:
        build: takes what the problem's `solve` returns.
    """

    build: Callable[[Any], Monitor]


@dataclass(frozen=True)
class Step:
    """One state of the loop.

    Attributes:
        mesh: the mesh.
        solution: the problem's solution on it.
        estimate: estimated L2 error of linear interpolation (`fem.recovery.l2_error_estimate`, of
            all components): each mesh is compared with the best one before by the Hessian of its
            own solution, and the ratios are chained; or what the given `estimate` says of the
            solution. The lowest is the best step.
        errors: "l2", "h1", "max" where the exact solution is known.
        interpolation_errors: the same of the interpolant of the exact solution.
        report: of the move that led here; None for the initial mesh.
    """

    mesh: Mesh
    solution: Solved
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
    def solution(self) -> Solved:
        """The solution on the best mesh."""
        return self.steps[self.best].solution


def adapt(
    problem: Solvable,
    mesh: Mesh,
    mover: Mover | None = None,
    monitor: Monitor | MonitorFrom | FromSolution | None = None,
    iterations: int = 3,
    *,
    degree: int = 1,
    estimate: Callable[[Any], float | Tensor] | None = None,
    fixed: Iterable[str] | Tensor = (),
    slide: Slide = "flat",
    rigid: Iterable[str] = (),
    periodic: PeriodicPairs = (),
    progress: Progress | None = None,
) -> AdaptResult:
    """Adapt a mesh to the solution of a problem.

    Each move starts from the current mesh and is measured against the initial one. The loop ends
    after `iterations` moves, or when the estimated error no longer falls.

    Args:
        problem: what to solve on each mesh: scalar or vector problems, flows, or a function
            `mesh -> solution`.
        mesh: the initial mesh.
        mover: `Variational()` by default.
        monitor: a monitor, or a function of mesh and nodal solution that builds one (of a flow its
            velocity), or of the whole solution (`FromSolution`); the L2-optimal Hessian density by
            default.
        iterations: largest number of moves.
        degree: of the finite elements of a `Problem`.
        estimate: error estimate of a solution, by which the best step is chosen; that of linear
            interpolation by default.
        fixed, slide, rigid, periodic: see `Mover.move`.
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
        elif isinstance(build, FromSolution):
            density = build.build(current.solution)
        else:
            density = build(current.mesh, current.solution.u)
        moved = mover.move(
            mesh,
            density,
            fixed=fixed,
            slide=slide,
            rigid=rigid,
            periodic=periodic,
            start=current.mesh,
            progress=progress,
        )
        new = _solved(problem, moved.mesh, degree, moved.report)
        if estimate is not None:
            own, of_best = (abs(float(estimate(s.solution))) for s in (new, steps[best]))
        else:
            own, of_best = _compared(new, steps[best])
        if k == 1:
            steps[0] = replace(steps[0], estimate=of_best)
        ratio = own / of_best if of_best > 0 else 1.0
        steps.append(replace(new, estimate=steps[best].estimate * ratio))
        failures = 0 if steps[-1].estimate < _GAIN * steps[best].estimate else failures + 1
        best = min(range(len(steps)), key=lambda j: steps[j].estimate)
        if failures == _PATIENCE:
            reason = "the estimated error no longer falls"
            break
    return AdaptResult(steps, best, reason)


def _solved(problem: Solvable, mesh: Mesh, degree: int, report: MoveReport | None) -> Step:
    if isinstance(problem, Problem):
        found = problem.solve(mesh, degree)
        known = problem.exact is not None
        errors = found.errors() if known else None
        interpolation = problem.interpolation_errors(mesh, degree) if known else None
        return Step(mesh, found, float("nan"), errors, interpolation, report)
    if degree != 1:
        raise MeshError("degree is for scalar and vector problems; a flow's elements go by name")
    if callable(problem):
        return Step(mesh, problem(mesh), float("nan"), None, None, report)
    return Step(mesh, problem.solve(mesh), float("nan"), None, None, report)


def _compared(new: Step, best: Step) -> tuple[float, float]:
    """Estimated errors on two meshes with one Hessian, that of the new solution, by component."""
    own, of_best = 0.0, 0.0
    for column in new.solution.u.reshape(len(new.mesh.pos), -1).unbind(dim=1):
        hessian = recover(new.mesh, column).hessian
        own += l2_error_estimate(new.mesh, new.mesh, hessian) ** 2
        of_best += l2_error_estimate(best.mesh, new.mesh, hessian) ** 2
    return own**0.5, of_best**0.5
