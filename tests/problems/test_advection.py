"""Discontinuous Galerkin advection: inflow, orders, steps that are stable, gradients."""

from __future__ import annotations

import math

import pytest
import torch
from convergence import half_and_half, jiggled, last_order
from torch import Tensor

from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.generate import box, interval, rectangle
from meshlearn.problems import Advection

MESHES = {
    "line": lambda n: interval(2 * n),
    "triangle": lambda n: rectangle(n, n),
    "quad": lambda n: rectangle(n, n, cell="quad"),
    "mixed": half_and_half,
    "tetra": lambda n: box(n // 2, n // 2, n // 2),
}


def travelling(dim: int) -> Advection:
    velocity = torch.tensor([1.0, 0.5, -0.3], dtype=torch.float64)[:dim]
    wave = torch.tensor([4.0, 1.0, 2.0], dtype=torch.float64)[:dim]

    def exact(x: Tensor, t: float) -> Tensor:
        return torch.sin((x - t * velocity) @ wave)

    return Advection(velocity, lambda x: exact(x, 0.0), inflow=exact, exact=exact)


@pytest.mark.parametrize("cell", MESHES)
def test_orders_with_inflow(cell: str) -> None:
    mesh = MESHES[cell]
    problem = travelling(mesh(2).dim)
    order = last_order(lambda n: problem.solve(mesh(n), 0.2).errors(), (8, 16))
    assert order["l1"] == pytest.approx(2, abs=0.1)
    assert order["l2"] == pytest.approx(2, abs=0.1)
    assert order["h1"] == pytest.approx(1, abs=0.1)


def test_orders_of_quadratic_elements() -> None:
    problem = travelling(2)
    order = last_order(lambda n: problem.solve(rectangle(n, n), 0.2, degree=2).errors(), (8, 16))
    assert order["l2"] == pytest.approx(3, abs=0.1)


def test_the_chosen_steps_are_stable_on_a_bad_mesh() -> None:
    mesh: Mesh = jiggled(rectangle(10, 10), 0.02)
    problem = travelling(2)
    assert problem.solve(mesh, 1.0).errors()["max"] < 0.1
    assert problem.solve(mesh, 0.4, every=3).times[-1] == pytest.approx(0.4)


def test_flow_and_back_by_a_speed_that_changes_sign() -> None:
    there = Advection(
        (1.0, 0.2),
        lambda x: torch.exp(-80 * ((x - 0.4) ** 2).sum(dim=1)),
        speed=lambda t: math.cos(math.pi * t),
    )
    series = there.solve(rectangle(32, 32), 1.0)
    assert series.errors(there.initial)["l2"] < 5e-3
    assert float(series.mass[-1]) == pytest.approx(float(series.mass[0]), rel=1e-3)


def test_gradient_to_the_nodes_is_that_of_finite_differences() -> None:
    mesh, problem = rectangle(4, 4), travelling(2)

    def functional(pos: Tensor) -> Tensor:
        state = problem.solve(mesh.moved(pos), 0.05, steps=3).states[-1]
        return (state**2 * torch.arange(len(state))).sum()

    pos = mesh.pos.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(functional(pos), pos)
    # Inner nodes: at corners the direction of the boundary flow would change.
    direction = torch.rand_like(pos) - 0.5
    direction[mesh.boundary_nodes] = 0
    step = 1e-5
    with torch.no_grad():
        up, down = functional(pos + step * direction), functional(pos - step * direction)
    assert float((slope * direction).sum()) == pytest.approx(
        float(up - down) / (2 * step), rel=1e-6
    )


def test_steps_must_fit() -> None:
    with pytest.raises(MeshError, match="must divide"):
        travelling(2).solve(rectangle(2, 2), 0.1, steps=5, every=2)
