"""Gaussian fields have the variance and covariance they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshlearn.training import TrainingError
from meshlearn.training.data import COVARIANCES, gaussian_field

DISTANCE = torch.tensor([0.0, 0.05, 0.1, 0.2, 0.4], dtype=torch.float64)


def exact(covariance: str, s: torch.Tensor) -> torch.Tensor:
    if covariance == "exponential":
        return (-s).exp()
    if covariance == "gaussian":
        return (-(s**2) / 2).exp()
    inside = 1 - 7 * s**2 + 8.75 * s**3 - 3.5 * s**5 + 0.75 * s**7
    return torch.where(s < 1, inside, 0.0)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_variance_and_covariance(covariance: str) -> None:
    turned = torch.tensor([0.6, 0.8], dtype=torch.float64)
    points = 0.3 + DISTANCE[:, None] * turned
    rng = np.random.default_rng(0)
    drawn = torch.stack([gaussian_field(rng, points, 0.2, covariance) for _ in range(4000)])
    found = (drawn[:, :1] * drawn).mean(dim=0)
    assert float(drawn.mean(dim=0).abs().max()) < 0.06
    assert torch.allclose(found, exact(covariance, DISTANCE / 0.2), atol=0.06)


def test_a_field_is_a_function_of_the_place() -> None:
    points = torch.rand(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for covariance in COVARIANCES:
        all_at_once = gaussian_field(np.random.default_rng(1), points, 0.1, covariance)
        fewer = gaussian_field(np.random.default_rng(1), points[3:5], 0.1, covariance)
        assert torch.allclose(all_at_once[3:5], fewer, rtol=0, atol=1e-12)


def test_errors() -> None:
    rng, points = np.random.default_rng(0), torch.zeros(3, 3, dtype=torch.float64)
    with pytest.raises(TrainingError, match=r"covariance must be one of .*got 'matern'"):
        gaussian_field(rng, points, 0.1, "matern")
    with pytest.raises(TrainingError, match="cubic covariance is for points of the plane, got 3D"):
        gaussian_field(rng, points, 0.1, "cubic")
