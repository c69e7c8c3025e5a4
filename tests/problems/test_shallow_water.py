"""Shallow water: rest and balance kept, mass and energy, orders, Green's law, open sides."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from convergence import last_order
from torch import Tensor

from meshlearn.fem import Field, FunctionSpace, assemble, assemble_linear, dot, solve
from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.files import read
from meshlearn.mesh.generate import polygon, rectangle
from meshlearn.problems import ShallowWater

FREQUENCY = math.pi * math.sqrt(2)


@pytest.fixture(scope="module")
def coast() -> Mesh:
    return polygon([(0, 0), (2, 0.2), (2.2, 1.1), (1, 1.4), (0.3, 1)], h=0.12)


def uneven(x: Tensor) -> Tensor:
    return 0.3 + 0.2 * torch.sin(3 * x[:, 0]) * torch.cos(2 * x[:, 1])


def hump(x: Tensor) -> Tensor:
    return torch.exp(-20 * ((x - torch.tensor([1.0, 0.7])) ** 2).sum(dim=1))


def standing(x: Tensor, t: float) -> Tensor:
    return torch.cos(math.pi * x).prod(dim=1) * math.cos(FREQUENCY * t)


def standing_flow(x: Tensor, t: float) -> Tensor:
    (a, b), (c, d) = torch.cos(math.pi * x).unbind(1), torch.sin(math.pi * x).unbind(1)
    return math.pi / FREQUENCY * math.sin(FREQUENCY * t) * torch.stack([c * b, a * d], dim=1)


BASIN = ShallowWater(
    1.0,
    lambda x: standing(x, 0.0),
    gravity=1.0,
    exact=standing,
    exact_velocity=standing_flow,
)


def test_orders_on_a_standing_wave() -> None:
    # Steps as h^(3/2), so that both parts of the error fall alike.
    order = last_order(
        lambda n: BASIN.solve(rectangle(n, n), 0.6, round(20 * (n / 4) ** 1.5)).errors(), (8, 16)
    )
    assert order["l2"] == pytest.approx(3, abs=0.1)
    assert order["h1"] == pytest.approx(2, abs=0.1)
    assert order["velocity"] == pytest.approx(2, abs=0.1)


def test_order_in_time() -> None:
    mesh = rectangle(16, 16)
    order = last_order(lambda n: BASIN.solve(mesh, 0.6, n).errors(), (8, 16))
    assert order["l2"] == pytest.approx(2, abs=0.1)


def test_a_lake_at_rest_stays_at_rest(coast: Mesh) -> None:
    waves = ShallowWater(uneven, 0.7, coriolis=0.5).solve(coast, 5.0, 100)
    assert (waves.elevations - 0.7).abs().max() < 1e-12
    assert waves.velocities.abs().max() < 1e-11


def test_geostrophic_balance_stays(coast: Mesh) -> None:
    # The velocity along the level lines of an elevation that is constant on the coast.
    f, g = 2.0, 9.81
    heights, flows = FunctionSpace(coast, "P2"), FunctionSpace(coast, ("P1DG", 2))
    eta = heights.interpolate(hump)
    eta = eta.index_fill(0, heights.facet_dofs(coast.topology.boundary_facets), 0.0)
    slope = assemble_linear(lambda v, w: dot(w.e.gradient, v), flows, e=Field(heights, eta))
    mass = assemble(lambda u, v, w: dot(u, v), flows)
    gradient = solve(mass, slope).reshape(-1, 2)
    flow = g / f * torch.stack([-gradient[:, 1], gradient[:, 0]], dim=1).reshape(-1)
    problem = ShallowWater(1.0, 0.0, coriolis=f)
    waves = problem.solve(coast, 1.0, 50, start=(eta, flow))
    assert (waves.elevations[-1] - eta).abs().max() < 1e-11
    assert (waves.velocities[-1] - flow).abs().max() < 1e-10


def test_mass_and_energy_are_kept_between_coasts(coast: Mesh) -> None:
    waves = ShallowWater(uneven, hump, coriolis=0.5).solve(coast, 3.0, 100, every=10)
    assert len(waves.times) == 11
    assert (waves.mass / waves.mass[0] - 1).abs().max() < 1e-12
    assert (waves.energy / waves.energy[0] - 1).abs().max() < 1e-12
    damped = ShallowWater(uneven(coast.pos), hump, friction=0.5).solve(coast, 3.0, 100, every=50)
    assert (damped.mass / damped.mass[0] - 1).abs().max() < 1e-12
    assert (damped.energy.diff() < 0).all()


def test_waves_leave_through_open_sides() -> None:
    channel = rectangle(60, 2, upper=(3.0, 0.1))
    middle = ShallowWater(
        1.0,
        lambda x: torch.exp(-50 * (x[:, 0] - 1.5) ** 2),
        gravity=1.0,
        open_sides=["left", "right"],
    )
    waves = middle.solve(channel, 4.0, 200, every=200)
    assert waves.energy[-1] < 1e-6 * waves.energy[0]


def test_greens_law_of_shoaling() -> None:
    # Over a gentle slope the height of a wave grows as H^(-1/4): from 4 to 1 by sqrt(2).
    # G. Green, Trans. Cambridge Philos. Soc. 6 (1838) 457-462.
    def depth(x: Tensor) -> Tensor:
        return 4 - 3 * ((x[:, 0] - 35) / 50).clamp(0, 1)

    def wave(x: Tensor) -> Tensor:
        return torch.exp(-(((x[:, 0] - 15) / 4) ** 2))

    def onward(x: Tensor) -> Tensor:
        return torch.stack([wave(x) / depth(x).sqrt(), torch.zeros_like(x[:, 1])], dim=1)

    channel = rectangle(150, 1, upper=(100.0, 1.0))
    waves = ShallowWater(depth, wave, onward, gravity=1.0).solve(channel, 54.0, 400, every=5)
    near = (channel.pos[:, 0] > 87) & (channel.pos[:, 0] < 92)
    assert float(waves.crest[near].max()) == pytest.approx(math.sqrt(2), rel=0.02)


def test_the_depth_can_be_found_from_the_wave() -> None:
    mesh = rectangle(6, 6)

    def functional(depth: Tensor) -> Tensor:
        waves = ShallowWater(depth, hump, gravity=1.0, open_sides=["left"]).solve(mesh, 0.5, 5)
        return (waves.u * torch.arange(mesh.num_nodes)).sum()

    depth = (1 + torch.rand(mesh.num_nodes, dtype=torch.float64)).requires_grad_(True)
    (slope,) = torch.autograd.grad(functional(depth), depth)
    direction, step = torch.rand_like(depth) - 0.5, 1e-5
    with torch.no_grad():
        up, down = functional(depth + step * direction), functional(depth - step * direction)
    assert float(slope @ direction) == pytest.approx(float(up - down) / (2 * step), rel=1e-6)


def test_waves_are_written(tmp_path: Path) -> None:
    mesh = rectangle(3, 3)
    waves = ShallowWater(1.0, hump).solve(mesh, 0.1, 2)
    path = waves.write(tmp_path / "waves.pvd")
    last = read(tmp_path / "waves_00002.vtu")
    assert torch.equal(last.node_fields["elevation"], waves.u)
    assert torch.allclose(last.node_fields["velocity"][:, :2], waves.velocity, atol=0)
    assert path.read_text().count("<DataSet") == 3
    with pytest.raises(ValueError, match="not known"):
        waves.errors()


def test_input_errors_say_what_is_wrong() -> None:
    mesh = rectangle(2, 2)
    with pytest.raises(MeshError, match="must be positive everywhere"):
        ShallowWater(lambda x: x[:, 0] - 0.5, 0.0).solve(mesh, 1.0, 1)
    with pytest.raises(MeshError, match="one value per node"):
        ShallowWater(torch.ones(3), 0.0).solve(mesh, 1.0, 1)
    with pytest.raises(MeshError, match="triangles"):
        ShallowWater(1.0, 0.0).solve(rectangle(2, 2, cell="quad"), 1.0, 1)
