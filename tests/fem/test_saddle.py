"""Block solvers for flows: steps that do not grow with the mesh, and the solution they reach."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from meshlearn import generate
from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    LinearSolver,
    Periodic,
    Slip,
    SolveError,
    assemble,
    assemble_linear,
    div,
    dot,
    grad,
    inner,
    multiply,
    saddle,
    solve,
    sym,
)
from meshlearn.mesh import Mesh, MeshError

ELEMENTS = {"taylor-hood": "P2", "mini": "MINI"}


def flow_space(mesh: Mesh, element: str = "taylor-hood") -> FunctionSpace:
    return FunctionSpace(mesh, [(ELEMENTS[element], mesh.dim), "P1"])


def stokes(u: Any, v: Any, w: Any) -> Any:
    return 0.3 * inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0])


def oseen(u: Any, v: Any, w: Any) -> Any:
    """Convection along a given, divergence-free, velocity."""
    x = w.x
    along = torch.stack([x[:, 1] * (1 - x[:, 1]) + 0.1, *[0.0 * x[:, 0]] * (x.shape[1] - 1)], 1)
    carried = dot(dot(grad(u[0]), 10.0 * along), v[0])
    return 0.05 * inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]) + carried


def closed(space: FunctionSpace) -> list[Any]:
    """A lid that drives the fluid in a box, and one pressure."""
    d = space.mesh.dim
    first = torch.tensor([space.blocks[1].offset])

    def lid(x: Tensor) -> Tensor:
        on = (x[:, -1] > 1 - 1e-9).double() * x[:, 0] * (1 - x[:, 0])
        return torch.stack([on, *[0 * on] * (d - 1)], dim=1)

    return [Dirichlet(space, "boundary", lid), Dirichlet(space, first, 0.0, block=1)]


def opened(space: FunctionSpace) -> list[Any]:
    """A channel with an outlet on the right."""
    d = space.mesh.dim
    walls = ["bottom", "top"] + (["front", "back"] if d == 3 else [])

    def inflow(x: Tensor) -> Tensor:
        speed = (x[:, 1:] * (1 - x[:, 1:])).prod(dim=1)
        return torch.stack([speed, *[0 * speed] * (d - 1)], dim=1)

    return [Dirichlet(space, "left", inflow), Dirichlet(space, walls, 0.0)]


SIDES: dict[str, Callable[[FunctionSpace], list[Any]]] = {"closed": closed, "open": opened}


def mesh_of(d: int, n: int) -> Mesh:
    return generate.rectangle(n, n) if d == 2 else generate.box(n, n, n)


@cache
def system(d: int, n: int, element: str, sides: str, form: Any) -> tuple[Any, Any, Any, Any]:
    space = flow_space(mesh_of(d, n), element)
    load = assemble_linear(lambda v, w: torch.sin(3 * w.x[:, 0]) * v[0][1], space)
    return space, assemble(form, space), load, SIDES[sides](space)


def steps(d: int, n: int, element: str, sides: str, form: Any, *, adjoint: bool = False) -> int:
    """Steps of a solve, or of the one for its derivative."""
    _, matrix, load, bcs = system(d, n, element, sides, form)
    load = load.clone().requires_grad_(adjoint)
    solver = LinearSolver(matrix, bcs, "block", 1e-8)
    found = solver(load)
    if adjoint:
        found.square().sum().backward()
    assert solver.iterations is not None
    return solver.iterations


@pytest.mark.parametrize(
    ("d", "element", "sides", "sizes", "bound"),
    [
        (2, "taylor-hood", "closed", (8, 16, 32), 60),
        (2, "taylor-hood", "open", (8, 16, 32), 66),
        (2, "mini", "closed", (8, 16, 32), 62),
        (2, "mini", "open", (8, 16, 32), 84),
        (3, "taylor-hood", "closed", (3, 5, 7), 80),
        (3, "taylor-hood", "open", (3, 5, 7), 112),
        (3, "mini", "closed", (4, 7, 10), 108),
    ],
)
def test_steps_for_stokes_do_not_grow(
    d: int, element: str, sides: str, sizes: tuple[int, ...], bound: int
) -> None:
    found = [steps(d, n, element, sides, stokes) for n in sizes]
    assert max(found) <= bound, found
    assert found[-1] <= 1.2 * found[-2], found


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(("d", "sizes"), [(2, (8, 16, 32)), (3, (3, 5, 7))])
def test_steps_with_convection_do_not_grow(d: int, sizes: tuple[int, ...], sides: str) -> None:
    found = [steps(d, n, "taylor-hood", sides, oseen) for n in sizes]
    assert max(found) <= 68, found
    assert found[-1] <= 1.2 * found[-2], found


def test_the_adjoint_needs_as_many_steps() -> None:
    forth = steps(2, 16, "taylor-hood", "open", oseen)
    back = steps(2, 16, "taylor-hood", "open", oseen, adjoint=True)
    assert back <= 1.5 * forth


@pytest.mark.parametrize("dt", [1e-1, 1e-3])
def test_steps_do_not_grow_with_short_time_steps(dt: float) -> None:
    def form(u: Any, v: Any, w: Any) -> Any:
        return stokes(u, v, w) + 1 / dt * dot(u[0], v[0])

    def carried(u: Any, v: Any, w: Any) -> Any:
        return oseen(u, v, w) + 1 / dt * dot(u[0], v[0])

    for n in (8, 16):
        assert steps(2, n, "taylor-hood", "closed", form) <= 60
        assert steps(2, n, "taylor-hood", "closed", carried) <= 40


@pytest.mark.parametrize("form", [stokes, oseen], ids=["stokes", "oseen"])
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize(
    ("d", "n", "element"), [(2, 8, "mini"), (2, 8, "taylor-hood"), (3, 3, "mini")]
)
def test_the_solution_is_that_of_the_direct_solver(
    d: int, n: int, element: str, sides: str, form: Any
) -> None:
    _, matrix, load, bcs = system(d, n, element, sides, form)
    block = solve(matrix, load, bcs, "block", 1e-12)
    direct = solve(matrix, load, bcs, "direct")
    torch.testing.assert_close(block, direct, rtol=1e-7, atol=1e-8 * float(direct.abs().max()))


def test_slip_and_periodic_sides_and_quads() -> None:
    mesh = generate.rectangle(8, 8, cell="quad")
    space = FunctionSpace(mesh, [("Q2", 2), "Q1"])
    bcs = [
        Periodic(space, "left", "right"),
        Periodic(space, "left", "right", block=1),
        Slip(space, ["top"]),
        Dirichlet(space, "bottom", 0.0),
        Dirichlet(space, torch.tensor([space.blocks[1].offset]), 0.0, block=1),
    ]
    load = assemble_linear(lambda v, w: torch.sin(6 * w.x[:, 1]) * v[0][0], space)
    matrix = assemble(stokes, space)
    found = solve(matrix, load, bcs, "block", 1e-12)
    torch.testing.assert_close(found, solve(matrix, load, bcs, "direct"), rtol=1e-7, atol=1e-8)


def test_viscosity_that_jumps_and_the_symmetric_gradient() -> None:
    mesh = generate.rectangle(16, 16)
    space = flow_space(mesh)
    thick = torch.where(mesh.centroids()[:, 0] > 0.5, 100.0, 1.0).double()

    def form(u: Any, v: Any, w: Any) -> Any:
        strain = inner(sym(grad(u[0])), sym(grad(v[0])))
        return 2 * w.nu * strain - u[1] * div(v[0]) - v[1] * div(u[0])

    matrix = assemble(form, space, nu=thick)
    load = assemble_linear(lambda v, w: torch.sin(3 * w.x[:, 0]) * v[0][1], space)
    solver = LinearSolver(matrix, closed(space), "block", 1e-10)
    found = solver(load)
    assert solver.iterations is not None
    assert solver.iterations < 200
    expected = solve(matrix, load, closed(space), "direct")
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("form", [stokes, oseen], ids=["stokes", "oseen"])
@pytest.mark.parametrize("sides", SIDES)
def test_gradients_match_finite_differences(form: Any, sides: str) -> None:
    mesh = generate.rectangle(4, 4)
    space = flow_space(mesh, "mini")
    load = assemble_linear(lambda v, w: torch.sin(3 * w.x[:, 0]) * v[0][1], space)
    x = torch.sin(torch.arange(space.num_dofs).double())

    def value(pos: Tensor, right: Tensor) -> Tensor:
        moved = space.on(mesh.moved(pos))
        return x @ solve(assemble(form, moved), right, SIDES[sides](space), "block", 1e-13)

    pos, right = mesh.pos.clone().requires_grad_(), load.clone().requires_grad_()
    slopes = torch.autograd.grad(value(pos, right), (pos, right))
    h = 1e-5
    inside = torch.ones(mesh.num_nodes).double()
    inside[mesh.boundary_nodes] = 0.0
    ways = (torch.cos(7 * mesh.pos) * inside[:, None], torch.cos(torch.arange(len(load)).double()))
    for k, (slope, way) in enumerate(zip(slopes, ways, strict=True)):
        at = [mesh.pos, load]
        both = []
        for sign in (1, -1):
            shifted = [p + sign * h * way if j == k else p for j, p in enumerate(at)]
            both.append(float(value(*shifted)))
        difference = (both[0] - both[1]) / (2 * h)
        assert abs(float((slope * way).sum()) - difference) < 1e-6 * max(1.0, abs(difference))


def test_a_solve_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saddle, "_STEPS", 3)
    for form, name in ((stokes, "MINRES"), (oseen, "flexible GMRES")):
        _, matrix, load, bcs = system(2, 8, "mini", "open", form)
        with pytest.raises(SolveError, match=rf"{name} .* after 12 steps; last residuals \d"):
            solve(matrix, load, bcs, "block")


def test_a_pressure_without_level_is_an_error() -> None:
    _, matrix, load, bcs = system(2, 8, "mini", "closed", stokes)
    with pytest.raises(SolveError, match="singular"):
        solve(matrix, load, bcs[:1], "block")


def test_other_systems_are_refused() -> None:
    mesh = generate.rectangle(3, 3)
    plain = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), plain)
    with pytest.raises(MeshError, match="'block' is for velocities"):
        solve(matrix, torch.ones(16).double(), [Dirichlet(plain)], "block")
    space = flow_space(mesh)
    full = assemble(lambda u, v, w: stokes(u, v, w) - 0.1 * u[1] * v[1], space)
    with pytest.raises(MeshError, match="products of two pressures"):
        solve(full, torch.ones(space.num_dofs).double(), opened(space), "block")
    broken = FunctionSpace(mesh, [("P2", 2), "P0"])
    with pytest.raises(MeshError, match="continuous linear pressures"):
        solve(
            assemble(oseen, broken), torch.ones(broken.num_dofs).double(), opened(broken), "block"
        )
    found = solve(
        assemble(stokes, broken), torch.ones(broken.num_dofs).double(), opened(broken), "block"
    )
    assert bool(torch.isfinite(found).all())


def test_residual_and_zero_load() -> None:
    space, matrix, load, bcs = system(2, 8, "mini", "open", stokes)
    free = torch.ones(space.num_dofs, dtype=torch.bool)
    for bc in bcs:
        free[bc.dofs] = False
    x = solve(matrix, load, bcs, "block", 1e-11)
    left = (multiply(matrix, x) - load)[free]
    assert float(left.norm()) <= 1e-9
    still = [Dirichlet(space, bc.dofs, 0.0) for bc in bcs]
    assert not solve(matrix, 0 * load, still, "block").any()
