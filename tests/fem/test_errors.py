"""Errors against exact functions, by quadrature, and observed orders of convergence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import meshlearn as ml
from meshlearn.fem import (
    Dirichlet,
    Field,
    FunctionSpace,
    assemble,
    assemble_linear,
    curl,
    div,
    dot,
    errors,
    grad,
    inner,
    integrate,
    solve,
)


@pytest.mark.parametrize("cell", ["triangle", "quad", "tetra", "hexahedron"])
def test_the_distance_of_zero_is_the_norm(cell: str) -> None:
    d = 2 if cell in ("triangle", "quad") else 3
    mesh = ml.generate.rectangle(3, 2, cell=cell) if d == 2 else ml.generate.box(2, 1, 2, cell=cell)
    space = FunctionSpace(mesh, "P1")
    zero = torch.zeros(space.num_dofs, dtype=torch.float64)
    found = errors(space, zero, lambda x: x[:, 0] ** 3)
    assert found["l2"] == pytest.approx(math.sqrt(1 / 7), rel=1e-12)
    assert found["h1"] == pytest.approx(math.sqrt(9 / 5), rel=1e-12)
    given = errors(
        space,
        zero,
        lambda x: x[:, 0] ** 3,
        lambda x: torch.cat([3 * x[:, :1] ** 2, 0 * x[:, 1:]], dim=1),
    )
    assert given == pytest.approx(found, rel=1e-13)
    assert 0.8 < found["max"] <= 1


def test_vectors_sum_over_components() -> None:
    space = FunctionSpace(ml.generate.rectangle(2, 2), ("P1", 2))
    zero = torch.zeros(space.num_dofs, dtype=torch.float64)
    found = errors(space, zero, lambda x: x)
    assert found["l2"] == pytest.approx(math.sqrt(2 / 3), rel=1e-12)
    assert found["h1"] == pytest.approx(math.sqrt(2), rel=1e-12)


def rate(solution: Callable[[int], dict[str, float]], sizes: tuple[int, int]) -> dict[str, float]:
    """Observed order of each error between two grids."""
    coarse, fine = (solution(n) for n in sizes)
    return {k: math.log(coarse[k] / fine[k]) / math.log(sizes[1] / sizes[0]) for k in fine}


def wave(x: Tensor) -> Tensor:
    return torch.sin(torch.pi * x).prod(dim=1)


def poisson(cell: str, name: str, n: int) -> dict[str, float]:
    flat = cell in ("triangle", "quad")
    mesh = ml.generate.rectangle(n, n, cell=cell) if flat else ml.generate.box(n, n, n, cell=cell)
    space = FunctionSpace(mesh, name)
    load = assemble_linear(
        lambda v, w: mesh.dim * torch.pi**2 * wave(w.x) * v, space, degree=2 * space.degree + 2
    )
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    return errors(space, solve(matrix, load, [Dirichlet(space)]), wave)


@pytest.mark.parametrize(
    ("cell", "name", "order", "sizes"),
    [
        ("triangle", "P1", 2, (16, 28)),
        ("triangle", "P2", 3, (8, 14)),
        ("triangle", "P3", 4, (6, 10)),
        ("triangle", "CR", 2, (16, 28)),
        ("triangle", "MINI", 2, (16, 28)),
        ("quad", "Q1", 2, (12, 20)),
        ("quad", "Q2", 3, (8, 14)),
        ("tetra", "P1", 2, (10, 16)),
        ("tetra", "P2", 3, (5, 8)),
        ("tetra", "P3", 4, (3, 5)),
        ("tetra", "CR", 2, (8, 12)),
        ("tetra", "MINI", 2, (8, 12)),
        ("hexahedron", "Q1", 2, (8, 14)),
        ("hexahedron", "Q2", 3, (4, 6)),
    ],
)
def test_orders_in_space(cell: str, name: str, order: int, sizes: tuple[int, int]) -> None:
    found = rate(lambda n: poisson(cell, name, n), sizes)
    assert found["l2"] > order - 0.1
    assert found["h1"] > order - 1.1


def darcy(d: int, n: int) -> dict[str, float]:
    """Flux q = -grad p with div q = f by RT and P0, p = 0 outside."""
    mesh = ml.generate.rectangle(n, n) if d == 2 else ml.generate.box(n, n, n)
    space = FunctionSpace(mesh, ["RT", "P0"])
    matrix = assemble(lambda u, v, w: dot(u[0], v[0]) - u[1] * div(v[0]) - v[1] * div(u[0]), space)
    load = assemble_linear(lambda v, w: -d * torch.pi**2 * wave(w.x) * v[1], space, degree=4)
    x = solve(matrix, load)

    def flux(at: Tensor) -> Tensor:
        slopes = []
        for i in range(d):
            parts = [torch.sin(torch.pi * at[:, j]) for j in range(d)]
            parts[i] = torch.pi * torch.cos(torch.pi * at[:, i])
            slopes.append(torch.stack(parts).prod(dim=0))
        return -torch.stack(slopes, dim=1)

    both = Field(space, x)
    gaps = {
        "flux": lambda w: ((w.u[0].value - flux(w.x)) ** 2).sum(dim=1),
        "divergence": lambda w: (div(w.u[0]) - d * torch.pi**2 * wave(w.x)) ** 2,
        "pressure": lambda w: (w.u[1].value - wave(w.x)) ** 2,
    }
    return {k: float(integrate(g, mesh, degree=4, u=both)) ** 0.5 for k, g in gaps.items()}


@pytest.mark.parametrize("d", [2, 3])
def test_raviart_thomas_converges_at_first_order_for_flux_and_divergence(d: int) -> None:
    for name, order in rate(lambda n: darcy(d, n), (12, 20) if d == 2 else (4, 7)).items():
        assert order == pytest.approx(1, abs=0.1), name


def cavity(d: int, n: int) -> dict[str, float]:
    """curl curl u + u = f with no tangential values, by N."""
    mesh = ml.generate.rectangle(n, n) if d == 2 else ml.generate.box(n, n, n)
    space = FunctionSpace(mesh, "N")

    def exact(x: Tensor) -> Tensor:
        # Divergence-free with u x n = 0: (sin pi y, sin pi x), or with products in 3D.
        s = torch.sin(torch.pi * x)
        if d == 2:
            return torch.stack([s[:, 1], s[:, 0]], dim=1)
        return torch.stack([s[:, 1] * s[:, 2], s[:, 2] * s[:, 0], s[:, 0] * s[:, 1]], dim=1)

    def rotation(x: Tensor) -> Tensor:
        s, c = torch.sin(torch.pi * x), torch.pi * torch.cos(torch.pi * x)
        if d == 2:
            return c[:, 0] - c[:, 1]
        return torch.stack(
            [
                s[:, 0] * (c[:, 1] - c[:, 2]),
                s[:, 1] * (c[:, 2] - c[:, 0]),
                s[:, 2] * (c[:, 0] - c[:, 1]),
            ],
            dim=1,
        )

    product = (lambda a, b: a * b) if d == 2 else dot
    matrix = assemble(lambda u, v, w: product(curl(u), curl(v)) + dot(u, v), space)
    factor = 1 + (d - 1) * torch.pi**2  # curl curl = -lap on divergence-free fields
    load = assemble_linear(lambda v, w: dot(factor * exact(w.x), v), space, degree=4)
    u = Field(space, solve(matrix, load, [Dirichlet(space, "boundary", 0.0)]))
    gaps: dict[str, Callable[[Any], Tensor]] = {
        "value": lambda w: ((w.u.value - exact(w.x)) ** 2).sum(dim=1),
        "curl": lambda w: ((curl(w.u) - rotation(w.x)) ** 2).reshape(len(w.x), -1).sum(dim=1),
    }
    return {k: float(integrate(g, mesh, degree=4, u=u)) ** 0.5 for k, g in gaps.items()}


@pytest.mark.parametrize("d", [2, 3])
def test_nedelec_converges_at_first_order_for_value_and_curl(d: int) -> None:
    for name, order in rate(lambda n: cavity(d, n), (12, 20) if d == 2 else (4, 7)).items():
        assert order == pytest.approx(1, abs=0.1), name


def stokes(velocity: str, n: int) -> dict[str, float]:
    """u = rot(x^2 (1-x)^2 y^2 (1-y)^2), p = x y - 1/4, velocity given on the boundary."""
    mesh = ml.generate.rectangle(n, n)
    space = FunctionSpace(mesh, [(velocity, 2), "P1"])

    def bump(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return (
            t**2 * (1 - t) ** 2,
            2 * t - 6 * t**2 + 4 * t**3,
            2 - 12 * t + 12 * t**2,
            -12 + 24 * t,
        )

    def speed(x: Tensor) -> Tensor:
        (a, a1, _, _), (b, b1, _, _) = bump(x[:, 0]), bump(x[:, 1])
        return torch.stack([a * b1, -a1 * b], dim=1)

    def force(x: Tensor) -> Tensor:
        (a, a1, a2, a3), (b, b1, b2, b3) = bump(x[:, 0]), bump(x[:, 1])
        first = -(a2 * b1 + a * b3) + x[:, 1]
        return torch.stack([first, a3 * b + a1 * b2 + x[:, 0]], dim=1)

    matrix = assemble(
        lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]), space
    )
    load = assemble_linear(lambda v, w: dot(force(w.x), v[0]), space, degree=6)
    pin = Dirichlet(space, space.sub(1)[:1], -0.25, block=1)  # p(0, 0)
    x = Field(space, solve(matrix, load, [Dirichlet(space, "boundary", 0.0), pin]))
    level = integrate(lambda w: w.x[:, 0] * w.x[:, 1] - 0.25 - w.u[1], mesh, u=x)
    gaps: dict[str, Callable[[Any], Tensor]] = {
        "velocity": lambda w: ((w.u[0].value - speed(w.x)) ** 2).sum(dim=1),
        "pressure": lambda w: (w.u[1] + level - w.x[:, 0] * w.x[:, 1] + 0.25) ** 2,
    }
    return {k: float(integrate(g, mesh, degree=6, u=x)) ** 0.5 for k, g in gaps.items()}


def test_taylor_hood_and_mini_converge_at_their_orders() -> None:
    hood = rate(lambda n: stokes("P2", n), (8, 14))
    assert hood["velocity"] > 3 - 0.1
    assert hood["pressure"] > 2 - 0.1
    mini = rate(lambda n: stokes("MINI", n), (10, 18))
    assert mini["velocity"] > 2 - 0.1
    assert mini["pressure"] > 1 - 0.1
