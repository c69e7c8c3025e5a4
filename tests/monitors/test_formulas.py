"""Bells, balls and rings from formulas."""

from __future__ import annotations

import math

import pytest
import torch

from meshlearn.mesh import MeshError, generate
from meshlearn.monitors import ball, ring


@pytest.mark.parametrize("d", [1, 2, 3])
def test_values_are_those_of_the_published_formula(d: int) -> None:
    """1 + a / cosh^2(b (|x - c|^2 - r^2)), where cosh does not overflow."""
    x = torch.rand(200, d, dtype=torch.float64)
    centre = torch.full((d,), 0.4, dtype=torch.float64)
    expected = 1 + 7 / torch.cosh(30 * (((x - centre) ** 2).sum(dim=1) - 0.3**2)) ** 2
    sample = ball([0.4] * d, 0.3, amplitude=7, width=30).sample(x)
    torch.testing.assert_close(sample.value, expected)
    step = 1e-6 * torch.eye(d, dtype=torch.float64)
    again = ball([0.4] * d, 0.3, amplitude=7, width=30)
    slopes = [(again.sample(x + e).value - again.sample(x - e).value) / 2e-6 for e in step]
    torch.testing.assert_close(sample.gradient, torch.stack(slopes, dim=1), rtol=1e-5, atol=1e-6)


def test_the_ring_is_densest_on_its_circle() -> None:
    angle = torch.linspace(0, 6, 50, dtype=torch.float64)
    circle = 0.5 + 0.15**0.5 * torch.stack([angle.cos(), angle.sin()], dim=1)
    monitor = ring((0.5, 0.5), 0.15**0.5, amplitude=10, width=200)
    torch.testing.assert_close(monitor.sample(circle).value, torch.full_like(angle, 11.0))
    mesh = generate.rectangle(30, 30)
    values = monitor(mesh)
    assert 1 <= values.min() < 1 + 1e-12
    assert values.max() <= 11


def test_a_ball_of_radius_zero_is_a_bell() -> None:
    values = ball((0.0, 0.0), 0.0, amplitude=3).sample(torch.zeros(1, 2, dtype=torch.float64)).value
    assert values.item() == pytest.approx(4)


@pytest.mark.parametrize("width", [1e3, 1e8, 1e300])
def test_narrow_rings_do_not_overflow(width: float) -> None:
    x = torch.linspace(-10, 10, 101, dtype=torch.float64)[:, None] * torch.ones(1, 2)
    sample = ball((0.0, 0.0), 0.7, width=width).sample(x)
    assert torch.isfinite(sample.value).all()
    assert torch.isfinite(sample.gradient).all()
    assert (sample.value >= 1).all()


def test_mean_of_the_published_ring() -> None:
    """The reference problem: its mean over the square, 1 + a small multiple of the amplitude."""
    mesh = generate.rectangle(400, 400)
    monitor = ring((0.5, 0.5), 0.15**0.5, amplitude=10, width=200)
    # Integral of 1 / cosh^2(b (s - r^2)) over s = |x - c|^2 is 2 / b, and dA = pi ds.
    exact = 1 + 10 * math.pi * 2 / 200
    values = monitor(mesh)
    share = torch.zeros_like(values)
    area = mesh.volumes()
    for column in mesh.cells["triangle"].unbind(dim=1):
        share.index_add_(0, column, area / 3)
    assert float((share * values).sum()) == pytest.approx(exact, rel=1e-4)


def test_amplitudes_that_make_it_negative_are_refused() -> None:
    with pytest.raises(MeshError, match="must be above -1 for a positive monitor, got -1"):
        ball((0.0, 0.0), 0.5, amplitude=-1)
    hollow = ball((0.5, 0.5), 0.3, amplitude=-0.9)(generate.rectangle(9, 9))
    assert (hollow > 0).all()
