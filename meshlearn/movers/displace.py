"""Prescribed motion of boundaries: the interior follows, and no cell is ever inverted.

For moving cylinders, flapping bodies and forced movement. The displacement is extended into the
interior from the original mesh; where that would invert a cell it is applied in smaller and smaller
steps, each extended from the mesh reached so far.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh.geometry import corner_simplices
from .constraints import fixed_nodes
from .guard import MIN_RATIO, check_valid, simplex_determinants
from .layers import carried, layer_nodes

Displacement = Tensor | Callable[[Tensor], Tensor]
_SMALLEST_STEP = 1 / 64


@dataclass(frozen=True)
class DisplaceReport:
    """How a prescribed motion went.

    Attributes:
        mover: name of the mover.
        converged: whether the whole motion was reached.
        reason: why it stopped, one sentence.
        reached: fraction of the motion that was applied.
        steps: extensions that were computed.
        seconds: wall time.
        min_volume_ratio, max_volume_ratio: extreme |K| / |K_0| over the cells.
        min_quality_before, min_quality: smallest mean-ratio quality of a cell.
        inverted_cells: always 0.
    """

    mover: str
    converged: bool
    reason: str
    reached: float
    steps: int
    seconds: float
    min_volume_ratio: float
    max_volume_ratio: float
    min_quality_before: float
    min_quality: float
    inverted_cells: int


@dataclass(frozen=True)
class DisplaceResult:
    """A mesh with moved boundaries and the report."""

    mesh: Mesh
    report: DisplaceReport


class Displacer(ABC):
    """Base of movers that extend a displacement of the boundary; subclasses give `extend`."""

    def displace(
        self,
        mesh: Mesh,
        motion: Mapping[str, Displacement],
        *,
        fixed: Iterable[str] | Tensor = ("boundary",),
        rigid: Iterable[str] = (),
    ) -> DisplaceResult:
        """Move tagged nodes by given displacements; `mesh` itself is not changed.

        Args:
            mesh: a valid mesh whose cells fill space.
            motion: displacement `[k, d]` of the nodes of each tag, in the order of
                `mesh.tagged_nodes(tag)`, or a function of their positions `[k, d] -> [k, d]`.
            fixed: tags (or nodes) that stay, unless they move; the whole boundary by default.
            rigid: cell tags of boundary layers that move with their wall: as one body where the
                wall moves rigidly, else column by column. See `layers.carried`.

        Returns:
            The mesh at the largest fraction of the motion that inverts no cell, and the report.

        Raises:
            MeshError: invalid mesh, unknown tag, a displacement of the wrong shape, or a rigid
                layer without a wall.
        """
        begin = time.perf_counter()
        check_valid(mesh)
        held, wanted = _prescribed(mesh, motion, fixed, layer_nodes(mesh, rigid))
        nodes, _ = corner_simplices(mesh)
        floor = MIN_RATIO * simplex_determinants(mesh.pos, nodes)
        current, reached, step, count = mesh, 0.0, 1.0, 0
        while reached < 1.0 and step >= _SMALLEST_STEP:
            step = min(step, 1.0 - reached)
            here = current.pos[held] - mesh.pos[held]
            goal = (reached + step) * wanted
            # The first step is linear in the motion: moving back gives the mesh back.
            pos = current.pos + self.extend(current, held, goal - here)
            pos[held] = mesh.pos[held] + goal
            count += 1
            if bool((simplex_determinants(pos, nodes) > floor).all()):
                current, reached = mesh.moved(pos), reached + step
            else:
                step /= 2
        done = reached >= 1.0
        ratio = current.volumes() / mesh.volumes()
        report = DisplaceReport(
            mover=type(self).__name__,
            converged=done,
            reason="the motion is complete"
            if done
            else f"more than {reached:.3g} of the motion would invert cells",
            reached=reached,
            steps=count,
            seconds=time.perf_counter() - begin,
            min_volume_ratio=float(ratio.min()),
            max_volume_ratio=float(ratio.max()),
            min_quality_before=float(mesh.quality("mean_ratio").min()),
            min_quality=float(current.quality("mean_ratio").min()),
            inverted_cells=len(current.inverted_cells()),
        )
        return DisplaceResult(current, report)

    @abstractmethod
    def extend(self, mesh: Mesh, held: Tensor, displacement: Tensor) -> Tensor:
        """Displacement of all nodes `[n, d]` from that of the held nodes `[k]`, `[k, d]`."""


def _prescribed(
    mesh: Mesh,
    motion: Mapping[str, Displacement],
    fixed: Iterable[str] | Tensor,
    layer: Tensor,
) -> tuple[Tensor, Tensor]:
    """Nodes whose displacement is given `[k]` and that displacement `[k, d]`."""
    still = torch.zeros(len(mesh.pos), dtype=torch.bool, device=mesh.pos.device)
    given = torch.zeros_like(still)
    value = torch.zeros_like(mesh.pos)
    still[fixed_nodes(mesh, fixed)] = True
    for name, displacement in motion.items():
        nodes = mesh.tagged_nodes(name)
        moved = displacement(mesh.pos[nodes]) if callable(displacement) else displacement
        if moved.shape != (len(nodes), mesh.dim) or not bool(torch.isfinite(moved).all()):
            raise MeshError(
                f"the displacement of {name!r} must be finite and {[len(nodes), mesh.dim]}, "
                f"got {list(moved.shape)}"
            )
        given[nodes] = True
        value[nodes] = moved.to(value)
    if len(layer):
        nodes, moved = carried(mesh, layer, given, still, value)
        value[nodes] = moved
        given[nodes] = True
    held = torch.nonzero(given | still).squeeze(1)
    return held, value[held]
