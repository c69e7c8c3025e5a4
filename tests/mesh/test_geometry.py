"""Volumes, normals and Jacobians: exact values, other libraries, theorems and invariances."""

from __future__ import annotations

from itertools import product
from math import pi

import numpy as np
import pytest
import pyvista
import torch
from hypothesis import given
from hypothesis import strategies as st
from skfem import Basis, Functional
from strategies import (
    any_meshes,
    quad_meshes,
    random_mesh,
    renumbered,
    tetra_meshes,
    triangle_meshes,
)
from torch import Tensor

from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate, geometry
from meshlearn.mesh.quality import IDEAL_CELLS

SOLID = ["hexahedron", "wedge", "pyramid"]
seeds = st.integers(0, 2**32 - 1)


def close(actual: Tensor, expected: object, tolerance: float = 1e-12) -> None:
    """Equal up to the tolerance times the size of the expected values."""
    wanted = torch.as_tensor(expected, dtype=torch.float64).expand_as(actual)
    scale = max(float(wanted.abs().max()), 1e-300) if wanted.numel() else 1.0
    torch.testing.assert_close(actual, wanted, rtol=0, atol=tolerance * scale)


def moved_along(mesh: Mesh, matrix: Tensor, shift: Tensor) -> Mesh:
    return mesh.moved(mesh.pos @ matrix.T + shift)


def random_matrix(d: int, seed: int) -> Tensor:
    return torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pyvista_volumes(mesh: Mesh) -> Tensor:
    """Lengths, areas or volumes by VTK, in canonical order."""
    out = torch.empty(mesh.num_cells, dtype=torch.float64)
    points = np.zeros((mesh.num_nodes, 3))
    points[:, : mesh.dim] = mesh.pos.numpy()
    for name, nodes in mesh.cells.items():
        k, width = nodes.shape
        rows = np.column_stack([np.full(k, width), nodes.numpy()])
        grid = pyvista.UnstructuredGrid(rows.ravel(), np.full(k, CELL_TYPES[name].vtk), points)
        measure = {1: "Length", 2: "Area", 3: "Volume"}[mesh.cell_dim]
        out[mesh.cell_ids[name]] = torch.from_numpy(np.array(grid.compute_cell_sizes()[measure]))
    return out


# -- volumes -----------------------------------------------------------------------------------


def test_volumes_of_unit_cells() -> None:
    expected = {
        "line": 1.0,
        "triangle": 3**0.5 / 4,
        "quad": 1.0,
        "tetra": 2**0.5 / 12,
        "hexahedron": 1.0,
        "wedge": 3**0.5 / 4,
    }
    for name, volume in expected.items():
        points = IDEAL_CELLS[name][None]
        edge = (points[0, 1] - points[0, 0]).norm()
        close(geometry.cell_volumes(name, points / edge), [volume])
        close(
            geometry.cell_volumes(name, points.flip(2) / edge),
            [volume if name == "line" else -volume],
        )


@pytest.mark.parametrize(
    ("mesh", "volume"),
    [
        (generate.interval(7, 2.0, 5.0), 3.0),
        (generate.rectangle(3, 4, upper=(2.0, 3.0), diagonal="crossed"), 6.0),
        (generate.l_shape(3, cell="quad"), 3.0),
        (generate.box(2, 3, 4, upper=(1.0, 2.0, 3.0)), 6.0),
        (generate.box(2, 3, 4, upper=(1.0, 2.0, 3.0), cell="wedge"), 6.0),
        (generate.disk(4), 12 * np.sin(pi / 12)),  # a polygon with 24 sides
    ],
)
def test_volumes_add_up_to_the_domain(mesh: Mesh, volume: float) -> None:
    close(mesh.volumes().sum(), volume)


@given(any_meshes(stretch=1.0, holes=False))
def test_jittered_cells_still_fill_the_unit_box(mesh: Mesh) -> None:
    """Warped faces too: both neighbours see the same bilinear face."""
    close(mesh.volumes().sum(), 1.0)


@given(st.one_of(triangle_meshes(), quad_meshes(), tetra_meshes()))
def test_volume_is_the_flux_of_position_through_the_boundary(mesh: Mesh) -> None:
    boundary = mesh.topology.boundary_facets
    nodes, normals = mesh.topology.facets[boundary], geometry.facet_normals(mesh, boundary)
    flux = (mesh.pos[nodes[:, 0]] * normals).sum() / mesh.dim
    close(mesh.volumes().sum(), flux, 1e-11)


@given(any_meshes())
def test_normals_of_each_closed_cell_cancel(mesh: Mesh) -> None:
    topology = mesh.topology
    normals = geometry.facet_normals(mesh)
    for name, facets in topology.cell_facets.items():
        outward = torch.where(
            topology.facet_cells[facets, 0] == mesh.cell_ids[name][:, None], 1.0, -1.0
        )
        total = (normals[facets] * outward[..., None]).sum(dim=1)
        close(total + normals.norm(dim=1).max(), normals.norm(dim=1).max())


@given(any_meshes())
def test_first_cell_of_a_facet_is_behind_its_normal(mesh: Mesh) -> None:
    first, second = mesh.topology.facet_cells.unbind(dim=1)
    middle = torch.stack(
        [mesh.pos[list(set(f))].mean(dim=0) for f in mesh.topology.facets.tolist()]
    )
    normals, centre = geometry.facet_normals(mesh), mesh.centroids()
    assert (((middle - centre[first]) * normals).sum(dim=1) > 0).all()
    inner = second >= 0
    assert (((centre[second] - middle) * normals).sum(dim=1)[inner] > 0).all()


def test_normals_have_the_length_of_the_facets() -> None:
    box = generate.box(2, 2, 2, upper=(1.0, 2.0, 4.0), cell="wedge")
    normals = geometry.facet_normals(box, box.topology.boundary_facets)
    close(normals.norm(dim=1).sum(), 2 * (1 * 2 + 2 * 4 + 1 * 4))
    line = generate.interval(3)
    assert geometry.facet_normals(line, line.topology.boundary_facets).tolist() == [[-1], [1]]
    disk = generate.disk(3)
    outward = geometry.facet_normals(disk, disk.topology.boundary_facets)
    ends = disk.pos[disk.topology.facets[disk.topology.boundary_facets]]
    close(outward.norm(dim=1), (ends[:, 1] - ends[:, 0]).norm(dim=1))
    assert ((ends.mean(dim=1) * outward).sum(dim=1) > 0).all()


@given(any_meshes())
def test_volumes_agree_with_vtk(mesh: Mesh) -> None:
    """VTK splits warped cells into tetrahedra: only cells with flat sides are compared."""
    theirs = pyvista_volumes(mesh)
    straight = torch.ones(mesh.num_cells, dtype=torch.bool)
    for name in mesh.cells.keys() & {*SOLID}:
        points = geometry.cell_points(mesh, name)
        quads = [list(facet) for facet in CELL_TYPES[name].facets if len(facet) == 4]
        bent = torch.stack([torch.linalg.det(points[:, q[1:]] - points[:, q[:1]]) for q in quads])
        straight[mesh.cell_ids[name]] = (bent.abs() < 1e-13).all(dim=0)
    close(mesh.volumes()[straight], theirs[straight], 1e-10)


@pytest.mark.parametrize("name", ["triangle", "quad", "tetra", "hexahedron"])
def test_volumes_agree_with_skfem(name: str) -> None:
    """scikit-fem integrates the same map of warped cells by quadrature."""
    mesh = random_mesh(name, [3, 3, 2][: CELL_TYPES[name].dim], 1)
    theirs = mesh.to_skfem()
    basis = Basis(theirs, type(theirs).elem(), intorder=6)
    one = Functional(lambda w: 1.0 + 0 * w.x[0]).elemental(basis)
    close(mesh.volumes(), one, 1e-11)


def shape_functions(name: str, at: Tensor) -> Tensor:
    """Shape functions of the linear, trilinear, ... map `[q, nodes]` at reference points."""
    x, y, z = at.unbind(dim=1)
    if name == "wedge":
        flat_part = torch.stack([1 - x - y, x, y], dim=1)
        return torch.cat([flat_part * (1 - z)[:, None], flat_part * z[:, None]], dim=1)
    square = torch.stack([(1 - x) * (1 - y), x * (1 - y), x * y, (1 - x) * y], dim=1)
    if name == "pyramid":  # the hexahedron whose upper face is the apex
        return torch.cat([square * (1 - z)[:, None], z[:, None]], dim=1)
    return torch.cat([square * (1 - z)[:, None], square * z[:, None]], dim=1)


def integrated_volume(name: str, points: Tensor) -> float:
    """Integral of the Jacobian of the map by Gauss quadrature of high order."""
    node, weight = np.polynomial.legendre.leggauss(6)
    node, weight = (node + 1) / 2, weight / 2
    at = torch.tensor(list(product(node, repeat=3)), dtype=torch.float64)
    weights = torch.tensor([np.prod(w) for w in product(weight, repeat=3)])
    if name == "wedge":  # the triangle as a collapsed square
        weights = weights * (1 - at[:, 0])
        at = torch.stack([at[:, 0], at[:, 1] * (1 - at[:, 0]), at[:, 2]], dim=1)

    def place(one: Tensor) -> Tensor:
        return (shape_functions(name, one[None]) @ points)[0]

    jacobians = torch.func.vmap(torch.func.jacrev(place))(at)
    return float((torch.linalg.det(jacobians) * weights).sum())


@pytest.mark.parametrize("name", SOLID)
@pytest.mark.parametrize("seed", range(5))
def test_volumes_of_warped_cells_are_those_of_the_map(name: str, seed: int) -> None:
    noise = random_matrix(16, seed)[: len(IDEAL_CELLS[name]), :3]
    points = IDEAL_CELLS[name] + 0.2 * noise
    volume = geometry.cell_volumes(name, points[None])
    close(volume, [integrated_volume(name, points)])
    halves = torch.tensor(CELL_TYPES[name].simplices)
    split = geometry.cell_volumes("tetra", points[halves]).sum()
    assert abs(float(volume[0] - split)) > 1e-6  # the test is of the map, not of a split


def test_volumes_are_signed() -> None:
    mesh = random_mesh("mixed3", [2, 2, 2], 0)
    mirrored = mesh.moved(mesh.pos * torch.tensor([-1.0, 1, 1]))
    close(mirrored.volumes(), -mesh.volumes())
    assert len(mirrored.inverted_cells()) == mesh.num_cells


# -- surfaces and curves -----------------------------------------------------------------------


def test_surfaces_have_areas() -> None:
    square = Mesh.from_cells(
        [[0.0, 0, 0], [2, 0, 0], [2, 1, 1], [0, 1, 1]], {"quad": [[0, 1, 2, 3]]}
    )
    close(square.volumes(), [2 * 2**0.5])
    halves = Mesh.from_cells(square.pos, {"triangle": [[0, 1, 2], [0, 3, 2]]})
    close(halves.volumes(), [2**0.5, 2**0.5])
    assert len(halves.inverted_cells()) == 0
    line = Mesh.from_cells([[0.0, 0], [3, 4]], {"line": [[1, 0]]})
    close(line.volumes(), [5.0])
    with pytest.raises(MeshError, match="facets of 2D cells in 3D have no single normal"):
        geometry.facet_normals(square)


def test_the_area_of_a_sphere() -> None:
    ball = generate.ball(8)
    sphere = ball.topology.facets[ball.topology.boundary_facets]
    surface = Mesh.from_cells(ball.pos, {"triangle": sphere}, repair=["orphan"])
    close(surface.volumes().sum(), 4 * pi, 0.02)
    normals = geometry.facet_normals(ball, ball.topology.boundary_facets)
    close(surface.volumes(), normals.norm(dim=1))


# -- Jacobians ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELL_TYPES)
def test_corner_jacobians_are_derivatives_of_the_map(name: str) -> None:
    """For simplices dim! times the volume; for others the Jacobian of the map at the corner."""
    d = CELL_TYPES[name].dim
    points = IDEAL_CELLS[name] + 0.1 * random_matrix(16, 3)[: CELL_TYPES[name].num_nodes, :d]
    found = geometry.corner_jacobians(name, points[None])[0]
    if CELL_TYPES[name].is_simplex:
        close(found, geometry.cell_volumes(name, points[None]) * {1: 1, 2: 2, 3: 6}[d])
        return
    if name in ("hexahedron", "wedge"):
        square = (
            [[0.0, 0], [1, 0], [0, 1]] if name == "wedge" else [[0.0, 0], [1, 0], [1, 1], [0, 1]]
        )
        at = torch.tensor([[*p, z] for z in (0.0, 1.0) for p in square], dtype=torch.float64)
        jacobian = torch.func.vmap(
            torch.func.jacrev(lambda one: (shape_functions(name, one[None]) @ points)[0])
        )(at)
        close(found, torch.linalg.det(jacobian))
        return
    expected = [
        torch.linalg.det(points[list(others)] - points[corner])
        for corner, *others in CELL_TYPES[name].corners
    ]
    close(found, torch.stack(expected))


@given(any_meshes())
def test_valid_meshes_have_positive_corners(mesh: Mesh) -> None:
    smallest = geometry.min_corner_jacobians(mesh)
    assert smallest.shape == (mesh.num_cells,)
    assert (smallest > 0).all()
    nodes, owner = geometry.corner_simplices(mesh)
    corners = mesh.pos[nodes]
    found = geometry.determinant(corners[:, 1:] - corners[:, :1])
    least = torch.full_like(smallest, torch.inf).scatter_reduce(0, owner, found, "amin")
    assert torch.equal(least, smallest)


@given(seeds, st.sampled_from([1, 2, 3]))
def test_determinants_are_those_of_lapack(seed: int, d: int) -> None:
    matrices = torch.stack([random_matrix(d, seed + k) for k in range(5)])
    close(geometry.determinant(matrices), torch.linalg.det(matrices))


# -- centroids, diameters, edges ---------------------------------------------------------------


@given(any_meshes())
def test_sizes_against_plain_loops(mesh: Mesh) -> None:
    centroids, diameters = mesh.centroids(), geometry.diameters(mesh)
    for name, nodes in mesh.cells.items():
        for cell, row in zip(mesh.cell_ids[name].tolist(), nodes, strict=True):
            close(centroids[cell], mesh.pos[row].sum(dim=0) / len(row))
            lengths = (mesh.pos[row][:, None] - mesh.pos[row]).norm(dim=2)
            close(diameters[cell], lengths.max())
    lengths = [float((mesh.pos[a] - mesh.pos[b]).norm()) for a, b in mesh.topology.edges.tolist()]
    close(geometry.edge_lengths(mesh), lengths)


# -- derivatives -------------------------------------------------------------------------------


def corner_jacobians(mesh: Mesh) -> Tensor:
    return torch.cat(
        [
            geometry.corner_jacobians(name, geometry.cell_points(mesh, name)).reshape(-1)
            for name in mesh.cells
        ]
    )


@pytest.mark.parametrize("cell", ["line", "mixed2", "mixed3", "pyramid", "wedge"])
@pytest.mark.parametrize(
    "quantity",
    [
        geometry.volumes,
        geometry.centroids,
        corner_jacobians,
        geometry.edge_lengths,
        geometry.facet_normals,
    ],
)
def test_derivatives_are_differences(cell: str, quantity: object) -> None:
    d = {"line": 1, "mixed2": 2}.get(cell, 3)
    mesh = random_mesh(cell, [2, 2, 1][:d], 2)
    assert callable(quantity)
    assert torch.autograd.gradcheck(
        lambda pos: quantity(mesh.moved(pos)), (mesh.pos.clone().requires_grad_(),), atol=1e-6
    )


def test_surface_measures_have_derivatives() -> None:
    ball = generate.ball(1)
    sphere = ball.topology.facets[ball.topology.boundary_facets]
    surface = Mesh.from_cells(ball.pos, {"triangle": sphere}, repair=["orphan"])
    pos = surface.pos.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: surface.moved(x).volumes(), (pos,))


# -- invariances -------------------------------------------------------------------------------


@given(any_meshes(), seeds)
def test_volumes_follow_affine_maps(mesh: Mesh, seed: int) -> None:
    matrix = random_matrix(mesh.dim, seed)
    mapped = moved_along(mesh, matrix, matrix[0])
    factor = torch.linalg.det(matrix)
    scale = matrix.norm() ** mesh.dim
    torch.testing.assert_close(
        mapped.volumes() / scale, mesh.volumes() * factor / scale, rtol=1e-10, atol=1e-12
    )
    close(mapped.centroids(), mesh.centroids() @ matrix.T + matrix[0])


@given(any_meshes(), seeds)
def test_volumes_do_not_depend_on_the_numbering(mesh: Mesh, seed: int) -> None:
    other, _, cell = renumbered(mesh, seed)
    close(other.volumes(), mesh.volumes()[cell])
    close(other.centroids(), mesh.centroids()[cell])
    close(geometry.min_corner_jacobians(other), geometry.min_corner_jacobians(mesh)[cell])


def test_small_cells_far_from_the_origin_keep_their_volume() -> None:
    """Relative positions first: no digits are lost to the distance from the origin."""
    mesh = random_mesh("mixed3", [2, 2, 2], 0, stretch=1.0)
    snapped = mesh.moved((mesh.pos * 2**20).round() / 2**20)  # so that the shift is exact
    far = snapped.moved(snapped.pos + 2.0**20)
    close(far.volumes(), snapped.volumes(), 1e-14)
