"""What `adapt` works on: a problem that is solved again on each mesh, or fields stored in the file.

Both give a `Run`: the states that the mesh went through, and which one is the best.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..fem.recovery import l2_error_estimate, recover
from ..mesh import Mesh
from ..monitors import Monitor
from ..movers import Mover, MoveReport, adapt
from ..movers.base import Progress
from ..movers.constraints import Slide
from ..problems import named_problem
from .fields import steering_values, transferred
from .solve import solution_fields

BuildMonitor = Callable[[Mesh, Tensor], Monitor]


@dataclass(frozen=True)
class State:
    """The mesh after some moves.

    Attributes:
        mesh: the mesh.
        values: nodal fields to show, by name; the first one in the picture.
        estimate: estimated L2 error of linear interpolation.
        errors, interpolation_errors: "l2", "h1", "max" where the truth is known.
        report: of the move that led here; None at the start.
        monitor: what that move followed; at the start, what the first one did.
    """

    mesh: Mesh
    values: dict[str, Tensor]
    estimate: float
    errors: dict[str, float] | None
    interpolation_errors: dict[str, float] | None
    report: MoveReport | None
    monitor: Monitor


@dataclass(frozen=True)
class Run:
    """All states of an adaptation.

    Attributes:
        what: what the mesh was adapted to, in words.
        states: the start and one state for each move.
        best: the state with the lowest estimate.
        reason: why there are no more.
    """

    what: str
    states: list[State]
    best: int
    reason: str


@dataclass(frozen=True)
class Motion:
    """How nodes move.

    Attributes:
        mover: the mover.
        build: makes a monitor from a mesh and nodal values.
        fixed, slide, rigid, periodic: see `Mover.move`.
        progress: called after each iteration.
    """

    mover: Mover
    build: BuildMonitor
    fixed: tuple[str, ...]
    slide: Slide
    rigid: tuple[str, ...]
    periodic: tuple[str, ...]
    progress: Progress


def adapt_to_problem(mesh: Mesh, name: str, iterations: int, motion: Motion) -> Run:
    """Solve, move, and again; see `movers.adapt`."""
    problem = named_problem(name, mesh)
    monitors: list[Monitor] = []

    def build(current: Mesh, u: Tensor) -> Monitor:
        monitors.append(motion.build(current, u))
        return monitors[-1]

    result = adapt(
        problem,
        mesh,
        motion.mover,
        build,
        iterations,
        fixed=motion.fixed,
        slide=motion.slide,
        rigid=motion.rigid,
        periodic=motion.periodic,
        progress=motion.progress,
    )
    states = [
        State(
            step.mesh,
            solution_fields(problem, step.solution),
            step.estimate,
            step.errors,
            step.interpolation_errors,
            step.report,
            monitors[max(k - 1, 0)],
        )
        for k, step in enumerate(result.steps)
    ]
    return Run(f"problem {name!r}", states, result.best, result.reason)


def adapt_to_fields(mesh: Mesh, names: Sequence[str], motion: Motion) -> Run:
    """One move that follows stored nodal fields; these are interpolated to the new positions."""
    values = steering_values(mesh, names)
    monitor = motion.build(mesh, values if values.shape[1] > 1 else values[:, 0])
    result = motion.mover.move(
        mesh,
        monitor,
        fixed=motion.fixed,
        slide=motion.slide,
        rigid=motion.rigid,
        periodic=motion.periodic,
        progress=motion.progress,
    )
    moved, _ = transferred(mesh, result.mesh)
    before, after = _estimates(mesh, result.mesh, values, relative=len(names) > 1)
    states = [
        State(mesh, _named(mesh, names), before, None, None, None, monitor),
        State(result.mesh, _named(moved, names), after, None, None, result.report, monitor),
    ]
    what = f"field{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"
    return Run(what, states, int(after < before), "one move follows a stored field")


def _named(mesh: Mesh, names: Sequence[str]) -> dict[str, Tensor]:
    return {name: mesh.node_fields[name] for name in names}


def _estimates(mesh: Mesh, moved: Mesh, values: Tensor, *, relative: bool) -> tuple[float, float]:
    """Estimated L2 errors before and after, both with the Hessians on the original mesh.

    Fields of different units count relative to their range.
    """
    squares = [0.0, 0.0]
    for column in values.unbind(dim=1):
        scale = float(column.max() - column.min()) if relative else 1.0
        if scale == 0:
            continue
        hessian = recover(mesh, column).hessian / scale
        for k, other in enumerate((mesh, moved)):
            squares[k] += l2_error_estimate(other, mesh, hessian) ** 2
    return math.sqrt(squares[0]), math.sqrt(squares[1])
