"""Losses of movers: their gradients, and what they say of meshes that one can judge by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshlearn import generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers.constraints import freedom
from meshlearn.movers.learned.state import Problem
from meshlearn.training.movers import losses
from meshlearn.training.movers.samples import manufactured, squared_error
from meshlearn.training.movers.solutions import Exact


def waves() -> Exact:
    k = torch.tensor([3.0, 2.0], dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        return torch.cos(x @ k)

    return Exact(value, lambda x: -(k**2).sum() * value(x))


def problem(monitor) -> Problem:
    mesh = generate.rectangle(5, 5)
    return Problem(mesh, monitor, freedom(mesh), 1.0)


def nudged(pos: Tensor, seed: int = 0, size: float = 0.02) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return pos + size * torch.randn(pos.shape, generator=generator, dtype=pos.dtype)


def difference(function, pos: Tensor, direction: Tensor, h: float = 1e-6) -> float:
    return float((function(pos + h * direction) - function(pos - h * direction)) / (2 * h))


def test_energy_has_the_gradient_of_its_value():
    own = problem(Function(lambda x: 2 + torch.sin(5 * x[:, 0])))
    pos = nudged(own.mesh.pos)
    direction = nudged(torch.zeros_like(pos), 1, 1.0)

    def value(at: Tensor) -> Tensor:
        sample = own.monitor.sample(at)
        return own.energy.evaluate(at, sample).parts.sum().log()

    x = pos.clone().requires_grad_(True)
    state = own.look(pos, None)
    # The look recovers the monitor's gradient on the mesh: exact only up to the mesh size.
    found = losses.energy(x, state)
    found.backward()
    assert float(found) == pytest.approx(float(value(pos)))
    assert float((x.grad * direction).sum()) == pytest.approx(
        difference(value, pos, direction), rel=0.15
    )
    flat = problem(Constant())
    x = pos.clone().requires_grad_(True)
    losses.energy(x, flat.look(pos, None)).backward()

    def uniform(at: Tensor) -> Tensor:
        return flat.energy.evaluate(at, flat.monitor.sample(at)).parts.sum().log()

    assert float((x.grad * direction).sum()) == pytest.approx(
        difference(uniform, pos, direction), rel=1e-6
    )


def test_solution_error_has_the_gradient_of_its_value():
    own = manufactured(waves())
    mesh = generate.rectangle(5, 5)
    pos = nudged(mesh.pos, 2)
    direction = nudged(torch.zeros_like(pos), 3, 1.0)
    x = pos.clone().requires_grad_(True)
    losses.solution_error(mesh, x, own, 1.0).backward()
    found = float((x.grad * direction).sum())
    expected = difference(lambda at: losses.solution_error(mesh, at, own, 1.0), pos, direction)
    assert found == pytest.approx(expected, rel=1e-5)


def test_solution_error_of_an_unmoved_mesh_is_zero():
    own = manufactured(waves())
    mesh = generate.rectangle(5, 5)
    before = float(squared_error(own, own.solve(mesh)))
    assert float(losses.solution_error(mesh, mesh.pos, own, before)) == pytest.approx(0, abs=1e-12)


def test_uniformity_is_zero_where_all_cells_carry_the_same():
    own = problem(Constant(3.0))
    pos = own.mesh.pos
    assert float(losses.uniformity(own, pos, own.look(pos, None))) < 1e-20
    worse = nudged(pos)
    assert float(losses.uniformity(own, worse, own.look(worse, None))) > 1e-3


def test_uniformity_gradient():
    own = problem(Constant(3.0))
    pos = nudged(own.mesh.pos)
    direction = nudged(torch.zeros_like(pos), 1, 1.0)
    state = own.look(pos, None)
    x = pos.clone().requires_grad_(True)
    losses.uniformity(own, x, state).backward()
    expected = difference(lambda at: losses.uniformity(own, at, state), pos, direction)
    assert float((x.grad * direction).sum()) == pytest.approx(expected, rel=1e-5)


def test_barrier_is_one_at_collapse_and_small_on_the_reference():
    own = problem(Constant())
    pos = own.mesh.pos
    assert float(losses.barrier(own, pos)) < 1e-10
    assert float(losses.barrier(own, 0 * pos)) == pytest.approx(1.0)
    assert float(losses.barrier(own, pos.flip(1))) > 1.0  # mirrored: all inverted


def test_volumes_compare_cell_by_cell():
    mesh = generate.rectangle(4, 4)
    target = nudged(mesh.pos)
    assert float(losses.volumes(mesh, target, target)) == 0
    scaled = losses.volumes(mesh, mesh.pos * 2**0.5, mesh.pos)
    assert float(scaled) == pytest.approx(1.0)


def test_chamfer_by_hand_and_its_gradient():
    target = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    pos = torch.tensor([[0.0, 0.1], [1.0, 0.3]], dtype=torch.float64, requires_grad=True)
    loss = losses.chamfer(pos, target)
    # Both nodes look at the first two points; the third point looks at the second node.
    assert float(loss.detach()) == pytest.approx((0.01 + 0.09) / 2 + (0.01 + 0.09 + 0.49) / 3)
    loss.backward()
    expected = torch.tensor([[0.0, 0.1 + 0.2 / 3], [0.0, 0.3 + (0.6 - 1.4) / 3]])
    assert torch.allclose(pos.grad, expected.double())
    assert float(losses.chamfer(target.flip(0), target)) == 0  # whose node it is does not matter


def test_coordinates_in_cells():
    mesh = generate.rectangle(4, 4)
    size = (1 / 32) ** 0.5
    shifted = mesh.pos + size
    assert float(losses.coordinates(mesh, shifted, mesh.pos)) == pytest.approx(1.0)
