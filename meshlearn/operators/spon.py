r"""Structure-preserving operator network.

    encoder     FE interpolation of the inputs to the degrees of freedom
    processor   N_theta: R^n -> R^m, a graph network on them
    decoder     u_h = sum_free N_theta,i phi_i + sum_D g_i phi_i

"flat" runs message passing on one level; "multigrid" is one V-cycle of such smoothers,

    down:  h_l <- S_l h_l,   h_{l+1} <- W P^T h_l / P^T 1
    up:    h_l <- S'_l (W [h_l, P h_{l+1}]),

with the finite-element prolongation P between the levels (P1 in P2, and the levels of the nodes).
"elliptic" passes no messages: in each round a network gives the fluxes of a few fields at the
quadrature points, and one solve of Laplace's equation spreads what they add up to (`EllipticNet`).
With `conditions="extended"` the network reads the boundary values carried into the domain, and
gives what is to be added to them (see `extension`); "elliptic" begins with them.
The operator is that of the idea in Bouziani & Boulle, "Structure-preserving operator learning"
(arXiv 2410.01065, 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..nn import (
    EllipticNet,
    Hierarchy,
    MultiscaleNet,
    WeakForm,
    coarsened_hierarchy,
    mean_distances,
    nested_hierarchy,
    weak_form,
)
from .base import Conditions, Fields, Operator
from .extension import (
    Extension,
    boxes,
    check_conditions,
    condition_columns,
    extended,
    extension,
    zero_where_held,
)
from .sites import site_level, site_points, with_sites
from .variables import Variable, checked_fields, columns_of

PROCESSORS = ("flat", "multigrid", "elliptic")


@dataclass(frozen=True)
class Prepared:
    """What SPON needs of a mesh.

    Attributes:
        hierarchy: the levels of the V-cycle.
        equation: that carries the boundary values into the domain; None where they stay there.
    """

    hierarchy: Hierarchy
    equation: Extension | None


@dataclass(frozen=True)
class Rounds:
    """What "elliptic" needs.

    Attributes:
        equation: that spreads what the fluxes add up to.
        form: quadrature points of the mesh.
        cells: the P0 inputs of a call `[n_cells, k]`, scaled; None takes those at the sites.
    """

    equation: Extension
    form: WeakForm
    cells: Tensor | None = None


class SPON(Operator):
    """Boundary values exact by construction, any P0, P1, P2 fields, scalar or vector.

    With the levels of `prepare(mesh, coarser)`, and flat and elliptic always, the result does not
    depend on the numbering; the levels that `prepare(mesh)` picks do, a little.

    Args:
        inputs, outputs, boundary: see `Operator`.
        dim: dimension of space.
        processor: "flat", "multigrid" or "elliptic".
        width: of the node and edge features.
        blocks: message-passing blocks in all; rounds of "elliptic".
        levels: of the V-cycle, the mesh's nodes being the first; for "multigrid" only.
        channels: fields that have fluxes, for each column of the outputs; for "elliptic" only.
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
        channels: int = 8,
    ) -> None:
        super().__init__(inputs, outputs, boundary)
        check_conditions(conditions)
        if processor not in PROCESSORS:
            raise MeshError(f"processor must be one of {PROCESSORS}, got {processor!r}")
        options = {"dim": dim, "processor": processor, "width": width, "blocks": blocks}
        self.config |= {**options, "levels": levels, "conditions": conditions}
        self.config |= {"channels": channels}
        self.multigrid = processor == "multigrid"
        self.node_levels = levels if self.multigrid else 1
        # the sites of P2 are a level of their own above the nodes
        depth = levels + (self.element == "P2") if self.multigrid else 1
        if levels < 1 or blocks < 2 * depth - 1:
            raise MeshError(
                f"a V-cycle of {depth} levels needs at least {2 * depth - 1} blocks, got {blocks}"
            )
        if channels < 1:
            raise MeshError(f"there is at least one channel, got {channels}")
        if processor == "elliptic":
            in_cells = sum(v.width for v in self.inputs if v.element == "P0")
            self.net: EllipticNet | MultiscaleNet = EllipticNet(
                self.columns_in,
                in_cells,
                self.columns_out,
                width=width,
                channels=channels,
                rounds=blocks,
            )
            return
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

    def prepare(self, mesh: Mesh, coarser: Sequence[Mesh] = ()) -> Prepared | Rounds:
        """The levels of the V-cycle or quadrature points, and the equation of boundary values.

        Args:
            mesh: the finest.
            coarser: meshes of the same domain, finer ones first (batches, where `mesh` is one),
                joined by P1 interpolation. By default the mesh's graph is coarsened, and P is exact
                on linear functions.

        Raises:
            MeshError: not as many meshes as there are coarser levels.
        """
        if isinstance(self.net, EllipticNet):
            return Rounds(extension(mesh, self.element), weak_form(mesh, self.element))
        carries = self.config["conditions"] == "extended"
        equation = extension(mesh, self.element) if carries else None
        return Prepared(self._levels(mesh, coarser), equation)

    def fit_scales(self, samples: Iterable[tuple[Mesh, Fields, Fields]]) -> None:
        """See `Operator`; the unit of length of "elliptic" is the mean diagonal of the meshes."""
        extents: list[Tensor] = []

        def measured() -> Iterator[tuple[Mesh, Fields, Fields]]:
            for sample in samples:
                extents.append(boxes(sample[0])[2].norm(dim=1).mean())
                yield sample

        super().fit_scales(measured())
        if isinstance(self.net, EllipticNet):
            self.net.length.fill_(float(torch.stack(extents).mean()))

    def forward(
        self,
        mesh: Mesh,
        fields: Fields,
        bcs: Conditions | None = None,
        *,
        integrals: Fields | None = None,
        prepared: Any = None,
    ) -> dict[str, Tensor]:
        """See `Operator`."""
        ready = self.prepare(mesh) if prepared is None else prepared
        if isinstance(ready, Rounds):
            ready = replace(ready, cells=self._in_cells(mesh, fields))
        return super().forward(mesh, fields, bcs, integrals=integrals, prepared=ready)

    def _in_cells(self, mesh: Mesh, fields: Fields) -> Tensor:
        given = checked_fields(mesh, self.inputs, fields)
        columns = [mesh.pos.new_zeros(mesh.num_cells, 0)]
        for values, (variable, own) in zip(given, columns_of(self.inputs), strict=True):
            if variable.element == "P0":
                columns.append((values - self.input_mean[own]) / self.input_scale[own])
        return torch.cat(columns, dim=1).float()

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

    def process(self, mesh: Mesh, nodes: Tensor, prepared: Prepared | Rounds) -> Tensor:
        """See `Operator`."""
        self._check_dim(mesh)
        if isinstance(prepared, Rounds):
            return self._in_rounds(nodes, prepared)
        assert isinstance(self.net, MultiscaleNet)
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

    def _in_rounds(self, nodes: Tensor, prepared: Rounds) -> Tensor:
        assert isinstance(self.net, EllipticNet)
        form, equation = prepared.form, prepared.equation
        if prepared.cells is not None:
            known = prepared.cells[form.cell]
        else:
            own = [c for v, c in columns_of(self.inputs) if v.element == "P0"]
            known = form.values(torch.cat([nodes[:, :0], *(nodes[:, c] for c in own)], dim=1))
        solve = zero_where_held(nodes, self.outputs, equation)
        if self.config["conditions"] == "extended":
            nodes, start = extended(nodes, self.outputs, equation)
        else:
            start = nodes[:, condition_columns(nodes, self.outputs)[1]]
        return self.net(form, nodes, known, start, solve)
