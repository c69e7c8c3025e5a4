"""The map from the reference cell: Jacobians, inverses and points, differentiable in the nodes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, adjugate, determinant
from ..mesh import CELL_TYPES, Mesh
from .elements import corner_weights, reference_element, vertices
from .space import geometry_nodes


@dataclass(frozen=True)
class Mapping:
    """Geometry of cells of one type at reference points; arrays are point by point, then cell.

    Attributes:
        forward: d x_i / d xi_a as `forward[i][a]`, `[1 or q, n_cells]`.
        determinant: signed, `[1 or q, n_cells]`.
        corners: coordinates of the cell nodes in mapping order, `corners[i][node] [n_cells]`.
        affine: whether the Jacobian is constant in each cell.
        cell: the type.
    """

    forward: Matrix
    determinant: Tensor
    corners: Matrix
    affine: bool
    cell: str

    @cached_property
    def adjugate(self) -> Matrix:
        """d xi_a / d x_i times the determinant, as `adjugate[a][i]`, `[1 or q, n_cells]`."""
        return adjugate(self.forward)

    @cached_property
    def scale(self) -> Tensor:
        """1 / determinant."""
        return 1 / self.determinant

    @cached_property
    def inverse(self) -> Matrix:
        """d xi_a / d x_i as `inverse[a][i]`."""
        return [[entry * self.scale for entry in row] for row in self.adjugate]

    def points(self, reference: Tensor) -> Tensor:
        """Positions `[q * n_cells, d]` of reference points `[q, d]`."""
        weights = corner_weights(self.cell, reference).to(self.determinant)
        coordinates = [weights @ torch.stack(row) for row in self.corners]
        return torch.stack(coordinates, dim=2).flatten(0, 1)


def mapping(
    mesh: Mesh,
    cell: str,
    reference: Tensor,
    rows: Tensor | slice | None = None,
    coordinates: list[Tensor] | None = None,
) -> Mapping:
    """Geometry of the cells of one type (or some of them) at reference points `[q, d]`.

    Args:
        mesh: cells that fill space.
        cell: the type.
        reference: the points.
        rows: which cells, all by default.
        coordinates: `coordinates_of(mesh)`, faster where it serves several calls.
    """
    d, simplex = mesh.dim, CELL_TYPES[cell].is_simplex
    columns = mesh.topology.remember(("mapping", cell), lambda: _columns(mesh, cell))
    if rows is not None:
        columns = [column[rows] for column in columns]
    coordinates = list(mesh.pos.unbind(dim=1)) if coordinates is None else coordinates
    at = [[x.index_select(0, c) for c in columns] for x in coordinates]
    if simplex:
        forward = [[(at[i][a + 1] - at[i][0])[None] for a in range(d)] for i in range(d)]
    else:
        slope = _corner_slopes(cell, reference).to(mesh.pos)
        forward = [[slope[:, :, a] @ torch.stack(at[i]) for a in range(d)] for i in range(d)]
    return Mapping(forward, determinant(forward), at, simplex, cell)


def coordinates_of(mesh: Mesh) -> list[Tensor]:
    """Node positions as one contiguous vector `[n]` a component."""
    return [x.contiguous() for x in mesh.pos.unbind(dim=1)]


def _columns(mesh: Mesh, cell: str) -> list[Tensor]:
    nodes = geometry_nodes(cell, mesh.cells[cell])
    return [column.contiguous() for column in nodes.unbind(dim=1)]


def _corner_slopes(cell: str, reference: Tensor) -> Tensor:
    """Gradients of the Q1 functions of our corners `[q, nodes, d]`."""
    element = reference_element("P1", cell)
    _, slope = element.tabulate(reference)
    return slope[:, torch.cdist(vertices(cell), element.points).argmin(dim=1)]
