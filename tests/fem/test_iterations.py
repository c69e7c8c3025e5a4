"""Krylov methods with a preconditioner: against a direct solve."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from meshlearn.fem.iterations import flexible_gmres, minres

Array = NDArray[np.float64]


def indefinite(n: int, seed: int = 0) -> sp.csr_array:
    generator = np.random.default_rng(seed)
    q, _ = np.linalg.qr(generator.normal(size=(n, n)))
    values = np.r_[generator.uniform(1, 4, n - n // 3), -generator.uniform(1, 4, n // 3)]
    return sp.csr_array(q @ np.diag(values) @ q.T)


def general(n: int, seed: int = 0) -> sp.csr_array:
    generator = np.random.default_rng(seed)
    return sp.csr_array(3 * np.eye(n) + generator.normal(size=(n, n)) / np.sqrt(n))


def same(r: Array) -> Array:
    return r


@pytest.mark.parametrize("start", ["zero", "near"])
@pytest.mark.parametrize("weights", [0.0, 1.0])
def test_minres_solves_indefinite_systems(weights: float, start: str) -> None:
    a, generator = indefinite(40), np.random.default_rng(1)
    b, scale = generator.normal(size=40), 10 ** (weights * generator.uniform(-1, 1, 40))
    exact = np.linalg.solve(a.toarray(), b)
    first = np.zeros(40) if start == "zero" else exact + 1e-3 * generator.normal(size=40)
    x, history = minres(a, b, first, lambda r: scale * r, 1e-12, 200)
    assert np.allclose(x, exact, rtol=1e-10, atol=1e-10)
    assert all(new <= old * (1 + 1e-10) for old, new in itertools.pairwise(history))


def test_minres_reports_the_norm_that_the_preconditioner_gives() -> None:
    a, generator = indefinite(30), np.random.default_rng(2)
    b, scale = generator.normal(size=30), generator.uniform(0.5, 2, 30)
    for steps in (0, 3, 9):
        x, history = minres(a, b, np.zeros(30), lambda r: scale * r, 1e-14, steps)
        r = b - a @ x
        assert len(history) == steps + 1
        assert np.isclose(history[-1], np.sqrt(r @ (scale * r)), rtol=1e-8)


def test_minres_needs_as_many_steps_as_there_are_eigenvalues() -> None:
    a = sp.diags_array(np.repeat([3.0, -2.0, 0.5], 20), format="csr")
    _, history = minres(a, np.ones(60), np.zeros(60), same, 1e-12, 60)
    assert len(history) == 4


@pytest.mark.parametrize("restart", [5, 100])
def test_flexible_gmres_solves_general_systems(restart: int) -> None:
    a, b = general(40), np.random.default_rng(1).normal(size=40)
    x, history = flexible_gmres(a, b, np.zeros(40), same, 1e-12, 300, restart)
    assert np.allclose(a @ x, b, rtol=0, atol=1e-10)
    assert history[-1] <= 1e-12 * np.linalg.norm(b)


def test_flexible_gmres_takes_a_preconditioner_that_changes() -> None:
    a, b = general(40), np.random.default_rng(1).normal(size=40)
    inverse, calls = np.linalg.inv(a.toarray()), []

    def changing(r: Array) -> Array:
        calls.append(1)
        return inverse @ r + 0.05 * np.sin(len(calls) * np.arange(40)) * np.linalg.norm(r) / 40

    x, history = flexible_gmres(a, b, np.zeros(40), changing, 1e-12, 40)
    assert np.allclose(a @ x, b, rtol=0, atol=1e-10)
    assert len(history) < 15


def test_flexible_gmres_reports_the_residual() -> None:
    a, b = general(30), np.random.default_rng(3).normal(size=30)
    for steps in (1, 4, 7):
        x, history = flexible_gmres(a, b, np.zeros(30), same, 1e-14, steps)
        assert len(history) == steps + 1
        assert np.isclose(history[-1], np.linalg.norm(b - a @ x), rtol=1e-10)


def test_an_exact_preconditioner_needs_one_step() -> None:
    a, b = general(20), np.ones(20)
    inverse = np.linalg.inv(a.toarray())
    x, history = flexible_gmres(a, b, np.zeros(20), lambda r: inverse @ r, 1e-10, 20)
    assert len(history) == 2
    assert np.allclose(a @ x, b)


@pytest.mark.parametrize("method", [minres, flexible_gmres])
def test_nothing_is_done_where_nothing_is_asked(method) -> None:  # type: ignore[no-untyped-def]
    a = indefinite(10)
    x, history = method(a, np.zeros(10), np.zeros(10), same, 1e-10, 50)
    assert not x.any()
    assert history == [0.0]
