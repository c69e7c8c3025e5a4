"""The common refinement of two simplicial meshes: the intersections of their cells, as simplices.

Pairs of cells that overlap are found by spreading: from a cell of the source known to meet a cell
of the target, to its neighbours, for all targets at once; the cost is linear in the number of
pairs. A source simplex is cut by the facets of the target one by one; what is left of a simplex on
one side of a facet is again one or a few simplices, so that no polygons are stored and the same
code serves 1D, 2D and 3D. Farrell & Maddison, "Conservative interpolation between volume meshes by
local Galerkin projection", Comput. Methods Appl. Mech. Eng. 200 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..kernels.matrices import determinant
from ..mesh import CELL_TYPES, Locator, Mesh, MeshError
from .places import map_at
from .space import geometry_nodes

_TINY = 1e-14
"""Share of the smaller cell below which an intersection is round-off."""
_CHUNK = 200_000

# What is left of a simplex with k vertices inside: in 2D and 3D, 0..d are its vertices with those
# inside first, and (i, j) is where the edge from i to j leaves.
_CUT: dict[tuple[int, int], tuple[tuple[object, ...], ...]] = {
    (1, 1): ((0, (0, 1)),),
    (2, 1): ((0, (0, 1), (0, 2)),),
    (2, 2): ((0, 1, (1, 2)), (0, (0, 2), (1, 2))),
    (3, 1): ((0, (0, 1), (0, 2), (0, 3)),),
    (3, 2): (
        (0, (0, 2), (0, 3), (1, 3)),
        (0, (0, 2), (1, 2), (1, 3)),
        (0, 1, (1, 2), (1, 3)),
    ),
    (3, 3): ((0, 1, 2, (2, 3)), (0, 1, (1, 3), (2, 3)), (0, (0, 3), (1, 3), (2, 3))),
}


@dataclass(frozen=True)
class Supermesh:
    """Simplices that lie in one cell of each mesh.

    Attributes:
        cell: type of the cells of both meshes.
        source: cell of the source, a row of `cells[cell]` `[p]`.
        target: cell of the target `[p]`.
        in_source: barycentric coordinates of the vertices in the source cell, whose nodes are in
            mapping order `[p, d + 1, d + 1]`.
        in_target: likewise in the target cell.
        volume: `[p]`.
    """

    cell: str
    source: Tensor
    target: Tensor
    in_source: Tensor
    in_target: Tensor
    volume: Tensor

    def covered(self, count: int) -> Tensor:
        """Volume of each of `count` target cells that the source covers `[count]`."""
        return self.volume.new_zeros(count).index_add(0, self.target, self.volume)


@torch.no_grad()
def intersect(source: Mesh, target: Mesh) -> Supermesh:
    """Intersections of the cells of two meshes.

    Raises:
        MeshError: other cells than simplices of one type, or of different types.
    """
    (cell, *more) = source.cells
    if more or list(target.cells) != [cell] or not CELL_TYPES[cell].is_simplex:
        raise MeshError(
            "intersections need simplices of the same type in both meshes, got "
            f"{', '.join(source.cells)} and {', '.join(target.cells)}"
        )
    pair = _Pair(source, target, cell)
    across = source.topology.cell_neighbours[cell]
    count = len(source.cells[cell])
    previous = current = pair.seeds()
    found = []
    while len(current):
        hits = []
        for chunk in torch.split(current, _CHUNK):
            pieces = pair.pieces(chunk // count, chunk % count)
            found.append(pieces)
            hits.append(torch.unique(pieces.target * count + pieces.source))
        hit = torch.cat(hits)
        near = across[hit % count]
        keys = (hit // count)[:, None] * count + near
        new = torch.unique(keys[near >= 0])
        # A pair is a neighbour of pairs of its own and the two adjoining fronts only.
        new = new[~_among(new, hit) & ~_among(new, previous)]
        previous, current = hit, new
    return _joined(found)


class _Pair:
    """Geometry of two meshes; cells by rows of the one type of cells."""

    def __init__(self, source: Mesh, target: Mesh, cell: str) -> None:
        self.cell, self.source, self.target = cell, source, target
        self.s_corners = source.pos[geometry_nodes(cell, source.cells[cell])]
        self.t_corners = target.pos[geometry_nodes(cell, target.cells[cell])]
        self.s_volume, self.t_volume = source.volumes().abs(), target.volumes().abs()
        self.s_inverse, self.t_inverse = (
            self._inverse(self.s_corners),
            self._inverse(self.t_corners),
        )

    def _inverse(self, corners: Tensor) -> Tensor:
        rows = map_at(self.cell, corners, corners[:, 0]).inverse
        return torch.stack([torch.stack([x[0] for x in row], dim=1) for row in rows], dim=1)

    def seeds(self) -> Tensor:
        """Pairs to start from, keys target * count + source: centres and nodes found in the other
        mesh."""
        count = len(self.s_corners)
        in_source, in_target = Locator(self.source), Locator(self.target)
        rows = torch.arange(len(self.t_corners), device=self.t_corners.device)
        keys = [rows * count + self._owner(in_source, self.t_corners.mean(dim=1))]
        of_node = self._owner(in_source, self.target.pos)
        keys += [rows * count + of_node[n] for n in self.target.cells[self.cell].unbind(dim=1)]
        found = self._owner(in_target, self.s_corners.mean(dim=1))
        keys.append(found * count + torch.arange(count, device=found.device))
        return torch.unique(torch.cat(keys))

    @staticmethod
    def _owner(locator: Locator, points: Tensor) -> Tensor:
        return locator.parent[locator.find(points).simplex]

    def pieces(self, target: Tensor, source: Tensor) -> Supermesh:
        """Intersections of pairs of cells `[k]`."""
        forth = _barycentric(self.t_corners[target], self.t_inverse[target], self.s_corners[source])
        back = _barycentric(self.s_corners[source], self.s_inverse[source], self.t_corners[target])
        # Apart if all vertices of one lie beyond a facet of the other.
        near = ~((forth <= _TINY).all(dim=1).any(dim=1) | (back <= _TINY).all(dim=1).any(dim=1))
        target, source, forth = target[near], source[near], forth[near]
        width = forth.shape[2]
        own = torch.eye(width, dtype=forth.dtype, device=forth.device).expand(len(forth), -1, -1)
        vertices, owner = _clipped(torch.cat([forth, own], dim=2), width)
        in_source = vertices[:, :, width:]
        step = (in_source[:, 1:] - in_source[:, :1])[:, :, 1:]
        share = determinant([list(row.unbind(dim=1)) for row in step.unbind(dim=1)]).abs()
        source, target = source[owner], target[owner]
        volume = share * self.s_volume[source]
        keep = volume > _TINY * torch.minimum(self.s_volume[source], self.t_volume[target])
        return Supermesh(
            self.cell,
            source[keep],
            target[keep],
            in_source[keep],
            vertices[keep, :, :width],
            volume[keep],
        )


def _barycentric(corners: Tensor, inverse: Tensor, points: Tensor) -> Tensor:
    """Coordinates `[k, m, d + 1]` of points `[k, m, d]` in simplices `[k, d + 1, d]`."""
    last = torch.einsum("kai,kmi->kma", inverse, points - corners[:, :1])
    return torch.cat([1 - last.sum(dim=2, keepdim=True), last], dim=2)


def _clipped(vertices: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Parts of simplices where the first `width` columns are positive, and whose part each is.

    Args:
        vertices: `[k, d + 1, columns]`, columns linear in space.
        width: d + 1.
    """
    owner = torch.arange(len(vertices), device=vertices.device)
    for plane in range(width):
        inside = vertices[:, :, plane] > 0
        count = inside.sum(dim=1)
        whole = count == width
        parts, owners = [vertices[whole]], [owner[whole]]
        for k in range(1, width):
            chosen = count == k
            if not bool(chosen.any()):
                continue
            order = torch.argsort(~inside[chosen], dim=1, stable=True)
            corner = vertices[chosen].gather(1, order[:, :, None].expand_as(vertices[chosen]))
            for simplex in _CUT[width - 1, k]:
                parts.append(torch.stack([_vertex(corner, v, plane) for v in simplex], dim=1))
                owners.append(owner[chosen])
        vertices, owner = torch.cat(parts), torch.cat(owners)
    return vertices, owner


def _vertex(corner: Tensor, which: object, plane: int) -> Tensor:
    """A vertex, or where an edge crosses the plane `[k, columns]`."""
    if isinstance(which, int):
        return corner[:, which]
    assert isinstance(which, tuple)
    a, b = corner[:, which[0]], corner[:, which[1]]
    share = (a[:, plane] / (a[:, plane] - b[:, plane]))[:, None]
    return a + share * (b - a)


def _among(keys: Tensor, known: Tensor) -> Tensor:
    if not len(known):
        return torch.zeros_like(keys, dtype=torch.bool)
    known = known.sort().values
    at = torch.searchsorted(known, keys).clamp(max=len(known) - 1)
    return known[at] == keys


def _joined(parts: list[Supermesh]) -> Supermesh:
    names = ("source", "target", "in_source", "in_target", "volume")
    return Supermesh(parts[0].cell, *(torch.cat([getattr(p, n) for p in parts]) for n in names))
