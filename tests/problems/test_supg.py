"""The parameter of SUPG against its closed form on cells whose length along the flow is known."""

from __future__ import annotations

import math

import pytest
import torch
from convergence import half_and_half

from meshlearn.mesh.generate import interval, rectangle
from meshlearn.problems.supg import corner_slopes, stabilisation


@pytest.mark.parametrize("peclet", [1e-6, 9e-3, 1.1e-2, 0.5, 3.0, 1e6])
def test_it_is_the_exact_one_in_1d(peclet: float) -> None:
    slopes = corner_slopes(interval(4))
    velocity, h = torch.full((4, 1), -2.0, dtype=torch.float64), 0.25
    found = stabilisation(velocity, 2 * h / (2 * peclet), slopes)
    series = peclet / 3 if peclet < 1e-4 else 1 / math.tanh(peclet) - 1 / peclet
    assert found.tolist() == pytest.approx([h / 4 * series] * 4, rel=1e-8)


def test_the_length_is_that_along_the_flow() -> None:
    slopes = corner_slopes(rectangle(2, 8, cell="quad"))
    for direction, length in (((1.0, 0.0), 0.5), ((0.0, 1.0), 0.125)):
        velocity = torch.tensor(direction, dtype=torch.float64).expand(16, 2)
        assert stabilisation(velocity, 0.0, slopes).tolist() == pytest.approx([length / 2] * 16)


def test_slopes_are_in_canonical_order_and_vanish_in_sum() -> None:
    mesh = half_and_half(4)
    slopes = corner_slopes(mesh)
    assert slopes.shape == (mesh.num_cells, 4, 2)
    assert slopes.sum(dim=1).abs().max() < 1e-12
    missing = (slopes[:, 3] == 0).all(dim=1)
    assert torch.equal(torch.nonzero(missing).squeeze(1), mesh.cell_ids["triangle"])


def test_still_water_needs_none() -> None:
    slopes = corner_slopes(rectangle(2, 2))
    assert torch.isfinite(stabilisation(torch.zeros(8, 2, dtype=torch.float64), 1.0, slopes)).all()
