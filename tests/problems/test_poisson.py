"""Poisson and Helmholtz: against scikit-fem, orders of convergence, gradients, input errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from convergence import half_and_half, jiggled, last_order
from torch import Tensor

from meshlearn.fem.reference import interpolate, solve_reaction_diffusion
from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.mesh.files import read
from meshlearn.problems import Helmholtz, Poisson

MESHES = {
    "line": lambda: generate.interval(20),
    "triangle": lambda: generate.rectangle(9, 7),
    "quad": lambda: generate.rectangle(9, 7, cell="quad"),
    "tetra": lambda: generate.box(4, 3, 4),
    "hexahedron": lambda: generate.box(4, 3, 4, cell="hexahedron"),
}


def waves(x: Tensor) -> Tensor:
    return torch.sin(3 * x).prod(dim=1) + x[:, 0] ** 2


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("cell", MESHES)
def test_solution_and_errors_are_those_of_scikit_fem(cell: str, degree: int) -> None:
    mesh = jiggled(MESHES[cell](), 0.01)
    problem = Helmholtz.manufactured(waves, reaction=2.0)
    solution = problem.solve(mesh, degree)
    reference = solve_reaction_diffusion(
        mesh, problem.source, problem.boundary, problem.reaction, degree
    )
    assert (solution.u - reference.nodal).abs().max() < 1e-10
    assert len(solution.field.dofs) == len(reference.dofs)
    assert solution.errors() == pytest.approx(reference.errors(waves), abs=1e-10)
    assert problem.interpolation_errors(mesh, degree) == pytest.approx(
        interpolate(mesh, waves, degree).errors(waves), abs=1e-10
    )


@pytest.mark.parametrize(("degree", "sizes"), [(1, (16, 32)), (2, (16, 32)), (3, (8, 16))])
def test_orders_on_triangles(degree: int, sizes: tuple[int, int]) -> None:
    problem = Poisson.manufactured(waves)
    order = last_order(lambda n: problem.solve(generate.rectangle(n, n), degree).errors(), sizes)
    assert order["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert order["h1"] == pytest.approx(degree, abs=0.1)


@pytest.mark.parametrize("degree", [1, 2])
def test_orders_where_triangles_and_quads_meet(degree: int) -> None:
    problem = Helmholtz.manufactured(waves)
    order = last_order(lambda n: problem.solve(half_and_half(n), degree).errors(), (12, 24))
    assert order["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert order["h1"] == pytest.approx(degree, abs=0.1)


@pytest.mark.parametrize("mesh", [half_and_half(4), generate.box(2, 2, 2)], ids=["mixed", "tetra"])
def test_gradient_to_the_nodes_is_that_of_finite_differences(mesh: Mesh) -> None:
    # Source, boundary values and matrix all depend on where the nodes are.
    problem = Helmholtz.manufactured(waves)

    def functional(pos: Tensor) -> Tensor:
        u = problem.solve(mesh.moved(pos), degree=2).u
        return (u**2 * torch.arange(len(u))).sum()

    pos = mesh.pos.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(functional(pos), pos)
    direction = torch.rand_like(pos) - 0.5
    step = 1e-5
    with torch.no_grad():
        difference = functional(pos + step * direction) - functional(pos - step * direction)
    assert float((slope * direction).sum()) == pytest.approx(
        float(difference) / (2 * step), rel=1e-6
    )


def test_a_solution_can_be_written_and_its_error_needs_a_truth(tmp_path: Path) -> None:
    mesh = generate.rectangle(4, 4)
    solution = Poisson(source=1.0).solve(mesh, degree=2)
    path = solution.write(tmp_path / "u.vtu")
    assert torch.equal(read(path).node_fields["u"], solution.u)
    with pytest.raises(ValueError, match="not known"):
        solution.errors()


def test_input_errors_say_what_is_wrong() -> None:
    mesh = generate.rectangle(4, 4)
    with pytest.raises(MeshError, match="must not be negative"):
        Helmholtz(1.0, reaction=-1.0).solve(mesh)
    with pytest.raises(MeshError, match="not finite"):
        Poisson(lambda x: 1 / (0 * x[:, 0])).solve(mesh)
    with pytest.raises(MeshError, match="P7"):
        Poisson(1.0).solve(mesh, degree=7)
