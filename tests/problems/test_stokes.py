"""Stokes flow: exact solutions, orders, enclosed flow, outlets, forces, gradients, input errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from convergence import jiggled, last_order
from flows import body_force, eddies, swirls, waves
from torch import Tensor

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.mesh.files import read
from meshlearn.problems import Stokes, force

CHANNELS = {
    "triangle": lambda: generate.rectangle(4, 3),
    "quad": lambda: generate.rectangle(4, 3, cell="quad"),
    "tetra": lambda: generate.box(2, 3, 2),
    "hexahedron": lambda: generate.box(2, 3, 2, cell="hexahedron"),
}


def parabola(x: Tensor) -> Tensor:
    return x[:, 1] * (1 - x[:, 1])


@pytest.mark.parametrize("cell", CHANNELS)
def test_channel_flow_is_exact_and_leaves_through_the_outlet(cell: str) -> None:
    # u = y (1 - y), p = 2 nu (1 - x): an outlet without a velocity has p = nu du/dx = 0.
    mesh, nu = CHANNELS[cell](), 0.3
    across = [0.0] * (mesh.dim - 1)
    walls = ("bottom", "top") if mesh.dim == 2 else ("front", "back")
    sides: dict[str, Any] = dict.fromkeys(walls, 0.0)
    if mesh.dim == 3:  # nothing changes along z
        sides |= {"bottom": (None, 0.0, 0.0), "top": (None, 0.0, 0.0)}
    channel = Stokes(nu, {"left": (parabola, *across), **sides})
    solution = channel.solve(mesh)
    assert (solution.u[:, 0] - parabola(mesh.pos)).abs().max() < 1e-10
    assert solution.u[:, 1:].abs().max() < 1e-10
    assert (solution.p - 2 * nu * (1 - mesh.pos[:, 0])).abs().max() < 1e-10


def stokes_errors(mesh: Mesh, element: str) -> dict[str, float]:
    velocity = eddies if mesh.dim == 2 else swirls
    problem = Stokes(0.7, {"boundary": velocity}, body_force(velocity, waves, 0.7))
    return problem.solve(mesh, element).errors(velocity, waves)  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_orders_of_taylor_hood(cell: str) -> None:
    order = last_order(
        lambda n: stokes_errors(generate.rectangle(n, n, cell=cell), "taylor-hood"), (12, 24)
    )
    assert order["velocity_l2"] == pytest.approx(3, abs=0.1)
    assert order["velocity_h1"] == pytest.approx(2, abs=0.1)
    assert order["pressure_l2"] == pytest.approx(2, abs=0.1)


def test_orders_of_mini() -> None:
    order = last_order(lambda n: stokes_errors(generate.rectangle(n, n), "mini"), (16, 32))
    assert order["velocity_l2"] == pytest.approx(2, abs=0.1)
    assert order["velocity_h1"] == pytest.approx(1, abs=0.1)
    # One is guaranteed; uniform meshes give a half more.
    assert order["pressure_l2"] > 0.9


@pytest.mark.parametrize(
    ("cell", "element", "sizes"),
    [
        ("tetra", "taylor-hood", (3, 6)),
        ("hexahedron", "taylor-hood", (2, 4)),
        ("tetra", "mini", (4, 8)),
    ],
)
def test_orders_in_3d(cell: str, element: str, sizes: tuple[int, int]) -> None:
    order = last_order(lambda n: stokes_errors(generate.box(n, n, n, cell=cell), element), sizes)
    degree = 2 if element == "taylor-hood" else 1
    assert order["velocity_l2"] == pytest.approx(degree + 1, abs=0.1)
    assert order["velocity_h1"] == pytest.approx(degree, abs=0.1)
    assert order["pressure_l2"] > degree - 0.1


def test_the_pressure_of_an_enclosed_flow_has_mean_zero() -> None:
    problem = Stokes(1.0, {"boundary": eddies}, body_force(eddies, waves, 1.0))
    solution = problem.solve(generate.rectangle(8, 8))
    mesh = solution.mesh
    mean = (solution.p[mesh.cells["triangle"]].mean(dim=1) * mesh.volumes()).sum()
    assert abs(float(mean)) < 1e-12


def test_inflow_that_cannot_leave_is_taken_from_each_cell_alike() -> None:
    # u = x on the whole boundary has the flux 2: div u = 2 everywhere is u = x itself, p = 0.
    mesh = jiggled(generate.rectangle(4, 5), 0.03)
    solution = Stokes(1.0, {"boundary": lambda x: x}).solve(mesh)
    assert (solution.u - mesh.pos).abs().max() < 1e-11
    assert solution.p.abs().max() < 1e-10


def test_buoyancy_is_the_weight_of_the_displaced_fluid() -> None:
    mesh = generate.annulus(3)
    gravity = 9.81
    still = Stokes(1.0, {"boundary": 0.0}, body=(0.0, -gravity)).solve(mesh)
    ring = mesh.pos[torch.unique(mesh.facet_tags["inner"])]
    angle = torch.atan2(ring[:, 1], ring[:, 0]).argsort()
    x, y = ring[angle].unbind(dim=1)
    area = 0.5 * float((x * y.roll(-1) - y * x.roll(-1)).sum())
    assert still.u.abs().max() < 1e-11
    assert float(force(still, "inner")[0]) == pytest.approx(0.0, abs=1e-9)
    assert float(force(still, "inner")[1]) == pytest.approx(gravity * area, rel=1e-9)


def test_gradients_with_respect_to_positions_viscosity_and_inflow() -> None:
    base = generate.rectangle(4, 3)
    point = torch.tensor([0.4, 0.3], dtype=torch.float64)
    direction = torch.randn_like(base.pos)

    def figure(step: Tensor, nu: Tensor, speed: Tensor) -> Tensor:
        mesh = base.moved(base.pos + step * direction)
        inflow = (lambda x: speed * parabola(x), 0.0)
        flow = Stokes(nu, {"left": inflow, "bottom": 0.0, "top": 0.0}, body=(0.0, 1.0)).solve(mesh)
        near = torch.exp(-(((mesh.pos - point) / 0.3) ** 2).sum(dim=1))
        return (
            (flow.u.pow(2).sum(dim=1) * near).sum() + (flow.p * near).sum() + force(flow, "top")[0]
        )

    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1e-3, 0.5, 1.3)]
    slopes = torch.autograd.grad(figure(*inputs), inputs)
    with torch.no_grad():
        for k, slope in enumerate(slopes):
            h = torch.zeros(3, dtype=torch.float64)
            h[k] = 1e-5
            up = figure(*(v + s for v, s in zip(inputs, h, strict=True)))
            down = figure(*(v - s for v, s in zip(inputs, h, strict=True)))
            assert float(slope) == pytest.approx(float(up - down) / 2e-5, rel=1e-6)


def test_writing_and_reading(tmp_path: Path) -> None:
    solution = Stokes(1.0, {"boundary": eddies}).solve(generate.rectangle(3, 3))
    fields = read(solution.write(tmp_path / "flow.vtu")).node_fields
    assert (fields["u"][:, :2] - solution.u).abs().max() < 1e-12
    assert (fields["p"].reshape(-1) - solution.p).abs().max() < 1e-12


def test_input_errors() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="viscosity must be positive"):
        Stokes(0.0, {"left": 0.0})
    with pytest.raises(MeshError, match="no side has a velocity"):
        Stokes(1.0, {})
    with pytest.raises(MeshError, match="unknown element 'p1p1'"):
        Stokes(1.0, {"left": 0.0}).solve(mesh, "p1p1")  # type: ignore[arg-type]
    with pytest.raises(MeshError, match="needs 2 components, got 3"):
        Stokes(1.0, {"left": (0.0, 0.0, 0.0)}).solve(mesh)
    with pytest.raises(MeshError, match="no tag 'inlet'"):
        Stokes(1.0, {"inlet": 0.0}).solve(mesh)
    with pytest.raises(MeshError, match="2D or 3D"):
        Stokes(1.0, {"boundary": 0.0}).solve(generate.interval(3))
