"""Linear solves: direct and multigrid paths, right-hand sides, determinism, failure."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from meshlearn.fem import SolveError, linear
from meshlearn.fem.linear import amg, factorise, solve_spd
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
