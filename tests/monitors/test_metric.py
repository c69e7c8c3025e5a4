"""The metric toolbox: published values and algebraic laws."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlearn.mesh import MeshError, generate
from meshlearn.monitors import Field, metric
from meshlearn.movers import Variational


def random_metric(n: int, d: int, seed: int, stretch: float = 10.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(n, d, d, generator=generator, dtype=torch.float64))
    values = torch.exp(math.log(stretch) * torch.rand(n, d, generator=generator).double())
    return (q * values[:, None, :]) @ q.transpose(1, 2)


def diagonal(*entries: torch.Tensor) -> torch.Tensor:
    return torch.diag_embed(torch.stack(entries, dim=1))


def test_complexity_of_a_linear_metric() -> None:
    # Animate's check: diag(1 + x, 1 + y) on the unit square has 4 - 16 sqrt(2) / 9
    mesh = generate.rectangle(20, 20)
    x, y = mesh.pos.unbind(dim=1)
    found = metric.complexity(mesh, diagonal(1 + x, 1 + y))
    assert found == pytest.approx(4 - 16 * math.sqrt(2) / 9, rel=1e-8)


@pytest.mark.parametrize("d", [2, 3])
def test_the_hessian_of_a_bowl_is_the_identity(d: int) -> None:
    mesh = generate.rectangle(6, 6) if d == 2 else generate.box(3, 3, 3)
    found = metric.hessian_metric(mesh, 0.5 * (mesh.pos**2).sum(dim=1))
    assert torch.allclose(found, torch.eye(d, dtype=torch.float64), atol=1e-6)


def test_intersection_of_40_100_and_20_is_100() -> None:
    eye = torch.eye(2, dtype=torch.float64)[None]
    found = metric.intersect(metric.intersect(40 * eye, 100 * eye), 20 * eye)
    assert torch.allclose(found, 100 * eye)


@given(st.sampled_from([2, 3]), st.integers(0, 1000))
@settings(max_examples=40)
def test_an_intersection_is_at_least_as_fine_as_both_in_every_direction(d: int, seed: int) -> None:
    a, b = random_metric(20, d, seed), random_metric(20, d, seed + 1)
    c = metric.intersect(a, b)
    for other in (a, b):
        assert float(torch.linalg.eigvalsh(c - other).min()) > -1e-9
    assert torch.allclose(metric.intersect(b, a), c, atol=1e-8)
    assert torch.allclose(metric.intersect(a, a), a, atol=1e-9)


@given(st.sampled_from([2, 3]), st.integers(0, 1000))
@settings(max_examples=20)
def test_the_average_of_a_metric_and_its_inverse_is_the_identity(d: int, seed: int) -> None:
    a = random_metric(10, d, seed)
    found = metric.average([a, torch.linalg.inv(a)])
    assert torch.allclose(found, torch.eye(d, dtype=torch.float64).expand(10, d, d), atol=1e-9)


def test_weights_of_an_average_are_exponents() -> None:
    a, b = (s**-2 * torch.eye(2, dtype=torch.float64)[None] for s in (0.1, 0.4))
    found = metric.average([a, b], [0.75, 0.25])
    assert found[0, 0, 0] ** -0.5 == pytest.approx(0.1**0.75 * 0.4**0.25)
    assert torch.allclose(metric.average([a, b], [2.0, 2.0]), metric.average([a, b]))
    with pytest.raises(MeshError, match="2 metrics need as many weights"):
        metric.average([a, b], [1.0])


def test_limits_hold_and_reasonable_metrics_pass() -> None:
    a = random_metric(50, 3, 4, stretch=1e6)
    limited = metric.limit(a, h_min=0.01, h_max=0.5, max_anisotropy=10)
    sizes = torch.linalg.eigvalsh(limited) ** -0.5
    assert float(sizes.min()) >= 0.01 * (1 - 1e-9)
    assert float(sizes.max()) <= 0.5 * (1 + 1e-9)
    assert float((sizes.amax(dim=1) / sizes.amin(dim=1)).max()) <= 10 * (1 + 1e-6)
    mild = random_metric(50, 3, 4, stretch=4)
    assert torch.allclose(metric.limit(mild, h_min=0.01, h_max=2, max_anisotropy=10), mild)


@pytest.mark.parametrize("p", [1.0, 2.0, float("inf")])
def test_normalisation_reaches_the_target_complexity(p: float) -> None:
    mesh = generate.rectangle(16, 16)
    x, y = mesh.pos.unbind(dim=1)
    found = metric.normalise(mesh, diagonal(1 + 50 * x**2, 1 + y), 1000.0, p)
    assert metric.complexity(mesh, found) == pytest.approx(1000.0, rel=0.02)
    uniform = metric.normalise(mesh, diagonal(0 * x + 4, 0 * x + 9), 300.0, p)
    assert metric.complexity(mesh, uniform) == pytest.approx(300.0, rel=1e-10)


def test_gradation_bounds_the_growth_and_only_refines() -> None:
    mesh = generate.rectangle(20, 20)
    near = (mesh.pos - 0.5).norm(dim=1) < 0.03
    size = torch.where(near, 0.01, 0.5).double()
    eye = torch.eye(2, dtype=torch.float64)
    rough = eye / (size**2)[:, None, None]
    smooth = metric.grade(mesh, rough, gradation=1.5)
    assert float(torch.linalg.eigvalsh(smooth - rough).min()) > -1e-6
    h = torch.linalg.eigvalsh(smooth)[:, 1] ** -0.5
    first, second = mesh.topology.edges.unbind(dim=1)
    growth = (h[first] - h[second]).abs() / (mesh.pos[first] - mesh.pos[second]).norm(dim=1)
    assert float(growth.max()) <= math.log(1.5) * (1 + 1e-6)
    constant = 30 * eye.expand(mesh.num_nodes, 2, 2).clone()
    assert torch.allclose(metric.grade(mesh, constant), constant)


def test_a_metric_moves_a_mesh() -> None:
    mesh = generate.rectangle(16, 16)
    u = torch.tanh(20 * (mesh.pos[:, 0] - 0.5))
    wanted = metric.limit(metric.hessian_metric(mesh, u), h_min=0.02, h_max=0.2)
    result = Variational().move(mesh, Field(mesh, metric.normalise(mesh, wanted, 200.0)))
    assert result.report.inverted_cells == 0
    assert result.report.equidistribution_after < result.report.equidistribution_before


def test_wrong_arguments_are_named() -> None:
    mesh = generate.rectangle(2, 2)
    eye = torch.eye(2, dtype=torch.float64).expand(9, 2, 2)
    with pytest.raises(MeshError, match="0 < h_min <= h_max"):
        metric.limit(eye, h_min=2.0, h_max=1.0)
    with pytest.raises(MeshError, match="max_anisotropy must be at least 1"):
        metric.limit(eye, max_anisotropy=0.5)
    with pytest.raises(MeshError, match="positive complexity"):
        metric.normalise(mesh, eye, -1.0)
    with pytest.raises(MeshError, match="gradation must be above 1"):
        metric.grade(mesh, eye, gradation=1.0)
