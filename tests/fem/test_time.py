"""Time stepping: one-step facts, orders of convergence, one factorisation, gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    Scheme,
    assemble,
    assemble_linear,
    bdf2,
    crank_nicolson,
    div,
    dot,
    grad,
    implicit_euler,
    inner,
    march,
    march_nonlinear,
    run,
    theta_scheme,
)
from meshlearn.mesh import MeshError, generate

SCHEMES = {"euler": (implicit_euler, 1), "midpoint": (crank_nicolson, 2), "bdf2": (bdf2, 2)}


def growth(space: FunctionSpace) -> tuple[Tensor, Tensor]:
    """Matrices of u' = u."""
    mass = assemble(lambda u, v, w: u * v, space)
    return mass, mass * -1.0


@pytest.mark.parametrize(
    ("scheme", "factor"),
    [
        (theta_scheme(0.0), 1.1),
        (implicit_euler, 1 / 0.9),
        (crank_nicolson, 2.1 / 1.9),
        (theta_scheme(0.7), (1 + 0.3 * 0.1) / (1 - 0.7 * 0.1)),
    ],
)
@pytest.mark.parametrize("nonlinear", [False, True])
def test_one_step_of_growth(scheme: Scheme, factor: float, nonlinear: bool) -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    mass, minus = growth(space)
    start = torch.rand(space.num_dofs, dtype=torch.float64)
    if nonlinear:
        steps = march_nonlinear(
            lambda u, v, w: u * -1.0 * v, space, mass, start, 0.1, scheme, tol=1e-14
        )
    else:
        steps = march(mass, minus, start, 0.1, scheme)
    t, u = next(steps)
    assert t == pytest.approx(0.1)
    assert torch.allclose(u, start * factor, atol=1e-13)


def test_second_step_of_bdf2() -> None:
    """1.5 u2 - 2 u1 + 0.5 u0 = dt u2."""
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    mass, minus = growth(space)
    start = torch.rand(space.num_dofs, dtype=torch.float64)
    states = run(march(mass, minus, start, 0.1, bdf2), count=2).states
    assert torch.allclose(1.5 * states[1] - 2 * states[0] + 0.5 * start, 0.1 * states[1])


def exact(x: Tensor, t: float) -> Tensor:
    return math.exp(-t) * (1 + x[:, 0]) + math.sin(3 * t) * x[:, 1]


def forced(space: FunctionSpace, scheme: Scheme, dt: float, *, nonlinear: bool) -> float:
    """Error at t = 1 of u' - lap u (+ u^3) = f with a solution that is linear in x."""

    def rate(x: Tensor, t: float) -> Tensor:
        return -math.exp(-t) * (1 + x[:, 0]) + 3 * math.cos(3 * t) * x[:, 1]

    def bcs(t: float) -> list[Dirichlet]:
        return [Dirichlet(space, ["left", "top"], lambda x: exact(x, t))]

    def flux(v: Any, w: Any, t: float) -> Any:
        return (math.exp(-t) * w.n[:, 0] + math.sin(3 * t) * w.n[:, 1]) * v

    mass = assemble(lambda u, v, w: u * v, space)
    start = space.interpolate(lambda x: exact(x, 0.0))
    steps: Iterator[tuple[float, Tensor]]
    if nonlinear:
        inside = lambda u, v, w: (  # noqa: E731
            dot(grad(u), grad(v)) + (u**3 - rate(w.x, w.t) - exact(w.x, w.t) ** 3) * v
        )
        forms = [(inside, "cells"), (lambda u, v, w: -1.0 * flux(v, w, w.t), "boundary")]
        steps = march_nonlinear(forms, space, mass, start, dt, scheme, bcs, degree=6)
    else:
        A = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)

        def load(t: float) -> Tensor:
            inside = assemble_linear(lambda v, w: rate(w.x, t) * v, space)
            return inside + assemble_linear(lambda v, w: flux(v, w, t), space, on="boundary")

        steps = march(mass, A, start, dt, scheme, load, bcs)
    history = run(steps, until=1.0)
    return float((history.states[-1] - space.interpolate(lambda x: exact(x, 1.0))).abs().max())


@pytest.mark.parametrize("name", SCHEMES)
@pytest.mark.parametrize("nonlinear", [False, True])
def test_order_of_convergence(name: str, nonlinear: bool) -> None:
    scheme, order = SCHEMES[name]
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    coarse, fine = (forced(space, scheme, dt, nonlinear=nonlinear) for dt in (1 / 20, 1 / 40))
    assert abs(math.log2(coarse / fine) - order) < 0.15


def test_steady_state_is_kept() -> None:
    space = FunctionSpace(generate.rectangle(3, 3), "P1")
    mass = assemble(lambda u, v, w: u * v, space)
    A = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    bcs = [Dirichlet(space, "boundary", lambda x: x[:, 0])]
    start = space.dof_points[:, 0]
    for scheme, _ in SCHEMES.values():
        last = run(march(mass, A, start, 0.3, scheme, bcs=bcs), count=5).states[-1]
        assert torch.allclose(last, start, atol=1e-13)


def test_crank_nicolson_conserves_energy() -> None:
    """The wave equation as a system u' = v, v' = lap u."""
    space = FunctionSpace(generate.rectangle(4, 4), ["P1", "P1"])
    mass = assemble(lambda u, v, w: dot(grad(u[0]), grad(v[0])) + u[0] * v[0] + u[1] * v[1], space)
    A = assemble(
        lambda u, v, w: (
            dot(grad(u[0]), grad(v[1])) + u[0] * v[1] - dot(grad(u[1]), grad(v[0])) - u[1] * v[0]
        ),
        space,
    )
    start = torch.rand(space.num_dofs, dtype=torch.float64)
    last = run(march(mass, A, start, 0.1, crank_nicolson), count=20).states[-1]
    assert float(last @ (mass @ last)) == pytest.approx(float(start @ (mass @ start)), rel=1e-12)


@pytest.mark.parametrize("name", SCHEMES)
def test_one_factorisation_serves_all_steps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    solve_module = import_module("meshlearn.fem.solve")
    prepare = solve_module._System._prepare
    monkeypatch.setattr(
        solve_module._System,
        "_prepare",
        lambda self, values: (made.append(1), prepare(self, values)),
    )
    space = FunctionSpace(generate.rectangle(3, 3), "P1")
    mass = assemble(lambda u, v, w: u * v, space)
    A = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    start = torch.zeros(space.num_dofs, dtype=torch.float64)
    steps = march(
        mass, A, start, 0.1, SCHEMES[name][0], bcs=lambda t: [Dirichlet(space, "boundary", t)]
    )
    run(steps, count=5)
    assert len(made) == 1


def test_conditions_must_hold_the_same_unknowns() -> None:
    space = FunctionSpace(generate.rectangle(3, 3), "P1")
    mass, minus = growth(space)
    steps = march(
        mass,
        minus,
        torch.zeros(space.num_dofs, dtype=torch.float64),
        0.1,
        bcs=lambda t: [Dirichlet(space, "left" if t < 0.15 else "right", 0.0)],
    )
    next(steps)
    with pytest.raises(MeshError, match="same degrees of freedom"):
        next(steps)


def test_unsteady_stokes_keeps_the_velocity_free_of_divergence() -> None:
    space = FunctionSpace(generate.rectangle(3, 3), [("P2", 2), "P1"])
    mass = assemble(lambda u, v, w: dot(u[0], v[0]), space)
    A = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]),
        space,
    )
    b = assemble_linear(lambda v, w: torch.sin(3 * w.x[:, 0]) * v[0][1], space, degree=4)
    bcs = [Dirichlet(space, "boundary", 0.0), Dirichlet(space, space.sub(1)[:1], 0.0)]
    start = torch.zeros(space.num_dofs, dtype=torch.float64)
    states = run(march(mass, A, start, 0.05, bdf2, b, bcs), count=4).states
    constraint = (A @ states[-1])[space.sub(1)]
    assert float(states[-1][: space.sub(1)[0]].abs().max()) > 1e-4
    assert float(constraint.abs().max()) < 1e-14


@pytest.mark.parametrize("nonlinear", [False, True])
def test_gradients_flow_through_all_steps(nonlinear: bool) -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")

    def last(start: Tensor, k: Tensor) -> Tensor:
        mass = assemble(lambda u, v, w: u * v, space)
        if nonlinear:
            steps = march_nonlinear(
                lambda u, v, w: w.k * dot(grad(u), grad(v)) + u**3 * v,
                space,
                mass,
                start,
                0.1,
                bdf2,
                [Dirichlet(space, "left", 0.0)],
                tol=1e-14,
                k=k,
            )
        else:
            A = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=k)
            steps = march(mass, A, start, 0.1, bdf2, bcs=[Dirichlet(space, "left", 0.0)])
        return (run(steps, count=3).states[-1] ** 2).sum()

    start = torch.rand(space.num_dofs, dtype=torch.float64)
    k = 1 + torch.rand(space.mesh.num_cells, dtype=torch.float64)
    assert torch.autograd.gradcheck(last, (start.requires_grad_(), k.requires_grad_()))


def test_run_keeps_snapshots_and_reports() -> None:
    seen: list[tuple[int, float]] = []
    states = ((0.1 * k, torch.full((2,), float(k))) for k in range(1, 100))
    history = run(states, until=1.0, every=4, progress=lambda n, t, u: seen.append((n, t)))
    assert history.times.tolist() == pytest.approx([0.4, 0.8, 1.0])
    assert history.states[:, 0].tolist() == [4, 8, 10]
    assert [n for n, _ in seen] == list(range(1, 11))


@pytest.mark.parametrize("much", [{}, {"count": 3, "until": 1.0}])
def test_run_needs_one_end(much: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either a count of steps or a time"):
        run(iter([]), **much)


def test_bad_arguments() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    mass, minus = growth(space)
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        theta_scheme(2.0)
    with pytest.raises(MeshError, match="positive, got -1"):
        next(march(mass, minus, torch.zeros(9, dtype=torch.float64), -1.0))
    with pytest.raises(ValueError, match="at least one step"):
        run(iter([]), count=0)
