"""Residual forms, their tangents, and Newton's method."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn.fem import (
    Dirichlet,
    Field,
    FormError,
    FunctionSpace,
    LinearSolver,
    SolveError,
    assemble,
    assemble_linear,
    avg,
    curl,
    div,
    dot,
    errors,
    grad,
    inner,
    integrate,
    jacobian,
    jump,
    newton,
    newton_system,
    residual,
    trace,
)
from meshlearn.mesh import MeshError, generate


def navier_stokes(u: Any, v: Any, w: Any) -> Any:
    (u, p), (v, q) = u, v
    convection = dot(dot(grad(u), u), v)
    return 0.1 * inner(grad(u), grad(v)) + convection - p * div(v) - div(u) * q


def hyperelastic(u: Any, v: Any, w: Any) -> Any:
    """Neo-Hooke: the first Piola-Kirchhoff stress."""
    identity = torch.eye(3, dtype=torch.float64)
    f = grad(u) * 0.2 + identity
    inverse = torch.linalg.inv(f).transpose(-1, -2)
    logarithm = torch.log(torch.linalg.det(f))
    return inner(f + (2 * logarithm - 1)[:, None, None] * inverse, grad(v))


def darcy(u: Any, v: Any, w: Any) -> Any:
    (s, p), (t, q) = u, v
    return (1 + p**2) * dot(s, t) - p * div(t) + div(s) * div(s) * q - w.x[:, 0] * q


def magnetic(u: Any, v: Any, w: Any) -> Any:
    return (1 + dot(curl(u), curl(u))) * dot(curl(u), curl(v)) + dot(u, v)


CASES = {
    "scalar": (
        lambda u, v, w: (1 + u**2) * dot(grad(u), grad(v)) + torch.exp(u) * v - w.x[:, 0] * v,
        generate.rectangle(3, 2),
        "P2",
        "cells",
    ),
    "quads": (
        lambda u, v, w: (1 + dot(grad(u), grad(u))) * dot(grad(u), grad(v)),
        generate.rectangle(3, 2, cell="quad"),
        "Q2",
        "cells",
    ),
    "vector": (hyperelastic, generate.box(2, 1, 1), ("P1", 3), "cells"),
    "mixed": (navier_stokes, generate.rectangle(3, 2), [("P2", 2), "P1"], "cells"),
    "divergence": (darcy, generate.rectangle(3, 2), ["RT", "P0"], "cells"),
    "curl": (magnetic, generate.box(2, 1, 1), "N", "cells"),
    "boundary": (
        lambda u, v, w: u**4 * v * w.n[:, 0] + dot(grad(u), w.n) ** 2 * v,
        generate.rectangle(3, 2),
        "P2",
        "boundary",
    ),
    "interior": (
        lambda u, v, w: jump(u) ** 3 * jump(v) + dot(avg(grad(u)), w.n) ** 2 * avg(v),
        generate.rectangle(3, 2),
        "P1DG",
        "interior",
    ),
    "interior mixed": (
        lambda u, v, w: (
            dot(avg(u[0]), w.n) * jump(u[1]) * jump(v[1]) + avg(u[1]) * dot(jump(v[0]), w.n)
        ),
        generate.rectangle(2, 2),
        [("P1DG", 2), "P1DG"],
        "interior",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_tangent_is_the_derivative_of_the_residual(name: str) -> None:
    form, mesh, element, on = CASES[name]
    space = FunctionSpace(mesh, element)
    u, direction = torch.rand(2, space.num_dofs, dtype=torch.float64)
    tangent = jacobian(form, space, u, on=on) @ direction
    step = 1e-5
    difference = (
        residual(form, space, u + step * direction, on=on)
        - residual(form, space, u - step * direction, on=on)
    ) / (2 * step)
    assert float((tangent - difference).norm() / difference.norm()) < 1e-8


def test_tangent_of_a_linear_form_is_its_matrix() -> None:
    space = FunctionSpace(generate.rectangle(4, 3), "P2")
    u = torch.rand(space.num_dofs, dtype=torch.float64)

    def form(u: Any, v: Any, w: Any) -> Any:
        return dot(grad(u), grad(v)) + 2.0 * u * v

    matrix = assemble(form, space)
    assert torch.allclose(jacobian(form, space, u).to_dense(), matrix.to_dense(), atol=1e-13)
    assert torch.allclose(residual(form, space, u), matrix @ u, atol=1e-13)


def test_tangent_is_differentiable() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    u = torch.rand(space.num_dofs, dtype=torch.float64, requires_grad=True)
    k = torch.rand(space.mesh.num_cells, dtype=torch.float64, requires_grad=True)

    def entries(u: Tensor, k: Tensor) -> Tensor:
        return jacobian(lambda u, v, w: w.k * u**3 * v, space, u, k=k).values()

    assert torch.autograd.gradcheck(entries, (u, k))


def test_tangent_does_not_require_gradients_when_nothing_does() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    u = torch.rand(space.num_dofs, dtype=torch.float64)
    assert not jacobian(lambda u, v, w: u**3 * v, space, u).requires_grad


def test_integrals_are_summed() -> None:
    space = FunctionSpace(generate.rectangle(3, 3), "P1")
    u = torch.rand(space.num_dofs, dtype=torch.float64)
    first, second = (lambda u, v, w: u**3 * v), (lambda u, v, w: u**2 * v)
    both = [(first, "cells"), (second, "left")]
    apart = residual(first, space, u) + residual(second, space, u, on="left")
    assert torch.allclose(residual(both, space, u), apart)
    matrix = jacobian(first, space, u).to_dense() + jacobian(second, space, u, on="left").to_dense()
    assert torch.allclose(jacobian(both, space, u).to_dense(), matrix)


def test_form_must_be_linear_in_the_test_function() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    with pytest.raises(FormError, match="linear in v"):
        residual(lambda u, v, w: u * 1.0, space, torch.zeros(space.num_dofs, dtype=torch.float64))


@pytest.mark.parametrize(("element", "order"), [("P1", 2), ("P2", 3)])
def test_quasilinear_problem_converges_with_the_order_of_the_element(
    element: str, order: int
) -> None:
    """-div((1 + u^2) grad u) = f, with u = sin(x) y + 1."""

    def exact(x: Tensor) -> Tensor:
        return torch.sin(x[:, 0]) * x[:, 1] + 1

    def source(x: Tensor) -> Tensor:
        s, c, y = torch.sin(x[:, 0]), torch.cos(x[:, 0]), x[:, 1]
        u = s * y + 1
        return -2 * u * ((c * y) ** 2 + s**2) + (1 + u**2) * s * y

    found = []
    for n in (4, 8):
        space = FunctionSpace(generate.rectangle(n, n), element)
        result = newton(
            lambda u, v, w: (1 + u**2) * dot(grad(u), grad(v)) - source(w.x) * v,
            space,
            [Dirichlet(space, "boundary", exact)],
            degree=6,
        )
        found.append(errors(space, result.dofs, exact)["l2"])
        assert result.iterations == len(result.residuals) - 1 <= 7
    assert abs(torch.log2(torch.tensor(found[0] / found[1])) - order) < 0.1


def test_convergence_is_quadratic() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P2")
    result = newton(
        lambda u, v, w: (1 + u**2) * dot(grad(u), grad(v)) - 30.0 * v,
        space,
        [Dirichlet(space, "boundary", 0.0)],
        tol=1e-13,
    )
    *_, a, b, c = (r / result.residuals[0] for r in result.residuals[:-1])
    assert b < 20 * a**2
    assert c < 20 * b**2


def test_line_search_saves_a_far_start() -> None:
    """Full Newton steps on atan(u) = 0 diverge from |u| > 1.39."""
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    start = torch.full((space.num_dofs,), 10.0, dtype=torch.float64)
    result = newton(lambda u, v, w: torch.atan(u.value) * v, space, start=start)
    assert float(result.dofs.abs().max()) < 1e-9


def test_nonlinear_boundary_term() -> None:
    """-u'' = 0 with u(0) = 1 and u' = -u^4 at x = 1 (radiation): u = 1 - c x, c = (1 - c)^4."""
    space = FunctionSpace(generate.rectangle(4, 2), "P1")
    result = newton(
        [
            (lambda u, v, w: dot(grad(u), grad(v)), "cells"),
            (lambda u, v, w: u**4 * v, "right"),
        ],
        space,
        [Dirichlet(space, "left", 1.0)],
        degree=5,
        tol=1e-13,
    )
    slope = 1 - float(result.dofs.min())
    assert abs(slope - (1 - slope) ** 4) < 1e-12
    assert torch.allclose(result.dofs, 1 - slope * space.dof_points[:, 0], atol=1e-12)


def test_given_jacobian_steers_the_iteration_only() -> None:
    """Picard's iteration: the same solution and gradient in more steps."""
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    k = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)

    def form(u: Any, v: Any, w: Any) -> Any:
        return (1 + w.k * u**2) * dot(grad(u), grad(v)) - 5.0 * v

    bcs = [Dirichlet(space, "boundary", 0.0)]
    exact = newton(form, space, bcs, k=k)
    picard = newton(
        form,
        space,
        bcs,
        jacobian=lambda u, v, w: (1 + w.k * w.u**2) * dot(grad(u), grad(v)),
        k=k,
    )
    assert picard.iterations > exact.iterations
    assert torch.allclose(picard.dofs, exact.dofs, atol=1e-9)
    slopes = [torch.autograd.grad(r.dofs.sum(), k)[0] for r in (exact, picard)]
    assert torch.allclose(slopes[0], slopes[1], rtol=1e-8)


def test_solution_as_start_takes_no_step() -> None:
    space = FunctionSpace(generate.rectangle(3, 3), "P1")
    start = torch.full((space.num_dofs,), 2.0 ** (1 / 3), dtype=torch.float64)
    assert newton(lambda u, v, w: (u**3 - 2) * v, space, start=start).iterations == 0


@pytest.mark.parametrize("limit", [0, 2])
def test_failure_tells_the_residuals(limit: int) -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    start = torch.full((space.num_dofs,), 50.0, dtype=torch.float64)
    with pytest.raises(SolveError, match=r"did not converge; residuals \d\.\d+e"):
        newton(lambda u, v, w: (u**3 - 2) * v, space, start=start, max_iterations=limit)


def test_no_root_is_an_error() -> None:
    """The tangent of u^2 + 1 is singular at u = 0."""
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    with pytest.raises(SolveError, match=r"singular.*residuals of Newton's method \d"):
        newton(lambda u, v, w: (u**2 + 1) * v, space, start=torch.zeros(9, dtype=torch.float64))


def test_line_search_gives_up() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    start = torch.full((space.num_dofs,), 0.3, dtype=torch.float64)
    with pytest.raises(SolveError, match=r"lowers the residual; residuals \d"):
        newton(
            lambda u, v, w: (u**2 + 1) * v,
            space,
            start=start,
            jacobian=lambda u, v, w: -u * v,
        )


def test_start_that_is_not_finite_is_an_error() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    with pytest.raises(SolveError, match="not finite at the start"):
        newton(lambda u, v, w: torch.log(u.value) * v, space)


def test_start_of_the_wrong_size_is_an_error() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    with pytest.raises(MeshError, match=r"\[9\], got \[4\]"):
        newton(lambda u, v, w: u * v, space, start=torch.zeros(4))


def test_derivatives_of_the_cube_root_to_third_order() -> None:
    """u^3 = theta: du/dtheta = theta^(-2/3)/3."""
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    theta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    start = torch.ones(space.num_dofs, dtype=torch.float64)
    result = newton(
        lambda u, v, w: (u**3 - w.theta) * v, space, start=start, theta=theta, derivatives=3
    )
    value, slopes = result.dofs.mean(), []
    for _ in range(3):
        (value,) = torch.autograd.grad(value, theta, create_graph=True)
        slopes.append(value.detach())
    expected = [2 ** (-2 / 3) / 3, -2 * 2 ** (-5 / 3) / 9, 10 * 2 ** (-8 / 3) / 27]
    assert torch.allclose(
        torch.stack(slopes), torch.tensor(expected, dtype=torch.float64), atol=1e-12
    )


def test_gradient_in_fields_nodes_and_boundary_values() -> None:
    mesh = generate.rectangle(2, 2)
    space = FunctionSpace(mesh, "P2")
    edge = len(Dirichlet(space, "left").dofs)

    def functional(pos: Tensor, k: Tensor, f: Tensor, g: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        result = newton(
            lambda u, v, w: w.k * (1 + u**2) * dot(grad(u), grad(v)) - w.f * v,
            moved,
            [Dirichlet(moved, "left", g)],
            tol=1e-14,
            k=k,
            f=Field(moved, f),
        )
        return integrate(lambda w: w.u**2, moved.mesh, u=Field(moved, result.dofs))

    inputs = (
        mesh.pos.clone(),
        torch.rand(mesh.num_cells, dtype=torch.float64) + 1,
        torch.rand(space.num_dofs, dtype=torch.float64),
        torch.rand(edge, dtype=torch.float64),
    )
    assert torch.autograd.gradcheck(
        functional, tuple(i.requires_grad_() for i in inputs), rtol=1e-6
    )


def test_second_derivatives_of_a_solution() -> None:
    mesh = generate.rectangle(2, 2)
    space = FunctionSpace(mesh, "P1")

    def functional(k: Tensor, g: Tensor) -> Tensor:
        result = newton(
            lambda u, v, w: w.k * (1 + u**2) * dot(grad(u), grad(v)) - 5.0 * v,
            space,
            [Dirichlet(space, "left", g)],
            tol=1e-14,
            derivatives=2,
            k=k,
        )
        return (result.dofs**2).sum()

    k = torch.rand(mesh.num_cells, dtype=torch.float64) + 1
    g = torch.rand(3, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(functional, (k.requires_grad_(), g.requires_grad_()))


def test_no_graph_without_gradients() -> None:
    space = FunctionSpace(generate.rectangle(2, 2), "P1")
    theta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    start = torch.ones(space.num_dofs, dtype=torch.float64)
    with torch.no_grad():
        result = newton(lambda u, v, w: (u**3 - w.theta) * v, space, start=start, theta=theta)
    assert not result.dofs.requires_grad


def test_functions_of_the_coefficients() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    A = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    b = assemble_linear(lambda v, w: 1.0 * v, space)
    result = newton_system(
        lambda u: A @ u - b,
        lambda u: A,
        torch.zeros(space.num_dofs, dtype=torch.float64),
        [Dirichlet(space, "boundary", 0.0)],
    )
    assert result.iterations == 1
    assert float(result.dofs.max()) > 0.05


def test_trace_of_a_large_deformation() -> None:
    """A uniform stretch of a cube is found exactly, with the lateral contraction of Neo-Hooke."""
    mesh = generate.box(2, 2, 2)
    space = FunctionSpace(mesh, ("P1", 3))

    def stress(u: Any, v: Any, w: Any) -> Any:
        f = grad(u) + torch.eye(3, dtype=torch.float64)
        inverse = torch.linalg.inv(f).transpose(-1, -2)
        logarithm = torch.log(torch.linalg.det(f))
        return inner(f + (logarithm - 1)[:, None, None] * inverse, grad(v))

    low, high = mesh.pos[:, 0].min(), mesh.pos[:, 0].max()
    ends = [
        Dirichlet(space, lambda x: (x[:, 0] - low).abs() < 1e-9, 0.0, components=[0]),
        Dirichlet(space, lambda x: (x[:, 0] - high).abs() < 1e-9, 0.5, components=[0]),
        Dirichlet(space, lambda x: x[:, 1] < 1e-9, 0.0, components=[1]),
        Dirichlet(space, lambda x: x[:, 2] < 1e-9, 0.0, components=[2]),
    ]
    u = newton(stress, space, ends, tol=1e-12).dofs
    lateral = 1 + float(u.reshape(-1, 3)[:, 1].min())
    assert abs(lateral**2 + math.log(1.5 * lateral**2) - 1) < 1e-10
    strain = integrate(lambda w: trace(w.u.gradient), mesh, u=Field(space, u))
    assert abs(float(strain) - (0.5 + 2 * (lateral - 1))) < 1e-10


def test_steps_are_as_exact_as_the_solver_whatever_the_size_of_the_solution() -> None:
    """An iterative solve is accurate relative to the step, not to the state."""
    space = FunctionSpace(generate.rectangle(8, 8), "P1")
    far = [Dirichlet(space, "boundary", 1e6)]
    found = newton(
        lambda u, v, w: (1 + 1e-13 * u**2) * dot(grad(u), grad(v)) - 1.0 * v,
        space,
        far,
        method="cg",
    )
    gap = found.dofs - 1e6
    assert float(gap.max()) == pytest.approx(0.0728 / 1.1, rel=0.02)
    assert found.residuals[-1] < 1e-8


def test_a_change_keeps_the_values_that_are_given() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    solver = LinearSolver(matrix, [Dirichlet(space, "boundary", 3.0)])
    load = assemble_linear(lambda v, w: w.x[:, 0] * v, space)
    extra = assemble_linear(lambda v, w: 2.0 * v, space)
    torch.testing.assert_close(solver(load + extra), solver(load) + solver.change(extra))
    assert not solver.change(extra)[space.mesh.boundary_nodes].any()
