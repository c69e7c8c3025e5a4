"""The deformation flow and rotation: shapes come back, orders, mass."""

from __future__ import annotations

import pytest
import torch
from convergence import last_order
from torch import Tensor

from meshlearn.mesh.generate import rectangle
from meshlearn.problems import rotation, swirl
from meshlearn.problems.swirl import bump, cone, slotted_disc, swirl_velocity


def bell(x: Tensor) -> Tensor:
    return torch.exp(-60 * ((x - torch.tensor([0.5, 0.65])) ** 2).sum(dim=1))


def test_a_bell_comes_back_with_the_order_of_the_element() -> None:
    order = last_order(
        lambda n: swirl(bell, period=0.5).solve(rectangle(n, n), 0.5).errors(), (24, 48)
    )
    assert order["l1"] == pytest.approx(2, abs=0.1)
    assert order["l2"] == pytest.approx(2, abs=0.1)


def test_shapes_come_back_after_the_period_and_their_mass_is_kept() -> None:
    def shapes(x: Tensor) -> Tensor:
        return slotted_disc(x) + cone(x) + bump(x)

    found = {}
    for n in (20, 40):
        series = swirl(shapes).solve(rectangle(n, n), 1.5, every=4 if n == 20 else None)
        assert (series.mass / series.mass[0] - 1).abs().max() < 1e-10
        found[n] = series.errors()
    # The disc jumps: order 1/2 in L2 at best, up to 1 in L1, is all there can be.
    assert found[40]["l1"] < 0.037
    assert found[40]["l2"] < 0.115
    assert found[40]["l1"] < 0.7 * found[20]["l1"]
    assert found[40]["l2"] < 0.8 * found[20]["l2"]


def test_half_way_the_shapes_are_drawn_out() -> None:
    series = swirl(bump).solve(rectangle(20, 20), 1.5, steps=300, every=150)
    assert len(series) == 3
    assert series.times.tolist() == pytest.approx([0.0, 0.75, 1.5])
    start, middle, end = (series[k].u for k in range(3))
    assert (middle - start).abs().max() > 0.3
    assert (end - start).abs().max() < 0.15


def test_rotation_is_known_at_all_times() -> None:
    problem = rotation(bump)
    assert problem.exact is not None
    x = torch.rand(40, 2, dtype=torch.float64)
    assert torch.allclose(problem.exact(x, 1.0), bump(x), atol=1e-12)
    quarter = problem.exact(torch.tensor([[0.5, 0.25]], dtype=torch.float64), 0.25)
    assert float(quarter) == pytest.approx(0.5)  # from the left to the bottom
    errors = problem.solve(rectangle(32, 32), 0.25).errors()
    assert errors["l2"] < 4e-3


def test_no_flow_crosses_the_sides_of_the_square() -> None:
    mesh = rectangle(7, 7)
    velocity = swirl_velocity(mesh.pos)
    assert velocity[mesh.tagged_nodes("left"), 0].abs().max() < 1e-15
    assert velocity[mesh.tagged_nodes("top"), 1].abs().max() < 1e-15


def test_the_disc_has_its_slot() -> None:
    points = torch.tensor([[0.5, 0.75], [0.5, 0.88], [0.6, 0.75], [0.9, 0.9]], dtype=torch.float64)
    assert slotted_disc(points).tolist() == [0, 1, 1, 0]
