r"""Multipole graph neural operator: kernels of growing reach on coarser and coarser levels.

    down:  h_{l+1} = A P^T(w_l h_l) / P^T w_l,    w_{l+1} = P^T w_l
    on each level, coarsest first:
           h_l <- h_l + P B h_{l+1},    h_l <- h_l + sigma( W h_l + K_ll h_l )
    K_ll h(x) = 1/|B_l| int_{B(x, r_l)} c(|x - y|) kappa_l(x, y) h(y) dy,    r_l = 2^l r_0

The way down ends with h_l <- h_l + sigma(W' h_l + K'_ll h_l) on each level but the last, as in a
V-cycle. w_0 are the volumes of the nodes, and P^T hands them down: all levels integrate over the
same domain. Levels and P are those of `nn.Hierarchy`.

Li et al., "Multipole graph neural operator for parametric PDEs", NeurIPS 2020; there levels are
random subsets of the nodes and the transfers are learned kernels, here P is interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..fem.p1 import lumped_mass
from ..mesh import Mesh, MeshError
from ..nn import Hierarchy, Prolongation, coarsened_hierarchy, mlp, nested_hierarchy
from .extension import Extension, IntegralOperator
from .gno import KernelIntegral, Neighbourhood, balls
from .sites import site_graph
from .variables import Variable

Geometry = tuple[Hierarchy, list[Tensor], list[Neighbourhood]]


class Smoother(nn.Module):
    """h + sigma(W h + K h) on one level; arguments as `KernelIntegral`."""

    def __init__(self, width: int, inputs: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        self.integral = KernelIntegral(width, inputs, dim, hidden)

    def forward(self, values: Tensor, given: Tensor, near: Neighbourhood) -> Tensor:
        """`[n, width]` and inputs `[n, inputs]` to `[n, width]`."""
        return values + nn.functional.gelu(self.own(values) + self.integral(values, given, near))


class MultipoleGNO(IntegralOperator):
    """A V-cycle of kernel integrals.

    With the levels of `prepare(mesh, coarser)` the result does not depend on the numbering; the
    levels that `prepare(mesh)` picks do, a little.

    Args:
        inputs, outputs, boundary: see `Operator`; P0 and P1 fields.
        dim: dimension of space.
        radius: of the balls on the finest level, in the mesh's units; it doubles with each level.
        levels: the mesh's nodes being the first.
        width: channels.
        hidden: width of the kernels' MLPs.
        weights: see `gno.balls`; with "mean" and "none" the result changes with the mesh.
        conditions: see `IntegralOperator`.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        radius: float = 0.12,
        levels: int = 3,
        width: int = 24,
        hidden: int = 32,
        weights: str = "volume",
        conditions: str = "extended",
    ) -> None:
        super().__init__(inputs, outputs, boundary, dim=dim, conditions=conditions, weights=weights)
        if levels < 1:
            raise MeshError(f"an operator has at least 1 level, got {levels}")
        self.config |= {"radius": radius, "levels": levels, "width": width, "hidden": hidden}
        given, finer = self.columns_in, range(levels - 1)
        self.lift = mlp([given, width, width], norm=False, between="gelu")
        self.down = nn.ModuleList(Smoother(width, given, dim, hidden) for _ in finer)
        self.restrict = nn.ModuleList(nn.Linear(width, width) for _ in finer)
        self.prolong = nn.ModuleList(nn.Linear(width, width) for _ in finer)
        self.up = nn.ModuleList(Smoother(width, given, dim, hidden) for _ in range(levels))
        self.project = mlp([width + given, width, self.columns_out], norm=False, between="gelu")

    def prepare(
        self, mesh: Mesh, coarser: Sequence[Mesh] = ()
    ) -> tuple[Extension | None, Geometry]:
        """The equation of the extension, and the levels with their balls.

        Args:
            mesh: the finest.
            coarser: meshes of the same domain, finer ones first; see `SPON.prepare`.

        Raises:
            MeshError: not as many meshes as there are coarser levels.
        """
        known, geometry = super().prepare(mesh)
        return known, self.geometry(mesh, coarser) if coarser else geometry

    def geometry(self, mesh: Mesh, coarser: Sequence[Mesh] = ()) -> Geometry:
        """Levels, the volumes of their nodes, and the balls around them."""
        levels, radius = self.config["levels"], self.config["radius"]
        if coarser and len(coarser) != levels - 1:
            raise MeshError(
                f"the operator has {levels - 1} coarser levels, got {len(coarser)} meshes"
            )
        meshes = [mesh, *coarser]
        scale = nested_hierarchy(meshes) if coarser else coarsened_hierarchy(mesh, levels)
        places = [mesh.pos.detach()]
        volumes, graphs = [lumped_mass(mesh).detach()], [site_graph(mesh, "P1")]
        for step in scale.prolongations:
            # the middle of what a coarse node stands for, whichever nodes were picked
            place = torch.cat([places[-1], graphs[-1][:, None]], dim=1)
            place = _mean(step, place, volumes[-1])
            places.append(place[:, :-1])
            graphs.append(place[:, -1].round().long())
            volumes.append(step.transpose(volumes[-1]))
        near = []
        for k, (place, volume, graph) in enumerate(zip(places, volumes, graphs, strict=True)):
            points = (place, graph)
            near.append(balls(points, points, radius * 2**k, volume, self.config["weights"]))
        return scale, volumes, near

    def network(self, mesh: Mesh, nodes: Tensor, geometry: Geometry) -> Tensor:
        """See `IntegralOperator`."""
        scale, volumes, near = geometry
        given, values, kept = [nodes], self.lift(nodes), []
        for k, step in enumerate(scale.prolongations):
            values = self.down[k](values, given[k], near[k])
            kept.append(values)
            values = self.restrict[k](_mean(step, values, volumes[k].to(values)))
            given.append(_mean(step, given[k], volumes[k].to(nodes)))
        values = self.up[-1](values, given[-1], near[-1])
        for k in reversed(range(len(kept))):
            values = kept[k] + scale.prolongations[k].prolong(self.prolong[k](values))
            values = self.up[k](values, given[k], near[k])
        return self.project(torch.cat([values, nodes], dim=1))


def _mean(step: Prolongation, values: Tensor, volume: Tensor) -> Tensor:
    """Mean over the volume that a coarse node stands for, P^T(w v) / P^T w `[n_coarse, k]`."""
    total = step.transpose(volume)[:, None]
    return step.transpose(values * volume[:, None]) / total.clamp(min=torch.finfo(total.dtype).tiny)
