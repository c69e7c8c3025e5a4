"""Limited-memory BFGS on quadratics."""

from __future__ import annotations

import numpy as np
import pytest

from meshlearn.movers.memory import Memory

SIZE = 6
GENERATOR = np.random.default_rng(3)
MATRIX = np.diag(np.geomspace(1, 50, SIZE)) + 0.5 * np.ones((SIZE, SIZE))
START = GENERATOR.normal(size=SIZE)


def minimised(steps: int, *, exact: bool) -> float:
    """Norm of the gradient of x A x / 2 after exact line searches."""
    inverse = np.linalg.inv(MATRIX) if exact else np.eye(SIZE)
    memory, x = Memory(), START.copy()
    for _ in range(steps):
        gradient = MATRIX @ x
        direction = memory.direction(gradient, lambda b: inverse @ b)
        assert gradient @ direction < 0
        step = -(gradient @ direction) / (direction @ MATRIX @ direction) * direction
        memory.remember(step, MATRIX @ step)
        x = x + step
    return float(np.linalg.norm(MATRIX @ x))


def test_an_exact_preconditioner_needs_one_step() -> None:
    assert minimised(1, exact=True) < 1e-12


def test_as_many_steps_as_unknowns_solve_a_quadratic() -> None:
    # with exact line searches BFGS is the method of conjugate gradients
    assert minimised(SIZE, exact=False) < 1e-9
    assert minimised(SIZE - 2, exact=False) > 1e-5


def test_pairs_of_negative_curvature_are_not_kept_and_all_can_be_dropped() -> None:
    memory = Memory()
    memory.remember(START, -START)
    assert not memory.forget()
    memory.remember(START, MATRIX @ START)
    assert memory.forget()
    plain = memory.direction(START, lambda b: 2 * b)
    assert plain == pytest.approx(-2 * START)
