"""Ready problems: they solve their equation, scale with the mesh, and converge."""

from __future__ import annotations

import pytest
import torch
from convergence import last_order
from strategies import random_mesh
from torch import Tensor

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.problems import PROBLEMS, Helmholtz, Poisson, named_problem

every_problem = pytest.mark.parametrize("name", PROBLEMS)


def mesh_for(name: str, n: int) -> Mesh:
    return generate.l_shape(n) if name == "corner" else generate.rectangle(n, n)


def laplacian(exact, x: Tensor, step: float) -> Tensor:  # type: ignore[no-untyped-def]
    """By central differences of fourth order."""
    total = torch.zeros_like(x[:, 0])
    for axis in torch.eye(x.shape[1], dtype=x.dtype) * step:
        near, far = exact(x + axis) + exact(x - axis), exact(x + 2 * axis) + exact(x - 2 * axis)
        total += (16 * near - far - 30 * exact(x)) / (12 * step**2)
    return total


@every_problem
@pytest.mark.parametrize("d", [2, 3])
def test_source_is_that_of_the_solution(name: str, d: int) -> None:
    """-lap u + c u = f at random places away from the corner's edge."""
    mesh = mesh_for(name, 4) if d == 2 else generate.box(2, 2, 2, (-1.0,) * 3)
    problem = named_problem(name, mesh)
    low, high = mesh.pos.amin(dim=0), mesh.pos.amax(dim=0)
    x = low + (high - low) * torch.rand(400, d, dtype=torch.float64)
    if name == "corner":
        x = x[(x[:, :2].norm(dim=1) > 0.2) & ~((x[:, 0] > -0.1) & (x[:, 1] < 0.1))]
    expected = -laplacian(problem.exact, x, 1e-3) + problem.reaction * problem.exact(x)
    source = problem.source(x)
    size = max(float(source.abs().max()), 1.0)
    torch.testing.assert_close(source, expected, rtol=0, atol=1e-2 * size)
    assert isinstance(problem, Helmholtz)
    assert isinstance(problem, Poisson) == (name != "helmholtz")


@every_problem
def test_problems_scale_with_the_bounding_box(name: str) -> None:
    """The same solution at corresponding places, with a source 1 / side^2 as large."""
    mesh = mesh_for(name, 6)
    large = mesh.moved(3 * mesh.pos + torch.tensor([7.0, -2.0]))
    one, other = named_problem(name, mesh), named_problem(name, large)
    assert one.exact is not None
    assert other.exact is not None
    away = mesh.pos.norm(dim=1) > 1e-9  # at the corner the derivatives are infinite
    torch.testing.assert_close(other.exact(large.pos), one.exact(mesh.pos), rtol=0, atol=1e-9)
    if one.reaction == 0:
        torch.testing.assert_close(
            9 * other.source(large.pos)[away], one.source(mesh.pos)[away], rtol=1e-6, atol=1e-6
        )


@every_problem
def test_errors_fall_on_finer_meshes(name: str) -> None:
    rough = named_problem(name, mesh_for(name, 16)).solve(mesh_for(name, 16)).errors()
    fine = named_problem(name, mesh_for(name, 48)).solve(mesh_for(name, 48)).errors()
    assert fine["l2"] < rough["l2"] / 2
    assert fine["h1"] < rough["h1"] / 1.4


def test_orders_for_smooth_and_singular_solutions() -> None:
    """Second order where the solution is smooth, 4/3 and 2/3 at the re-entrant corner."""

    def errors(name: str, n: int) -> dict[str, float]:
        return named_problem(name, mesh_for(name, n)).solve(mesh_for(name, n)).errors()

    smooth = last_order(lambda n: errors("smooth", n), (16, 32))
    assert smooth["l2"] == pytest.approx(2, abs=0.1)
    assert smooth["h1"] == pytest.approx(1, abs=0.1)
    corner = last_order(lambda n: errors("corner", n), (16, 32))
    assert corner["l2"] == pytest.approx(4 / 3, abs=0.15)
    assert corner["h1"] == pytest.approx(2 / 3, abs=0.1)


def test_the_corner_is_harmonic_and_zero_on_its_two_sides() -> None:
    """Also where a side lies a rounding error outside the L."""
    mesh = generate.l_shape(4)
    problem = named_problem("corner", mesh)
    exact = problem.exact
    assert exact is not None
    along = torch.linspace(0.1, 1, 5, dtype=torch.float64)
    for offset in (0.0, 1e-16, -1e-16):
        sides = torch.cat(
            [
                torch.stack([along, torch.full_like(along, offset)], dim=1),
                torch.stack([torch.full_like(along, offset), -along], dim=1),
            ]
        )
        assert exact(sides).abs().max() < 1e-12
    assert float(exact(torch.tensor([[-1.0, 1.0]]))) > 0
    x = torch.tensor([[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5]], dtype=torch.float64)
    assert problem.source(x).abs().max() < 1e-9


@pytest.mark.parametrize("name", ["ring", "bell", "smooth", "helmholtz"])
def test_problems_on_an_interval(name: str) -> None:
    mesh = generate.interval(200, -1.0, 3.0)
    errors = named_problem(name, mesh).solve(mesh).errors()
    assert errors["l2"] < 0.05


@pytest.mark.parametrize("name", ["front", "layer", "corner"])
def test_problems_that_need_two_dimensions_say_so(name: str) -> None:
    with pytest.raises(MeshError, match=f"problem '{name}' needs a mesh in 2D or 3D"):
        named_problem(name, generate.interval(3))


def test_unknown_problems_are_refused_with_a_list() -> None:
    with pytest.raises(MeshError, match="unknown problem 'rnig'; there are ring, bell, front"):
        named_problem("rnig", generate.rectangle(2, 2))


@every_problem
def test_descriptions_are_for_people(name: str) -> None:
    description = PROBLEMS[name].description
    assert 15 < len(description) < 90
    assert not description.endswith(".")


def test_interpolation_is_the_best_a_degree_can_do_in_l2_to_a_factor() -> None:
    problem = named_problem("smooth", generate.rectangle(8, 8))
    mesh = random_mesh("triangle", [8, 8], 0, shuffle=False)
    drawn, solved = problem.interpolation_errors(mesh), problem.solve(mesh).errors()
    assert drawn["h1"] >= 0.99 * solved["h1"]  # Galerkin is the best in the energy norm
    better = problem.interpolation_errors(mesh, degree=2)
    assert better["l2"] < drawn["l2"] / 5
    assert better["h1"] < drawn["h1"] / 3
