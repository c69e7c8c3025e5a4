"""Point location against brute force, exact interpolation, and all that can go wrong with it."""

from __future__ import annotations

import numpy as np
import pytest
import pyvista
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.spatial import Delaunay
from torch import Tensor

from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh._location.boxes import BoxTree
from meshlearn.mesh._location.closest import closest_weights
from meshlearn.mesh._location.simplices import cone_simplices
from meshlearn.mesh.locate import Location, Locator

FloatArray = np.ndarray


def delaunay(seed: int, d: int, n: int = 60, holes: float = 0.0) -> tuple[Tensor, Tensor]:
    """Positions and simplices of random points, a share of the simplices taken out."""
    rng = np.random.default_rng(seed)
    pos = rng.random((n, d)) * rng.uniform(0.1, 10, d) + rng.normal(0, 5, d)
    if d == 1:
        order = np.argsort(pos[:, 0])
        simplices = np.column_stack([order[:-1], order[1:]])
    else:
        simplices = Delaunay(pos).simplices.astype(np.int64)
    keep = rng.random(len(simplices)) >= holes
    keep[0] = True
    return torch.from_numpy(pos), torch.from_numpy(simplices[keep])


def around(pos: Tensor, count: int, seed: int, margin: float = 0.1) -> Tensor:
    """Random points in the slightly enlarged bounding box."""
    low, high = pos.amin(0), pos.amax(0)
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand((count, pos.shape[1]), generator=generator, dtype=torch.float64)
    return low + (high - low) * ((1 + 2 * margin) * unit - margin)


def all_barycentric(pos: Tensor, simplices: Tensor, points: Tensor) -> Tensor:
    """Coordinates of each point in each simplex `[q, m, d + 1]`, the slow and sure way."""
    ones = torch.ones((*simplices.shape, 1), dtype=torch.float64)
    matrices = torch.cat([pos[simplices], ones], dim=2).mT
    homogeneous = torch.cat([points, torch.ones((len(points), 1), dtype=torch.float64)], dim=1)
    return torch.linalg.solve(matrices[None], homogeneous[:, None, :, None])[..., 0]


def placed(locator: Locator, pos: Tensor, location: Location) -> Tensor:
    """The positions that a location stands for."""
    return locator.interpolate(pos, location)


def grid_mesh(kind: str, cells: int = 4, seed: int = 0) -> Mesh:
    """The unit square or cube in cells of one kind, inner nodes moved (faces stay flat)."""
    axes = [np.linspace(0, 1, cells + 1)] * (2 if kind in ("quad", "triangle") else 3)
    rng = np.random.default_rng(seed)
    axes = [np.r_[0, axis[1:-1] + rng.uniform(-0.08, 0.08, cells - 1), 1] for axis in axes]
    pos = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    index = np.arange(len(pos)).reshape([cells + 1] * len(axes))
    a, b = slice(0, -1), slice(1, None)
    if len(axes) == 2:
        block = [index[a, a], index[b, a], index[b, b], index[a, b]]
        interior = (pos > 0) & (pos < 1)
        pos = pos + interior.all(1)[:, None] * rng.uniform(-0.05, 0.05, pos.shape)
    else:
        block = [index[i, j, k] for k in (a, b) for i, j in ((a, a), (b, a), (b, b), (a, b))]
    nodes = np.stack([part.ravel() for part in block], axis=1)
    renumber = rng.permutation(len(pos))  # the cut of a cell depends on the node numbers
    pos, nodes = pos[np.argsort(renumber)], renumber[nodes]
    if kind == "wedge":
        nodes = np.concatenate([nodes[:, [0, 1, 2, 4, 5, 6]], nodes[:, [0, 2, 3, 4, 6, 7]]])
    if kind == "pyramid":
        faces = [(0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
        centres = len(pos) + np.arange(len(nodes))
        pos = np.concatenate([pos, pos[nodes].mean(axis=1)])
        nodes = np.concatenate(
            [np.column_stack([nodes[:, list(face)[::-1]], centres]) for face in faces]
        )
    return Mesh.from_cells(pos, {kind: nodes})


KINDS = ["quad", "hexahedron", "wedge", "pyramid"]


# -- against brute force ---------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
@given(seed=st.integers(0, 10_000), holes=st.sampled_from([0.0, 0.1, 0.5]))
def test_finds_what_brute_force_finds(d: int, seed: int, holes: float) -> None:
    pos, simplices = delaunay(seed, d, n=30, holes=holes)
    locator = Locator.from_simplices(pos, simplices)
    points = around(pos, 200, seed)
    location = locator.find(points)
    deepest = all_barycentric(pos, simplices, points).amin(2).amax(1)
    assert not location.outside[deepest > 1e-9].any()
    assert location.outside[deepest < -1e-9].all()
    inside = ~location.outside
    assert (location.barycentric >= 0).all()
    torch.testing.assert_close(location.barycentric.sum(1), torch.ones(200, dtype=torch.float64))
    torch.testing.assert_close(placed(locator, pos, location)[inside], points[inside])
    assert (location.distance[inside] == 0).all()


@pytest.mark.parametrize("d", [1, 2, 3])
@given(seed=st.integers(0, 10_000), holes=st.sampled_from([0.0, 0.3]))
def test_points_outside_go_to_the_nearest_point_of_the_mesh(
    d: int, seed: int, holes: float
) -> None:
    pos, simplices = delaunay(seed, d, n=12, holes=holes)
    locator = Locator.from_simplices(pos, simplices)
    points = around(pos, 60, seed, margin=0.5)
    location = locator.find(points)
    away = location.outside
    nearest = placed(locator, pos, location)
    torch.testing.assert_close((points - nearest).norm(dim=1)[away], location.distance[away])
    # No facet of any simplex has a nearer point: sample them densely.
    facets = torch.cat([simplices[:, [j for j in range(d + 1) if j != i]] for i in range(d + 1)])
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand((50, d), generator=generator, dtype=torch.float64) ** 2
    weights = torch.cat([weights / weights.sum(1, keepdim=True), torch.eye(d, dtype=torch.float64)])
    samples = torch.einsum("sw,fwd->fsd", weights, pos[facets]).reshape(-1, d)
    closest_sample = (points[:, None] - samples).norm(dim=2).amin(1)
    assert (location.distance[away] <= closest_sample[away] + 1e-12).all()


@given(seed=st.integers(0, 10_000))
def test_closest_point_of_a_triangle_satisfies_the_optimality_conditions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners, points = rng.normal(size=(50, 3, 3)), 2 * rng.normal(size=(50, 3))
    corners[0, 2] = corners[0, 1]  # flat
    weights = closest_weights(points, corners)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1)
    closest = np.einsum("pw,pwd->pd", weights, corners)
    # A convex problem: at the minimum no corner lies on the side of the point.
    towards = np.einsum("pd,pwd->pw", points - closest, corners - closest[:, None])
    assert (towards <= 1e-12 * (1 + np.abs(towards).max())).all()


@given(seed=st.integers(0, 10_000), k=st.integers(1, 3), m=st.integers(1, 300))
def test_box_tree_returns_exactly_the_near_boxes(seed: int, k: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    lower = rng.normal(size=(m, k))
    upper = lower + rng.exponential(0.2, size=(m, k)) * rng.integers(0, 2, size=(m, k))
    points, radius = rng.normal(size=(40, k)), rng.uniform(0, 0.5, 40) * rng.integers(0, 2, 40)
    query, box = BoxTree(lower, upper).within(points, radius)
    gap = np.maximum(np.maximum(lower - points[:, None], points[:, None] - upper), 0)
    expected = np.argwhere((gap**2).sum(2) <= radius[:, None] ** 2)
    found = np.column_stack([query, box])
    assert (np.diff(query) >= 0).all()
    np.testing.assert_array_equal(found[np.lexsort(found.T[::-1])], expected)


@pytest.mark.parametrize("kind", KINDS)
def test_parent_cells_are_those_of_vtk(kind: str) -> None:
    mesh = grid_mesh(kind)
    locator = Locator(mesh)
    points = around(mesh.pos, 300, seed=1, margin=-0.01)
    location = locator.find(points)
    found = locator.parent[location.simplex]
    flat = np.zeros((mesh.num_nodes, 3))
    flat[:, : mesh.dim] = mesh.pos.numpy()
    nodes = mesh.cells[kind].numpy()
    grid = pyvista.UnstructuredGrid(
        {{"quad": 9, "hexahedron": 12, "wedge": 13, "pyramid": 14}[kind]: nodes}, flat
    )
    at = np.zeros((300, 3))
    at[:, : mesh.dim] = points.numpy()
    clear = (location.barycentric > 0.01).all(dim=1).numpy()  # VTK is generous near edges
    assert clear.sum() > 200
    np.testing.assert_array_equal(found.numpy()[clear], grid.find_containing_cell(at)[clear])


# -- interpolation ---------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
@given(seed=st.integers(0, 10_000))
def test_linear_fields_are_exact(d: int, seed: int) -> None:
    pos, simplices = delaunay(seed, d, n=200)
    locator = Locator.from_simplices(pos, simplices)
    points = around(pos, 300, seed, margin=-0.2)
    location = locator.find(points)
    inside = ~location.outside
    slopes = torch.randn((2, 3, d), dtype=torch.float64)
    field = torch.einsum("abd,nd->nab", slopes, pos) + 1
    exact = torch.einsum("abd,nd->nab", slopes, points) + 1
    error = (locator.interpolate(field, location) - exact)[inside].abs().max()
    assert error <= 1e-12 * field.abs().max()
    gradient = locator.gradient(field, location)
    assert gradient.shape == (300, 2, 3, d)
    torch.testing.assert_close(gradient, slopes.expand_as(gradient), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_linear_fields_are_exact_on_other_cells(kind: str) -> None:
    mesh = grid_mesh(kind)
    locator = Locator(mesh)
    points = around(mesh.pos, 500, seed=2, margin=0)
    location = locator.find(points)
    assert not location.outside.any()
    slope = torch.arange(1.0, mesh.dim + 1, dtype=torch.float64)
    assert (locator.interpolate(mesh.pos @ slope, location) - points @ slope).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_cut_into_matching_simplices(kind: str) -> None:
    mesh = grid_mesh(kind, cells=3)
    nodes = mesh.cells[kind].numpy()
    cut = cone_simplices(kind, nodes)
    corners = mesh.pos.numpy()[cut]
    volumes = np.linalg.det(corners[:, :, 1:] - corners[:, :, :1]) / (2 if mesh.dim == 2 else 6)
    assert (volumes > 0).all()
    np.testing.assert_allclose(volumes.sum(1), mesh.volumes().numpy(), rtol=1e-10)
    simplices = np.sort(cut.reshape(-1, mesh.dim + 1), axis=1)
    facets = np.concatenate([np.delete(simplices, i, axis=1) for i in range(mesh.dim + 1)])
    unique, counts = np.unique(facets, axis=0, return_counts=True)
    assert counts.max() == 2
    on_boundary = mesh.pos.numpy()[unique[counts == 1]]
    flat = [(on_boundary[:, :, j] == side).all(1) for j in range(mesh.dim) for side in (0, 1)]
    assert np.any(flat, axis=0).all()


def test_mixed_cells() -> None:
    pos = [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    mesh = Mesh.from_cells(
        pos, [("triangle", [[1, 2, 5]]), ("quad", [[0, 1, 4, 3]]), ("triangle", [[1, 5, 4]])]
    )
    locator = Locator(mesh)
    points = torch.tensor([[0.2, 0.7], [1.8, 0.1], [1.2, 0.9]], dtype=torch.float64)
    assert locator.parent[locator.find(points).simplex].tolist() == [1, 0, 2]


def test_interpolation_and_gradient_are_differentiable_in_the_values() -> None:
    pos, simplices = delaunay(0, 2, n=12)
    locator = Locator.from_simplices(pos, simplices)
    location = locator.find(around(pos, 5, seed=0, margin=-0.3))
    values = torch.randn((12, 2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: locator.interpolate(v, location), values)
    assert torch.autograd.gradcheck(lambda v: locator.gradient(v, location), values)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_interpolation_is_differentiable_in_the_points(d: int) -> None:
    pos, simplices = delaunay(1, d, n=40)
    locator = Locator.from_simplices(pos, simplices)
    points = around(pos, 20, seed=3, margin=0.2)
    outside = locator.find(points).outside
    assert outside.any()
    assert not outside.all()
    values = torch.randn(40, dtype=torch.float64)
    moving = points.clone().requires_grad_()
    location = locator.find(moving)
    torch.testing.assert_close(location.barycentric, locator.find(points).barycentric)
    (slope,) = torch.autograd.grad(locator.interpolate(values, location).sum(), moving)
    torch.testing.assert_close(slope[~outside], locator.gradient(values, location)[~outside])
    assert (slope[outside] == 0).all()


def test_precision_and_integers() -> None:
    pos, simplices = delaunay(0, 2)
    locator = Locator.from_simplices(pos, simplices)
    location = locator.find(around(pos, 9, seed=0, margin=-0.3))
    assert locator.interpolate(pos[:, 0].float(), location).dtype == torch.float32
    assert locator.gradient(pos[:, 0].float(), location).dtype == torch.float32
    ones = torch.ones(len(pos), dtype=torch.int64)
    torch.testing.assert_close(
        locator.interpolate(ones, location), torch.ones(9, dtype=torch.float64)
    )


# -- on nodes, edges and the boundary --------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
@example(seed=3362, holes=0.5)  # a boundary triangle so flat that normal equations fail
@given(seed=st.integers(0, 10_000), holes=st.sampled_from([0.0, 0.4]))
def test_points_of_the_mesh_are_inside_with_round_off(d: int, seed: int, holes: float) -> None:
    pos, simplices = delaunay(seed, d, n=30, holes=holes)
    locator = Locator.from_simplices(pos, simplices)
    corners = pos[simplices]
    middles = [corners[:, : k + 1].mean(1) for k in range(d + 1)]  # nodes, edges, faces, cells
    points = torch.cat(middles)
    size = (pos.amax(0) - pos.amin(0)).norm()
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(points.shape, generator=generator, dtype=torch.float64) - 0.5
    for at in (points, points + 1e-13 * size * noise):
        location = locator.find(at)
        assert not location.outside.any()
        assert (location.distance == 0).all()
        assert (placed(locator, pos, location) - at).abs().max() < 1e-12 * size


def test_very_flat_cells() -> None:
    """Layers of aspect ratio 1e7 along a wall, where barycentric coordinates lose digits."""
    x, y = np.meshgrid(np.linspace(0, 1, 6), np.r_[0, np.cumsum(2.0 ** np.arange(24))] * 1e-7)
    index = np.arange(x.size).reshape(x.shape)
    quads = [index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]]
    mesh = Mesh.from_cells(
        np.column_stack([x.ravel(), y.ravel()]), {"quad": np.stack([q.ravel() for q in quads], 1)}
    )
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)
    turned = mesh.moved(mesh.pos @ turn)
    locator = Locator(turned)
    ends = turned.pos[turned.topology.edges]
    points = torch.cat([turned.pos, ends.mean(1), 0.3 * ends[:, 0] + 0.7 * ends[:, 1]])
    location = locator.find(points)
    assert not location.outside.any()
    assert (placed(locator, turned.pos, location) - points).abs().max() < 1e-12


# -- starting points, long walks, holes, graded meshes ---------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
@given(seed=st.integers(0, 10_000), holes=st.sampled_from([0.0, 0.4]))
def test_the_hint_does_not_change_the_answer(d: int, seed: int, holes: float) -> None:
    pos, simplices = delaunay(seed, d, n=200, holes=holes)
    locator = Locator.from_simplices(pos, simplices)
    points = around(pos, 200, seed)
    expected = locator.find(points)
    generator = torch.Generator().manual_seed(seed)
    hint = torch.randint(-2, len(simplices) + 2, (200,), generator=generator)
    for start in (hint, expected.simplex):
        location = locator.find(points, hint=start)
        assert torch.equal(location.outside, expected.outside)
        torch.testing.assert_close(location.distance, expected.distance)
        torch.testing.assert_close(
            placed(locator, pos, location), placed(locator, pos, expected), rtol=0, atol=1e-10
        )


def test_walks_around_a_hole_end_in_the_exact_search() -> None:
    """A thin ring, hints on the far side: every straight walk meets the hole."""
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    i = np.arange(400)
    j = (i + 1) % 400
    mesh = Mesh.from_cells(
        np.concatenate([0.98 * circle, circle]),
        {"quad": np.column_stack([i, i + 400, j + 400, j])},
    )
    locator = Locator(mesh)
    points = mesh.centroids()
    expected = torch.arange(400)
    hint = locator.find(points).simplex.roll(200)
    location = locator.find(points, hint=hint)
    assert not location.outside.any()
    assert torch.equal(locator.parent[location.simplex], expected)
    centre = locator.find(torch.zeros((1, 2), dtype=torch.float64))
    assert centre.outside.item()
    assert centre.distance.item() == pytest.approx(0.98 * np.cos(np.pi / 400), rel=1e-12)


def test_strongly_graded_mesh() -> None:
    """Cells from 1e-6 to 1 in size: a uniform grid alone would start all walks in one bin."""
    rng = np.random.default_rng(0)
    radius, angle = 10.0 ** rng.uniform(-6, 0, 5000), rng.uniform(0, 2 * np.pi, 5000)
    pos = radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    simplices = torch.from_numpy(Delaunay(pos).simplices.astype(np.int64))
    nodes = torch.from_numpy(pos)
    locator = Locator.from_simplices(nodes, simplices)
    points = 0.9 * nodes.roll(1, 0)
    location = locator.find(points)
    inside = ~location.outside
    assert inside.float().mean() > 0.99
    error = (placed(locator, nodes, location) - points)[inside].norm(dim=1)
    assert (error < 1e-13).all()


def test_same_answer_twice_in_any_order() -> None:
    pos, simplices = delaunay(4, 3, n=300, holes=0.2)
    points = around(pos, 500, seed=1)
    first = Locator.from_simplices(pos, simplices).find(points)
    second = Locator.from_simplices(pos, simplices).find(points)
    backwards = Locator.from_simplices(pos, simplices).find(points.flip(0))
    for name in ("simplex", "barycentric", "outside", "distance"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert torch.equal(getattr(first, name), getattr(backwards, name).flip(0))


def test_no_points_and_one_cell() -> None:
    mesh = Mesh.from_cells([[0, 0], [1, 0], [0, 1]], {"triangle": [[0, 1, 2]]})
    locator = Locator(mesh)
    empty = locator.find(torch.zeros((0, 2), dtype=torch.float64))
    assert empty.barycentric.shape == (0, 3)
    assert locator.interpolate(mesh.pos, empty).shape == (0, 2)
    location = locator.find(torch.tensor([[0.25, 0.25], [3.0, 0.0]], dtype=torch.float64))
    assert location.outside.tolist() == [False, True]
    assert location.distance.tolist() == [0, 2]
    assert placed(locator, mesh.pos, location)[1].tolist() == [1, 0]


# -- several meshes in one -------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
def test_overlapping_components_are_kept_apart(d: int) -> None:
    first, second = delaunay(0, d, n=50, holes=0.2), delaunay(0, d, n=40)
    pos = torch.cat([first[0], second[0] + 0.1])
    simplices = torch.cat([first[1], second[1] + 50])
    component = torch.cat([torch.zeros(50), torch.ones(40)]).long()
    both = Locator.from_simplices(pos, simplices, component=component)
    points = around(pos, 300, seed=0, margin=3)
    points[::2] = around(pos, 150, seed=1)
    for number, (own_pos, own) in enumerate((first, second)):
        alone = Locator.from_simplices(own_pos + 0.1 * number, own).find(points)
        ids = torch.full((300,), number)
        hint = torch.randint(0, len(simplices), (300,))
        for together in (both.find(points, component=ids), both.find(points, hint, ids)):
            assert torch.equal(together.outside, alone.outside)
            torch.testing.assert_close(together.distance, alone.distance)
            assert (component[both.simplices[together.simplex]] == number).all()


# -- errors ----------------------------------------------------------------------------------


def test_errors_say_what_is_wrong() -> None:
    pos, simplices = delaunay(0, 2)
    locator = Locator.from_simplices(pos, simplices)
    with pytest.raises(MeshError, match=r"query points must be \[q, 2\], not \[3, 3\]"):
        locator.find(torch.zeros((3, 3)))
    with pytest.raises(MeshError, match="1 query points are not finite, first point 2"):
        locator.find(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, torch.nan]]))
    with pytest.raises(MeshError, match=r"hints must be \[3\]"):
        locator.find(torch.zeros((3, 2)), hint=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(MeshError, match="nodal values have 5 rows, the background mesh 60 nodes"):
        locator.interpolate(torch.zeros(5), locator.find(pos))
    with pytest.raises(MeshError, match="if and only if the locator was built with"):
        locator.find(pos, component=torch.zeros(60, dtype=torch.int64))
    with pytest.raises(MeshError, match=r"simplices in 2D must be \[m, 3\]"):
        Locator.from_simplices(pos, simplices[:, :2])
    with pytest.raises(MeshError, match="no cell with a volume"):
        Locator.from_simplices(torch.zeros((3, 2)), torch.tensor([[0, 1, 2]]))
    parts = Locator.from_simplices(pos, simplices, component=torch.zeros(60, dtype=torch.int64))
    with pytest.raises(MeshError, match="with 60 unknown"):
        parts.find(pos, component=torch.ones(60, dtype=torch.int64))
    surface = Mesh.from_cells([[0, 0, 0], [1, 0, 0], [0, 1, 0]], {"triangle": [[0, 1, 2]]})
    with pytest.raises(MeshError, match="cannot be located in 2D cells in 3D space"):
        Locator(surface)


def test_simplices_without_volume_are_passed_over() -> None:
    pos = torch.tensor([[0, 0], [1, 0], [0, 1], [0.5, 0.5], [1, 1]], dtype=torch.float64)
    flat = torch.tensor([[0, 1, 2], [1, 3, 2], [1, 4, 3], [3, 4, 2]])
    locator = Locator.from_simplices(pos, flat)
    location = locator.find(around(pos, 200, seed=0, margin=0))
    assert not location.outside.any()
    assert (locator.parent[location.simplex] != 1).all()
