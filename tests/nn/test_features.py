"""Features: invariances and values on a regular grid."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from strategies import any_meshes, random_mesh

from meshlearn.mesh import Mesh, generate
from meshlearn.nn import (
    boundary_normals,
    edge_features,
    invariant_features,
    local_size,
    segments,
)
from meshlearn.nn.features import INVARIANTS


def turned(mesh: Mesh, seed: int = 0) -> tuple[Mesh, torch.Tensor]:
    """The mesh, rotated, scaled and shifted, and the rotation."""
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(
        torch.randn(mesh.dim, mesh.dim, dtype=torch.float64, generator=generator)
    )
    turn[0] *= torch.linalg.det(turn).sign()
    return mesh.moved(7.0 * mesh.pos @ turn.T + 3.0), turn


@given(any_meshes())
@settings(max_examples=20, deadline=None)
def test_translation_and_scale_change_nothing_and_rotations_turn(mesh: Mesh) -> None:
    base = edge_features(mesh)
    moved, turn = turned(mesh)
    found = edge_features(moved)
    assert torch.allclose(found[:, -1], base[:, -1], atol=1e-5)
    assert torch.allclose(found[:, :-1], base[:, :-1] @ turn.T.float(), atol=1e-5)


@given(any_meshes())
@settings(max_examples=20, deadline=None)
def test_invariant_features_do_not_change_and_normals_turn(mesh: Mesh) -> None:
    moved, turn = turned(mesh)
    base = invariant_features(mesh)
    assert base.shape == (mesh.num_edges, INVARIANTS)
    assert torch.allclose(invariant_features(moved), base, atol=1e-5)
    normal = boundary_normals(mesh)
    assert torch.allclose(boundary_normals(moved), normal @ turn.T.float(), atol=1e-5)


def test_invariant_features_of_a_mirrored_mesh() -> None:
    mesh = generate.rectangle(4, 3, diagonal="left")
    mirrored = Mesh.from_cells(
        mesh.pos * torch.tensor([-1.0, 1.0]), {"triangle": mesh.cells["triangle"][:, [0, 2, 1]]}
    )
    assert torch.allclose(invariant_features(mirrored), invariant_features(mesh), atol=1e-6)


def test_a_regular_grid_of_quads() -> None:
    mesh = generate.rectangle(4, 4, cell="quad")
    assert torch.allclose(local_size(mesh), torch.tensor(0.25, dtype=torch.float64))
    features = edge_features(mesh)
    assert features.dtype == torch.float32
    assert torch.allclose(features[:, -1], torch.ones(mesh.num_edges))
    assert segments(mesh) is segments(mesh.moved(2 * mesh.pos))
    # an inner node of the grid: no pull, the second moment is the same in both directions
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    here = inner[mesh.edge_index].all(dim=0)
    wanted = torch.tensor([1, 1, 0.5, 0.5, 0, 0, 0, 0, 0, 0])
    assert torch.allclose(invariant_features(mesh)[here], wanted.expand(int(here.sum()), -1))


def test_normals_of_a_square_and_a_cube() -> None:
    for mesh in (generate.rectangle(4, 4), generate.box(3, 3, 3), generate.interval(4)):
        normal = boundary_normals(mesh)
        low, high = mesh.pos == 0, mesh.pos == 1
        sides = (low | high).sum(dim=1)
        assert torch.equal(normal[sides == 0], torch.zeros(int((sides == 0).sum()), mesh.dim))
        flat = sides == 1
        wanted = (high.float() - low.float())[flat]
        assert torch.allclose(normal[flat], wanted, atol=1e-6)
        assert torch.allclose(normal[sides > 0].norm(dim=1), torch.ones(int((sides > 0).sum())))


def test_triangles_among_quads_count_each_node_once() -> None:
    wedges = random_mesh("wedge", [3, 3, 3], jitter=0.0, shuffle=False)
    normal = boundary_normals(wedges)
    low, high = wedges.pos == 0, wedges.pos == 1
    # the edges and corners of the cube: equal shares of the sides that meet, of equal quads
    corner = ((low | high)[:, 2]) & ((low | high).sum(dim=1) == 1)
    assert torch.allclose(normal[corner], (high.float() - low.float())[corner], atol=1e-6)
    edge = (low[:, 0] | high[:, 0]) & (low[:, 1] | high[:, 1]) & ~(low | high)[:, 2]
    wanted = (high.float() - low.float())[edge] / 2**0.5
    assert torch.allclose(normal[edge], wanted, atol=1e-6)


def test_a_surface_in_space_has_no_boundary_normals() -> None:
    flat = generate.rectangle(3, 3)
    pos = torch.cat([flat.pos, flat.pos[:, :1] * 0], dim=1)
    surface = Mesh.from_cells(pos, {"triangle": flat.cells["triangle"]})
    assert not boundary_normals(surface).any()
    assert torch.isfinite(invariant_features(surface)).all()


def test_features_are_differentiable_in_the_nodes() -> None:
    mesh = generate.rectangle(3, 2)
    pos = mesh.pos.clone().requires_grad_(True)
    moved = mesh.moved(mesh.pos)
    moved["pos"] = pos
    (invariant_features(moved).sum() + edge_features(moved).square().sum()).backward()
    assert torch.isfinite(pos.grad).all()
    assert pos.grad.abs().max() > 0
