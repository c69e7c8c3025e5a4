"""Boundary layers that stay, or move with their walls."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Function
from meshlearn.movers import Displacer, Elastic, Laplacian, Spring, Variational

SHIFT = torch.tensor([0.05, -0.02], dtype=torch.float64)


def ring(layers: int = 3) -> Mesh:
    """Quads around a hole of radius 1/2, three thin layers, then triangles outwards to radius 2."""
    count, radii = 32, [0.5 + 0.04 * k for k in range(layers + 1)]
    radii += [0.8, 1.1, 1.5, 2.0]
    angle = 2 * torch.pi * torch.arange(count, dtype=torch.float64) / count
    pos = torch.cat([r * torch.stack([angle.cos(), angle.sin()], dim=1) for r in radii])
    number = torch.arange(count)
    after = (number + 1) % count
    quads = [
        torch.stack([k * count + number, (k + 1) * count + number,
                     (k + 1) * count + after, k * count + after], dim=1)
        for k in range(len(radii) - 1)
    ]  # fmt: skip
    outer = torch.cat(quads[layers:])
    triangles = torch.cat([outer[:, [0, 1, 2]], outer[:, [0, 2, 3]]])
    inner = torch.cat(quads[:layers])
    wall = torch.stack([number, after], dim=1)
    return Mesh.from_cells(
        pos,
        {"quad": inner, "triangle": triangles},
        facet_tags={"body": wall, "far": wall + (len(radii) - 1) * count},
        cell_tags={"layer": torch.arange(len(inner))},
    )


def layer_edges(mesh: Mesh) -> torch.Tensor:
    cells = mesh.cells["quad"]
    sides = torch.cat([cells, cells[:, :1]], dim=1)
    return (mesh.pos[sides[:, 1:]] - mesh.pos[sides[:, :-1]]).norm(dim=2)


def test_a_rigid_layer_keeps_its_place_bit_for_bit() -> None:
    mesh = ring()
    monitor = Function(lambda x: 1 + 10 * torch.exp(-5 * ((x - 0.7) ** 2).sum(dim=1)))
    result = Variational(theta=0.1).move(mesh, monitor, rigid=["layer"])
    nodes = mesh.tagged_nodes("layer")
    assert torch.equal(result.mesh.pos[nodes], mesh.pos[nodes])
    assert result.report.max_displacement > 0.05
    assert float(
        (Variational(theta=0.1).move(mesh, monitor).mesh.pos - mesh.pos)[nodes].norm(dim=1).max()
    ) > 0.01  # fmt: skip


@pytest.mark.parametrize("mover", [Elastic(), Laplacian(), Spring()])
@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_a_layer_moves_with_its_body_as_one(mover: Displacer, angle: float) -> None:
    mesh = ring()
    turn = torch.tensor(
        [[torch.cos(torch.tensor(angle)), -torch.sin(torch.tensor(angle))],
         [torch.sin(torch.tensor(angle)), torch.cos(torch.tensor(angle))]], dtype=torch.float64
    )  # fmt: skip
    q, _ = torch.linalg.qr(turn)  # orthogonal to rounding
    turn = q * torch.sign((q * turn).sum(dim=0))
    result = mover.displace(mesh, {"body": lambda x: x @ turn.T + SHIFT - x}, rigid=["layer"])
    assert result.report.converged
    assert float((layer_edges(result.mesh) - layer_edges(mesh)).abs().max()) < 1e-13
    nodes = mesh.tagged_nodes("layer")
    expected = mesh.pos[nodes] @ turn.T + SHIFT
    assert torch.allclose(result.mesh.pos[nodes], expected, atol=1e-13)


def test_a_wall_that_bends_carries_each_column() -> None:
    mesh = ring()
    bulge = lambda x: 0.1 * x * x[:, :1]  # noqa: E731
    result = Elastic().displace(mesh, {"body": bulge}, rigid=["layer"])
    moved = (result.mesh.pos - mesh.pos)[: 4 * 32].view(4, 32, 2)
    for layer in moved[1:]:
        assert torch.allclose(layer, moved[0], atol=1e-14)


def test_a_layer_at_a_wall_that_stays_stays() -> None:
    mesh = ring()
    result = Elastic().displace(mesh, {"far": lambda x: SHIFT.expand(len(x), 2)}, rigid=["layer"])
    nodes = mesh.tagged_nodes("layer")
    assert torch.equal(result.mesh.pos[nodes], mesh.pos[nodes])


def test_prisms_in_3d() -> None:
    mesh = generate.box(3, 3, 4, cell="wedge")
    low = mesh.centroids()[:, 2] < 0.5
    mesh = Mesh.from_cells(
        mesh.pos,
        mesh.cells,
        facet_tags=mesh.facet_tags,
        cell_tags={"prisms": torch.nonzero(low).squeeze(1)},
    )
    lift = lambda x: torch.stack([0 * x[:, 0], 0 * x[:, 0], 0.1 * x[:, 0]], dim=1)  # noqa: E731
    result = Elastic().displace(mesh, {"bottom": lift}, fixed=["top"], rigid=["prisms"])
    assert result.report.converged
    shift = (result.mesh.pos - mesh.pos)[mesh.tagged_nodes("prisms")]
    x = mesh.pos[mesh.tagged_nodes("prisms"), 0]
    assert torch.allclose(shift[:, 2], 0.1 * x, atol=1e-14)


def test_wrong_layers_are_named() -> None:
    mesh = ring()
    with pytest.raises(MeshError, match="rigid names 'far', which is no cell tag; there are 'lay"):
        Variational().move(mesh, Function(lambda x: 1 + 0 * x[:, 0]), rigid=["far"])
    floating = Mesh.from_cells(
        mesh.pos,
        mesh.cells,
        facet_tags=mesh.facet_tags,
        cell_tags={"inside": torch.arange(32, 64)},
    )
    with pytest.raises(MeshError, match="touches no boundary that moves or is held"):
        Elastic().displace(floating, {"body": lambda x: 0 * x}, rigid=["inside"])
