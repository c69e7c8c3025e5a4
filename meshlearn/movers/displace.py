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
from ..mesh.geometry import corner_simplices, extent
from .constraints import fixed_nodes
from .guard import MIN_RATIO, check_valid, simplex_determinants
from .layers import carried, layer_nodes
from .periodic import PeriodicPairs, Ties, ties

Displacement = Tensor | Callable[[Tensor], Tensor]
_SMALLEST_STEP = 1 / 64
_APART = 1e-9
"""Of the diameter: motions of periodic partners that differ by less are the same."""


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
        periodic: PeriodicPairs = (),
    ) -> DisplaceResult:
        """Move tagged nodes by given displacements; `mesh` itself is not changed.

        Args:
            mesh: a valid mesh whose cells fill space.
            motion: displacement `[k, d]` of the nodes of each tag, in the order of
                `mesh.tagged_nodes(tag)`, or a function of their positions `[k, d] -> [k, d]`.
            fixed: tags (or nodes) that stay, unless they move; the whole boundary by default.
            rigid: cell tags of boundary layers that move with their wall: as one body where the
                wall moves rigidly, else column by column. See `layers.carried`.
            periodic: pairs of sides that move together, see `Mover.move`; "boundary" in `fixed`
                leaves them out.

        Returns:
            The mesh at the largest fraction of the motion that inverts no cell, and the report.

        Raises:
            MeshError: invalid mesh, unknown tag, a displacement of the wrong shape, a rigid layer
                without a wall, or sides that do not match or are told to move apart.
        """
        begin = time.perf_counter()
        check_valid(mesh)
        tied = ties(mesh, periodic)
        held, wanted = _prescribed(mesh, motion, fixed, layer_nodes(mesh, rigid), tied)
        loose = None if tied is None else tied.without(held)
        nodes, _ = corner_simplices(mesh)
        floor = MIN_RATIO * simplex_determinants(mesh.pos, nodes)
        current, reached, step, count = mesh, 0.0, 1.0, 0
        while reached < 1.0 and step >= _SMALLEST_STEP:
            step = min(step, 1.0 - reached)
            here = current.pos[held] - mesh.pos[held]
            goal = (reached + step) * wanted
            # The first step is linear in the motion: moving back gives the mesh back.
            pos = current.pos + self.extend(current, held, goal - here, loose)
            pos[held] = mesh.pos[held] + goal
            if loose is not None:
                loose.follow(pos, mesh.pos)
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
    def extend(
        self, mesh: Mesh, held: Tensor, displacement: Tensor, tied: Ties | None = None
    ) -> Tensor:
        """Displacement of all nodes.

        Args:
            mesh: `n` nodes.
            held: nodes whose displacement is given `[k]`.
            displacement: theirs `[k, d]`.
            tied: nodes that follow others; held are all of those that move as one, or none.

        Returns:
            `[n, d]`.
        """


def _prescribed(
    mesh: Mesh,
    motion: Mapping[str, Displacement],
    fixed: Iterable[str] | Tensor,
    layer: Tensor,
    tied: Ties | None,
) -> tuple[Tensor, Tensor]:
    """Nodes whose displacement is given `[k]` and that displacement `[k, d]`."""
    still = torch.zeros(len(mesh.pos), dtype=torch.bool, device=mesh.pos.device)
    given = torch.zeros_like(still)
    value = torch.zeros_like(mesh.pos)
    still[_held(mesh, fixed, tied)] = True
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
    known = given | still
    if tied is not None:
        known, value = _as_one(mesh, tied, known, value)
    held = torch.nonzero(known).squeeze(1)
    return held, value[held]


def _held(mesh: Mesh, fixed: Iterable[str] | Tensor, tied: Ties | None) -> Tensor:
    """Nodes that `fixed` names; of the whole boundary, those beside other facets than periodic."""
    if tied is None or isinstance(fixed, Tensor) or "boundary" in mesh.facet_tags:
        return fixed_nodes(mesh, fixed)
    names = [fixed] if isinstance(fixed, str) else list(fixed)
    if "boundary" not in names:
        return fixed_nodes(mesh, names)
    facets = mesh.topology.facets[mesh.topology.boundary_facets]
    root = torch.arange(len(mesh.pos), device=facets.device)
    root[tied.members] = tied.roots
    pair = torch.zeros(len(mesh.pos), dtype=torch.bool, device=facets.device)
    pair[tied.members] = pair[tied.roots] = True
    # A facet from one side to its partner is no periodic one.
    across = _distinct(root[facets]) < _distinct(facets)
    facets = facets[~pair[facets].all(dim=1) | across]
    others = [name for name in names if name != "boundary"]
    return torch.cat([fixed_nodes(mesh, others), torch.unique(facets)])


def _distinct(rows: Tensor) -> Tensor:
    """How many different numbers each row has `[k]`."""
    ordered = rows.sort(dim=1).values
    return 1 + (ordered[:, 1:] != ordered[:, :-1]).sum(dim=1)


def _as_one(mesh: Mesh, tied: Ties, known: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """What is known `[n]` of one partner is known of all; the displacements `[n, d]`."""
    every, out = known.clone(), value.clone()
    ahead = known[tied.members] & ~known[tied.roots]
    back = (tied.rotations.transpose(1, 2) @ value[tied.members][:, :, None])[:, :, 0]
    out[tied.roots[ahead]] = back[ahead]
    every[tied.roots[ahead]] = True
    follow = every[tied.roots]
    out[tied.members[follow]] = tied.turned(out[tied.roots])[follow]
    every[tied.members[follow]] = True
    gap = (out - value).norm(dim=1) * known
    if float(gap.max()) > _APART * extent(mesh):
        raise MeshError(
            f"node {int(gap.argmax())} is told to move otherwise than its periodic partner; give "
            "both sides the same motion, or one of them only"
        )
    out[known] = value[known]
    return every, out
