"""The Huang-Kamenski functional: exact gradients, stationarity, barrier."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_meshes, random_mesh

from meshlearn.mesh import Mesh
from meshlearn.monitors import Constant, Function
from meshlearn.movers.energy import HuangKamenski

CELLS = ["triangle", "quad", "mixed2", "tetra", "hexahedron", "wedge", "pyramid", "mixed3"]


def scalar(x: torch.Tensor) -> torch.Tensor:
    """A smooth density with a strong gradient."""
    return 1 + 5 * torch.exp(-4 * ((x - 0.4) ** 2).sum(dim=1))


def metric(x: torch.Tensor) -> torch.Tensor:
    """A smooth anisotropic metric that is not aligned with the axes."""
    d = x.shape[1]
    direction = torch.cat([1 + x[:, 1:], 0.5 - x[:, :1]], dim=1)
    return torch.eye(d, dtype=x.dtype) + direction[:, :, None] * direction[:, None, :]


def deformed(mesh: Mesh, size: float = 0.01) -> torch.Tensor:
    """Positions near those of the mesh, boundary included."""
    generator = torch.Generator().manual_seed(1)
    return mesh.pos + size * torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("function", [scalar, metric])
@pytest.mark.parametrize("theta", [0.1, 1 / 3])
def test_gradient_is_the_derivative_of_the_energy(
    cell: str, function: Callable[[torch.Tensor], torch.Tensor], theta: float
) -> None:
    mesh = random_mesh(cell, [3] * (2 if cell in ("triangle", "quad", "mixed2") else 3), seed=3)
    monitor, functional = Function(function), HuangKamenski(mesh, theta, p=1.5)
    x = deformed(mesh)
    found = functional.evaluate(x, monitor.sample(x))
    generator = torch.Generator().manual_seed(2)
    for _ in range(3):
        v = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        step = 1e-5  # fourth-order differences: slivers make the third derivative large

        def at(k: int, v: torch.Tensor = v, step: float = step) -> float:
            y = x + k * step * v
            return functional.energy(y, function(y))

        slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
        assert float((found.gradient * v).sum()) == pytest.approx(slope, rel=1e-6)
    assert found.energy == pytest.approx(functional.energy(x, function(x)), rel=1e-14)


@given(any_meshes(), st.floats(1e-3, 1e3))
@settings(max_examples=25)
def test_a_uniform_monitor_is_stationary_at_the_reference(mesh: Mesh, value: float) -> None:
    # Only tangential forces count at the boundary; a normal pressure is balanced by the side.
    functional = HuangKamenski(mesh, 1 / 3, 1.5, density=value)
    found = functional.evaluate(mesh.pos, Constant(value).sample(mesh.pos))
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    size = mesh.volumes().max() ** (1 / mesh.dim)
    assert float(found.gradient[inner].abs().max() if inner.any() else 0) * float(size) <= (
        1e-11 * abs(found.energy)
    )


def test_a_scaled_identity_metric_is_the_scalar_monitor() -> None:
    mesh = random_mesh("tetra", [2, 2, 2], seed=5)
    functional, x = HuangKamenski(mesh, 0.2, 1.5), deformed(random_mesh("tetra", [2, 2, 2], seed=5))
    tensor = scalar(x)[:, None, None] ** (2 / 3) * torch.eye(3, dtype=torch.float64)
    # The mean of a metric over the corners is not the mean density: compare a constant one.
    constant = torch.full_like(scalar(x), 7.0)
    same = 7.0 ** (2 / 3) * torch.eye(3, dtype=torch.float64).expand(len(x), 3, 3)
    assert functional.energy(x, constant) == pytest.approx(functional.energy(x, same), rel=1e-12)
    assert functional.energy(x, tensor) != functional.energy(x, constant)


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron", "wedge", "pyramid"])
def test_the_energy_is_infinite_exactly_where_a_corner_is_not_positive(cell: str) -> None:
    d = 2 if cell in ("triangle", "quad") else 3
    mesh = random_mesh(cell, [3] * d, seed=7, jitter=0.1)
    functional = HuangKamenski(mesh, 1 / 3, 1.5)
    inner = torch.ones(mesh.num_nodes, dtype=torch.bool)
    inner[mesh.boundary_nodes] = False
    node = int(inner.nonzero()[0])
    far = mesh.pos.amax(dim=0) - mesh.pos[node]
    seen = set()
    for t in torch.linspace(0, 1, 30):
        x = mesh.pos.clone()
        x[node] += t * far
        valid = len(mesh.moved(x).inverted_cells()) == 0
        seen.add(valid)
        assert (functional.energy(x, scalar(x)) < float("inf")) == valid
    assert seen == {True, False}


def test_the_energy_is_invariant_under_rotation_of_space_and_renumbering() -> None:
    mesh = random_mesh("triangle", [4, 4], seed=11)
    x = deformed(mesh, 0.01)
    value = scalar(x)
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    one = HuangKamenski(mesh, 0.1, 1.5).energy(x, value)
    turned = HuangKamenski(mesh.moved(mesh.pos @ turn.T), 0.1, 1.5).energy(x @ turn.T, value)
    order = torch.randperm(mesh.num_nodes, generator=torch.Generator().manual_seed(0))
    new = torch.empty_like(order)
    new[order] = torch.arange(len(order))
    shuffled = Mesh.from_cells(mesh.pos[order], {"triangle": new[mesh.cells["triangle"]]})
    renumbered = HuangKamenski(shuffled, 0.1, 1.5).energy(x[order], value[order])
    assert turned == pytest.approx(one, rel=1e-12)
    assert renumbered == pytest.approx(one, rel=1e-12)
