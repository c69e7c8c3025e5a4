"""Held-out cases that need more than one move: a front that travels, the drag of a body.

They stand beside `cases.Case` in the suites and are judged by the same figures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ...mesh import Mesh, generate
from ...monitors import Constant, Indicator, Monitor
from ...movers import FromSolution, Mover, MovingSeries, adapt, adapt_in_time
from ...problems import Burgers, FlowSolution, cylinder_flow, drag_lift, force_estimate
from ...problems import travelling_front as front
from .cases import Adapted, Build, square

DRAG = 5.57953523384
"""Of DFG 2D-1; G. Nabh, "On high order methods for the stationary incompressible Navier-Stokes
equations", Heidelberg (1998)."""
_SPEED, _LENGTH = 0.2, 0.1
_SCALE = 2 / (_SPEED**2 * _LENGTH)
_END, _STEPS, _EVERY = 1.0, 40, 4


@dataclass(frozen=True)
class BurgersCase:
    """The mesh follows a front for a while; the error is the mean of the L2 errors on the way.

    The monitor is made of the first component: in the front both have one profile.

    Attributes:
        name: of the case.
        mesh: before the moves.
        problem: with its exact solution.
    """

    name: str
    mesh: Mesh
    problem: Burgers

    @cached_property
    def at_rest(self) -> float:
        """The error on the mesh as it is."""
        still = adapt_in_time(
            self.problem, self.mesh, _END, _STEPS, None, lambda m, u: Constant(), settle=0, keep=4
        )
        return _mean_error(still)

    def adapted(self, mover: Mover, build: Build) -> Adapted:
        """The error where a mover leads the nodes; a new goal every fourth step."""
        clock = _Clock()

        def monitor(mesh: Mesh, u: Tensor) -> Monitor:
            return clock.timed(lambda: build(mesh, u[:, 0].contiguous()))

        series = adapt_in_time(
            self.problem, self.mesh, _END, _STEPS, mover, monitor, every=_EVERY, keep=4
        )
        reports = [step.report for step in series.steps if step.report is not None]
        moving = sum(report.seconds for report in reports) / len(reports)
        return Adapted(
            error=_mean_error(series),
            seconds=moving + clock.mean,
            inverted=max(step.inverted_cells for step in series.steps),
            min_quality=min(float(m.quality("mean_ratio").min()) for m in series.meshes),
            reason=reports[-1].reason,
        )


@dataclass(frozen=True)
class DragCase:
    """The error of the drag in DFG 2D-1 after two moves, the better of them by its own estimate.

    The monitor is that of the drag's error for every mover; see `problems.force_estimate`.

    Attributes:
        name: of the case.
        mesh: before the moves.
    """

    name: str
    mesh: Mesh

    @cached_property
    def at_rest(self) -> float:
        """The error on the mesh as it is."""
        return _drag_error(cylinder_flow().solve(self.mesh))

    def adapted(self, mover: Mover, build: Build) -> Adapted:
        """The error after the moves; `build` is for other problems."""
        problem, clock = cylinder_flow(), _Clock()

        def shares(solution: FlowSolution) -> Tensor:
            return force_estimate(
                problem, solution, "cylinder", scale=2 / (_SPEED**2 * _LENGTH)
            ).cells

        def monitor(solution: FlowSolution) -> Monitor:
            return clock.timed(lambda: Indicator(solution.mesh, shares(solution), 4, 1.0))

        outcome = adapt(
            problem,
            self.mesh,
            mover,
            FromSolution(monitor),
            iterations=2,
            estimate=lambda solution: shares(solution).abs().sum(),
        )
        reports = [step.report for step in outcome.steps if step.report is not None]
        solution = outcome.solution
        assert isinstance(solution, FlowSolution)
        return Adapted(
            error=_drag_error(solution),
            seconds=sum(report.seconds for report in reports) / len(reports) + clock.mean,
            inverted=max(report.inverted_cells for report in reports),
            min_quality=float(outcome.mesh.quality("mean_ratio").min()),
            reason=outcome.reason,
        )


def burgers(count: int) -> Iterator[BurgersCase]:
    """Burgers' travelling front, viscosities 0.008 down to 0.004, meshes of about 560 nodes."""
    for k in range(count):
        viscosity = 0.008 * 0.5 ** (k / max(count - 1, 1))
        yield BurgersCase(f"burgers {k}", square(k), front(viscosity))


def drags(count: int) -> Iterator[DragCase]:
    """The channel with a cylinder in blocks of graded cells, coarse to fine."""
    for k in range(count):
        blocks = (12 + 2 * k, 5 + k // 2, 14 + 3 * k)
        yield DragCase(f"drag {k}", generate.channel_blocks(*blocks))


def _mean_error(series: MovingSeries) -> float:
    errors = [series[k].errors()["l2"] for k in range(1, len(series))]
    return sum(errors) / len(errors)


def _drag_error(solution: FlowSolution) -> float:
    with torch.no_grad():
        return abs(float(drag_lift(solution, "cylinder", _SPEED, _LENGTH)[0]) - DRAG)


@dataclass
class _Clock:
    """How long monitors take."""

    seconds: list[float] = field(default_factory=list)

    def timed(self, build: Callable[[], Monitor]) -> Monitor:
        begin = time.perf_counter()
        found = build()
        self.seconds.append(time.perf_counter() - begin)
        return found

    @property
    def mean(self) -> float:
        return sum(self.seconds) / max(len(self.seconds), 1)
