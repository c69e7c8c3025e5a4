"""Which nodes may move, and where to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from strategies import random_mesh

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.movers.constraints import freedom


def rotation(angle: float) -> torch.Tensor:
    return torch.tensor(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float64
    )


@pytest.mark.parametrize("angle", [0.0, np.pi / 4, 1.0])
def test_on_a_square_corners_stay_and_sides_slide_along_themselves(angle: float) -> None:
    mesh = generate.rectangle(4, 4)
    turned = mesh.moved(mesh.pos @ rotation(angle).T)
    free = freedom(turned)
    x = mesh.pos
    on_side = ((x == 0) | (x == 1)).sum(dim=1)
    assert torch.equal(free.nodes, torch.nonzero(on_side > 0).squeeze(1))
    assert torch.equal(free.free, 2 - on_side[free.nodes])
    moved = free.project(torch.ones_like(x) @ rotation(angle).T) @ rotation(angle)
    expected = torch.ones_like(x)
    expected[(x[:, 0] == 0) | (x[:, 0] == 1), 0] = 0
    expected[(x[:, 1] == 0) | (x[:, 1] == 1), 1] = 0
    assert torch.allclose(moved, expected, atol=1e-14)


def test_on_a_box_faces_edges_and_corners_lose_one_two_and_three_directions() -> None:
    mesh = generate.box(3, 3, 3)
    free = freedom(mesh)
    on_side = ((mesh.pos == 0) | (mesh.pos == 1)).sum(dim=1)
    assert torch.equal(free.free, 3 - on_side[free.nodes])


def test_curved_boundaries_stay_where_they_are() -> None:
    mesh = generate.disk(6)
    free = freedom(mesh)
    assert torch.equal(free.nodes, mesh.boundary_nodes)
    assert int(free.free.max()) == 0


def test_a_node_where_tags_change_on_a_straight_side_stays() -> None:
    square = generate.rectangle(4, 4)
    bottom = square.facet_tags["bottom"]
    middle = square.pos[bottom].mean(dim=1)[:, 0]
    mesh = Mesh.from_cells(
        square.pos,
        square.cells,
        facet_tags={"inlet": bottom[middle < 0.5], "wall": bottom[middle > 0.5]},
    )
    free = freedom(mesh)
    where = torch.nonzero((mesh.pos[free.nodes] == torch.tensor([0.5, 0.0])).all(dim=1))
    assert free.free[where].item() == 0
    assert int((free.free == 1).sum()) == 4 * 3 - 1  # the other side nodes still slide


def test_in_3d_a_node_on_a_line_where_tags_change_slides_along_the_line() -> None:
    box = generate.box(4, 4, 4)
    top = box.facet_tags["top"]
    left = box.pos[top].mean(dim=1)[:, 0] < 0.5
    mesh = Mesh.from_cells(
        box.pos, box.cells, facet_tags={"heated": top[left], "cooled": top[~left]}
    )
    free = freedom(mesh)
    push = free.project(torch.ones_like(mesh.pos))
    x = mesh.pos
    line = (x[:, 0] == 0.5) & (x[:, 2] == 1) & (x[:, 1] > 0) & (x[:, 1] < 1)
    assert torch.allclose(push[line], torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    plane = (x[:, 0] == 0.25) & (x[:, 2] == 1) & (x[:, 1] > 0) & (x[:, 1] < 1)
    assert torch.allclose(push[plane], torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))


def test_an_interface_between_cell_tags_slides_on_itself() -> None:
    square = generate.rectangle(4, 4)
    left = square.centroids()[:, 0] < 0.5
    mesh = Mesh.from_cells(
        square.pos,
        square.cells,
        cell_tags={"steel": left.nonzero().squeeze(1), "air": (~left).nonzero().squeeze(1)},
    )
    push = freedom(mesh).project(torch.ones_like(mesh.pos))
    x = mesh.pos
    interface = (x[:, 0] == 0.5) & (x[:, 1] > 0) & (x[:, 1] < 1)
    assert torch.allclose(push[interface], torch.tensor([0.0, 1.0], dtype=torch.float64))
    # Its ends must stay on both the interface and the side.
    assert torch.count_nonzero(push[(x[:, 0] == 0.5) & (x[:, 1] == 0)]) == 0


def test_fixed_takes_tags_the_word_boundary_and_node_indices() -> None:
    mesh = generate.rectangle(4, 4)
    by_tag = freedom(mesh, ["left"])
    fixed = by_tag.nodes[by_tag.free == 0]
    assert set(mesh.tagged_nodes("left").tolist()) <= set(fixed.tolist())
    assert int(freedom(mesh, ["boundary"]).free.max()) == 0
    assert int(freedom(mesh, slide="none").free.max()) == 0
    inner = int((mesh.pos == 0.5).all(dim=1).nonzero())
    assert inner in freedom(mesh, torch.tensor([inner])).nodes
    assert torch.equal(freedom(mesh, "left").free, by_tag.free)


def test_unknown_tags_and_nodes_are_named() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="no tag 'inlet'; the mesh has 'left'"):
        freedom(mesh, ["inlet"])
    with pytest.raises(MeshError, match="node 99, but there are 9 nodes"):
        freedom(mesh, torch.tensor([99]))
    with pytest.raises(MeshError, match="slide must be"):
        freedom(mesh, slide="bent")  # type: ignore[arg-type]


def test_surfaces_are_refused() -> None:
    flat = generate.rectangle(2, 2)
    pos = torch.cat([flat.pos, flat.pos[:, :1] ** 2], dim=1)
    with pytest.raises(MeshError, match="surface mesh cannot be moved"):
        freedom(Mesh.from_cells(pos, flat.cells))


@pytest.mark.parametrize("cell", ["triangle", "tetra", "hexahedron"])
def test_the_basis_spans_exactly_the_allowed_motions(cell: str) -> None:
    mesh = random_mesh(cell, [3] * (2 if cell == "triangle" else 3), seed=2)
    free = freedom(mesh)
    basis = free.basis().toarray()
    assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    vectors = np.random.default_rng(0).normal(size=mesh.pos.shape)
    projected = (basis @ (basis.T @ vectors.reshape(-1))).reshape(vectors.shape)
    assert np.allclose(projected, free.project(torch.from_numpy(vectors)).numpy(), atol=1e-12)
    assert float(free.departure(free.project(torch.from_numpy(vectors))).max()) < 1e-12
