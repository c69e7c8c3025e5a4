"""DMM: the equation's terms by hand, the convexity condition, and a run that solves it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshlearn import generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers.learned import DataFreeMover, DataFreeNet
from meshlearn.training import Trained, TrainerSettings
from meshlearn.training.movers.data_free import (
    DataFreeSettings,
    DataFreeTask,
    collocation,
    equation,
    refine,
    scene,
)


class Quadratic(DataFreeNet):
    """psi = xi^T H xi / 2, whatever the monitor."""

    def __init__(self, hessian: list[list[float]]) -> None:
        super().__init__(16, 2, (4, 4))
        self.hessian = torch.tensor(hessian)

    def derivatives(self, picture, points):
        hessian = self.hessian.expand(len(points), 2, 2)
        return points.float() @ self.hessian, hessian


def smooth(x: torch.Tensor) -> torch.Tensor:
    return 1 + 2 * torch.exp(-8 * ((x - 0.5) ** 2).sum(dim=1))


def solved(hessian: list[list[float]]):
    mesh = generate.rectangle(6, 6)
    at = scene(mesh, Constant(3.0).on(mesh), 16)
    return equation(Quadratic(hessian), at, collocation(at, np.random.default_rng(0), (50, 40)))


def test_the_identity_solves_the_equation_of_a_constant():
    found = solved([[0.0, 0.0], [0.0, 0.0]])
    assert float(found.residual) < 1e-30
    assert (float(found.border), float(found.convexity)) == (0, 0)


def test_terms_by_hand():
    found = solved([[1.0, 0.0], [0.0, 0.0]])  # twice as wide: det 2, trace 3
    assert float(found.residual) == pytest.approx(1.0)
    assert float(found.convexity) == 0
    # n . grad psi is xi_1 on the right side, 0 on the other three.
    assert float(found.border) == pytest.approx(0.25, rel=0.6)


@pytest.mark.parametrize(
    ("hessian", "convexity"),
    [
        ([[0.0, 3.0], [3.0, 0.0]], 64.0),  # diagonal of I + H is 1, det = -8: seen, as it must be
        ([[-3.0, 0.0], [0.0, -3.0]], 16.0),  # det = 4 > 0, but trace = -4: turned about
        ([[0.5, 0.2], [0.2, -0.5]], 0.0),
    ],
)
def test_the_convexity_condition_is_that_of_determinant_and_trace(hessian, convexity):
    found = solved(hessian)
    assert float(found.convexity) == pytest.approx(convexity, rel=1e-5)
    matrix = torch.eye(2) + torch.tensor(hessian)
    positive = bool((torch.linalg.eigvalsh(matrix) > 0).all())
    assert positive == bool((found.determinant > 0).all() and (found.trace > 0).all())


def test_points_are_drawn_by_the_monitor():
    mesh = generate.rectangle(8, 8)
    at = scene(mesh, Function(lambda x: 1 + 8 * (x[:, 0] > 0.5)).on(mesh), 16)
    points = collocation(at, np.random.default_rng(0), (4000, 400))
    share = float((points.inside[:, 0] > 0.5).double().mean())
    assert share == pytest.approx(0.9, abs=0.06)
    assert float(points.inside.min()) >= 0
    outward = (points.border - 0.5) * points.normal
    assert torch.allclose(outward.sum(dim=1), torch.full((400,), 0.5, dtype=torch.float64))


def test_residual_falls_and_the_map_is_one_to_one_on_a_smooth_monitor():
    mesh = generate.rectangle(12, 12)
    at = scene(mesh, Function(smooth).on(mesh), 16)
    torch.manual_seed(0)
    network = DataFreeNet(16, 4, (16, 32))
    optimiser = torch.optim.Adam(network.parameters(), 8e-3)
    fixed = collocation(at, np.random.default_rng(99), (300, 60))
    before = float(equation(network, at, fixed).residual.detach())
    for step in range(120):
        optimiser.zero_grad()
        found = equation(network, at, collocation(at, np.random.default_rng(step), (100, 40)))
        (found.residual + 100 * found.border + found.convexity).backward()
        optimiser.step()
    after = equation(network, at, fixed)
    assert float(after.residual.detach()) < 0.5 * before
    assert bool((after.determinant > 0).all() and (after.trace > 0).all())
    result = DataFreeMover(network).move(mesh, at.monitor)
    assert result.report.converged
    assert result.report.equidistribution_after < 0.75 * result.report.equidistribution_before


def settings(tmp_path, **changes) -> DataFreeSettings:
    base = {
        "h": (0.12, 0.13),
        "samples": 3,
        "held_out": 2,
        "resolution": 16,
        "channels": 4,
        "trunk": (8, 16),
        "points": (150, 60),
        "finish": 15,
        "finish_samples": 3,
        "cache": str(tmp_path / "cache"),
        "trainer": TrainerSettings(steps=1),
    }
    return DataFreeSettings(**{**base, **changes})


def test_the_gradient_reaches_every_weight(tmp_path):
    own = settings(tmp_path)
    network = own.network()
    loss, figures = DataFreeTask(own).loss(network, np.random.default_rng(0))
    loss.backward()
    assert set(figures) == {"residual", "border"}
    assert all(bool(p.grad.any()) for p in network.parameters())


def test_l_bfgs_improves_the_last_layer_only(tmp_path):
    own = settings(tmp_path, samples=8, finish_samples=8, finish=6)
    task, network = DataFreeTask(own), own.network()
    with torch.no_grad():
        figures = task.evaluate(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    refined = refine(task, Trained(network, 1, figures, "done", 0.0))
    assert refined.figures["score"] < figures["score"]
    assert refined.reason == "done, then L-BFGS"
    changed = {n for n, v in refined.model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed == {"trunk.2.weight", "trunk.2.bias"}


def test_l_bfgs_that_does_not_help_is_undone(tmp_path):
    own = settings(tmp_path)
    task, network = DataFreeTask(own), own.network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    perfect = Trained(network, 1, {"score": 0.0}, "done", 0.0)
    assert refine(task, perfect) is perfect
    assert all(torch.equal(v, before[n]) for n, v in network.state_dict().items())
    without = DataFreeTask(settings(tmp_path, finish=0))
    assert refine(without, perfect) is perfect
