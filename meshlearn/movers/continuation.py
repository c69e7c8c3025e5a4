"""Solve the equation of `potential` where an iteration from the unmoved mesh might not get there.

Powers of the monitor between 0 and 1 lead from the unmoved mesh to the solution: each is a problem
of its own, near the next, and on the way the map stays the gradient of a convex potential, whereas
long steps of Newton's method fold the mesh at steep monitors. Few powers cost no more iterations
than none. Where cells get flat on the way to a power, a nearer one comes first; where that does not
help, potentials on these cells are too rough, and the stabilisation grows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .base import Progress
from .potential import Equation, State
from .potential_solvers import Solution

Array = NDArray[np.float64]
Iterate = Callable[[Equation, State, float, int, float, Progress, int], Solution]

_ROUGH, _CLOSE = 0.1, 0.03
"""Residual up to which problems on the way are solved, and after a failure."""
_FIRST, _LEAST = 1 / 3, 1 / 24
"""Largest and smallest difference of powers."""
_SHORT = 0.06
"""Share of a step; where no more is possible several times, the next power is too far."""
_STRONGER, _RETRIES = 4.0, 2
"""Factor by which the stabilisation grows, and how often."""


@dataclass(frozen=True)
class _Solved:
    """A power of the monitor and the potential that solves for it."""

    power: float
    phi: Array


def solve(
    equation: Equation,
    first: State,
    iterate: Iterate,
    tol: float,
    limit: int,
    progress: Progress,
) -> Solution:
    """The solution, or the state with the least spread that was found.

    Args:
        equation: of the move.
        first: where to start; its tau is the one that is wanted.
        iterate: `newton` or `relax`.
        tol: of the residual.
        limit: largest number of iterations, all problems together.
        progress: called after each iteration.
    """
    found: Solution | None = None
    if first.phi.any() or first.norm <= tol:
        found = iterate(equation, first, tol, limit, _SHORT, progress, 0)
        if found.reached:
            return found
    best, done = found, found.iterations if found is not None else 0
    here, factor = _Solved(0.0, np.zeros(equation.size)), 1.0
    for retry in range(_RETRIES + 1):
        tau = first.tau * factor
        found, here = _along(equation, here, tau, iterate, tol, limit, progress, done)
        done = found.iterations
        if found.reached and retry:
            found = replace(found, reason=f"{found.reason}, with stabilisation {tau:g}")
        if found.reached or best is None or found.state.load.spread < best.state.load.spread:
            best = found
        if found.reached or done >= limit:
            break
        factor *= _STRONGER
    assert best is not None
    return replace(best, iterations=done)


def _along(
    equation: Equation,
    here: _Solved,
    tau: float,
    iterate: Iterate,
    tol: float,
    limit: int,
    progress: Progress,
    done: int,
) -> tuple[Solution, _Solved]:
    """Follow the powers as far as it goes: the end, and the last that was solved."""
    before, stride, rough = here, _FIRST, _ROUGH
    while True:
        power = min(1.0, here.power + stride) if here.power + 1.5 * stride < 1 else 1.0
        state = _ahead(equation, tau, power, before, here)
        shortest = _SHORT if stride > _LEAST else 0.0
        goal = tol if power == 1 else rough
        found = iterate(equation, state, goal, limit - done, shortest, progress, done)
        done += found.iterations
        if found.reached:
            before, here = here, _Solved(power, found.state.phi)
        else:
            stride, rough = stride / 2, _CLOSE
        if here.power == 1 or stride < _LEAST or done >= limit:
            return _whole(equation, replace(found, iterations=done)), here


def _whole(equation: Equation, found: Solution) -> Solution:
    """The same potential, judged by the monitor itself."""
    state = found.state
    if state.exponent == 1:
        return found
    whole = equation.evaluate(state.phi, state.tau, 1.0, state.load.hint)
    assert whole is not None
    reason = f"stopped after {found.iterations} iterations" if found.reached else found.reason
    return replace(found, state=whole, reached=False, reason=reason)


def _ahead(equation: Equation, tau: float, power: float, before: _Solved, here: _Solved) -> State:
    """The last solution, or where the last two point to if that is nearer to the next."""
    state = equation.evaluate(here.phi, tau, power)
    assert state is not None
    if not before.power < here.power < power:
        return state
    share = (power - here.power) / (here.power - before.power)
    guess = equation.evaluate(here.phi + share * (here.phi - before.phi), tau, power)
    return guess if guess is not None and guess.norm < state.norm else state
