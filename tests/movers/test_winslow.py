"""Winslow's mover: exact gradient, the contract, and the published one-dimensional limit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from strategies import any_meshes, random_mesh

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers import Winslow
from meshlearn.movers.winslow import WinslowEnergy


def scalar(x: torch.Tensor) -> torch.Tensor:
    return 1 + 5 * torch.exp(-4 * ((x - 0.4) ** 2).sum(dim=1))


def metric(x: torch.Tensor) -> torch.Tensor:
    direction = torch.cat([1 + x[:, 1:], 0.5 - x[:, :1]], dim=1)
    return torch.eye(x.shape[1], dtype=x.dtype) + direction[:, :, None] * direction[:, None, :]


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron", "wedge"])
@pytest.mark.parametrize("function", [scalar, metric])
def test_gradient_is_the_derivative_of_the_energy(
    cell: str, function: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    mesh = random_mesh(cell, [3] * (2 if cell in ("triangle", "quad") else 3), seed=3)
    energy = WinslowEnergy(mesh)
    generator = torch.Generator().manual_seed(1)
    x = mesh.pos + 0.01 * torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)
    v = torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)
    found = energy.evaluate(x, Function(function).sample(x))

    def at(k: int, step: float = 1e-5) -> float:
        y = x + k * step * v
        return energy.energy(y, function(y))

    slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12e-5)
    assert float((found.gradient * v).sum()) == pytest.approx(slope, rel=1e-6)


@given(any_meshes())
@settings(max_examples=20)
def test_a_uniform_monitor_leaves_every_mesh_where_it_is(mesh: Mesh) -> None:
    result = Winslow().move(mesh, Constant(3.0))
    size = float((mesh.volumes().abs() ** (1 / mesh.dim)).min())
    assert result.report.max_displacement <= 1e-8 * size


def test_a_monitor_of_one_coordinate_is_equidistributed_along_it() -> None:
    # grad xi / m = const in one dimension: m x_xi is constant
    mesh = generate.rectangle(40, 4)
    report = Winslow().move(mesh, Function(lambda x: 1 + 4 * x[:, 0])).report
    assert report.converged
    assert report.equidistribution_before > 0.3
    assert report.equidistribution_after < 0.05


@given(any_meshes(tags=True))
@settings(max_examples=15)
def test_no_cell_is_ever_inverted(mesh: Mesh) -> None:
    report = Winslow(max_iterations=30).move(mesh, Function(scalar)).report
    assert report.inverted_cells == 0
    assert report.boundary_error < 1e-12
    assert report.volume_error < 1e-8


def test_wrong_tolerances_are_named() -> None:
    with pytest.raises(MeshError, match="tol must be positive"):
        Winslow(tol=0.0)
