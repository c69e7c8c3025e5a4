"""Thin straight fronts: the way to metrics that ask for long cells."""

from __future__ import annotations

import math

import pytest
import torch

from meshlearn.mesh import Mesh, generate
from meshlearn.monitors import Constant, Function, Hessian
from meshlearn.movers import Variational
from meshlearn.movers.approach import approach
from meshlearn.movers.energy import HuangKamenski


def front(pos: torch.Tensor, angle: float, width: float) -> torch.Tensor:
    """tanh of the distance from a line through the middle of the square, `angle` in degrees."""
    a = math.radians(angle)
    normal = torch.tensor([math.cos(a), math.sin(a)], dtype=torch.float64)
    return torch.tanh(((pos - 0.5) @ normal) / width)


def interpolation_error(mesh: Mesh, angle: float, width: float) -> float:
    """L2 norm, by the centroids of 64 parts of each triangle."""
    k = 8
    upper = [((i + 1 / 3) / k, (j + 1 / 3) / k) for i in range(k) for j in range(k - i)]
    lower = [((i + 2 / 3) / k, (j + 2 / 3) / k) for i in range(k) for j in range(k - i - 1)]
    two = torch.tensor(upper + lower, dtype=torch.float64)
    weights = torch.cat([1 - two.sum(dim=1, keepdim=True), two], dim=1)
    cells = mesh.cells["triangle"]
    points = torch.einsum("qk,tkd->tqd", weights, mesh.pos[cells])
    linear = front(mesh.pos, angle, width)[cells] @ weights.T
    exact = front(points.reshape(-1, 2), angle, width).reshape(linear.shape)
    return float((((linear - exact) ** 2).mean(dim=1) * mesh.volumes()).sum().sqrt())


def gain(n: int, angle: float, width: float) -> float:
    """Interpolation error of the unmoved mesh over that after one move."""
    mesh = generate.rectangle(n, n)
    monitor = Hessian(mesh, front(mesh.pos, angle, width), kind="metric")
    moved = Variational().move(mesh, monitor).mesh
    return interpolation_error(mesh, angle, width) / interpolation_error(moved, angle, width)


@pytest.mark.parametrize("width", [0.1, 0.03, 0.01])
@pytest.mark.parametrize("angle", [0, 30, 45, 90])
@pytest.mark.parametrize("n", [16, 32])
def test_a_straight_front_is_never_worse_than_on_the_unmoved_mesh(
    n: int, angle: float, width: float
) -> None:
    assert gain(n, angle, width) > 1.2


@pytest.mark.parametrize(("angle", "least"), [(0, 40), (30, 15), (45, 100), (90, 40)])
def test_a_front_of_half_a_cell_gains_much(angle: float, least: float) -> None:
    assert gain(64, angle, 0.01) > least


def test_milder_metrics_lead_from_near_to_the_given_one() -> None:
    mesh = generate.rectangle(8, 8)
    metric = Function(lambda x: torch.diag(x.new_tensor([4000.0, 1.0])).expand(len(x), 2, 2))
    functional = HuangKamenski(mesh, 1 / 3, 1.5)
    steps = approach(functional, metric, mesh.pos)
    far = [float(functional.misalignment(mesh.pos, step(mesh)).max()) for step in steps]
    assert steps[-1] is metric
    assert far[0] < 5 < far[1]
    assert far == sorted(far)
    assert far[-1] == pytest.approx(4001 / (2 * 4000**0.5))


def test_densities_and_mild_metrics_are_followed_directly() -> None:
    mesh = generate.rectangle(8, 8)
    functional = HuangKamenski(mesh, 1 / 3, 1.5)
    mild = Function(lambda x: torch.diag(x.new_tensor([90.0, 1.0])).expand(len(x), 2, 2))
    assert approach(functional, Constant(1e6), mesh.pos) == []
    assert approach(functional, mild, mesh.pos) == []


def test_the_iterations_on_the_way_count() -> None:
    mesh = generate.rectangle(16, 16)
    monitor = Hessian(mesh, front(mesh.pos, 0, 0.01), kind="metric", strength=5)
    seen: list[int] = []
    result = Variational(max_iterations=7).move(mesh, monitor, progress=lambda k, _: seen.append(k))
    assert result.report.reason == "stopped after 7 iterations"
    assert seen == list(range(1, 8))
