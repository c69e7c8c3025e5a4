"""The map from the reference cell: Jacobians, inverses and points, differentiable in the nodes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, adjugate, determinant
from ..mesh import CELL_TYPES, Mesh
from .elements import corner_weights, reference_element, vertices
from .space import geometry_nodes


class Mapping:
    """Geometry of cells of one type at reference points; arrays are point by point, then cell.

    Nothing is computed before it is asked for.

    Args:
        cell: the type.
        corners: gives coordinates of the cell nodes in mapping order, see the attribute.
        forward: gives Jacobians from them, see the attribute.

    Attributes:
        cell: the type.
        dim: d.
        affine: whether the Jacobian is constant in each cell.
    """

    def __init__(
        self, cell: str, corners: Callable[[], Matrix], forward: Callable[[Matrix], Matrix]
    ) -> None:
        self.cell, self.dim = cell, CELL_TYPES[cell].dim
        self.affine = CELL_TYPES[cell].is_simplex
        self._corners, self._forward = corners, forward

    @cached_property
    def corners(self) -> Matrix:
        """Coordinates of the cell nodes in mapping order, `corners[i][node] [n_cells]`."""
        return self._corners()

    @cached_property
    def forward(self) -> Matrix:
        """d x_i / d xi_a as `forward[i][a]`, `[1 or q, n_cells]`."""
        return self._forward(self.corners)

    @cached_property
    def determinant(self) -> Tensor:
        """Signed, `[1 or q, n_cells]`."""
        return determinant(self.forward)

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
    coordinates: Callable[[], list[Tensor]] | None = None,
) -> Mapping:
    """Geometry of the cells of one type (or some of them) at reference points `[q, d]`.

    Args:
        mesh: cells that fill space.
        cell: the type.
        reference: the points.
        rows: which cells, all by default.
        coordinates: gives `coordinates_of(mesh)`, once for several calls.
    """
    columns = mesh.topology.remember(("mapping", cell), lambda: _columns(mesh, cell))

    def corners() -> Matrix:
        at = coordinates_of(mesh) if coordinates is None else coordinates()
        mine = columns if rows is None else [column[rows] for column in columns]
        return [[x.index_select(0, c) for c in mine] for x in at]

    def forward(at: Matrix) -> Matrix:
        if CELL_TYPES[cell].is_simplex:
            return affine_jacobian(at)
        slope = _corner_slopes(cell, reference).to(mesh.pos)
        return [[slope[:, :, a] @ torch.stack(row) for a in range(len(at))] for row in at]

    return Mapping(cell, corners, forward)


def affine_jacobian(corners: Matrix) -> Matrix:
    """Jacobians of simplices, `forward[i][a] [1, n_cells]`, from `corners[i][node]`."""
    axes = range(len(corners))
    return [[(row[a + 1] - row[0])[None] for a in axes] for row in corners]


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
