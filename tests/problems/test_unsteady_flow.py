"""Unsteady Navier-Stokes: order in time, steady states, vortex shedding, files, input errors."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from meshlearn.mesh import MeshError, generate
from meshlearn.problems import (
    Flow,
    FlowSeries,
    Stokes,
    UnsteadyNavierStokes,
    cylinder_flow,
    drag_lift,
    frequency,
    lid_driven_cavity,
)


def vortices(x: Tensor) -> Tensor:
    a, b = x.unbind(dim=1)
    return torch.stack([-torch.cos(a) * torch.sin(b), torch.sin(a) * torch.cos(b)], dim=1)


def vortex_pressure(x: Tensor) -> Tensor:
    return -torch.cos(2 * x).sum(dim=1) / 4


def vortex_errors(steps: int) -> dict[str, float]:
    """Taylor and Green's vortices, u = exp(-2 nu t) vortices, p = exp(-4 nu t) of theirs."""
    nu, end = 0.7, 1.0
    mesh = generate.rectangle(20, 20, lower=(0.2, -0.3), upper=(1.7, 1.2), cell="quad")
    flow = Flow(nu, {"boundary": vortices})
    decay = math.exp(-2 * nu * end)
    # The steady flow that a suitable force would hold is the start.
    start = Stokes(nu, {"boundary": vortices}, lambda x: 2 * nu * vortices(x)).solve(mesh)
    unsteady = UnsteadyNavierStokes(flow, lambda t: math.exp(-2 * nu * t))
    last = unsteady.solve(mesh, end, steps, start=start)[-1]
    return last.errors(lambda x: decay * vortices(x), lambda x: decay**2 * vortex_pressure(x))


def test_order_in_time_on_decaying_vortices() -> None:
    coarse, fine = vortex_errors(8), vortex_errors(16)
    assert math.log2(coarse["velocity_l2"] / fine["velocity_l2"]) > 1.9
    assert math.log2(coarse["pressure_l2"] / fine["pressure_l2"]) > 1.9
    assert fine["velocity_l2"] < 5e-5


def test_a_steady_flow_stays() -> None:
    cavity, mesh = lid_driven_cavity(50), generate.rectangle(8, 8)
    steady = cavity.solve(mesh)
    series = UnsteadyNavierStokes(cavity).solve(mesh, 1.0, 5, start=steady, bodies=("top",))
    assert (series.states[-1] - steady.field.dofs).abs().max() < 1e-8
    drag, lift = drag_lift(steady, "top")
    found = series.drag_lift("top")
    assert float(found[0][-1]) == pytest.approx(float(drag), rel=1e-7)
    assert float(found[1][-1]) == pytest.approx(float(lift), abs=1e-7)


def test_flow_from_rest_becomes_steady() -> None:
    cavity, mesh = lid_driven_cavity(10), generate.rectangle(6, 6)
    series = UnsteadyNavierStokes(cavity).solve(mesh, 4.0, 40)
    assert (series[-1].u - cavity.solve(mesh).u).abs().max() < 1e-6


def test_shedding_starts_behind_the_cylinder_at_reynolds_number_100() -> None:
    # Case 2D-2 from Stokes flow on a coarse mesh: drag is near its range, the wake swings.
    flow, mesh = cylinder_flow(peak=1.5), generate.channel_with_cylinder(0.06, 0.01)
    start = Stokes(flow.viscosity, flow.velocities).solve(mesh)
    series = UnsteadyNavierStokes(flow).solve(mesh, 1.2, 80, start=start, bodies=("cylinder",))
    drag, lift = series.drag_lift("cylinder", speed=1.0, length=0.1)
    late = series.step_times > 0.6
    assert 2.9 < float(drag[late].min()) < float(drag[late].max()) < 3.3
    assert float(lift[late].max()) > 0.2
    assert float(lift[late].min()) < -0.2


@pytest.mark.slow
def test_dfg_cylinder_at_reynolds_number_100() -> None:
    # Case 2D-2: the transient with long steps, three periods with short ones.
    flow, mesh = cylinder_flow(peak=1.5), generate.channel_with_cylinder(0.045, 0.0045)
    unsteady = UnsteadyNavierStokes(flow)
    start = Stokes(flow.viscosity, flow.velocities).solve(mesh)
    developed = unsteady.solve(mesh, 3.5, 350, start=start)[-1]
    series = unsteady.solve(mesh, 1.1, 220, start=developed, bodies=("cylinder",))
    drag, strouhal = shedding(series)
    assert strouhal == pytest.approx(0.3, rel=0.02)
    assert drag == pytest.approx(3.2300, rel=0.02)


def shedding(series: FlowSeries) -> tuple[float, float]:
    """Largest drag and Strouhal number, apart from the first steps after the restart."""
    drag, lift = series.drag_lift("cylinder", speed=1.0, length=0.1)
    return float(drag[20:].max()), 0.1 * frequency(series.step_times, lift)


def test_a_series_of_files(tmp_path: Path) -> None:
    mesh = generate.rectangle(3, 3)
    series = UnsteadyNavierStokes(lid_driven_cavity(1)).solve(mesh, 0.4, 4, every=2)
    assert series.times.tolist() == pytest.approx([0.0, 0.2, 0.4])
    assert series.write(tmp_path / "flow.pvd").exists()
    assert len(list(tmp_path.glob("*.vtu"))) == 3


def test_input_errors() -> None:
    cavity, mesh = lid_driven_cavity(1), generate.rectangle(2, 2)
    start = cavity.solve(generate.rectangle(3, 3))
    with pytest.raises(MeshError, match="same elements on the same mesh"):
        UnsteadyNavierStokes(cavity).solve(mesh, 1.0, 2, start=start)
    with pytest.raises(MeshError, match="at least one step"):
        UnsteadyNavierStokes(cavity).solve(mesh, 0.0, 2)
