"""The tables of cell types: against geometry, and against VTK, meshio and scikit-fem."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import factorial

import meshio
import numpy as np
import pytest
import pyvista
import skfem
import torch
from numpy.typing import NDArray

from meshlearn.mesh import CELL_TYPES, CellType
from meshlearn.mesh.cells import CODES, NAMES

Floats = NDArray[np.float64]

# Reference cells as in the VTK and meshio documentation, all positive.
REFERENCE: dict[str, Floats] = {
    "line": np.array([[0.0], [1]]),
    "triangle": np.array([[0.0, 0], [1, 0], [0, 1]]),
    "quad": np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
    "tetra": np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "hexahedron": np.array(
        [[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
    ),
    "wedge": np.array(
        [[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 1]],
    ),
    "pyramid": np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 1]]),
}
VOLUME = {
    "line": 1,
    "triangle": 1 / 2,
    "quad": 1,
    "tetra": 1 / 6,
    "hexahedron": 1,
    "wedge": 1 / 2,
    "pyramid": 1 / 3,
}
every_cell = pytest.mark.parametrize("cell", CELL_TYPES.values(), ids=CELL_TYPES.keys())
solid_cells = pytest.mark.parametrize(
    "cell", [cell for cell in CELL_TYPES.values() if cell.dim == 3], ids=lambda cell: cell.name
)


def signed_volume(points: Floats) -> float:
    return float(np.linalg.det(points[1:] - points[:1])) / factorial(points.shape[1])


def facet_normal(points: Floats) -> Floats:
    """Right-hand normal of a facet `[nodes, d]`."""
    d = points.shape[1]
    if d == 2:
        return np.array([points[1, 1] - points[0, 1], points[0, 0] - points[1, 0]])
    return np.cross(points[1] - points[0], points[2] - points[0])


@every_cell
def test_sizes_are_those_of_the_other_tables(cell: CellType) -> None:
    assert CELL_TYPES[cell.name] is cell
    assert len(REFERENCE[cell.name]) == cell.num_nodes
    assert REFERENCE[cell.name].shape[1] == cell.dim
    assert meshio.CellBlock(cell.name, np.arange(cell.num_nodes)[None]).dim == cell.dim
    assert cell.is_simplex == (cell.name in ("line", "triangle", "tetra"))


@every_cell
def test_vtk_number_and_order_are_those_of_meshio(cell: CellType) -> None:
    points = np.zeros((cell.num_nodes, 3))
    points[:, : cell.dim] = REFERENCE[cell.name]
    nodes = np.arange(cell.num_nodes)
    grid = pyvista.from_meshio(meshio.Mesh(points, [(cell.name, nodes[None])]))
    assert grid.celltypes.tolist() == [cell.vtk]
    assert grid.get_cell(0).point_ids == nodes.tolist()


@every_cell
def test_facets_are_outward(cell: CellType) -> None:
    if cell.dim == 1:
        assert cell.facets == ((0,), (1,))
        return
    points = REFERENCE[cell.name]
    for facet in cell.facets:
        corners = points[list(facet)]
        away = corners.mean(axis=0) - points.mean(axis=0)
        assert facet_normal(corners) @ away > 0, facet


@every_cell
def test_facets_close_the_cell(cell: CellType) -> None:
    """Each edge of a 3D cell is met once in each direction; in 2D facets are a cycle."""
    if cell.dim == 3:
        directed = [pair for facet in cell.facets for pair in pairwise((*facet, facet[0]))]
        assert len(set(directed)) == len(directed)
        assert {(b, a) for a, b in directed} == set(directed)
        assert {frozenset(pair) for pair in directed} == {frozenset(e) for e in cell.edges}
    elif cell.dim == 2:
        assert [a for a, _ in cell.facets] == [b for _, b in (cell.facets[-1], *cell.facets[:-1])]
        assert cell.facets == cell.edges


@every_cell
def test_corners_are_positive_and_follow_edges(cell: CellType) -> None:
    points = REFERENCE[cell.name]
    edges = {frozenset(edge) for edge in cell.edges}
    for corner, *neighbours in cell.corners:
        assert len(neighbours) == cell.dim
        assert {frozenset((corner, other)) for other in neighbours} <= edges
        assert signed_volume(points[[corner, *neighbours]]) > 0
    at = [corner for corner, *_ in cell.corners]
    assert len(set(at)) == len(at)
    if not cell.is_simplex:
        assert set(at) == set(range(cell.num_nodes)) - ({4} if cell.name == "pyramid" else set())


@every_cell
def test_simplices_partition_the_cell(cell: CellType) -> None:
    points = REFERENCE[cell.name]
    volumes = [signed_volume(points[list(simplex)]) for simplex in cell.simplices]
    assert min(volumes) > 0
    assert sum(volumes) == pytest.approx(VOLUME[cell.name], rel=1e-14)
    # Positive parts with the right sum overlap nowhere if each random point is in exactly one.
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.ones(cell.num_nodes), 500)
    inside = np.zeros(500, int)
    for simplex in cell.simplices:
        corners = points[list(simplex)]
        rest = np.linalg.solve((corners[1:] - corners[0]).T, (weights @ points - corners[0]).T)
        inside += (rest > 0).all(axis=0) & (rest.sum(axis=0) < 1)
    assert (inside == 1).all()


@every_cell
def test_faces_of_simplices_match_faces_of_cells(cell: CellType) -> None:
    """Facets of the simplices pair up inside, the rest lie in the facets of the cell."""
    count: dict[frozenset[int], int] = {}
    for simplex in cell.simplices:
        for face in combinations(simplex, cell.dim):
            count[frozenset(face)] = count.get(frozenset(face), 0) + 1
    assert set(count.values()) <= {1, 2}
    outer = [face for face, times in count.items() if times == 1]
    assert all(any(face <= set(facet) for facet in cell.facets) for face in outer)
    assert len(outer) == sum(max(len(facet) - cell.dim + 1, 1) for facet in cell.facets)


@solid_cells
def test_faces_and_edges_are_those_of_vtk(cell: CellType) -> None:
    grid = pyvista.UnstructuredGrid(
        np.array([cell.num_nodes, *range(cell.num_nodes)]), [cell.vtk], REFERENCE[cell.name]
    )
    vtk = grid.get_cell(0)
    assert {frozenset(face.point_ids) for face in vtk.faces} == {frozenset(f) for f in cell.facets}
    assert {frozenset(edge.point_ids) for edge in vtk.edges} == {frozenset(e) for e in cell.edges}


@every_cell
def test_reference_volume_is_that_of_vtk(cell: CellType) -> None:
    """The node order means the same cell to VTK (a twisted one would have another volume)."""
    points = np.zeros((cell.num_nodes, 3))
    points[:, : cell.dim] = REFERENCE[cell.name]
    grid = pyvista.UnstructuredGrid(
        np.array([cell.num_nodes, *range(cell.num_nodes)]), [cell.vtk], points
    )
    sizes = grid.compute_cell_sizes()
    measure = {1: "Length", 2: "Area", 3: "Volume"}[cell.dim]
    assert sizes[measure][0] == pytest.approx(VOLUME[cell.name], rel=1e-12)


@pytest.mark.parametrize(
    ("name", "mesh"),
    [
        ("triangle", skfem.MeshTri1),
        ("quad", skfem.MeshQuad1),
        ("tetra", skfem.MeshTet1),
        ("hexahedron", skfem.MeshHex1),
    ],
)
def test_facets_and_edges_are_those_of_skfem(name: str, mesh: type[skfem.Mesh]) -> None:
    """scikit-fem orders nodes in its own way: its reference nodes are found by position."""
    theirs, points = mesh.elem.refdom, REFERENCE[name]
    order = [int(np.flatnonzero((points == p).all(axis=1))[0]) for p in theirs.p.T]
    assert sorted(order) == list(range(CELL_TYPES[name].num_nodes))
    facets = {frozenset(order[k] for k in facet) for facet in theirs.facets}
    assert facets == {frozenset(facet) for facet in CELL_TYPES[name].facets}
    if theirs.edges is not None:
        edges = {frozenset(order[k] for k in edge) for edge in theirs.edges}
        assert edges == {frozenset(edge) for edge in CELL_TYPES[name].edges}


def test_codes_number_the_names() -> None:
    assert [CODES[name] for name in NAMES] == list(range(len(CELL_TYPES)))
    assert tuple(CELL_TYPES) == NAMES
    assert max(CODES.values()) <= torch.iinfo(torch.uint8).max
