"""Geometry-aware transformer: statistics of balls, quadrature in the softmax, 2D and 3D."""

from __future__ import annotations

import pytest
import torch
from graded_squares import graded, off, shared, wave

from meshlearn.fem import Dirichlet, FunctionSpace
from meshlearn.mesh import MeshError, generate
from meshlearn.operators import GeometryAwareTransformer, ball_statistics
from meshlearn.operators.gaot import AttentiveIntegral
from meshlearn.operators.gino import grid_transfer


def made(**options: object) -> GeometryAwareTransformer:
    torch.manual_seed(0)
    chosen = {"width": 8, "heads": 2, "blocks": 3, "tokens": 5, "radius": 0.3, **options}
    return GeometryAwareTransformer(["f"], ["u"], **chosen).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("dim", [2, 3])
def test_statistics_of_a_whole_and_of_a_half_ball(dim: int) -> None:
    mesh = generate.rectangle(60, 60) if dim == 2 else generate.box(24, 24, 24)
    radius = 0.2 if dim == 2 else 0.3
    transfer = grid_transfer(mesh, 9, radius, "volume")
    points = transfer.grid.points
    found = ball_statistics(transfer.into, transfer.grid.node_volume / radius**dim)
    assert found.shape == (9**dim, 3 + 2 * dim)
    whole = found[(points - 0.5).norm(dim=1).argmin()].tolist()
    volume, mean, square, second = (
        (torch.pi, 2 / 3, 1 / 2, 1 / 4) if dim == 2 else (4 / 3 * torch.pi, 3 / 4, 3 / 5, 1 / 5)
    )
    assert whole[0] == pytest.approx(volume, rel=0.05)
    assert whole[1] == pytest.approx(mean, rel=0.03)
    assert whole[2] == pytest.approx(square - mean**2, abs=0.01)
    assert whole[3 : 3 + dim] == pytest.approx([0] * dim, abs=0.02)
    assert whole[3 + dim :] == pytest.approx([second] * dim, rel=0.06)
    # next to a side the centroid is inside, and the covariance flat across it
    side = found[(points - torch.tensor([0.0, *([0.5] * (dim - 1))])).norm(dim=1).argmin()]
    assert float(side[0]) < 0.85 * whole[0]
    assert float(side[3]) > 0.1
    assert float(side[3 + dim]) < 0.8 * float(side[-1])


def test_an_empty_ball_has_no_statistics() -> None:
    mesh = generate.polygon([(0, 0), (1, 0), (1, 0.1), (0.1, 0.1), (0.1, 1), (0, 1)], h=0.05)
    transfer = grid_transfer(mesh, 6, 0.1, "volume")
    found = ball_statistics(transfer.into, transfer.grid.node_volume / 0.1**2)
    empty = found[:, 0] == 0
    assert 5 < int(empty.sum()) < 36
    assert (found[empty] == 0).all()
    with torch.no_grad():
        u = made(radius=0.1, tokens=6)(mesh, {"f": mesh.pos[:, 0]})["u"]
    assert torch.isfinite(u).all()


def test_attention_is_a_mean_over_the_volume() -> None:
    torch.manual_seed(0)
    layer = AttentiveIntegral(1, 0, 0, 2, 8)
    for parameter in layer.kernel[-1].parameters():
        torch.nn.init.zeros_(parameter)
    torch.nn.init.ones_(layer.kernel[-1].bias)
    found = []
    for n in (16, 32):
        mesh = graded(n)
        transfer = grid_transfer(mesh, 4, 0.3, "volume")
        places = (mesh.pos.float(), transfer.grid.points.float())
        none = [mesh.pos.new_zeros(len(x), 0).float() for x in places]
        with torch.no_grad():
            constant = torch.full((mesh.num_nodes, 1), 3.0)
            ones = layer(constant, *none, places, transfer.into)
            assert torch.allclose(ones, torch.full((16, 1), 3.0), atol=1e-5)
            found.append(layer(wave(mesh)[:, :1].float(), *none, places, transfer.into))
    assert off(*found) < 0.02


def test_the_operator_is_the_same_on_a_finer_mesh() -> None:
    model, found = made(), []
    for n in (16, 32):
        mesh = graded(n)
        with torch.no_grad():
            found.append(model(mesh, {"f": wave(mesh)[:, 0]})["u"][shared(n)])
    assert off(*found) < 0.02


def test_in_3d_and_without_the_embedding() -> None:
    mesh = generate.box(3, 3, 3)
    held = {"u": [Dirichlet(FunctionSpace(mesh, "P1"), "boundary", 2.0)]}
    for geometry in ("statistics", "none"):
        model = made(dim=3, tokens=3, radius=0.5, geometry=geometry)
        with torch.no_grad():
            u = model(mesh, {"f": mesh.pos[:, 0]}, held)["u"]
        assert float((u - 2)[mesh.boundary_nodes].abs().max()) <= 1e-12
        assert (model.shape is None) == (geometry == "none")


def test_errors() -> None:
    with pytest.raises(MeshError, match="geometry must be 'statistics' or 'none', got 'all'"):
        made(geometry="all")
    with pytest.raises(MeshError, match="width 8 must be a multiple of the number of heads, 3"):
        made(heads=3)
    with pytest.raises(MeshError, match="no P2 fields"):
        GeometryAwareTransformer([("f", "P2", 0)], ["u"])
    mesh = generate.rectangle(3, 3)
    with pytest.raises(MeshError, match="is for 3D, the mesh is 2D"):
        made(dim=3)(mesh, {"f": mesh.pos[:, 0]})
