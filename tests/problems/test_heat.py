"""Heat conduction: orders in space and time, conservation, conductivities."""

from __future__ import annotations

import pytest
import torch
from convergence import half_and_half, last_order
from torch import Tensor

from meshlearn.fem.time import Scheme, bdf2, crank_nicolson, implicit_euler, theta_scheme
from meshlearn.mesh import MeshError
from meshlearn.mesh.generate import interval, rectangle
from meshlearn.problems import Heat


def decaying(x: Tensor, t: float) -> Tensor:
    return torch.sin(3 * x).prod(dim=1) * torch.exp(-torch.as_tensor(t)) + x[:, 0]


def quadratic(x: Tensor, t: float) -> Tensor:
    """In the space of quadratic elements: only the error in time is left."""
    return (x[:, 0] ** 2 + x[:, 1]) * torch.cos(3 * torch.as_tensor(t))


@pytest.mark.parametrize("degree", [1, 2])
def test_orders_in_space(degree: int) -> None:
    problem = Heat.manufactured(decaying, conductivity=0.7)
    order = last_order(
        lambda n: problem.solve(half_and_half(n), 0.2, 40, degree=degree).errors(), (8, 16)
    )
    assert order["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert order["h1"] == pytest.approx(degree, abs=0.1)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [(implicit_euler, 1), (theta_scheme(0.75), 1), (crank_nicolson, 2), (bdf2, 2)],
)
def test_orders_in_time(scheme: Scheme, expected: int) -> None:
    problem = Heat.manufactured(quadratic, conductivity=0.7)
    mesh = rectangle(3, 3)
    order = last_order(
        lambda n: problem.solve(mesh, 1.0, n, degree=2, scheme=scheme).errors(), (80, 160)
    )
    assert order["l2"] == pytest.approx(expected, abs=0.1)


def test_an_insulated_body_keeps_its_heat_and_evens_out() -> None:
    body = Heat(lambda x: x[:, 0] ** 2, boundary={})
    series = body.solve(rectangle(6, 6), 5.0, 50, every=10, scheme=bdf2)
    assert series.mass == pytest.approx([float(series.mass[0])] * 6, abs=1e-12)
    assert (series.u - series.mass[0]).abs().max() < 1e-8


def test_a_wall_of_two_materials_reaches_its_steady_state() -> None:
    # Flux 1 through conductivities 1 and 4: slopes 1 and 1/4.
    mesh = interval(20)
    inner = mesh.centroids()[:, 0] < 0.5
    per_cell = torch.where(inner, 1.0, 4.0).to(torch.float64)
    wall = Heat(0.0, boundary={"left": 0.0, "right": 0.625}, conductivity=per_cell)
    x = mesh.pos[:, 0]
    steady = torch.where(x < 0.5, x, 0.5 + (x - 0.5) / 4)
    assert (wall.solve(mesh, 20.0, 50, scheme=implicit_euler).u - steady).abs().max() < 1e-8
    smooth = Heat(
        0.0, boundary={"left": 0.0, "right": 1.0}, conductivity=lambda x: 1 / (1 + x[:, 0])
    )
    found = smooth.solve(mesh, 20.0, 50, degree=2, scheme=implicit_euler).u
    assert (found - (x + x**2 / 2) / 1.5).abs().max() < 1e-6


def test_steps_must_fit() -> None:
    with pytest.raises(MeshError, match="at least one step"):
        Heat(1.0).solve(rectangle(2, 2), 1.0, 0)
    with pytest.raises(MeshError, match="must divide the 5 steps"):
        Heat(1.0).solve(rectangle(2, 2), 1.0, 5, every=2)
