"""Anderson's acceleration on linear fixed points."""

from __future__ import annotations

import numpy as np
import pytest

from meshlearn.movers.anderson import Anderson

SIZE = 4
GENERATOR = np.random.default_rng(0)
MATRIX = np.eye(SIZE) - 0.3 * GENERATOR.normal(size=(SIZE, SIZE))
RIGHT = GENERATOR.normal(size=SIZE)


def missing(steps: int, *, accelerated: bool) -> float:
    """Norm of f(x) = b - A x after so many steps."""
    anderson, x = Anderson(), np.zeros(SIZE)
    f = RIGHT - MATRIX @ x
    for _ in range(steps):
        step = anderson.step(f, 0.5)
        x = x + step
        new = RIGHT - MATRIX @ x
        if accelerated:
            anderson.remember(step, new - f)
        f = new
    return float(np.linalg.norm(f))


def test_linear_problems_are_solved_in_one_step_more_than_unknowns() -> None:
    # as by GMRES (Walker & Ni)
    assert missing(SIZE + 1, accelerated=True) < 1e-9
    assert missing(SIZE + 1, accelerated=False) > 1e-2


def test_without_a_past_it_is_the_damped_iteration_and_the_past_can_be_dropped() -> None:
    anderson = Anderson()
    assert anderson.step(RIGHT, 0.25) == pytest.approx(0.25 * RIGHT)
    assert not anderson.forget()
    anderson.remember(RIGHT, -MATRIX @ RIGHT)
    assert np.abs(anderson.step(RIGHT, 0.25) - 0.25 * RIGHT).max() > 1e-3
    assert anderson.forget()
    assert anderson.step(RIGHT, 0.25) == pytest.approx(0.25 * RIGHT)


def test_steps_that_repeat_each_other_do_no_harm() -> None:
    anderson = Anderson()
    for _ in range(3):
        anderson.remember(RIGHT, -RIGHT)
    assert anderson.step(RIGHT, 1.0) == pytest.approx(RIGHT)
