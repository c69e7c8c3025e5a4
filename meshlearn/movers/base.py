"""The contract of every mover: mesh and monitor in, a valid mesh and a report out."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.boundary import FLAT_TOLERANCE
from ..monitors import Monitor
from ..monitors.base import checked
from .constraints import Freedom, Slide, freedom
from .equidistribution import equidistribution
from .guard import boundary_error, check_valid, guard, shortened, volume_error
from .periodic import PeriodicPairs
from .report import MoveReport, MoveResult

Progress = Callable[[int, float], None]
"""Called after each iteration with its number and the residual."""


@dataclass(frozen=True)
class Outcome:
    """What a mover's own iteration found, before the guard.

    Attributes:
        pos: proposed positions `[n, d]`.
        converged: whether the residual is below the tolerance.
        reason: why it stopped.
        iterations: how many.
        residual: the last residual.
        mover: name for the report, where it is not that of the class.
    """

    pos: Tensor
    converged: bool
    reason: str
    iterations: int
    residual: float
    mover: str | None = None


class Mover(ABC):
    """Base of all movers: constraints before, guard and report after."""

    flat_tolerance: float = FLAT_TOLERANCE

    def move(
        self,
        mesh: Mesh,
        monitor: Monitor,
        *,
        fixed: Iterable[str] | Tensor = (),
        slide: Slide = "flat",
        rigid: Iterable[str] = (),
        periodic: PeriodicPairs = (),
        start: Mesh | None = None,
        progress: Progress | None = None,
    ) -> MoveResult:
        """Move the nodes of `mesh` to where `monitor` wants them; `mesh` itself is not changed.

        Args:
            mesh: a valid mesh whose cells fill space; also the reference whose relative cell sizes
                a uniform monitor keeps.
            monitor: density or metric.
            fixed: tags (or node indices) that do not move.
            slide: "flat": nodes slide along flat sides and straight ridges; "curved": along
                curved ones as well; "none": the whole boundary stays; by tag also on a given
                geometry. See `constraints.Slide`.
            rigid: cell tags (boundary layers) whose cells keep their shape and place.
            periodic: pairs of sides that move together, "left:right" or `Periodic`; or pairs of
                nodes `[k, 2]`, a translation apart.
            start: a moved copy of `mesh` to start from.
            progress: called after each iteration.

        Returns:
            The moved mesh (0 inverted cells, always) and the report.

        Raises:
            MeshError: invalid mesh, unknown tag, sides that do not match, or a monitor that is
                not positive.
        """
        begin = time.perf_counter()
        check_valid(mesh)
        free = freedom(mesh, fixed, slide, self.flat_tolerance, rigid=rigid, periodic=periodic)
        first = mesh.pos if start is None else self._start(mesh, start, free)
        outcome = self._relocate(mesh, monitor, free, first, progress or _silent)
        moved = mesh.moved(guard(mesh, outcome.pos, free))
        return MoveResult(moved, self._report(mesh, moved, monitor, free, outcome, begin))

    @abstractmethod
    def _relocate(
        self, mesh: Mesh, monitor: Monitor, free: Freedom, start: Tensor, progress: Progress
    ) -> Outcome:
        """The mover's own iteration."""

    @staticmethod
    def _start(mesh: Mesh, start: Mesh, free: Freedom) -> Tensor:
        same_cells = start.topology is mesh.topology or torch.equal(
            start["cell_index"], mesh["cell_index"]
        )
        if start.pos.shape != mesh.pos.shape or not same_cells:
            raise MeshError("start must be a moved copy of the mesh: it has other nodes or cells")
        return guard(mesh, start.pos, free)

    def _report(
        self,
        mesh: Mesh,
        moved: Mesh,
        monitor: Monitor,
        free: Freedom,
        outcome: Outcome,
        begin: float,
    ) -> MoveReport:
        before = equidistribution(mesh, mesh, checked(monitor.at(mesh.pos)[0]))
        after = equidistribution(mesh, moved, checked(monitor.at(moved.pos)[0]))
        return MoveReport(
            mover=outcome.mover or type(self).__name__,
            converged=outcome.converged,
            reason=outcome.reason,
            iterations=outcome.iterations,
            residual=outcome.residual,
            equidistribution_before=before[0],
            equidistribution_after=after[0],
            max_min_before=before[1],
            max_min_after=after[1],
            min_volume_ratio=float((moved.volumes() / mesh.volumes()).min()),
            min_quality_before=float(mesh.quality("mean_ratio").min()),
            min_quality=float(moved.quality("mean_ratio").min()),
            inverted_cells=len(moved.inverted_cells()),
            boundary_error=boundary_error(mesh, moved.pos, free),
            volume_error=volume_error(mesh, moved),
            shortened_nodes=shortened(mesh, outcome.pos, moved.pos, free),
            max_displacement=float((moved.pos - mesh.pos).norm(dim=1).max()),
            seconds=time.perf_counter() - begin,
        )


def _silent(iteration: int, residual: float) -> None:
    """No progress wanted."""


def scatter_to_nodes(values: Tensor, nodes: Tensor, num_nodes: int) -> Tensor:
    """Sum `[s, k, ...]` given per simplex corner to the nodes `[s, k] -> [n, ...]`."""
    total = torch.zeros(num_nodes, *values.shape[2:], dtype=values.dtype, device=values.device)
    return total.index_add_(0, nodes.reshape(-1), values.flatten(0, 1))
