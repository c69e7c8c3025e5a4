"""Linear solves: methods agree, fail loudly, keep their factorisation, serve many right sides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fem_peers import jittered
from torch import Tensor

import meshlearn as ml
from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    LinearSolver,
    SolveError,
    assemble,
    assemble_linear,
    div,
    dot,
    grad,
    inner,
    krylov,
    solve,
)
from meshlearn.fem.sparse import csr_matrix
from meshlearn.mesh import MeshError


def laplace(u: Any, v: Any, w: Any) -> Any:
    return dot(grad(u), grad(v))


def transport(u: Any, v: Any, w: Any) -> Any:
    return 0.1 * dot(grad(u), grad(v)) + grad(u)[0] * v + 0.5 * grad(u)[1] * v


def system(form: Any, n: int = 12) -> tuple[Tensor, Tensor, list[Dirichlet]]:
    """Matrix, load and conditions on a jittered square."""
    space = FunctionSpace(jittered(ml.generate.rectangle(n, n)), "P1")
    load = assemble_linear(lambda v, w: (1 + w.x[:, 0]) * v, space)
    return assemble(form, space), load, [Dirichlet(space, "boundary", lambda x: x[:, 1])]


@pytest.mark.parametrize("form", [laplace, transport])
@pytest.mark.parametrize("method", ["direct", "amg", "cg", "bicgstab"])
def test_methods_agree(form: Any, method: Any) -> None:
    if form is transport and method == "cg":
        method = "bicgstab"  # not symmetric
    matrix, load, bcs = system(form)
    found = solve(matrix, load, bcs, method=method, tol=1e-12)
    expected = solve(matrix, load, bcs)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    free = torch.ones(len(load), dtype=torch.bool)
    free[bcs[0].dofs] = False
    residual = (matrix @ found - load)[free]
    assert float(residual.norm()) < 1e-10 * float(load.norm())


@pytest.mark.parametrize("method", ["direct", "amg", "cg", "bicgstab"])
def test_several_right_hand_sides_are_solved_column_by_column(method: Any) -> None:
    matrix, load, bcs = system(laplace)
    many = torch.stack([load, 2 * load, torch.zeros_like(load)], dim=1)
    found = solve(matrix, many, bcs, method=method, tol=1e-12)
    assert found.shape == many.shape
    for k in range(3):
        alone = solve(matrix, many[:, k], bcs, method=method, tol=1e-12)
        torch.testing.assert_close(found[:, k], alone, rtol=1e-10, atol=1e-12)
    solver = LinearSolver(matrix, bcs, method=method, tol=1e-12)
    moved = solver(load[:, None] + many) - solver(load)[:, None]
    torch.testing.assert_close(solver.change(many), moved, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(solver.change(load), moved[:, 0], rtol=1e-9, atol=1e-10)


def test_one_factorisation_serves_all_solves_and_the_adjoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = []
    original = ml.fem.solve.__globals__["factorise"]
    monkeypatch.setitem(
        ml.fem.solve.__globals__, "factorise", lambda m: built.append(1) or original(m)
    )
    matrix, load, bcs = system(laplace)
    solver = LinearSolver(matrix, bcs)
    right = load.clone().requires_grad_()
    (solver(right).square().sum() + solver(2 * load).sum()).backward()
    solver.with_values([Dirichlet(bcs[0].space, "boundary", 1.0)])(load)
    assert len(built) == 1


@pytest.mark.parametrize("method", ["direct", "bicgstab"])
def test_gradients_with_respect_to_matrix_and_load(method: Any) -> None:
    space = FunctionSpace(ml.generate.rectangle(2, 3), "P1")
    base = assemble(transport, space)
    bcs = [Dirichlet(space, "left", 1.0)]

    def solution(values: Tensor, load: Tensor) -> Tensor:
        matrix = csr_matrix(base.crow_indices(), base.col_indices(), values, tuple(base.shape))
        return solve(matrix, load, bcs, method=method, tol=1e-14)

    values = base.values().clone().requires_grad_()
    load = torch.rand(space.num_dofs, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(solution, (values, load), eps=1e-6, atol=1e-6)


def test_saddle_points() -> None:
    # Poiseuille flow is in the space: u = y (1 - y), p = 2 (1 - x) with viscosity 1
    mesh = ml.generate.rectangle(4, 3)
    space = FunctionSpace(mesh, [("P2", 2), "P1"])
    matrix = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]), space
    )

    def profile(x: Tensor) -> Tensor:
        return torch.stack([x[:, 1] * (1 - x[:, 1]), 0 * x[:, 0]], dim=1)

    places = space.dof_points
    speed = profile(places[space.sub(0)[::2]])
    pin = Dirichlet(space, space.sub(1)[:1], 2.0, block=1)
    whole = [Dirichlet(space, "boundary", profile), pin]
    x = solve(matrix, torch.zeros(space.num_dofs, dtype=torch.float64), whole)
    torch.testing.assert_close(x[space.sub(0)].reshape(-1, 2), speed, atol=1e-12, rtol=0)
    pressure = 2 * (1 - places[space.sub(1), 0])
    torch.testing.assert_close(x[space.sub(1)], pressure, atol=1e-10, rtol=0)


@pytest.mark.parametrize("method", ["auto", "direct", "amg", "cg", "bicgstab"])
def test_a_pure_neumann_problem_without_solution_is_an_error(method: Any) -> None:
    matrix, load, _ = system(laplace)
    with pytest.raises(SolveError):
        solve(matrix, load, method=method)


def test_singular_matrices_say_so() -> None:
    matrix, load, _ = system(laplace)
    with pytest.raises(SolveError, match=r"matrix is singular.*boundary conditions missing"):
        solve(matrix, load)
    space = FunctionSpace(ml.generate.rectangle(3, 3), [("P2", 2), "P1"])
    stokes = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]), space
    )
    load = torch.zeros(space.num_dofs, dtype=torch.float64)
    load[space.sub(1)[0]] = 1.0  # a source where nothing can leave
    with pytest.raises(SolveError, match="matrix is singular"):
        solve(stokes, load, [Dirichlet(space, "boundary", 0.0)])


def test_iterations_that_stop_short_tell_their_residuals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krylov, "_MAX_ITERATIONS", 3)
    matrix, load, bcs = system(laplace)
    pattern = r"{} stopped after 3 iterations above the relative tolerance 1e-10; last residuals "
    pattern += r"\d\.\d\de[-+]\d\d, \d\.\d\de[-+]\d\d"
    with pytest.raises(SolveError, match=pattern.format("conjugate gradients")):
        solve(matrix, load, bcs, method="cg")
    with pytest.raises(SolveError, match=pattern.format("BiCGStab")):
        solve(matrix, load, bcs, method="bicgstab")


def test_a_zero_diagonal_needs_a_direct_solve() -> None:
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64).to_sparse_csr()
    right = torch.tensor([1.0, 2.0], dtype=torch.float64)
    with pytest.raises(SolveError, match="zeros on its diagonal; use method='direct'"):
        solve(swap, right, method="cg")
    assert torch.equal(solve(swap, right, method="direct"), right.flip(0))


def test_wrong_arguments() -> None:
    matrix, load, bcs = system(laplace, 2)
    with pytest.raises(MeshError, match="needs a square sparse CSR matrix"):
        solve(matrix.to_dense(), load)
    with pytest.raises(MeshError, match=r"right-hand side must have 9 rows, got \[8\]"):
        solve(matrix, load[1:], bcs)
    with pytest.raises(MeshError, match="must hold the same degrees of freedom as before"):
        LinearSolver(matrix, bcs).with_values([])
