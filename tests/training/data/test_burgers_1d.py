"""The reference scheme has its order, keeps the mean, and meets a known shock."""

from __future__ import annotations

import math

import pytest
import torch

from meshlearn.mesh import MeshError
from meshlearn.training.data.burgers_1d import (
    LENGTH,
    Forcing,
    curvature,
    drawn,
    ring,
    solved,
    transported,
)


def waves(n: int) -> torch.Tensor:
    x = LENGTH / n * torch.arange(n).double()
    return torch.sin(2 * math.pi * x / LENGTH)[None] + 0.3


def test_transport_is_of_order_5_and_diffusion_of_order_4() -> None:
    errors = []
    for n in (80, 160):
        x = LENGTH / n * torch.arange(n).double()
        k, u = 2 * math.pi / LENGTH, waves(n)
        exact = -u * k * torch.cos(k * x)
        bent = -(k**2) * torch.sin(k * x)
        errors.append(
            [
                float((transported(u, LENGTH / n) - exact).abs().mean()),
                float((curvature(u, LENGTH / n) - bent).abs().max()),
            ]
        )
    transport, diffusion = (math.log2(a / b) for a, b in zip(*errors, strict=True))
    assert transport == pytest.approx(5, abs=0.5)
    assert diffusion == pytest.approx(4, abs=0.1)


def test_what_moves_right_is_what_moves_left_in_the_mirror() -> None:
    u = torch.randn(2, 30, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(transported(-u.flip(1), 0.1), -transported(u, 0.1).flip(1), atol=1e-12)
    assert float(transported(u, 0.1).sum(dim=1).abs().max()) < 1e-11


def test_runs_are_the_same_again_and_coarse_ones_come_near_fine_ones() -> None:
    forcing, nu = drawn(3, 1)
    fine, coarse = solved(forcing, nu, 200, 10, 1.0), solved(forcing, nu, 100, 10, 1.0)
    assert torch.equal(fine, solved(*drawn(3, 1), 200, 10, 1.0))
    assert fine.shape == (3, 11, 200)
    error = (fine[:, -1, ::2] - coarse[:, -1]).square().mean().sqrt()
    assert float(error) < 0.01 * float(fine[:, -1].square().mean().sqrt())


def test_a_run_goes_on_from_a_state() -> None:
    forcing, nu = drawn(2, 3)
    whole = solved(forcing, nu, 40, 10, 1.0)
    rest = solved(forcing, nu, 40, 6, 0.6, begin=0.4, first=whole[:, 4])
    assert torch.allclose(rest, whole[:, 4:], atol=1e-12)


def test_the_mean_follows_the_forcing() -> None:
    """Every wave has mean 0, so the mean of u stays."""
    states = solved(*drawn(2, 5), 60, 5, 1.0)
    assert float(states.mean(dim=2).abs().max()) < 1e-12


def test_a_forcing_is_periodic_and_moves() -> None:
    one = torch.ones(1, 1).double()
    wave = Forcing(one, 2 * one, one, 0 * one)
    x = torch.tensor([0.0, 1.0, LENGTH]).double()
    assert torch.allclose(wave(x, 0.0)[0, 0], wave(x, 0.0)[0, 2], atol=1e-12)
    assert float(wave(x, 0.5)[0, 0]) == pytest.approx(math.sin(1.0))


def test_a_ring_has_no_end() -> None:
    mesh, x = ring(12)
    assert mesh.topology.edge_index.shape == (2, 24)
    assert len(mesh.boundary_nodes) == 0
    assert torch.equal(mesh.pos[:, 0], x)


def test_too_few_points() -> None:
    with pytest.raises(MeshError, match="at least 6 points, got 5"):
        solved(*drawn(1, 0), 5, 1)
