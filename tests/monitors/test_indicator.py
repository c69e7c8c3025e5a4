"""Densities from error indicators."""

from __future__ import annotations

import pytest
import torch
from convergence import jiggled

from meshlearn.fem import FunctionSpace, recovery_estimate, residual_estimate
from meshlearn.mesh import MeshError
from meshlearn.mesh.generate import box, rectangle
from meshlearn.monitors import Indicator
from meshlearn.problems import named_problem


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("order", [2.0, 4.0])
def test_cells_that_contribute_evenly_per_h_to_the_order_get_a_uniform_density(
    dim: int, order: float
) -> None:
    # e_K = |K| h^order everywhere: nothing to gain, whatever the sizes of the cells.
    mesh = jiggled(rectangle(6, 6) if dim == 2 else box(3, 3, 3), 0.05)
    volume = mesh.volumes()
    density = Indicator(mesh, volume ** (1 + order / dim), order).values
    assert (density / density[0] - 1).abs().max() < 1e-10


def test_the_density_is_the_optimal_power_of_the_error_per_cell() -> None:
    # On equal cells (1 + c / a)^g with g = d / (d + order) and mean((c / a)^g) = strength.
    mesh = rectangle(8, 8, diagonal="left")
    share = torch.where(mesh.centroids()[:, 0] > 0.5, 16.0, 0.0).to(torch.float64)
    density = Indicator(mesh, share, order=2.0, strength=1.5, smoothing=0.0)
    inside = density.values[mesh.pos[:, 0] > 0.6]
    outside = density.values[mesh.pos[:, 0] < 0.4]
    assert torch.equal(outside, torch.ones_like(outside))
    assert (inside / inside[0] - 1).abs().max() < 1e-12
    excess = inside[0] ** 2 - 1  # c / a
    # The mean of (c / a)^(1/2) is 1.5, with c / a linear across the one row of cells between.
    assert float(excess.sqrt()) == pytest.approx(3.0, rel=0.1)


def test_signs_of_a_functional_do_not_count() -> None:
    mesh = rectangle(5, 5)
    share = torch.linspace(-1, 1, mesh.num_cells, dtype=torch.float64)
    assert torch.equal(Indicator(mesh, share).values, Indicator(mesh, share.abs()).values)


def test_no_error_is_a_uniform_monitor() -> None:
    mesh = rectangle(4, 4)
    density = Indicator(mesh, torch.zeros(mesh.num_cells)).values
    assert (density - 1).abs().max() < 1e-12


def test_estimators_of_one_problem_agree_on_where() -> None:
    mesh = rectangle(16, 16)
    problem = named_problem("bell", mesh)
    s = problem.solve(mesh)
    space = FunctionSpace(mesh, "P1")
    zz = Indicator(mesh, recovery_estimate(space, s.field.dofs).cells ** 2)
    residual = Indicator(mesh, residual_estimate(space, s.field.dofs, problem.source).cells ** 2)
    for density in (zz, residual):
        assert (mesh.pos[density.values.argmax()] - 0.5).norm() < 0.15
    pair = torch.stack([zz.values.log(), residual.values.log()])
    assert torch.corrcoef(pair)[0, 1] > 0.9


def test_messages() -> None:
    mesh = rectangle(3, 3)
    good = torch.ones(mesh.num_cells, dtype=torch.float64)
    with pytest.raises(MeshError, match=r"one value per cell, \[18\], got \[3\]"):
        Indicator(mesh, good[:3])
    bad = good.clone()
    bad[4] = float("nan")
    with pytest.raises(MeshError, match="not finite in cell 4"):
        Indicator(mesh, bad)
    for options in ({"order": 0.0}, {"strength": -1.0}):
        with pytest.raises(MeshError, match="order and strength must be positive"):
            Indicator(mesh, good, **options)
