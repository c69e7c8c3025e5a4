"""Steady Navier-Stokes: Kovasznay's flow, the DFG cylinder, the driven cavity, continuation."""

from __future__ import annotations

import pytest
import torch
from cavity import BOTELLA_PEYRET, ghia, places
from convergence import last_order
from flows import kovasznay
from torch import Tensor

from meshlearn.fem import SolveError
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.problems import (
    FlowSolution,
    NavierStokes,
    Stokes,
    cylinder_flow,
    drag_lift,
    force,
    lid_driven_cavity,
    pressure_difference,
)


def layered(n: int) -> Mesh:
    """The unit square with cells that are smaller near the walls."""
    mesh = generate.rectangle(n, n, cell="quad")
    return mesh.moved(0.25 * mesh.pos + 0.375 * (1 - torch.cos(torch.pi * mesh.pos)))


def centre_lines(solution: FlowSolution) -> tuple[Tensor, Tensor]:
    """u and v at the published places."""
    velocity = solution.velocity
    vertical, horizontal = (velocity.space.evaluate(velocity.dofs, at) for at in places())
    return vertical[:, 0], horizontal[:, 1]


def kovasznay_errors(n: int, element: str) -> dict[str, float]:
    velocity, pressure = kovasznay(40.0)
    mesh = generate.rectangle(n, n, lower=(-0.5, -0.5), upper=(0.5, 0.5))
    flow = NavierStokes(1 / 40, {"boundary": velocity})
    return flow.solve(mesh, element).errors(velocity, pressure)  # type: ignore[arg-type]


def test_orders_of_kovasznays_flow_with_taylor_hood() -> None:
    order = last_order(lambda n: kovasznay_errors(n, "taylor-hood"), (16, 32))
    assert order["velocity_l2"] == pytest.approx(3, abs=0.1)
    assert order["velocity_h1"] == pytest.approx(2, abs=0.1)
    assert order["pressure_l2"] == pytest.approx(2, abs=0.1)


def test_orders_of_kovasznays_flow_with_mini() -> None:
    order = last_order(lambda n: kovasznay_errors(n, "mini"), (24, 48))
    assert order["velocity_l2"] == pytest.approx(2, abs=0.1)
    assert order["velocity_h1"] == pytest.approx(1, abs=0.1)
    assert order["pressure_l2"] > 0.9


def test_dfg_cylinder_at_reynolds_number_20() -> None:
    # Reference values of case 2D-1 (G. Nabh, 1998, by spectral elements).
    flow = cylinder_flow().solve(generate.channel_with_cylinder(0.03, 0.0025))
    drag, lift = drag_lift(flow, "cylinder", speed=0.2, length=0.1)
    assert float(drag) == pytest.approx(5.57953523384, rel=1e-3)
    assert float(lift) == pytest.approx(0.010618948146, rel=2e-2)
    gap = pressure_difference(flow, (0.15, 0.2), (0.25, 0.2))
    assert float(gap) == pytest.approx(0.11752016697, rel=1e-3)


@pytest.mark.parametrize("reynolds", [100, 400, 1000])
def test_lid_driven_cavity_against_ghia(reynolds: int) -> None:
    u, v = centre_lines(lid_driven_cavity(reynolds).solve(layered(28)))
    ghia_u, ghia_v = ghia(reynolds)
    assert (u - ghia_u).abs().max() < 0.01
    assert (v - ghia_v).abs().nan_to_num().max() < 0.02


def test_lid_driven_cavity_against_botella_and_peyret() -> None:
    # The spectral solution is closer to ours than to Ghia's, which is up to 0.019 away from it.
    found = torch.stack(centre_lines(lid_driven_cavity(1000).solve(layered(40))), dim=1)
    assert (found - torch.tensor(BOTELLA_PEYRET, dtype=torch.float64)).abs().max() < 2e-3


def test_thick_fluids_creep() -> None:
    cavity = lid_driven_cavity(1e-4)
    mesh = generate.rectangle(6, 6)
    creeping = Stokes(cavity.viscosity, cavity.velocities).solve(mesh)
    assert (cavity.solve(mesh).u - creeping.u).abs().max() < 1e-5


def test_continuation_reaches_a_high_reynolds_number() -> None:
    # From Stokes flow Newton's method fails at Re = 5000 and at 1250, but not at 312.
    cavity, mesh = lid_driven_cavity(5000), layered(24)
    creeping = Stokes(cavity.viscosity, cavity.velocities).solve(mesh)
    from_oseen, from_stokes = cavity.solve(mesh), cavity.solve(mesh, start=creeping)
    assert (from_stokes.field.dofs - from_oseen.field.dofs).abs().max() < 1e-6


def test_gradients_with_respect_to_positions_viscosity_and_inflow() -> None:
    base = generate.rectangle(4, 3)
    direction = torch.randn_like(base.pos)

    def figure(step: Tensor, nu: Tensor, speed: Tensor) -> Tensor:
        mesh = base.moved(base.pos + step * direction)
        inflow = (lambda x: speed * x[:, 1] * (1 - x[:, 1]), 0.0)
        held = {"left": inflow, "bottom": 0.0, "top": 0.0}
        flow = NavierStokes(nu, held, body=(0.0, 1.0)).solve(mesh, tol=1e-12)
        return flow.u.pow(3).sum() + force(flow, "top")[0]

    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1e-3, 0.05, 1.3)]
    slopes = torch.autograd.grad(figure(*inputs), inputs)
    with torch.no_grad():
        for k, slope in enumerate(slopes):
            h = torch.zeros(3, dtype=torch.float64)
            h[k] = 1e-5
            up = figure(*(v + s for v, s in zip(inputs, h, strict=True)))
            down = figure(*(v - s for v, s in zip(inputs, h, strict=True)))
            assert float(slope) == pytest.approx(float(up - down) / 2e-5, rel=1e-6)


def test_a_start_must_fit() -> None:
    cavity = lid_driven_cavity(10)
    start = cavity.solve(generate.rectangle(3, 3))
    with pytest.raises(MeshError, match="same elements on the same mesh"):
        cavity.solve(generate.rectangle(4, 4), start=start)


def test_no_flow_is_an_error() -> None:
    with pytest.raises(SolveError):
        lid_driven_cavity(1000).solve(generate.rectangle(4, 4), tol=0.0)
