"""Points of a mesh in reference coordinates: the cell of each, and where it is in it.

Simplices are found by the `Locator` and mapped back exactly. In quads and hexahedra the locator's
simplices give the start of Newton's method for the (multi)linear map; a point that turns out to
lie beyond a curved face is handed on to the neighbour. The coordinates are differentiable in the
points and in the node positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..kernels.matrices import Matrix
from ..mesh import CELL_TYPES, Locator, Mesh, MeshError
from .elements import corner_weights, vertices
from .mapping import Mapping, affine_jacobian
from .space import geometry_nodes

Outside = Literal["raise", "nearest", "nan"]
_NEWTON, _HOPS = 30, 8
_BEYOND = 1e-10
"""How far outside [0, 1] a reference coordinate may be for round-off."""
_CLOSE = 1e-11
"""Distance, relative to the cell, at which Newton's method has found a point."""


@dataclass(frozen=True)
class CellPlaces:
    """Places in cells of one type.

    Attributes:
        cell: the type.
        index: which of the points these are `[k]`.
        rows: rows of `mesh.cells[cell]` `[k]`.
        reference: `[k, d]`.
        geometry: the map of the cells, each at its own point (`[1, k]` arrays).
    """

    cell: str
    index: Tensor
    rows: Tensor
    reference: Tensor
    geometry: Mapping


@dataclass(frozen=True)
class Places:
    """Located points.

    Attributes:
        mesh: where.
        count: number of points m.
        parts: one for each cell type.
        missing: points that are nowhere in the mesh `[m]`.
    """

    mesh: Mesh
    count: int
    parts: tuple[CellPlaces, ...]
    missing: Tensor


def locate(
    mesh: Mesh, points: Tensor, outside: Outside = "raise", locator: Locator | None = None
) -> Places:
    """Find points in a mesh.

    Args:
        mesh: lines, triangles, quads, tetrahedra, hexahedra.
        points: `[m, d]`.
        outside: what to do with points outside: "raise"; "nearest", the nearest point of the mesh
            instead; "nan", mark them missing.
        locator: of this mesh, if there is one already.

    Raises:
        MeshError: points outside, or a cell whose map cannot be inverted.
    """
    locator = locator or Locator(mesh)
    found = locator.find(points.detach())
    if outside == "raise" and bool(found.outside.any()):
        bad = torch.nonzero(found.outside).squeeze(1)
        raise MeshError(
            f"{len(bad)} of {len(points)} points are outside the mesh, by up to "
            f'{float(found.distance.max()):.3g}; outside="nearest" takes the nearest point instead'
        )
    target = points
    if bool(found.outside.any()):
        nearest = locator.interpolate(mesh.pos, found)
        target = torch.where(found.outside[:, None], nearest, points)
    owner = locator.parent[found.simplex]
    corner_nodes = locator.simplices[found.simplex]
    parts = []
    for cell in mesh.cells:
        row_of = torch.full((mesh.num_cells,), -1, device=owner.device)
        row_of[mesh.cell_ids[cell]] = torch.arange(len(mesh.cells[cell]), device=owner.device)
        index = torch.nonzero(row_of[owner] >= 0).squeeze(1)
        if not len(index):
            continue
        rows = row_of[owner[index]]
        if CELL_TYPES[cell].is_simplex:
            parts.append(_in_simplices(mesh, cell, index, rows, target[index]))
            continue
        nodes = mesh.cells[cell][rows]
        local = (corner_nodes[index][:, :, None] == nodes[:, None, :]).int().argmax(dim=2)
        weights = found.barycentric[index]
        start = torch.einsum("kv,kvd->kd", weights, vertices(cell).to(weights)[local])
        parts.append(_in_boxes(mesh, cell, index, rows, target[index], start))
    missing = found.outside if outside == "nan" else torch.zeros_like(found.outside)
    return Places(mesh, len(points), tuple(parts), missing)


def places_in(mesh: Mesh, cell: str, rows: Tensor, reference: Tensor) -> Places:
    """Places given by the cell `[m]` and the reference coordinates `[m, d]` in it."""
    index = torch.arange(len(rows), device=rows.device)
    geometry = map_at(cell, _corners(mesh, cell, rows), reference)
    part = CellPlaces(cell, index, rows, reference, geometry)
    return Places(mesh, len(rows), (part,), torch.zeros_like(rows, dtype=torch.bool))


def map_at(cell: str, corners: Tensor, reference: Tensor) -> Mapping:
    """The map of each cell at a point of its own.

    Args:
        cell: the type.
        corners: `[k, nodes, d]` in mapping order.
        reference: `[k, d]`.
    """
    d = corners.shape[2]
    at = [[corners[:, n, i] for n in range(corners.shape[1])] for i in range(d)]

    def forward(at: Matrix) -> Matrix:
        if CELL_TYPES[cell].is_simplex:
            return affine_jacobian(at)
        jacobian = torch.einsum("knd,kna->kda", corners, corner_slopes(cell, reference))
        return [[jacobian[:, i, a][None] for a in range(d)] for i in range(d)]

    return Mapping(cell, lambda: at, forward)


def corner_slopes(cell: str, reference: Tensor) -> Tensor:
    """Gradients of the multilinear weights of the corners of a quad or hexahedron `[k, n, d]`."""
    corner = vertices(cell).to(reference)
    factors = corner * reference[:, None] + (1 - corner) * (1 - reference[:, None])
    d = corner.shape[1]
    columns = []
    for a in range(d):
        rest = [factors[:, :, b] for b in range(d) if b != a]
        slope = (2 * corner[:, a] - 1).expand(len(reference), -1)
        for factor in rest:
            slope = slope * factor
        columns.append(slope)
    return torch.stack(columns, dim=2)


def _corners(mesh: Mesh, cell: str, rows: Tensor) -> Tensor:
    return mesh.pos[geometry_nodes(cell, mesh.cells[cell][rows])]


def _in_simplices(mesh: Mesh, cell: str, index: Tensor, rows: Tensor, target: Tensor) -> CellPlaces:
    corners = _corners(mesh, cell, rows)
    geometry = map_at(cell, corners, target)
    return CellPlaces(cell, index, rows, _pulled(geometry, target - corners[:, 0]), geometry)


def _pulled(geometry: Mapping, step: Tensor) -> Tensor:
    """J^-1 applied to a vector at each place `[k, d]`."""
    columns = []
    for row in geometry.inverse:
        total = row[0][0] * step[:, 0]
        for i in range(1, len(row)):
            total = total + row[i][0] * step[:, i]
        columns.append(total)
    return torch.stack(columns, dim=1)


def _in_boxes(
    mesh: Mesh, cell: str, index: Tensor, rows: Tensor, target: Tensor, start: Tensor
) -> CellPlaces:
    with torch.no_grad():
        rows, found = _searched(mesh, cell, rows, target.detach(), start)
    corners = _corners(mesh, cell, rows)
    # One more step of Newton's method carries the derivatives.
    fixed = map_at(cell, corners.detach(), found)
    image = torch.einsum("kn,knd->kd", corner_weights(cell, found).to(corners), corners)
    reference = found + _pulled(fixed, target - image)
    return CellPlaces(cell, index, rows, reference, map_at(cell, corners, reference))


def _searched(
    mesh: Mesh, cell: str, rows: Tensor, target: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """Newton's method in the cell, and in neighbours as long as the point is beyond a face."""
    rows, found = rows.clone(), start.clone()
    active = torch.arange(len(rows), device=rows.device)
    faces = _face_of_side(cell).to(rows.device)
    across = mesh.topology.cell_neighbours[cell]
    row_of = torch.full((mesh.num_cells + 1,), -1, device=rows.device)
    row_of[mesh.cell_ids[cell]] = torch.arange(len(mesh.cells[cell]), device=rows.device)
    for _ in range(_HOPS):
        found[active] = _newton(mesh, cell, rows[active], target[active], found[active])
        excess = torch.stack([-found[active], found[active] - 1], dim=2)  # [k, d, side]
        worst, side = excess.flatten(1).max(dim=1)
        step = row_of[across[rows[active], faces[side]]]  # row_of[-1] = -1: no neighbour
        moving = (worst > _BEYOND) & (step >= 0)
        if not bool(moving.any()):
            break
        active = active[moving]
        rows[active], found[active] = step[moving], 0.5
    return rows, found


def _newton(mesh: Mesh, cell: str, rows: Tensor, target: Tensor, start: Tensor) -> Tensor:
    corners = _corners(mesh, cell, rows)
    size = (corners - corners[:, :1]).norm(dim=2).amax(dim=1)
    found = start
    for _ in range(_NEWTON):
        image = torch.einsum("kn,knd->kd", corner_weights(cell, found).to(corners), corners)
        miss = target - image
        far = miss.norm(dim=1) > _CLOSE * size
        if not bool(far.any()):
            return found
        step = _pulled(map_at(cell, corners, found), miss)
        found = torch.where(far[:, None], (found + step).clamp(-1, 2), found)
    bad = int(torch.nonzero(far)[0])
    raise MeshError(
        f"the map of {cell} {int(rows[bad])} cannot be inverted at {target[bad].tolist()}; "
        "is the cell convex?"
    )


def _face_of_side(cell: str) -> Tensor:
    """Local facet at xi_a = 0 and at xi_a = 1, flat `[2 d]`."""
    corner = vertices(cell)
    sides = []
    for axis in range(corner.shape[1]):
        for value in (0.0, 1.0):
            at = {int(i) for i in torch.nonzero(corner[:, axis] == value)}
            sides.append(next(k for k, f in enumerate(CELL_TYPES[cell].facets) if set(f) == at))
    return torch.tensor(sides)
