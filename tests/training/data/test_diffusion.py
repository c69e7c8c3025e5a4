"""Diffusion cases: contrast within its bounds, difficulty that rises with the variance."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from meshlearn.fem import FunctionSpace, assemble, dot, grad
from meshlearn.training import TrainingError
from meshlearn.training.data import COVARIANCES, Diffusion, DiffusionSettings, make_diffusion

SMALL = DiffusionSettings(nodes=80)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_cases_are_solved(covariance: str) -> None:
    case = make_diffusion(SMALL.model_copy(update={"covariance": covariance}), 3)
    mesh, u, load = case.mesh, case.outputs["u"], case.inputs["f"]
    assert case.kind == covariance
    assert mesh.volumes().sum() == pytest.approx(1.0)
    space = FunctionSpace(mesh, "P1")
    k = case.inputs["log_k"].exp()
    A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
    right = assemble(lambda u, v, w: u * v, space) @ load
    miss = (A @ u - right).index_fill(0, mesh.boundary_nodes, 0.0)
    assert float(miss.norm() / right.norm()) < 1e-10
    assert (u[mesh.boundary_nodes] == 0).all()


def test_the_contrast_is_within_its_bounds_and_else_it_is_not() -> None:
    bounded = SMALL.model_copy(update={"variance": 1.0, "contrast": (20.0, 60.0)})
    free = SMALL.model_copy(update={"variance": 1.0})
    ratios = []
    for settings in (bounded, free):
        fields = [make_diffusion(settings, k).inputs["log_k"] for k in range(12)]
        ratios.append([float((f.max() - f.min()).exp()) for f in fields])
    assert all(20 <= ratio <= 60 for ratio in ratios[0])
    assert not all(20 <= ratio <= 60 for ratio in ratios[1])
    with pytest.raises(TrainingError, match=r"has a contrast between 1e\+07 and 1e\+08; widen"):
        make_diffusion(SMALL.model_copy(update={"contrast": (1e7, 1e8)}), 0)


def test_difficulty_rises_with_the_variance(tmp_path: Path) -> None:
    miss = []
    for variance in (0.1, 0.4, 1.0, 2.0):
        pool = DiffusionSettings(nodes=80, variance=variance, load="smooth").pool(6, tmp_path)
        assert isinstance(pool, Diffusion)
        gaps = [
            (pool.baseline(c)["u"] - c.outputs["u"]).norm() / c.outputs["u"].norm() for c in pool
        ]
        miss.append(float(torch.stack(gaps).mean()))
    assert miss == sorted(miss)
