"""Advection and diffusion: orders, and a boundary layer that only SUPG holds."""

from __future__ import annotations

import pytest
import torch
from convergence import half_and_half, jiggled, last_order
from torch import Tensor

from meshlearn.mesh import MeshError, generate
from meshlearn.problems import AdvectionDiffusion


def smooth(x: Tensor) -> Tensor:
    return torch.sin(3 * x[:, 0] + 0.3) * torch.cos(2 * x[:, 1])


def turning(x: Tensor) -> Tensor:
    return torch.stack([1 + x[:, 1], 0.5 - x[:, 0]], dim=1)


@pytest.mark.parametrize("scheme", ["supg", "galerkin"])
def test_orders_where_diffusion_is_strong(scheme: str) -> None:
    problem = AdvectionDiffusion.manufactured(smooth, turning, 1.0, 0.5, scheme)  # type: ignore[arg-type]
    order = last_order(lambda n: problem.solve(generate.rectangle(n, n)).errors(), (16, 32))
    assert order["l2"] == pytest.approx(2, abs=0.1)
    assert order["h1"] == pytest.approx(1, abs=0.1)


def test_orders_of_supg_where_advection_rules() -> None:
    # Theory: 3/2 in L2 on general meshes, 2 on regular ones; 1 in H1.
    problem = AdvectionDiffusion.manufactured(smooth, turning, 1e-6, 0.5)
    regular = last_order(lambda n: problem.solve(generate.rectangle(n, n)).errors(), (32, 64))
    assert regular["l2"] == pytest.approx(2, abs=0.1)
    assert regular["h1"] == pytest.approx(1, abs=0.1)
    mixed = last_order(lambda n: problem.solve(half_and_half(n)).errors(), (16, 32))
    assert mixed["l2"] > 1.4
    assert mixed["h1"] == pytest.approx(1, abs=0.1)


def test_galerkin_of_higher_degree() -> None:
    problem = AdvectionDiffusion.manufactured(smooth, turning, 0.5, scheme="galerkin")
    order = last_order(lambda n: problem.solve(generate.rectangle(n, n), 2).errors(), (8, 16))
    assert order["l2"] == pytest.approx(3, abs=0.1)
    assert order["h1"] == pytest.approx(2, abs=0.1)


def layer(x: Tensor) -> Tensor:
    """x - (exp((x - 1) / k) - exp(-1 / k)) / (1 - exp(-1 / k)) for k = 1e-3."""
    return x[:, 0] - torch.exp((x[:, 0] - 1) / 1e-3)


def test_galerkin_oscillates_in_a_boundary_layer_and_supg_does_not() -> None:
    # u' - 1e-3 u'' = 1, u = 0 at both ends: cell Peclet number 29; in 1D the parameter is the one
    # that makes SUPG exact at the nodes.
    mesh = generate.rectangle(17, 17, cell="quad")
    found = {}
    for scheme in ("supg", "galerkin"):
        problem = AdvectionDiffusion(
            (1.0, 0.0), 1e-3, 1.0, {"left": 0.0, "right": 0.0}, scheme=scheme, exact=layer
        )
        found[scheme] = problem.solve(mesh).u
    assert (found["supg"] - layer(mesh.pos)).abs().max() < 1e-10
    assert found["supg"].max() <= 1
    assert found["galerkin"].max() > 1.3
    assert found["galerkin"].min() < -0.3


def test_supg_on_triangles_keeps_a_skew_layer_in_bounds() -> None:
    # Flow at an angle to the mesh, u = 1 on the left: layers at the sides and the outlet.
    mesh = jiggled(generate.rectangle(20, 20, diagonal="right"), 0.005)
    values = {"left": 1.0, "bottom": 0.0, "right": 0.0, "top": 0.0}
    over = {}
    for scheme in ("supg", "galerkin"):
        problem = AdvectionDiffusion((1.0, 0.3), 1e-4, 0.0, values, scheme=scheme)  # type: ignore[arg-type]
        u = problem.solve(mesh).u
        over[scheme] = max(float(u.max()) - 1, -float(u.min()))
    assert over["supg"] < 0.6
    assert over["galerkin"] > 5 * over["supg"]


def test_without_flow_it_is_poisson_and_gradients_are_finite() -> None:
    mesh = generate.rectangle(4, 4)
    moved = mesh.moved(mesh.pos.clone().requires_grad_(True))
    u = AdvectionDiffusion((0.0, 0.0), 2.0, 1.0).solve(moved).u
    (slope,) = torch.autograd.grad(u.sum(), moved.pos)
    assert torch.isfinite(slope).all()
    twice = AdvectionDiffusion((0.0, 0.0), 1.0, 1.0, scheme="galerkin").solve(mesh).u
    assert (2 * u - twice).abs().max() < 1e-12


def test_input_errors_say_what_is_wrong() -> None:
    with pytest.raises(MeshError, match="must be positive"):
        AdvectionDiffusion((1.0, 0.0), 0.0)
    with pytest.raises(MeshError, match="'supg' or 'galerkin'"):
        AdvectionDiffusion((1.0, 0.0), 1.0, scheme="upwind")  # type: ignore[arg-type]
    with pytest.raises(MeshError, match="linear elements"):
        AdvectionDiffusion((1.0, 0.0), 1.0).solve(generate.rectangle(2, 2), degree=2)
