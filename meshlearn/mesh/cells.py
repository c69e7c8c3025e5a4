"""Cell types: local numbering of facets, edges, corners and simplices.

Names and node order are those of meshio and VTK (first-order cells). A cell is *positive* when
the determinant of the edge vectors at each corner, taken in the order of `CellType.corners`, is
positive. Facets are listed so that their right-hand normal points out of a positive cell.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Tuples = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CellType:
    """Local connectivity of one cell type.

    Attributes:
        name: meshio's name.
        dim: topological dimension.
        num_nodes: nodes per cell.
        facets: local nodes of each facet, outward oriented.
        edges: local nodes of each edge.
        corners: a corner and its `dim` neighbours along edges; simplices have one (their
            Jacobian is constant), the apex of a pyramid is represented by its base corners.
        simplices: a partition of the cell into positive simplices.
        vtk: VTK cell type number.
    """

    name: str
    dim: int
    num_nodes: int
    facets: Tuples
    edges: Tuples
    corners: Tuples
    simplices: Tuples
    vtk: int
    is_simplex: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_simplex", self.num_nodes == self.dim + 1)


_LINE = CellType("line", 1, 2, ((0,), (1,)), ((0, 1),), ((0, 1),), ((0, 1),), 3)
_TRIANGLE = CellType(
    "triangle",
    2,
    3,
    ((0, 1), (1, 2), (2, 0)),
    ((0, 1), (1, 2), (2, 0)),
    ((0, 1, 2),),
    ((0, 1, 2),),
    5,
)
_QUAD = CellType(
    "quad",
    2,
    4,
    ((0, 1), (1, 2), (2, 3), (3, 0)),
    ((0, 1), (1, 2), (2, 3), (3, 0)),
    ((0, 1, 3), (1, 2, 0), (2, 3, 1), (3, 0, 2)),
    ((0, 1, 2), (0, 2, 3)),
    9,
)
_TETRA = CellType(
    "tetra",
    3,
    4,
    ((0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)),
    ((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3)),
    ((0, 1, 2, 3),),
    ((0, 1, 2, 3),),
    10,
)
_HEXAHEDRON = CellType(
    "hexahedron",
    3,
    8,
    ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    (
        *((0, 1), (1, 2), (2, 3), (3, 0)),
        *((4, 5), (5, 6), (6, 7), (7, 4)),
        *((0, 4), (1, 5), (2, 6), (3, 7)),
    ),
    (
        *((0, 1, 3, 4), (1, 2, 0, 5), (2, 3, 1, 6), (3, 0, 2, 7)),
        *((4, 7, 5, 0), (5, 4, 6, 1), (6, 5, 7, 2), (7, 6, 4, 3)),
    ),
    ((0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6)),
    12,
)
_WEDGE = CellType(
    "wedge",
    3,
    6,
    ((0, 2, 1), (3, 4, 5), (0, 1, 4, 3), (1, 2, 5, 4), (2, 0, 3, 5)),
    ((0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (0, 3), (1, 4), (2, 5)),
    ((0, 1, 2, 3), (1, 2, 0, 4), (2, 0, 1, 5), (3, 5, 4, 0), (4, 3, 5, 1), (5, 4, 3, 2)),
    ((0, 1, 2, 5), (0, 1, 5, 4), (0, 4, 5, 3)),
    13,
)
_PYRAMID = CellType(
    "pyramid",
    3,
    5,
    ((0, 3, 2, 1), (0, 1, 4), (1, 2, 4), (2, 3, 4), (3, 0, 4)),
    ((0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4), (2, 4), (3, 4)),
    ((0, 1, 3, 4), (1, 2, 0, 4), (2, 3, 1, 4), (3, 0, 2, 4)),
    ((0, 1, 2, 4), (0, 2, 3, 4)),
    14,
)

CELL_TYPES: dict[str, CellType] = {
    cell.name: cell for cell in (_LINE, _TRIANGLE, _QUAD, _TETRA, _HEXAHEDRON, _WEDGE, _PYRAMID)
}

# The order is part of the stored format (`Mesh.cell_type` holds positions in it): append only.
CODES: dict[str, int] = {name: code for code, name in enumerate(CELL_TYPES)}
NAMES: tuple[str, ...] = tuple(CELL_TYPES)
