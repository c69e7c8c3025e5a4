"""Wall distance: exact on shapes with a formula, in 2D and 3D."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import MeshError, generate
from meshlearn.monitors import WallDistance, wall_distance
from meshlearn.movers import Variational


@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_the_square(cell: str) -> None:
    mesh = generate.rectangle(7, 5, cell=cell)
    x = mesh.pos
    exact = torch.minimum(x, 1 - x).amin(dim=1)
    assert torch.allclose(wall_distance(mesh), exact, atol=1e-14)
    assert torch.allclose(wall_distance(mesh, "left"), x[:, 0], atol=1e-14)
    both = torch.minimum(x[:, 0], 1 - x[:, 1])
    assert torch.allclose(wall_distance(mesh, ["left", "top"]), both, atol=1e-14)


@pytest.mark.parametrize("cell", ["tetra", "hexahedron", "wedge"])
def test_the_box(cell: str) -> None:
    mesh = generate.box(4, 4, 4, cell=cell)
    exact = torch.minimum(mesh.pos, 1 - mesh.pos).amin(dim=1)
    assert torch.allclose(wall_distance(mesh), exact, atol=1e-14)


def test_the_disk() -> None:
    mesh = generate.disk(20)
    exact = 1 - mesh.pos.norm(dim=1)
    assert float((wall_distance(mesh) - exact).abs().max()) < 2e-3  # the sagitta of the chords


def test_nodes_gather_at_the_wall() -> None:
    mesh = generate.rectangle(12, 12)
    moved = Variational().move(mesh, WallDistance(mesh, "bottom", width=0.1, amplitude=20)).mesh
    column = moved.pos[(moved.pos[:, 0] < 1e-12)][:, 1].sort().values
    assert float(column[1]) < 0.6 / 12


def test_errors_are_named() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="no facet tag 'inlet'"):
        wall_distance(mesh, "inlet")
    with pytest.raises(MeshError, match="width of the layer must be positive"):
        WallDistance(mesh, "left", width=0.0)
