r"""Structure-preserving operator network.

    encoder     FE interpolation of the inputs to the degrees of freedom
    processor   N_theta: R^n -> R^m, a graph network on them
    decoder     u_h = sum_free N_theta,i phi_i + sum_D g_i phi_i

"flat" runs message passing on one level; "multigrid" is one V-cycle of such smoothers,

    down:  h_l <- S_l h_l,   h_{l+1} <- W P^T h_l / P^T 1
    up:    h_l <- S'_l (W [h_l, P h_{l+1}]),

with the finite-element prolongation P between the levels (P1 in P2, and the levels of the nodes).
With `conditions="extended"` the network reads the boundary values carried into the domain, and
gives what is to be added to them (see `extension`).
The operator is that of the idea in Bouziani & Boulle, "Structure-preserving operator learning"
(arXiv 2410.01065, 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..nn import (
    Hierarchy,
    MultiscaleNet,
    coarsened_hierarchy,
    mean_distances,
    nested_hierarchy,
)
from .base import Operator
from .extension import Extension, check_conditions, extended, extension
from .sites import site_level, site_points, with_sites
from .variables import Variable

PROCESSORS = ("flat", "multigrid")


@dataclass(frozen=True)
class Prepared:
    """What SPON needs of a mesh.

    Attributes:
        hierarchy: the levels of the V-cycle.
        equation: that carries the boundary values into the domain; None where they stay there.
    """

    hierarchy: Hierarchy
    equation: Extension | None


class SPON(Operator):
    """Boundary values exact by construction, any P0, P1, P2 fields, scalar or vector.

    With the levels of `prepare(mesh, coarser)`, and flat always, the result does not depend on the
    numbering; the levels that `prepare(mesh)` picks do, a little.

    Args:
        inputs, outputs, boundary: see `Operator`.
        dim: dimension of space.
        processor: "flat" or "multigrid".
        width: of the node and edge features.
        blocks: message-passing blocks in all.
        levels: of the V-cycle, the mesh's nodes being the first; for "multigrid" only.
        conditions: "nodal" shows the boundary values at their nodes, "extended" carries them into
            the domain by one sparse solve; the flat network then no longer has a finite reach.
    """

    def __init__(
        self,
        inputs: Sequence[Variable | str | Sequence[Any]],
        outputs: Sequence[Variable | str | Sequence[Any]],
        boundary: str = "exact",
        *,
        dim: int = 2,
        processor: str = "multigrid",
        width: int = 32,
        blocks: int = 9,
        levels: int = 4,
        conditions: str = "nodal",
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        check_conditions(conditions)
        if processor not in PROCESSORS:
            raise MeshError(f"processor must be one of {PROCESSORS}, got {processor!r}")
        options = {"dim": dim, "processor": processor, "width": width, "blocks": blocks}
        self.config |= {**options, "levels": levels, "conditions": conditions}
        flat = processor == "flat"
        self.node_levels = 1 if flat else levels
        self.multigrid = not flat
        # the sites of P2 are a level of their own above the nodes
        depth = 1 if flat else levels + (self.element == "P2")
        if levels < 1 or blocks < 2 * depth - 1:
            raise MeshError(
                f"a V-cycle of {depth} levels needs at least {2 * depth - 1} blocks, got {blocks}"
            )
        self.net = MultiscaleNet(
            self.columns_in + 1,
            self.columns_out,
            dim + 1,
            width=width,
            levels=depth,
            down=1,
            bottom=blocks - 2 * (depth - 1),
            up=1,
        )

    def prepare(self, mesh: Mesh, coarser: Sequence[Mesh] = ()) -> Prepared:
        """The levels of the V-cycle, and the equation that carries boundary values.

        Args:
            mesh: the finest.
            coarser: meshes of the same domain, finer ones first (batches, where `mesh` is one),
                joined by P1 interpolation. By default the mesh's graph is coarsened, and P is exact
                on linear functions.

        Raises:
            MeshError: not as many meshes as there are coarser levels.
        """
        carries = self.config["conditions"] == "extended"
        equation = extension(mesh, self.element) if carries else None
        return Prepared(self._levels(mesh, coarser), equation)

    def _levels(self, mesh: Mesh, coarser: Sequence[Mesh]) -> Hierarchy:
        if not self.multigrid:
            return Hierarchy((site_level(mesh, self.element),), ())
        if coarser and len(coarser) != self.node_levels - 1:
            raise MeshError(
                f"the operator has {self.node_levels - 1} coarser levels, got {len(coarser)} meshes"
            )
        if coarser:
            nodes = nested_hierarchy([mesh, *coarser])
        else:
            nodes = coarsened_hierarchy(mesh, self.node_levels, weights="linear")
        return with_sites(mesh, self.element, nodes)

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Prepared) -> Tensor:
        """See `Operator`."""
        self._check_dim(mesh)
        points = site_points(mesh, self.element)
        # edge features are in local units: the network is told what they are
        finest = prepared.hierarchy.levels[0]
        length = mean_distances(points, finest.edge_index, finest.segments)
        size = (length / self.typical_size).log()[:, None].float()
        if prepared.equation is None:
            return self.net.on_levels(prepared.hierarchy, points, torch.cat([nodes, size], dim=1))
        nodes, carried = extended(nodes, self.outputs, prepared.equation)
        features = torch.cat([nodes, size], dim=1)
        return carried + self.net.on_levels(prepared.hierarchy, points, features)
