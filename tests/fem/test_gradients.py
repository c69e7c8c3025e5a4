"""Gradients of functionals of solutions, against finite differences, and second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    Field,
    FunctionSpace,
    LinearSolver,
    assemble,
    assemble_linear,
    div,
    dot,
    grad,
    inner,
    integrate,
    solve,
    sym,
)
from meshlearn.mesh import Mesh, generate

Inputs = dict[str, Tensor]


def check(functional: Callable[..., Tensor], inputs: Inputs, tolerance: float = 1e-6) -> None:
    """Directional derivative in each input against extrapolated central differences."""
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    slopes = torch.autograd.grad(functional(**leaves), list(leaves.values()))
    generator = torch.Generator().manual_seed(3)
    for (name, value), slope in zip(inputs.items(), slopes, strict=True):
        direction = torch.rand(value.shape, generator=generator, dtype=torch.float64) - 0.3

        def central(step: float, name: str = name, along: Tensor = direction) -> float:
            with torch.no_grad():
                up = functional(**inputs | {name: inputs[name] + step * along})
                down = functional(**inputs | {name: inputs[name] - step * along})
            return float(up - down) / (2 * step)

        expected = (4 * central(5e-4) - central(1e-3)) / 3
        found = float((slope * direction).sum())
        assert abs(found - expected) <= tolerance * abs(expected), (name, found, expected)
        assert abs(expected) > 1e-5, f"{name} has no influence: nothing was tested"


def scalar(mesh: Mesh, element: str) -> tuple[Callable[..., Tensor], Inputs]:
    """-div(k grad u) + b.grad u = f with Dirichlet, Neumann and Robin data."""
    space = FunctionSpace(mesh, element)
    low = FunctionSpace(mesh, "P1")

    def functional(pos: Tensor, k: Tensor, f: Tensor, g: Tensor, q: Tensor, r: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        nodal = low.on(moved.mesh)
        A = assemble(
            lambda u, v, w: w.k * dot(grad(u), grad(v)) + w.x[:, 0] * grad(u)[1] * v,
            moved,
            k=Field(nodal, k),
        ) + assemble(lambda u, v, w: w.r * (u * v), moved, on="top", r=r)
        b = assemble_linear(lambda v, w: w.f * v + 0.1 * w.h * v, moved, f=f) + assemble_linear(
            lambda v, w: w.q * v * w.n[:, 0], moved, on="right", q=Field(nodal, q)
        )
        u = solve(A, b, [Dirichlet(moved, "left", g)])
        return integrate(
            lambda w: w.u**3 + dot(grad(w.u), grad(w.u)), moved.mesh, u=Field(moved, u), degree=8
        ) + integrate(lambda w: w.u**2, moved.mesh, on="right", u=Field(moved, u))

    generator = torch.Generator().manual_seed(0)

    def random(n: int) -> Tensor:
        return torch.rand(n, generator=generator, dtype=torch.float64) + 0.5

    return functional, {
        "pos": mesh.pos,
        "k": random(low.num_dofs),
        "f": random(mesh.num_cells),
        "g": random(len(Dirichlet(space, "left").dofs)),
        "q": random(low.num_dofs),
        "r": torch.tensor(1.5, dtype=torch.float64),
    }


def elastic(mesh: Mesh, element: Any) -> tuple[Callable[..., Tensor], Inputs]:
    """Linear elasticity with Young's modulus per cell, a body force and a traction."""
    space = FunctionSpace(mesh, element)
    d = mesh.dim

    def functional(pos: Tensor, young: Tensor, f: Tensor, g: Tensor, t: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        A = assemble(
            lambda u, v, w: w.e * (inner(sym(grad(u)), sym(grad(v))) + 0.6 * div(u) * div(v)),
            moved,
            e=young,
        )
        b = assemble_linear(lambda v, w: dot(w.f, v), moved, f=Field(moved, f))
        b = b + assemble_linear(lambda v, w: dot(t, v), moved, on="right")
        u = solve(A, b, [Dirichlet(moved, "left", g)])
        field = Field(moved, u)
        return integrate(
            lambda w: dot(w.u, w.u) + inner(grad(w.u), grad(w.u)), moved.mesh, u=field, degree=6
        )

    generator = torch.Generator().manual_seed(1)

    def random(n: int) -> Tensor:
        return torch.rand(n, generator=generator, dtype=torch.float64) + 0.5

    return functional, {
        "pos": mesh.pos,
        "young": random(mesh.num_cells),
        "f": random(space.num_dofs),
        "g": random(len(Dirichlet(space, "left").dofs)),
        "t": random(d),
    }


def stokes(mesh: Mesh, element: Any) -> tuple[Callable[..., Tensor], Inputs]:
    """Stokes flow with viscosity per node, a force, and a given inflow; power and wall pressure."""
    space = FunctionSpace(mesh, element)
    low = FunctionSpace(mesh, "P1")

    def functional(pos: Tensor, nu: Tensor, f: Tensor, g: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        A = assemble(
            lambda u, v, w: (
                2 * w.nu * inner(sym(grad(u[0])), sym(grad(v[0])))
                - u[1] * div(v[0])
                - v[1] * div(u[0])
            ),
            moved,
            nu=Field(low.on(moved.mesh), nu),
        )
        b = assemble_linear(lambda v, w: dot(f, v[0]), moved)
        walls = [Dirichlet(moved, ["bottom", "top"], 0.0), Dirichlet(moved, "left", g)]
        u = Field(moved, solve(A, b, walls))
        power = integrate(lambda w: inner(grad(w.u[0]), grad(w.u[0])), moved.mesh, u=u)
        lift = integrate(lambda w: (w.u[1] * w.n[:, 1]) ** 2, moved.mesh, on="bottom", u=u)
        return power + 0.1 * lift

    generator = torch.Generator().manual_seed(2)

    def random(n: int) -> Tensor:
        return torch.rand(n, generator=generator, dtype=torch.float64) + 0.5

    return functional, {
        "pos": mesh.pos,
        "nu": random(low.num_dofs),
        "f": random(mesh.dim),
        "g": random(len(Dirichlet(space, "left").dofs)),
    }


def sheared(mesh: Mesh) -> Mesh:
    """Of the two diagonals of each cell one is longer: w.h has a derivative."""
    return mesh.moved(mesh.pos + 0.2 * mesh.pos[:, [1, 0]] * torch.tensor([1.0, 0.0]))


PROBLEMS = {
    "scalar P1": scalar(generate.rectangle(4, 3), "P1"),
    "scalar P2": scalar(generate.rectangle(4, 3), "P2"),
    "scalar Q2": scalar(sheared(generate.rectangle(3, 3, cell="quad")), "Q2"),
    "scalar P1 3D": scalar(generate.box(2, 2, 2), "P1"),
    "elasticity P1": elastic(generate.rectangle(4, 3), ("P1", 2)),
    "elasticity P2": elastic(generate.rectangle(3, 2), ("P2", 2)),
    "elasticity P1 3D": elastic(generate.box(2, 2, 1), ("P1", 3)),
    "Taylor-Hood": stokes(generate.rectangle(3, 3), [("P2", 2), "P1"]),
    "MINI": stokes(generate.rectangle(3, 3), [("MINI", 2), "P1"]),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    check(*PROBLEMS[name])


@pytest.mark.parametrize("element", ["RT", "N"])
def test_gradients_in_nodes_of_piola_mapped_elements(element: str) -> None:
    """Darcy flow (RT), and a field projected onto edge elements (N)."""
    mesh = generate.rectangle(3, 2)
    space = FunctionSpace(mesh, ["RT", "P0"] if element == "RT" else "N")

    def functional(pos: Tensor, k: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        if element == "RT":
            A = assemble(
                lambda u, v, w: w.k * dot(u[0], v[0]) - u[1] * div(v[0]) - v[1] * div(u[0]),
                moved,
                k=k,
            )
            u = solve(A, assemble_linear(lambda v, w: w.x[:, 0] * v[1], moved))
        else:
            A = assemble(lambda u, v, w: w.k * dot(u, v), moved, k=k)
            u = solve(A, assemble_linear(lambda v, w: dot(w.x**2, v), moved, degree=4))
        return (u**2).sum()

    check(functional, {"pos": mesh.pos, "k": 1 + torch.rand(mesh.num_cells, dtype=torch.float64)})


@pytest.mark.parametrize("method", ["direct", "amg", "cg", "bicgstab"])
def test_gradients_do_not_depend_on_the_solver(method: Any) -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    bcs = [Dirichlet(space, "boundary", 0.0)]

    def functional(k: Tensor) -> Tensor:
        A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
        b = assemble_linear(lambda v, w: 1.0 * v, space)
        return (solve(A, b, bcs, method=method, tol=1e-13) ** 2).sum()

    check(functional, {"k": 1 + torch.rand(space.mesh.num_cells, dtype=torch.float64)})


def test_unsymmetric_adjoint_uses_the_transpose() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    A = assemble(lambda u, v, w: dot(grad(u), grad(v)) + 5.0 * grad(u)[0] * v, space)
    solver = LinearSolver(A, [Dirichlet(space, "boundary", 0.0)])
    weight = torch.rand(space.num_dofs, dtype=torch.float64)
    check(
        lambda b: (weight * solver(b)).sum(),
        {"b": torch.rand(space.num_dofs, dtype=torch.float64)},
        tolerance=1e-9,
    )


def test_second_derivatives_of_a_scalar_problem() -> None:
    """Double backward through assembly and solve: nodes, coefficient and boundary values."""
    mesh = generate.rectangle(2, 1)
    space = FunctionSpace(mesh, "P1")

    def functional(pos: Tensor, k: Tensor, g: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)) + u * v, moved, k=k)
        b = assemble_linear(lambda v, w: w.x[:, 0] * v, moved)
        u = solve(A, b, [Dirichlet(moved, "left", g)])
        return integrate(lambda w: w.u**2, moved.mesh, u=Field(moved, u))

    inputs = (mesh.pos.clone(), torch.rand(mesh.num_cells) + 1.0, torch.rand(2) + 0.5)
    leaves = tuple(value.to(torch.float64).requires_grad_() for value in inputs)
    assert torch.autograd.gradgradcheck(functional, leaves)


def test_second_derivatives_of_a_vector_problem() -> None:
    mesh = generate.rectangle(1, 1)
    space = FunctionSpace(mesh, ("P2", 2))

    def functional(pos: Tensor, e: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        A = assemble(
            lambda u, v, w: w.e * (inner(sym(grad(u)), sym(grad(v))) + div(u) * div(v)), moved, e=e
        )
        b = assemble_linear(lambda v, w: w.x[:, 0] * v[1], moved)
        return (solve(A, b, [Dirichlet(moved, "left", 0.0)]) ** 2).sum()

    leaves = (
        mesh.pos.clone().requires_grad_(),
        torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradgradcheck(functional, leaves)


def test_second_derivatives_of_a_mixed_problem() -> None:
    mesh = generate.rectangle(1, 1)
    space = FunctionSpace(mesh, [("P2", 2), "P1"])

    def functional(nu: Tensor, g: Tensor) -> Tensor:
        A = assemble(
            lambda u, v, w: (
                w.nu * inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0])
            ),
            space,
            nu=nu,
        )
        b = assemble_linear(lambda v, w: w.x[:, 0] * v[0][1], space)
        return (solve(A, b, [Dirichlet(space, "left", g)]) ** 2).sum()

    leaves = (
        torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True),
        torch.rand(6, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradgradcheck(functional, leaves)


def test_newton_step_of_an_inverse_problem_uses_second_derivatives() -> None:
    """A conductivity is found from the mean it gives, by Newton's method on the misfit."""
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    bcs = [Dirichlet(space, "boundary", 0.0)]

    def mean(k: Tensor) -> Tensor:
        A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
        return solve(A, assemble_linear(lambda v, w: 1.0 * v, space), bcs).mean()

    target = mean(torch.tensor(2.0, dtype=torch.float64))
    k = torch.tensor(1.6, dtype=torch.float64, requires_grad=True)
    for _ in range(6):
        (slope,) = torch.autograd.grad((mean(k) - target) ** 2, k, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, k)
        k = (k - slope / curvature).detach().requires_grad_()
    assert float(k.detach()) == pytest.approx(2.0, abs=1e-9)
