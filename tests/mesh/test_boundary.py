"""Corners, tag changes, inner interfaces, and the directions in which constrained nodes slide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import any_meshes, random_affine, random_mesh
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.mesh.boundary import (
    constraint_facets,
    corner_nodes,
    motion_gram,
    sliding_directions,
)


def places(mesh: Mesh, nodes: Tensor) -> set[tuple[float, ...]]:
    return {tuple(point) for point in mesh.pos[nodes].round(decimals=9).tolist()}


def freedom(mesh: Mesh) -> dict[int, int]:
    """Number of free directions of each constrained node."""
    nodes, _, free = sliding_directions(mesh)
    return dict(zip(nodes.tolist(), free.tolist(), strict=True))


def corners_of_box(*sides: tuple[float, float]) -> set[tuple[float, ...]]:
    grid = np.meshgrid(*sides, indexing="ij")
    return {tuple(point) for point in np.stack([x.ravel() for x in grid], axis=1).tolist()}


def with_tags(mesh: Mesh, **tags: object) -> Mesh:
    return Mesh.from_cells(mesh.pos, mesh.cells, **tags)  # type: ignore[arg-type]


def untagged(mesh: Mesh) -> Mesh:
    return with_tags(mesh)


# -- corners -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_corners_of_a_rectangle(cell: str) -> None:
    mesh = generate.rectangle(4, 3, upper=(2.0, 1.0), cell=cell)  # type: ignore[arg-type]
    expected = corners_of_box((0.0, 2.0), (0.0, 1.0))
    assert places(mesh, corner_nodes(mesh)) == expected
    assert places(mesh, corner_nodes(untagged(mesh))) == expected


@pytest.mark.parametrize("cell", ["tetra", "hexahedron", "wedge"])
def test_corners_of_a_box(cell: str) -> None:
    mesh = generate.box(3, 2, 4, cell=cell)  # type: ignore[arg-type]
    expected = corners_of_box((0.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    assert places(mesh, corner_nodes(mesh)) == expected
    assert places(mesh, corner_nodes(untagged(mesh))) == expected


def test_corners_of_an_l() -> None:
    mesh = generate.l_shape(3)
    assert places(mesh, corner_nodes(mesh)) == {
        *((-1, -1), (0, -1), (0, 0), (1, 0), (1, 1), (-1, 1)),
    }


def test_ends_of_an_interval_are_corners() -> None:
    assert corner_nodes(generate.interval(4)).tolist() == [0, 4]


@pytest.mark.parametrize(
    "mesh",
    [generate.disk(2), generate.disk(6), generate.annulus(4), generate.ball(4)],
    ids=["12 sides", "36 sides", "annulus", "ball"],
)
def test_smooth_shapes_have_no_corners(mesh: Mesh) -> None:
    """Twelve sides turn by exactly 30 degrees: not by more."""
    assert len(corner_nodes(mesh)) == 0


def test_the_rim_of_a_cylinder_has_no_corners() -> None:
    disk = generate.disk(5)
    low = torch.cat([disk.pos, torch.zeros(disk.num_nodes, 1)], dim=1)
    high = low + torch.tensor([0, 0, 1.0])
    bottom = disk.cells["triangle"]
    mesh = Mesh.from_cells(
        torch.cat([low, high]), {"wedge": torch.cat([bottom, bottom + disk.num_nodes], dim=1)}
    )
    assert len(corner_nodes(mesh)) == 0
    assert len(corner_nodes(mesh, angle=8.0)) == 2 * 30  # they turn by 12 degrees


@pytest.mark.parametrize("turn", [10.0, 29.0, 31.0, 60.0, 90.0, 120.0, 150.0, 165.0, 179.0])
@pytest.mark.parametrize("angle", [5.0, 30.0, 55.0])
def test_a_corner_turns_by_more_than_the_angle(turn: float, angle: float) -> None:
    """The tip of a kite, up to a knife edge as at the trailing edge of a wing."""
    half = np.radians(180 - turn) / 2
    pos = [[0.0, 0], [np.cos(half), -np.sin(half)], [2.0, 0], [np.cos(half), np.sin(half)]]
    mesh = Mesh.from_cells(pos, {"triangle": [[0, 1, 2], [0, 2, 3]]})
    assert (0 in corner_nodes(mesh, angle=angle).tolist()) == (turn > angle)


def test_a_reentrant_knife_edge_is_a_corner() -> None:
    """A thin wedge cut out of a disk."""
    mesh = generate.disk(1)
    radius, turn = mesh.pos.norm(dim=1), torch.atan2(mesh.pos[:, 1], mesh.pos[:, 0]) % 6.28
    assert radius[0] == 0
    cut = mesh.cells["triangle"][:5]  # a sixth is missing: opened until almost closed
    keep = torch.unique(cut)
    angle = turn[keep] * 355 / 300
    pos = radius[keep][:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    opened = Mesh.from_cells(pos, {"triangle": torch.searchsorted(keep, cut)})
    assert 0 in corner_nodes(opened).tolist()
    assert freedom(opened)[0] == 0


def test_the_trailing_edge_of_an_aerofoil_is_a_corner() -> None:
    mesh = generate.naca("0012", h=0.2)
    wall = mesh.tagged_nodes("aerofoil")
    assert wall[mesh.pos[wall, 0].argmax()] in corner_nodes(mesh)


# -- tags --------------------------------------------------------------------------------------


def test_a_change_of_tag_on_a_straight_side_is_a_corner() -> None:
    mesh = untagged(generate.rectangle(4, 4))
    bottom = [[0, 1], [1, 2]]
    tagged = with_tags(mesh, facet_tags={"inlet": bottom})
    assert set(corner_nodes(tagged).tolist()) - set(corner_nodes(mesh).tolist()) == {2}
    both = with_tags(mesh, facet_tags={"inlet": bottom, "wall": [[2, 3], [3, 4]]})
    assert set(corner_nodes(both).tolist()) == set(corner_nodes(tagged).tolist())
    assert 2 in corner_nodes(both, angle=120.0).tolist()
    assert freedom(both)[2] == 0
    assert freedom(both)[1] == freedom(both)[3] == 1


def test_the_same_set_of_tags_is_one_side() -> None:
    mesh = untagged(generate.rectangle(4, 4))
    bottom = [[k, k + 1] for k in range(4)]
    overlapping = with_tags(
        mesh, facet_tags={"wall": bottom, "heated": bottom[1:3], "named": bottom[::-1]}
    )
    new = set(corner_nodes(overlapping).tolist()) - set(corner_nodes(mesh).tolist())
    assert new == {1, 3}


def test_a_change_of_tag_on_a_flat_face_fixes_its_curve() -> None:
    """A square patch in the bottom of a box: its corners fixed, its other nodes slide along it."""
    box = untagged(generate.box(4, 4, 2, cell="hexahedron"))
    nodes = box.topology.facets[box.topology.boundary_facets]
    middle = box.pos[nodes].mean(dim=1)
    patch = (middle[:, 2] == 0) & ((middle[:, :2] - 0.5).abs() < 0.25).all(dim=1)
    assert int(patch.sum()) == 4
    tagged = with_tags(box, facet_tags={"patch": nodes[patch]})
    new = set(corner_nodes(tagged).tolist()) - set(corner_nodes(box).tolist())
    corners = {(x, y, 0.0) for x in (0.25, 0.75) for y in (0.25, 0.75)}
    assert places(tagged, torch.tensor(sorted(new))) == corners
    free = freedom(tagged)
    at = {tuple(p): free[k] for k, p in enumerate(tagged.pos.tolist()) if k in free}
    assert at[0.5, 0.5, 0.0] == 2  # inside the patch
    assert at[0.5, 0.25, 0.0] == 1  # on its border
    assert at[0.25, 0.25, 0.0] == 0
    assert at[0.5, 0.5, 1.0] == 2


def test_tag_that_goes_round_a_corner_leaves_it_a_corner() -> None:
    mesh = untagged(generate.rectangle(2, 2))
    ring = mesh.topology.facets[mesh.topology.boundary_facets]
    assert torch.equal(corner_nodes(with_tags(mesh, facet_tags={"all": ring})), corner_nodes(mesh))


# -- inner interfaces --------------------------------------------------------------------------


def test_interfaces_of_cell_tags_are_constraints() -> None:
    mesh = untagged(generate.rectangle(4, 4, cell="quad"))
    left = torch.nonzero(mesh.centroids()[:, 0] < 0.5).squeeze(1)
    tagged = with_tags(mesh, cell_tags={"left": left})
    extra = set(constraint_facets(tagged).tolist()) - set(constraint_facets(mesh).tolist())
    ends = mesh.topology.facets[torch.tensor(sorted(extra))]
    assert (mesh.pos[ends][:, :, 0] == 0.5).all()
    assert len(extra) == 4
    nodes, directions, free = sliding_directions(tagged)
    inner = {
        node: direction[0]
        for node, direction, count in zip(nodes.tolist(), directions, free.tolist(), strict=True)
        if tagged.pos[node, 0] == 0.5 and count == 1
    }
    assert len(inner) == 3
    assert all(abs(direction[1]) == pytest.approx(1) for direction in inner.values())
    # Where the interface meets the side, the node can leave neither.
    assert {(0.5, 0.0), (0.5, 1.0)} <= places(tagged, corner_nodes(tagged))


def test_cells_with_the_same_tags_have_no_interface() -> None:
    mesh = untagged(generate.rectangle(4, 4))
    cells = torch.arange(mesh.num_cells)
    one = with_tags(mesh, cell_tags={"a": cells, "b": cells.flip(0)})
    assert torch.equal(constraint_facets(one), constraint_facets(mesh))
    two = with_tags(mesh, cell_tags={"a": cells, "b": cells[:3]})
    assert len(constraint_facets(two)) > len(constraint_facets(mesh))


def test_tagged_inner_facets_are_constraints() -> None:
    mesh = untagged(generate.rectangle(4, 4))
    baffle = [[11, 12], [12, 13]]  # in the middle row
    tagged = with_tags(mesh, facet_tags={"baffle": baffle})
    extra = set(constraint_facets(tagged).tolist()) - set(constraint_facets(mesh).tolist())
    assert {frozenset(mesh.topology.facets[k].tolist()) for k in extra} == {
        frozenset(facet) for facet in baffle
    }
    assert freedom(tagged)[12] == 1


def test_a_turning_interface_is_fixed_where_it_turns() -> None:
    mesh = untagged(generate.rectangle(4, 4, cell="quad"))
    inside = ((mesh.centroids() - 0.5).abs() < 0.25).all(dim=1)
    tagged = with_tags(mesh, cell_tags={"core": torch.nonzero(inside).squeeze(1)})
    new = set(corner_nodes(tagged).tolist()) - set(corner_nodes(mesh).tolist())
    assert places(mesh, torch.tensor(sorted(new))) == corners_of_box((0.25, 0.75), (0.25, 0.75))


# -- sliding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron", "wedge"])
@pytest.mark.parametrize("seed", range(2))
def test_nodes_of_a_box_slide_in_as_many_directions_as_their_place_has(
    cell: str, seed: int
) -> None:
    """Also rotated, stretched and with jittered nodes."""
    d = 2 if cell in ("triangle", "quad") else 3
    unit = random_mesh(cell, [3] * d, seed, jitter=0.2, shuffle=False)
    matrix = torch.from_numpy(random_affine(np.random.default_rng(seed), d, 3.0))
    mesh = unit.moved(unit.pos @ matrix.T)
    nodes, directions, free = sliding_directions(mesh)
    on = ((unit.pos == 0) | (unit.pos == 1)).sum(dim=1)
    assert nodes.tolist() == torch.nonzero(on).squeeze(1).tolist()
    assert torch.equal(free, d - on[nodes])
    identity = torch.eye(d, dtype=torch.float64).expand(len(nodes), d, d)
    torch.testing.assert_close(directions @ directions.transpose(1, 2), identity)
    back = directions @ torch.linalg.inv(matrix).T  # a free step keeps the unit coordinate
    for row, node in enumerate(nodes.tolist()):
        stays = (unit.pos[node] == 0) | (unit.pos[node] == 1)
        assert (
            back[row, : int(free[row])][:, stays].abs().max().item() < 1e-9 if free[row] else True
        )


def test_nodes_of_curved_boundaries_do_not_slide() -> None:
    for mesh in (generate.disk(4), generate.ball(3), generate.annulus(3)):
        assert set(freedom(mesh).values()) == {0}
        assert sorted(freedom(mesh)) == mesh.boundary_nodes.tolist()


def test_nodes_of_a_cylinder_slide_along_its_axis() -> None:
    disk = generate.disk(3)
    layers = [
        torch.cat([disk.pos, torch.full((disk.num_nodes, 1), z)], dim=1) for z in (0.0, 0.5, 1.0)
    ]
    flat, n = disk.cells["triangle"], disk.num_nodes
    wedges = torch.cat([torch.cat([flat + k * n, flat + (k + 1) * n], dim=1) for k in (0, 1)])
    mesh = Mesh.from_cells(torch.cat(layers), {"wedge": wedges})
    nodes, directions, free = sliding_directions(mesh)
    rim = mesh.pos[nodes][:, :2].norm(dim=1) > 0.999
    end = mesh.pos[nodes][:, 2] != 0.5
    assert (free[rim & ~end] == 1).all()
    assert (free[rim & end] == 0).all()
    assert (free[~rim & end] == 2).all()
    along = directions[rim & ~end][:, 0]
    torch.testing.assert_close(along[:, 2].abs(), torch.ones_like(along[:, 2]))


@pytest.mark.parametrize(("bend", "free"), [(1e-7, 1), (1e-3, 0)])
def test_a_side_is_flat_up_to_the_tolerance(bend: float, free: int) -> None:
    mesh = untagged(generate.rectangle(2, 2))
    pos = mesh.pos.clone()
    pos[1, 1] -= bend
    assert freedom(mesh.moved(pos))[1] == free
    nodes, _, loose = sliding_directions(mesh.moved(pos), flat_tolerance=1e-2)
    assert loose[nodes == 1].item() == 1


def test_the_end_of_a_crack_does_not_slide() -> None:
    """Its two sides have opposite normals: no direction of the plane may be taken for free."""
    grid = untagged(generate.rectangle(4, 4))
    cells = grid.cells["triangle"].clone()
    upper = grid.centroids()[:, 1] > 0.5
    for twin, node in enumerate((10, 11), start=grid.num_nodes):  # from the left side to node 12
        cells[upper] = torch.where(cells[upper] == node, twin, cells[upper])
    pos = torch.cat([grid.pos, grid.pos[[10, 11]]])
    mesh = Mesh.from_cells(pos, {"triangle": cells}, allow=["duplicate"])
    free = freedom(mesh)
    assert free[12] == 0
    assert free[11] == free[grid.num_nodes + 1] == 1
    assert 12 in corner_nodes(mesh).tolist()


def test_the_front_of_a_crack_in_a_solid_slides_along_itself() -> None:
    box = untagged(generate.box(4, 2, 2, cell="hexahedron"))
    front = torch.nonzero((box.pos[:, 0] == 0.5) & (box.pos[:, 2] == 0.5)).squeeze(1)
    open_nodes = torch.nonzero((box.pos[:, 0] < 0.5) & (box.pos[:, 2] == 0.5)).squeeze(1)
    cells = box.cells["hexahedron"].clone()
    upper = box.centroids()[:, 2] > 0.5
    for twin, node in enumerate(open_nodes.tolist(), start=box.num_nodes):
        cells[upper] = torch.where(cells[upper] == node, twin, cells[upper])
    pos = torch.cat([box.pos, box.pos[open_nodes]])
    mesh = Mesh.from_cells(pos, {"hexahedron": cells}, allow=["duplicate"])
    nodes, directions, free = sliding_directions(mesh)
    middle = front[box.pos[front][:, 1] == 0.5]
    row = torch.nonzero(nodes == middle).item()
    assert free[row] == 1
    torch.testing.assert_close(
        directions[row, 0].abs(), torch.tensor([0.0, 1, 0], dtype=torch.float64)
    )


def test_surfaces_cannot_be_moved_yet() -> None:
    surface = Mesh.from_cells([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]], {"triangle": [[0, 1, 2]]})
    with pytest.raises(MeshError, match="2D cells in 3D: nodes of a surface mesh cannot be moved"):
        sliding_directions(surface)


# -- invariances -------------------------------------------------------------------------------


@given(any_meshes(tags=True, max_cells=3), st.integers(0, 2**32 - 1))
def test_constraints_turn_with_the_mesh(mesh: Mesh, seed: int) -> None:
    rotation = torch.from_numpy(random_affine(np.random.default_rng(seed), mesh.dim, 1.0))
    nodes, gram = motion_gram(mesh)
    turned_nodes, turned = motion_gram(mesh.moved(3 * mesh.pos @ rotation.T + 1))
    assert torch.equal(nodes, turned_nodes)
    torch.testing.assert_close(turned, rotation @ gram @ rotation.T, rtol=0, atol=1e-9)
    assert set(mesh.boundary_nodes.tolist()) <= set(nodes.tolist())


def test_a_batch_has_the_constraints_of_its_meshes() -> None:
    meshes = [random_mesh("mixed3", [2, 2, 2], k, tags=True) for k in range(2)]
    batch = Batch.from_data_list(meshes)
    starts = batch.ptr[:-1]
    corners = [corner_nodes(m) + s for m, s in zip(meshes, starts, strict=True)]
    assert torch.equal(corner_nodes(batch), torch.cat(corners))
    nodes, _, free = sliding_directions(batch)
    apart = [sliding_directions(mesh) for mesh in meshes]
    assert torch.equal(nodes, torch.cat([p[0] + s for p, s in zip(apart, starts, strict=True)]))
    assert torch.equal(free, torch.cat([p[2] for p in apart]))
