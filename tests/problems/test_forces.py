"""Figures of merit of flows: frequencies of signals, coefficients, unknown bodies."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import MeshError, generate
from meshlearn.problems import Stokes, drag_lift, force, frequency, pressure_difference


def test_frequency_of_a_sine_around_any_mean() -> None:
    times = torch.linspace(0, 3, 400, dtype=torch.float64)
    assert frequency(times, 2 + torch.sin(2 * torch.pi * 3.7 * times + 0.4)) == pytest.approx(
        3.7, rel=1e-4
    )
    with pytest.raises(MeshError, match="does not rise twice"):
        frequency(times, times)


def test_coefficients_scale_with_speed_and_length() -> None:
    mesh = generate.rectangle(3, 3)
    flow = Stokes(2.0, {"bottom": 0.0, "top": (1.0, 0.0)}).solve(mesh)
    x, y = drag_lift(flow, "bottom", speed=3.0, length=0.5)
    expected = 2 * force(flow, "bottom") / (9 * 0.5)
    assert torch.stack([x, y]).tolist() == pytest.approx(expected.tolist())
    # Couette flow: the fluid pulls the floor along with nu du/dy = 2 per length.
    assert float(force(flow, "bottom")[0]) == pytest.approx(2.0)
    assert float(pressure_difference(flow, (0.2, 0.2), (0.9, 0.7))) == pytest.approx(0, abs=1e-12)
    with pytest.raises(MeshError, match="no tag 'wing'"):
        force(flow, "wing")
