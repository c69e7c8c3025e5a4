"""Linear solves: direct and multigrid paths, right-hand sides, determinism, failure."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import splu, spsolve

from meshlearn.fem import Dirichlet, FunctionSpace, SolveError, assemble, div, grad, inner, linear
from meshlearn.fem.linear import amg, factorise, factorise_lu, solve_spd
from meshlearn.fem.p1 import lumped_mass, simplices, stiffness
from meshlearn.mesh import generate


def shifted_laplacian(n: int) -> sp.csr_array:
    """A symmetric positive definite matrix of a tetrahedral mesh."""
    mesh = generate.box(n, n, n)
    return sp.csr_array(
        stiffness(mesh.pos, simplices(mesh)) + sp.diags_array(lumped_mass(mesh).numpy())
    )


@pytest.fixture
def multigrid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every system counts as large."""
    monkeypatch.setattr(linear, "DIRECT_3D", 0)
    monkeypatch.setattr(linear, "DIRECT_2D", 0)


def test_factorisation_solves_for_many_right_hand_sides() -> None:
    matrix = shifted_laplacian(4)
    rng = np.random.default_rng(0)
    solve = factorise(matrix)
    one, many = rng.normal(size=matrix.shape[0]), rng.normal(size=(matrix.shape[0], 3))
    np.testing.assert_allclose(solve(one), spsolve(sp.csc_array(matrix), one), rtol=1e-10)
    assert solve(many).shape == many.shape
    np.testing.assert_allclose(matrix @ solve(many), many, atol=1e-10)


def test_a_system_without_unknowns_has_an_empty_solution() -> None:
    empty = sp.csr_array((0, 0))
    assert factorise(empty)(np.zeros(0)).shape == (0,)
    assert solve_spd(empty, np.zeros(0), 2).shape == (0,)


@pytest.mark.parametrize("dim", [2, 3])
def test_small_systems_are_solved_directly(dim: int) -> None:
    matrix = shifted_laplacian(5)
    right = np.random.default_rng(0).normal(size=matrix.shape[0])
    np.testing.assert_allclose(matrix @ solve_spd(matrix, right, dim), right, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.usefixtures("multigrid")
def test_multigrid_reaches_its_tolerance_at_every_scale(scale: float) -> None:
    matrix = shifted_laplacian(12)
    right = scale * np.random.default_rng(0).normal(size=matrix.shape[0])
    solution = solve_spd(matrix, right, 3, tol=1e-10)
    assert np.linalg.norm(matrix @ solution - right) <= 1.1e-10 * np.linalg.norm(right)


@pytest.mark.usefixtures("multigrid")
def test_multigrid_of_zero_is_zero() -> None:
    matrix = shifted_laplacian(8)
    assert not solve_spd(matrix, np.zeros(matrix.shape[0]), 3).any()


@pytest.mark.usefixtures("multigrid")
def test_multigrid_gives_the_same_digits_twice_and_leaves_the_generator_alone() -> None:
    matrix = shifted_laplacian(10)
    right = np.random.default_rng(0).normal(size=matrix.shape[0])
    np.random.seed(7)  # noqa: NPY002 - the global generator is what pyamg uses
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    first = solve_spd(matrix, right, 3)
    assert np.random.random() == expected  # noqa: NPY002
    np.random.seed(8)  # noqa: NPY002
    assert (solve_spd(matrix, right, 3) == first).all()


@pytest.mark.usefixtures("multigrid")
def test_a_solve_that_does_not_converge_raises_with_its_residuals() -> None:
    matrix = shifted_laplacian(10)
    right = np.random.default_rng(0).normal(size=matrix.shape[0])
    with pytest.raises(SolveError, match=r"stopped after \d+ iterations above .* 1e-30; last res"):
        solve_spd(matrix, right, 3, tol=1e-30)


def test_multigrid_takes_few_iterations() -> None:
    matrix = shifted_laplacian(14)
    right = np.random.default_rng(0).normal(size=matrix.shape[0])
    residuals: list[float] = []
    amg(matrix).solve(right, tol=1e-10, accel="cg", residuals=residuals)
    assert residuals[-1] <= 1e-10 * np.linalg.norm(right)
    assert len(residuals) < 30


@pytest.mark.parametrize("nu", [1e-6, 1.0, 1e3])
def test_lu_of_a_saddle_point_matrix_is_accurate_and_lean(nu: float) -> None:
    space = FunctionSpace(generate.rectangle(16, 16), [("P2", 2), "P1"])

    def form(u, v, w):  # type: ignore[no-untyped-def]
        viscous = nu * inner(grad(u[0]), grad(v[0])) + nu * u[0][0] * v[0][1]
        return viscous - u[1] * div(v[0]) - v[1] * div(u[0])

    whole = assemble(form, space)
    sides = Dirichlet(space, ["left", "top", "bottom"], 0.0)
    free = np.setdiff1d(np.arange(space.num_dofs), sides.dofs.numpy())
    parts = whole.values(), whole.col_indices(), whole.crow_indices()
    matrix = sp.csr_array(tuple(p.numpy() for p in parts), shape=tuple(whole.shape))
    matrix = sp.csr_array(matrix[free][:, free])
    b = np.sin(np.arange(len(free)))
    factor, default = factorise_lu(matrix), splu(sp.csc_matrix(matrix))
    for a, x in ((matrix, factor.solve(b)), (matrix.T, factor.solve(b, "T"))):
        assert np.abs(a @ x - b).max() < 1e-12 * (abs(a) @ np.abs(x)).max()
    assert factor.nnz < 0.7 * (default.L.nnz + default.U.nnz)


@pytest.mark.parametrize("tiny", [0.0, 1e-20])
def test_lu_pivots_where_the_diagonal_is_useless(tiny: float) -> None:
    swap = sp.csr_array(np.array([[tiny, 1.0, 0.0], [1.0, tiny, 2.0], [0.0, 3.0, 1.0]]))
    x = factorise_lu(swap).solve(np.array([1.0, 2.0, 3.0]))
    assert np.abs(swap @ x - [1.0, 2.0, 3.0]).max() < 1e-14


def test_lu_of_a_pattern_without_symmetry() -> None:
    matrix = sp.csr_array(np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 4.0]]))
    x = factorise_lu(matrix).solve(np.array([2.0, 3.0, 4.0]))
    assert x.tolist() == pytest.approx([2.0, 1.0, 1.0])


def test_lu_of_a_singular_matrix_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="singular"):
        factorise_lu(sp.csr_array(np.array([[1.0, 1.0], [1.0, 1.0]])))
