"""Dual-weighted residuals: the error of a functional, to a few per cent."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    Field,
    FunctionSpace,
    assemble,
    assemble_linear,
    div,
    dot,
    goal_estimate,
    grad,
    inner,
    integrate,
    solve,
    sym,
)
from meshlearn.fem.reference import laplacian_of
from meshlearn.mesh import Mesh, MeshError, generate


def exact(x: Tensor) -> Tensor:
    return torch.sin(math.pi * x).prod(dim=1) * torch.exp(x[:, 0])


def f(x: Tensor) -> Tensor:
    return -laplacian_of(exact)(x)


def a(u: object, v: object, w: object) -> object:
    return dot(grad(u), grad(v))


def load(v: object, w: object) -> object:
    return f(w.x) * v  # type: ignore[attr-defined]


def bcs(space: FunctionSpace) -> list[Dirichlet]:
    return [Dirichlet(space, "boundary")]


def discrete(space: FunctionSpace) -> Tensor:
    return solve(assemble(a, space), assemble_linear(load, space, degree=8), bcs(space))


def point_average(mesh: Mesh) -> Callable[[Field], Tensor]:
    """Mean about (0.3, 0.3), Gaussian."""

    def weight(x: Tensor) -> Tensor:
        return torch.exp(-((x - 0.3) ** 2).sum(dim=1) / (2 * 0.1**2))

    return lambda u: integrate(lambda w: w.u.value * weight(w.x), mesh, degree=8, u=u)


def mean_flux(mesh: Mesh) -> Callable[[Field], Tensor]:
    """Integral of du/dx over the strip x < 1/4."""
    return lambda u: integrate(
        lambda w: w.u.gradient[:, 0] * (w.x[:, 0] < 0.25), mesh, degree=2, u=u
    )


def boundary_flux(mesh: Mesh) -> Callable[[Field], Tensor]:
    """Integral of du/dn min(y, 1 - y) over x = 0, by the weak form."""
    space = FunctionSpace(mesh, "P1")
    tent = space.interpolate(
        lambda x: torch.where(x[:, 0] < 1e-9, torch.minimum(x[:, 1], 1 - x[:, 1]), 0.0)
    )
    return lambda u: integrate(
        lambda w: dot(grad(w.u), grad(w.tent)) - f(w.x) * w.tent.value,
        mesh,
        degree=8,
        u=u,
        tent=Field(space, tent),
    )


@pytest.mark.parametrize("functional", [point_average, mean_flux, boundary_flux])
@pytest.mark.parametrize("n", [8, 16, 32])
def test_effectivity_is_near_one_with_the_enriched_dual(
    functional: Callable[[Mesh], Callable[[Field], Tensor]], n: int
) -> None:
    mesh = generate.rectangle(n, n)
    space, best = FunctionSpace(mesh, "P1"), FunctionSpace(mesh, "P3")
    J, dofs = functional(mesh), discrete(space)
    truth = float(J(Field(best, best.interpolate(exact))))
    if functional is boundary_flux:  # du/dn = -pi sin(pi y); its integral against the tent
        truth = -2 / math.pi
    error = truth - float(J(Field(space, dofs)))
    found = goal_estimate(space, dofs, a, load, J, bcs)
    assert abs(found.effectivity(error) - 1) < 0.03
    assert torch.allclose(found.cells.sum(), found.total)
    # localisation loses little to cancellation
    assert float(found.cells.abs().sum()) < 6 * abs(error)


def test_the_recovered_dual_converges_to_effectivity_one() -> None:
    index = []
    for n in (16, 32):
        mesh = generate.rectangle(n, n)
        space, best = FunctionSpace(mesh, "P1"), FunctionSpace(mesh, "P3")
        J, dofs = point_average(mesh), discrete(space)
        error = float(J(Field(best, best.interpolate(exact))) - J(Field(space, dofs)))
        index.append(
            goal_estimate(space, dofs, a, load, J, bcs, dual="recovered").effectivity(error)
        )
    assert abs(index[1] - 1) < 0.02
    assert abs(index[1] - 1) < abs(index[0] - 1)


def test_tetrahedra_quads_and_quadratics() -> None:
    cases = [
        (generate.rectangle(12, 12, cell="quad"), "Q1", "Q2"),
        (generate.rectangle(6, 6), "P2", "P3"),
    ]
    for mesh, element, best in cases:
        space, rich = FunctionSpace(mesh, element), FunctionSpace(mesh, best)
        J, dofs = point_average(mesh), discrete(space)
        # by quadrature, not by the interpolant, of the exact solution
        truth = float(J(Field(rich, rich.project(exact, degree=12))))
        error = truth - float(J(Field(space, dofs)))
        found = goal_estimate(space, dofs, a, load, J, bcs)
        assert abs(found.effectivity(error) - 1) < 0.12


def test_data_on_the_boundary_and_a_nonlinear_functional() -> None:
    # -lap u = f, du/dn + u = g on the right; J(u) = integral of u^2 over the right
    mesh = generate.rectangle(16, 16)

    def smooth(x: Tensor) -> Tensor:
        return torch.sin(x[:, 0]) * torch.sin(math.pi * x[:, 1])

    def g(x: Tensor) -> Tensor:
        return torch.cos(x[:, 0]) * torch.sin(math.pi * x[:, 1]) + smooth(x)

    def conditions(space: FunctionSpace) -> list[Dirichlet]:
        return [Dirichlet(space, ["left", "bottom", "top"])]

    forms = {"cells": a, "right": lambda u, v, w: u * v}
    loads = {
        "cells": lambda v, w: (1 + math.pi**2) * smooth(w.x) * v,
        "right": lambda v, w: g(w.x) * v,
    }

    def J(u: Field) -> Tensor:
        return integrate(lambda w: w.u.value**2, mesh, on="right", degree=6, u=u)

    space = FunctionSpace(mesh, "P1")
    matrix = assemble(forms["cells"], space) + assemble(forms["right"], space, on="right")
    right = sum(assemble_linear(f, space, on=on, degree=6) for on, f in loads.items())
    dofs = solve(matrix, right, conditions(space))
    error = math.sin(1) ** 2 / 2 - float(J(Field(space, dofs)))
    found = goal_estimate(space, dofs, forms, loads, J, conditions)
    assert abs(found.effectivity(error) - 1) < 0.05


def test_vectors_elasticity() -> None:
    def strain(u: object, v: object, w: object) -> object:
        return 2 * inner(sym(grad(u)), sym(grad(v))) + div(u) * div(v)

    def body(v: object, w: object) -> object:
        return v[1] * -1.0  # type: ignore[index]

    def clamped(space: FunctionSpace) -> list[Dirichlet]:
        return [Dirichlet(space, "left")]

    def tip(mesh: Mesh) -> Callable[[Field], Tensor]:
        return lambda u: integrate(lambda w: w.u[1], mesh, on="right", degree=4, u=u)

    mesh = generate.rectangle(16, 8, upper=(2.0, 1.0))
    fine = generate.rectangle(64, 32, upper=(2.0, 1.0))
    values = []
    for m, element in ((mesh, "P1"), (fine, "P2")):
        space = FunctionSpace(m, (element, 2))
        dofs = solve(assemble(strain, space), assemble_linear(body, space), clamped(space))
        values.append((space, dofs, float(tip(m)(Field(space, dofs)))))
    space, dofs, coarse = values[0]
    found = goal_estimate(space, dofs, strain, body, tip(mesh), clamped)
    assert abs(found.effectivity(values[1][2] - coarse) - 1) < 0.15


def test_duals_that_do_not_exist_are_refused() -> None:
    mesh = generate.rectangle(2, 2)
    space = FunctionSpace(mesh, "P2")
    dofs = torch.zeros(space.num_dofs, dtype=torch.float64)
    with pytest.raises(MeshError, match="needs P1 scalars"):
        goal_estimate(space, dofs, a, load, point_average(mesh), bcs, dual="recovered")
    top = FunctionSpace(mesh, "P3")
    with pytest.raises(MeshError, match="next degree for 'P3'"):
        goal_estimate(top, torch.zeros(49).double(), a, load, point_average(mesh), bcs)
