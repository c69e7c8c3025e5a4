"""The simplices at the corners of cells as structures of arrays, and their shapes at a position.

Quads, hexahedra, wedges and pyramids enter with the simplices of their corners, so that positive
simplices mean positive corner Jacobians. Every matrix is a d x d list of vectors over the
simplices (see `kernels.matrices`).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..kernels.matrices import Matrix, determinant, inverse
from ..mesh import CELL_TYPES, Mesh
from ..mesh.geometry import corner_simplices

# Volume of a regular cell over the sum of the volumes of its corner simplices.
_WEIGHT = {"quad": 1 / 2, "hexahedron": 3 / 4, "wedge": 1 / 2, "pyramid": 1 / 2}
FACTORIAL = {1: 1, 2: 2, 3: 6}
"""Determinant of the edges of a simplex over its volume, by dimension."""


class Corners:
    """The simplices at the corners of all cells of a mesh.

    Args:
        mesh: its connectivity; positions come with each question.
        device: where the numbers are kept; that of the mesh by default.

    Attributes:
        nodes: `[s, d + 1]`.
        columns: the same, corner by corner.
        weight: share of each one's volume that counts, so that regular cells count whole `[s]`.
    """

    def __init__(self, mesh: Mesh, device: torch.device | None = None) -> None:
        device = device or mesh.pos.device
        nodes, _ = corner_simplices(mesh)
        self.nodes = nodes.to(device)
        self.columns = [column.contiguous() for column in self.nodes.unbind(dim=1)]
        share = [_WEIGHT.get(name, 1.0) for name in mesh.cells]
        count = [len(cell) * len(CELL_TYPES[name].corners) for name, cell in mesh.cells.items()]
        by_type = torch.tensor(share, dtype=torch.float64)
        self.weight = by_type.repeat_interleave(torch.tensor(count)).to(device)

    def edges(self, pos: Tensor) -> Matrix:
        """Edge matrices at positions `[n, d]`, component by edge."""
        components = [component.contiguous() for component in pos.unbind(dim=1)]
        return edges_between(components, self.columns)

    def shapes(self, pos: Tensor) -> Shapes:
        """Their shapes at positions `[n, d]`."""
        return Shapes(self.edges(pos))


def edges_between(components: list[Tensor], columns: list[Tensor]) -> Matrix:
    """Edges from the first corner of each simplex, component by edge.

    Args:
        components: of the positions, `[n]` each.
        columns: nodes of the simplices, corner by corner `[s]`.
    """
    at = [[x.index_select(0, column) for column in columns] for x in components]
    return [[x - corner[0] for x in corner[1:]] for corner in at]


class Shapes:
    """Simplices at one position; what follows from their edges is computed once.

    Args:
        edges: edge matrices, component by edge.
    """

    def __init__(self, edges: Matrix) -> None:
        self.edges = edges

    def rows(self, rows: slice) -> Shapes:
        """Some of them; they share the edges."""
        return Shapes([[entry[rows] for entry in row] for row in self.edges])

    @cached_property
    def determinant(self) -> Tensor:
        """Of the edges `[s]`."""
        return determinant(self.edges)

    @cached_property
    def inverse(self) -> Matrix:
        """Of the edges: row j is the gradient of barycentric coordinate j + 1."""
        return inverse(self.edges)

    @property
    def volume(self) -> Tensor:
        """Signed volumes `[s]`."""
        return self.determinant / FACTORIAL[len(self.edges)]
