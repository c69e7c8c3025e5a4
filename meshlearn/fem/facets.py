"""Facets as seen from their cells: quadrature points in the reference cell, normals, measure."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..mesh import CELL_TYPES, Mesh, MeshError
from .elements import quadrature, vertices
from .mapping import Mapping

_SHAPE = {1: "point", 2: "line", 3: "triangle", 4: "quad"}


@dataclass(frozen=True)
class FacetGroup:
    """Facets that sit at the same place of their reference cells.

    Attributes:
        cell: type of the cells.
        local: nodes of the facet in mapping order of the cell (sorted for simplices).
        rows: the cells, rows of `mesh.cells[cell]` `[k]`.
        facets: facet indices `[k]`.
    """

    cell: str
    local: tuple[int, ...]
    rows: Tensor
    facets: Tensor

    def surface(self, geometry: Mapping) -> tuple[Tensor, Tensor]:
        """Surface measure per reference measure `[1 or q, k]`, unit normals `[1 or q, k, d]`.

        Nanson's formula, n dS = |det J| J^-T N dS_ref.
        """
        direction = _reference_normal(self.cell, self.local).to(geometry.determinant)
        inverse = torch.stack([torch.stack(row) for row in geometry.inverse])
        vector = torch.einsum("a,aiqc->qci", direction, inverse)
        length = vector.norm(dim=2)
        unit = vector / length[:, :, None]
        return geometry.determinant.abs() * length, unit

    def reference_points(self, on_facet: Tensor) -> Tensor:
        """Points of the reference facet `[q, d - 1]` in the reference cell `[q, d]`."""
        corner = vertices(self.cell)[list(self.local)]
        if len(self.local) == 4:
            s, t = on_facet[:, :1], on_facet[:, 1:]
            weights = torch.cat([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], dim=1)
            return weights @ corner
        return corner[0] + on_facet @ (corner[1:] - corner[0])


def facet_quadrature(group: FacetGroup, degree: int) -> tuple[Tensor, Tensor]:
    """Points in the reference cell `[q, d]` and weights `[q]` of the reference facet."""
    on_facet, weights = quadrature(_SHAPE[len(group.local)], degree)
    return group.reference_points(on_facet), weights


def facet_groups(mesh: Mesh, on: str) -> list[FacetGroup]:
    """Facets of a tag ("boundary": all of the boundary), each seen from its first cell.

    Raises:
        MeshError: no such facet tag.
    """
    return groups_of(mesh, tagged_facets(mesh, on), side=0)


def tagged_facets(mesh: Mesh, on: str) -> Tensor:
    """Indices of the facets of a tag, of the whole "boundary", or of the "interior" `[k]`."""
    tags = mesh.facet_tags
    if on in tags:
        return mesh.topology.find_facets(tags[on])
    if on == "boundary":
        return mesh.topology.boundary_facets
    if on == "interior":
        return torch.nonzero(mesh.topology.facet_cells[:, 1] >= 0).squeeze(1)
    known = ", ".join(map(repr, ["cells", "boundary", "interior", *mesh.cell_tags, *tags]))
    raise MeshError(f"there is no tag {on!r} to integrate over; there are {known}")


def groups_of(mesh: Mesh, facets: Tensor, side: int) -> list[FacetGroup]:
    """Group facets by cell type and place, as seen from their first or second cell."""
    owner = mesh.topology.facet_cells[facets, side]
    groups = []
    for cell, of_cell in mesh.topology.cell_facets.items():
        row_of = torch.full((mesh.num_cells,), -1, device=owner.device)
        row_of[mesh.cell_ids[cell]] = torch.arange(len(of_cell), device=owner.device)
        rows = row_of[owner]
        mine = torch.nonzero(rows >= 0).squeeze(1)
        rows = rows[mine]
        which = (of_cell[rows] == facets[mine][:, None]).to(torch.int64).argmax(dim=1)
        places = [tuple(f) for f in CELL_TYPES[cell].facets]
        if CELL_TYPES[cell].is_simplex:
            # The facet opposite to a node: where that node stands after sorting.
            rank = mesh.cells[cell][rows].argsort(dim=1).argsort(dim=1)
            everything = set(range(len(places)))
            opposite = torch.tensor([(everything - set(p)).pop() for p in places])
            which = rank.gather(1, opposite.to(rank.device)[which][:, None]).squeeze(1)
            places = [tuple(k for k in range(len(places)) if k != j) for j in range(len(places))]
        for k, place in enumerate(places):
            hit = torch.nonzero(which == k).squeeze(1)
            if len(hit):
                groups.append(FacetGroup(cell, place, rows[hit], facets[mine][hit]))
    return groups


def _reference_normal(cell: str, local: tuple[int, ...]) -> Tensor:
    """Outward normal of a reference facet, as long as the measure of its parametrisation."""
    corner = vertices(cell)
    at, d = corner[list(local)], CELL_TYPES[cell].dim
    if d == 1:
        normal = torch.ones(1, dtype=torch.float64)
    elif d == 2:
        tangent = at[1] - at[0]
        normal = torch.stack([tangent[1], -tangent[0]])
    else:
        normal = torch.linalg.cross(at[1] - at[0], at[-1] - at[0])
    outward = at.mean(dim=0) - corner.mean(dim=0)
    return normal if float(normal @ outward) > 0 else -normal
