"""Edge features: invariances and values on a regular grid."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from strategies import any_meshes

from meshlearn.mesh import Mesh, generate
from meshlearn.nn import edge_features, local_size, segments


@given(any_meshes())
@settings(max_examples=20)
def test_translation_and_scale_change_nothing_and_rotations_turn(mesh: Mesh) -> None:
    base = edge_features(mesh)
    moved = edge_features(mesh.moved(7.0 * mesh.pos + 3.0))
    assert torch.allclose(moved, base, atol=1e-5)
    turn, _ = torch.linalg.qr(torch.randn(mesh.dim, mesh.dim, dtype=torch.float64))
    turned = edge_features(mesh.moved(mesh.pos @ turn.T))
    assert torch.allclose(turned[:, -1], base[:, -1], atol=1e-5)
    assert torch.allclose(turned[:, :-1], base[:, :-1] @ turn.T.float(), atol=1e-5)


def test_a_regular_grid_of_quads() -> None:
    mesh = generate.rectangle(4, 4, cell="quad")
    assert torch.allclose(local_size(mesh), torch.tensor(0.25, dtype=torch.float64))
    features = edge_features(mesh)
    assert features.dtype == torch.float32
    assert torch.allclose(features[:, -1], torch.ones(mesh.num_edges))
    assert segments(mesh) is segments(mesh.moved(2 * mesh.pos))
