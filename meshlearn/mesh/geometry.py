"""Volumes, centroids, normals, edge lengths and corner Jacobians of every cell type.

All functions are differentiable in the positions and vectorised over cells; results over mixed
meshes are in canonical cell order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .cells import CELL_TYPES
from .errors import MeshError

if TYPE_CHECKING:
    from .mesh import Mesh


def determinant(edges: Tensor) -> Tensor:
    """Determinants of small matrices given as rows `[..., d, d] -> [...]`, without LAPACK."""
    if edges.shape[-1] == 1:
        return edges[..., 0, 0]
    if edges.shape[-1] == 2:
        return edges[..., 0, 0] * edges[..., 1, 1] - edges[..., 0, 1] * edges[..., 1, 0]
    return (edges[..., 0, :] * torch.linalg.cross(edges[..., 1, :], edges[..., 2, :])).sum(-1)


def cell_volumes(name: str, points: Tensor) -> Tensor:
    """Volume (area, length) of cells of one type.

    Signed where the space has the dimension of the cells; quads, hexahedra, wedges and pyramids
    are the bilinear or trilinear maps of their corners (exact, warped faces included).

    Args:
        name: cell type.
        points: corner positions `[k, nodes, d]`.

    Returns:
        `[k]`, in units of length to the power of the cells' dimension.
    """
    cell, d = CELL_TYPES[name], points.shape[2]
    if d > cell.dim:
        return _surface_measure(name, points)
    relative = points - points[:, :1]
    if name == "line":
        return relative[:, 1, 0]
    if name == "quad":
        diagonals = torch.stack([relative[:, 2], relative[:, 3] - relative[:, 1]], dim=1)
        return determinant(diagonals) / 2
    if cell.is_simplex:
        return determinant(relative[:, 1:]) / (2 if cell.dim == 2 else 6)
    # Divergence theorem; a bilinear face is the mean of its two triangulations.
    total = torch.zeros_like(points[:, 0, 0])
    for facet in cell.facets:
        triangles = [(0, 1, 2)] if len(facet) == 3 else [(0, 1, 2), (0, 2, 3), (1, 2, 3), (1, 3, 0)]
        for triangle in triangles:
            corners = relative[:, [facet[i] for i in triangle]]
            total = total + determinant(corners) / (1 if len(facet) == 3 else 2)
    return total / 6


def _surface_measure(name: str, points: Tensor) -> Tensor:
    """Length or area of cells in a space of higher dimension (never negative)."""
    if name == "line":
        return (points[:, 1] - points[:, 0]).norm(dim=-1)
    if CELL_TYPES[name].dim != 2 or points.shape[2] != 3:
        raise MeshError(f"cells of type {name!r} cannot lie in {points.shape[2]} dimensions")
    i, j, k, m = (0, 1, 0, 2) if name == "triangle" else (0, 2, 1, 3)
    first, second = points[:, j] - points[:, i], points[:, m] - points[:, k]
    return torch.linalg.cross(first, second).norm(dim=-1) / 2


def corner_jacobians(name: str, points: Tensor) -> Tensor:
    """Determinant of the edge vectors at each corner `[k, corners]` (see `CellType.corners`).

    All positive is our definition of a valid cell; for simplices there is one column, dim! times
    the volume.
    """
    corners = torch.tensor(CELL_TYPES[name].corners, device=points.device)
    at = points[:, corners]
    return determinant(at[:, :, 1:] - at[:, :, :1])


def corner_simplices(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """The simplices spanned at the corners of all cells, whose positivity makes a mesh valid.

    Returns:
        Nodes `[s, d + 1]` and the canonical index of each one's cell `[s]`.
    """
    nodes, owner = [], []
    for name, cell in mesh.cells.items():
        corners = torch.tensor(CELL_TYPES[name].corners, device=cell.device)
        nodes.append(cell[:, corners].reshape(-1, corners.shape[1]))
        owner.append(mesh.cell_ids[name].repeat_interleave(len(corners)))
    return torch.cat(nodes), torch.cat(owner)


def volumes(mesh: Mesh) -> Tensor:
    """Signed cell volumes `[n_cells]` (unsigned for surfaces and curves in a larger space)."""
    return per_cell(mesh, cell_volumes)


def centroids(mesh: Mesh) -> Tensor:
    """Mean of the corners of each cell `[n_cells, d]`."""
    return per_cell(mesh, lambda name, points: points.mean(dim=1))


def diameters(mesh: Mesh) -> Tensor:
    """Largest distance between two corners of each cell `[n_cells]`."""
    return per_cell(mesh, lambda name, points: torch.cdist(points, points).amax(dim=(1, 2)))


def extent(mesh: Mesh) -> float:
    """Diagonal of the bounding box, the length that tolerances are relative to."""
    return float((mesh.pos.amax(dim=0) - mesh.pos.amin(dim=0)).detach().norm())


def min_corner_jacobians(mesh: Mesh) -> Tensor:
    """Smallest corner determinant of each cell `[n_cells]`; positive on a valid mesh."""
    return per_cell(mesh, lambda name, points: corner_jacobians(name, points).amin(dim=1))


def edge_lengths(mesh: Mesh) -> Tensor:
    """Lengths of `mesh.topology.edges` `[n_edges / 2]`."""
    first, second = mesh.topology.edges.unbind(dim=1)
    return (mesh.pos[second] - mesh.pos[first]).norm(dim=-1)


def facet_normals(mesh: Mesh, facets: Tensor | None = None) -> Tensor:
    """Normals of facets with length equal to their measure, out of each facet's first cell.

    Args:
        mesh: cells of the dimension of the space.
        facets: facet indices `[k]`; all by default.

    Returns:
        `[k, d]`; a warped quad gives its mean normal (half the cross product of the diagonals).
    """
    nodes = mesh.topology.facets if facets is None else mesh.topology.facets[facets]
    points = mesh.pos[nodes]
    if mesh.dim != mesh.cell_dim:
        raise MeshError(f"facets of {mesh.cell_dim}D cells in {mesh.dim}D have no single normal")
    if mesh.dim == 1:
        owner = (
            mesh.topology.facet_cells[:, 0]
            if facets is None
            else mesh.topology.facet_cells[facets, 0]
        )
        return points[:, 0] * 0 + torch.sign(points[:, 0] - centroids(mesh)[owner])
    if mesh.dim == 2:
        tangent = points[:, 1] - points[:, 0]
        return torch.stack([tangent[:, 1], -tangent[:, 0]], dim=1)
    if points.shape[1] == 3:
        return torch.linalg.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]) / 2
    return torch.linalg.cross(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1]) / 2


def cell_points(mesh: Mesh, name: str) -> Tensor:
    """Corner positions of the cells of one type `[k, nodes, d]`."""
    cell = mesh.cells[name]
    return mesh.pos.index_select(0, cell.reshape(-1)).view(*cell.shape, mesh.dim)


def per_cell(mesh: Mesh, function: Callable[[str, Tensor], Tensor]) -> Tensor:
    """Apply `function(type name, points [k, nodes, d]) -> [k, ...]`; canonical order."""
    parts = {name: function(name, cell_points(mesh, name)) for name in mesh.cells}
    if len(parts) == 1:
        return next(iter(parts.values()))
    order = torch.cat([mesh.cell_ids[name] for name in parts])
    stacked = torch.cat(list(parts.values()))
    return torch.zeros_like(stacked).index_copy(0, order, stacked)
