"""Time steps on moving meshes: constants stay, mass is accounted for, nothing else changes."""

from __future__ import annotations

import pytest
import torch
from convergence import jiggled, last_order
from torch import Tensor

from meshlearn.fem import Field, FunctionSpace, assemble_linear, errors
from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.generate import box, rectangle
from meshlearn.problems import (
    Advection,
    Burgers,
    Moving,
    MovingAdvection,
    MovingBurgers,
    rotation,
    swirl,
    travelling_front,
)
from meshlearn.problems.series import at_time
from meshlearn.problems.swirl import bump

MESHES = {"2D": lambda: rectangle(7, 6), "3D": lambda: box(3, 3, 2)}


def ones(x: Tensor, t: float = 0.0) -> Tensor:
    return torch.ones_like(x)


def integral(field: Field) -> Tensor:
    scalar = FunctionSpace(field.space.mesh, field.space.blocks[0].name)
    weights = assemble_linear(lambda v, w: 1.0 * v, scalar)
    return weights @ field.dofs.reshape(len(weights), -1)


def breathing(mesh: Mesh, t: float) -> Mesh:
    """Inner nodes swing about where they were."""
    x = mesh.pos
    still = (torch.sin(torch.pi * x)).prod(dim=1, keepdim=True)
    swing = torch.stack([torch.sin(6 * t + x[:, 1]), torch.cos(5 * t + x[:, 0])], dim=1)
    return mesh.moved(x + 0.06 * still * swing)


@pytest.mark.parametrize("dim", MESHES)
def test_constants_stay_on_moving_meshes(dim: str) -> None:
    old = MESHES[dim]()
    new = jiggled(old, 0.04)
    flow = Advection([1.0, -0.5, 0.3][: old.dim], 1.0, inflow=1.0)
    moving: list[Moving] = [MovingAdvection(flow), MovingBurgers(Burgers(0.1, ones, {}))]
    for problem in moving:
        start = problem.start(old)
        done = problem.step(start, new, 0.0, 0.02)
        assert done.field.space.mesh is new
        assert (done.field.dofs - 1).abs().max() < 1e-12
        assert done.supplied.abs().max() < 1e-12


@pytest.mark.parametrize("degree", [1, 2])
def test_advection_loses_nothing_in_a_closed_flow(degree: int) -> None:
    base, problem = rectangle(8, 8), MovingAdvection(swirl(bump), degree)
    field = problem.start(breathing(base, 0.0))
    before = integral(field)
    for k in range(8):
        field = problem.step(field, breathing(base, (k + 1) * 0.01), k * 0.01, 0.01).field
    assert (integral(field) - before).abs().max() < 1e-15


def test_what_crosses_the_sides_is_the_change_of_mass() -> None:
    base = rectangle(8, 8)
    problem = MovingAdvection(Advection([1.0, 0.3], bump, inflow=lambda x, t: x[:, 1] + t))
    field, supplied = problem.start(breathing(base, 0.0)), torch.zeros(1, dtype=torch.float64)
    before = integral(field)
    for k in range(6):
        done = problem.step(field, breathing(base, (k + 1) * 0.02), k * 0.02, 0.02)
        field, supplied = done.field, supplied + done.supplied
    assert supplied.abs().max() > 1e-3
    assert (integral(field) - before - supplied).abs().max() < 1e-15


def test_burgers_momentum_is_balanced_with_given_and_with_free_sides() -> None:
    front, base = travelling_front(0.05), rectangle(8, 8)
    free = Burgers(0.05, front.initial, {})
    for burgers in (front, free):
        problem = MovingBurgers(burgers)
        field = problem.start(breathing(base, 0.0))
        for k in range(4):
            before = integral(field)
            done = problem.step(field, breathing(base, (k + 1) * 0.02), k * 0.02, 0.02)
            field = done.field
            assert done.supplied.abs().max() > 1e-4
            assert (integral(field) - before - done.supplied).abs().max() < 1e-14


def test_on_a_mesh_at_rest_it_is_the_method_of_advection() -> None:
    mesh, problem = rectangle(10, 10), swirl(bump)
    moving = MovingAdvection(problem)
    field = moving.start(mesh)
    for k in range(5):
        field = moving.step(field, mesh, k * 0.01, 0.01).field
    same = problem.solve(mesh, 0.05, 5).states[-1]
    assert (field.dofs - same).abs().max() < 1e-14


@pytest.mark.parametrize("kind", ["burgers", "advection"])
def test_orders_while_the_mesh_swings(kind: str) -> None:
    def bell(x: Tensor) -> Tensor:
        return torch.exp(-30 * ((x - torch.tensor([0.5, 0.65])) ** 2).sum(dim=1))

    end = 0.2 if kind == "burgers" else 0.05

    def error(n: int) -> dict[str, float]:
        base, steps = rectangle(n, n), n if kind == "burgers" else 2 * n
        problem: Moving = (
            MovingBurgers(travelling_front(0.05))
            if kind == "burgers"
            else MovingAdvection(rotation(bell))
        )
        field, dt = problem.start(breathing(base, 0.0)), end / steps
        for k in range(steps):
            field = problem.step(field, breathing(base, (k + 1) * dt), k * dt, dt).field
        assert problem.exact is not None
        truth = at_time(problem.exact, end)
        return {"l2": errors(field.space, field.dofs, truth)["l2"]}

    assert last_order(error, (8, 16))["l2"] > 1.8


def test_steps_that_would_be_unstable_are_cut() -> None:
    mesh = rectangle(12, 12)
    problem = MovingAdvection(swirl(bump))
    start = problem.start(mesh)
    long, short = problem.step(start, mesh, 0.0, 0.1), problem.step(start, mesh, 0.0, 0.005)
    assert long.substeps > 3
    assert short.substeps == 1
    assert long.field.dofs.abs().max() < 1
    # Nodes that go with the flow make longer steps possible.
    along = mesh.moved(mesh.pos + 0.02 * problem.problem.velocity(mesh.pos))
    still = problem.step(start, mesh, 0.0, 0.02).substeps
    assert problem.step(start, along, 0.0, 0.02).substeps < still


def test_advection_on_moving_quads_is_refused() -> None:
    with pytest.raises(MeshError, match="needs simplices, got quad"):
        MovingAdvection(swirl(bump)).start(rectangle(2, 2, cell="quad"))


def test_burgers_moves_quads_too() -> None:
    old = rectangle(5, 5, cell="quad")
    problem = MovingBurgers(Burgers(0.1, ones, {}))
    done = problem.step(problem.start(old), jiggled(old, 0.03), 0.0, 0.05)
    assert (done.field.dofs - 1).abs().max() < 1e-12
