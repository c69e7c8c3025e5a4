"""Time stepping for M u' + A u = f and M u' + F(u) = 0.

A scheme replaces u' by a combination of the last states and weighs the rest between the new time
and the old one. `march` and `march_nonlinear` are endless generators of (t, coefficients); `run`
draws from them as long as needed and keeps snapshots.

>>> import math, meshlearn as ml
>>> from meshlearn.fem import Dirichlet, FunctionSpace, assemble, bdf2, dot, grad, march, run
>>> V = FunctionSpace(ml.generate.rectangle(16, 16), "P1")
>>> M = assemble(lambda u, v, w: u * v, V)
>>> A = assemble(lambda u, v, w: dot(grad(u), grad(v)), V)
>>> u0 = V.interpolate(lambda x: (math.pi * x).sin().prod(dim=1))
>>> heat = march(M, A, u0, dt=0.005, scheme=bdf2, bcs=[Dirichlet(V, "boundary", 0.0)])
>>> last = run(heat, until=0.1).states[-1]
>>> abs(float(last.max()) / math.exp(-2 * math.pi**2 * 0.1) - 1) < 0.03
True

States keep their graph: gradients flow through all steps (use `torch.no_grad` where not wanted).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..mesh import MeshError
from .elimination import Condition
from .linearise import Forms, jacobian, residual
from .nonlinear import newton_system
from .solve import LinearSolver, Method
from .space import FunctionSpace
from .sparse import multiply, plus

Conditions = Sequence[Condition] | Callable[[float], Sequence[Condition]]
State = tuple[float, Tensor]


@dataclass(frozen=True)
class Scheme:
    """u'(t_n+1) dt = sum_k rate[k] u_n+1-k; the rest is theta (new) + (1 - theta) (old).

    Attributes:
        rate: coefficients of the new state and those before it.
        theta: weight of the new time.
        first: scheme of the steps that have too few states before them.
    """

    rate: tuple[float, ...]
    theta: float
    first: Scheme | None = None


def theta_scheme(theta: float) -> Scheme:
    """One-step scheme: 0 explicit Euler, 1/2 Crank-Nicolson (order 2), 1 implicit Euler.

    Raises:
        ValueError: theta outside [0, 1].
    """
    if not 0 <= theta <= 1:
        raise ValueError(f"theta must be between 0 and 1, got {theta}")
    return Scheme((1.0, -1.0), theta)


implicit_euler = theta_scheme(1.0)
"""Order 1, damps everything."""
crank_nicolson = theta_scheme(0.5)
"""Order 2, conserves energy, does not damp."""
# The theta scheme with 2/3 has the matrix of BDF2 (up to a factor): one factorisation for both.
bdf2 = Scheme((1.5, -2.0, 0.5), 1.0, theta_scheme(2 / 3))
"""Order 2, damps everything; the first step is a theta step, which keeps the order."""


def march(
    mass: Tensor,
    stiffness: Tensor,
    start: Tensor,
    dt: float,
    scheme: Scheme = implicit_euler,
    load: Tensor | Callable[[float], Tensor] | None = None,
    bcs: Conditions = (),
    time: float = 0.0,
    method: Method = "auto",
) -> Iterator[State]:
    """States of M u' + A u = f after each step; one factorisation serves all of them.

    Args:
        mass: M, sparse CSR `[n, n]`; may be singular (pressures).
        stiffness: A, likewise.
        start: u at `time` `[n]`.
        dt: time step.
        scheme: `implicit_euler`, `crank_nicolson`, `bdf2`, `theta_scheme(...)`.
        load: f, vector `[n]` or function of time; none: 0.
        bcs: conditions or function of time; what they hold must not change, their values may.
        time: of the start.
        method: of the linear solver, see `LinearSolver`.

    Yields:
        (t, coefficients `[n]`), differentiable in all data.
    """
    step = _checked(dt)
    known, now = [start], time
    f_old = _at(load, now)
    solver: LinearSolver | None = None
    count = 0
    while True:
        count += 1
        now = time + count * step
        use = _fitting(scheme, len(known))
        # Dividing by theta gives the first steps of BDF2 the matrix of the others.
        share = use.theta or 1.0
        history = _history(use, known, step)
        right = multiply(mass, history) / -share
        if use.theta < 1:
            right = right - (1 - use.theta) / share * multiply(stiffness, known[0])
        f_new = _at(load, now)
        if f_new is not None and f_old is not None:
            right = right + (use.theta * f_new + (1 - use.theta) * f_old) / share
        held = bcs(now) if callable(bcs) else bcs
        if solver is None:
            lead = mass * (use.rate[0] / step / share)
            solver = LinearSolver(plus(lead, stiffness) if use.theta else lead, held, method)
        elif callable(bcs):
            solver = solver.with_values(held)
        u = solver(right)
        known, f_old = [u, *known][: len(scheme.rate) - 1], f_new
        yield now, u


def march_nonlinear(
    form: Forms,
    space: FunctionSpace,
    mass: Tensor,
    start: Tensor,
    dt: float,
    scheme: Scheme = implicit_euler,
    bcs: Conditions = (),
    time: float = 0.0,
    tol: float = 1e-10,
    degree: int | None = None,
    on: str = "cells",
    **fields: Any,
) -> Iterator[State]:
    """States of M u' + F(u) = 0 after each step, by Newton's method.

    Args:
        form: residual form F `(u, v, w) -> scalar`, or pairs (form, on), as for `newton`; `w.t` is
            the time.
        space: of u and v.
        mass: M, sparse CSR `[n, n]`.
        start: u at `time` `[n]`.
        dt: time step.
        scheme: see `march`.
        bcs: conditions or function of time.
        time: of the start.
        tol: of Newton's method.
        degree: of the quadrature.
        on: where to integrate, for a single form.
        **fields: see `assemble`.

    Yields:
        (t, coefficients `[n]`), differentiable in all data.
    """
    step = _checked(dt)
    known, count = [start], 0

    def force(u: Tensor, t: float) -> Tensor:
        return residual(form, space, u, on=on, degree=degree, t=t, **fields)

    def slope(u: Tensor, t: float) -> Tensor:
        return jacobian(form, space, u, on=on, degree=degree, t=t, **fields)

    while True:
        count += 1
        now, before = time + count * step, time + (count - 1) * step
        use = _fitting(scheme, len(known))
        lead, share = use.rate[0] / step, use.theta
        fixed = multiply(mass, _history(use, known, step))
        if share < 1:
            fixed = fixed + (1 - share) * force(known[0], before)

        def whole(
            u: Tensor, lead: float = lead, share: float = share, now: float = now, c: Tensor = fixed
        ) -> Tensor:
            out = c + lead * multiply(mass, u)
            return out + share * force(u, now) if share else out

        def tangent(
            u: Tensor, lead: float = lead, share: float = share, now: float = now
        ) -> Tensor:
            return plus(mass * lead, slope(u, now) * share) if share else mass * lead

        held = bcs(now) if callable(bcs) else bcs
        u = newton_system(whole, tangent, known[0], held, tol).dofs
        known = [u, *known][: len(scheme.rate) - 1]
        yield now, u


@dataclass(frozen=True)
class History:
    """Snapshots of a run.

    Attributes:
        times: `[k]`.
        states: coefficients at these times `[k, n]`.
    """

    times: Tensor
    states: Tensor


def run(
    steps: Iterator[State],
    count: int | None = None,
    until: float | None = None,
    every: int = 1,
    progress: Callable[[int, float, Tensor], None] | None = None,
) -> History:
    """Draw steps from a generator.

    Args:
        steps: `march(...)`, `march_nonlinear(...)` or any (t, coefficients).
        count: how many steps.
        until: or up to this time (reached within a fraction 1e-6 of a step).
        every: keep each so-manieth state, and the last.
        progress: called after each step with its number, time and state.

    Raises:
        ValueError: neither or both of count and until.
    """
    if (count is None) == (until is None):
        raise ValueError("run needs either a count of steps or a time to run until")
    times: list[float] = []
    states: list[Tensor] = []
    number, before = 0, None
    last: State | None = None
    while number != count:
        t, u = last = next(steps)
        number += 1
        if progress is not None:
            progress(number, t, u)
        if number % every == 0:
            times.append(t)
            states.append(u)
        step = abs(t) if before is None else t - before
        if until is not None and t >= until - 1e-6 * step:
            break
        before = t
    if last is not None and number % every:
        times.append(last[0])
        states.append(last[1])
    if not states:
        raise ValueError("run needs at least one step")
    return History(torch.tensor(times, dtype=torch.float64), torch.stack(states))


def _checked(dt: float) -> float:
    if not dt > 0:
        raise MeshError(f"the time step must be positive, got {dt}")
    return float(dt)


def _fitting(scheme: Scheme, states: int) -> Scheme:
    while len(scheme.rate) - 1 > states and scheme.first is not None:
        scheme = scheme.first
    return scheme


def _history(scheme: Scheme, known: Sequence[Tensor], dt: float) -> Tensor:
    """Part of u' that is known `[n]`."""
    parts = [c / dt * u for c, u in zip(scheme.rate[1:], known, strict=False)]
    return sum(parts[1:], parts[0])


def _at(load: Tensor | Callable[[float], Tensor] | None, t: float) -> Tensor | None:
    return load(t) if callable(load) else load
