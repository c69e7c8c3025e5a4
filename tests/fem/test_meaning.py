"""Which method "auto" takes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from meshlearn import generate
from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    LinearSolver,
    assemble,
    div,
    dot,
    grad,
    inner,
    meaning,
    sym,
)
from meshlearn.fem.elimination import reduction
from meshlearn.fem.meaning import Meaning
from meshlearn.mesh import Mesh

FLAT, SOLID = generate.rectangle(3, 3), generate.box(2, 2, 2)


def choice(mesh: Mesh, element: Any, size: int, *, symmetric: bool, definite: bool) -> str:
    space = FunctionSpace(mesh, element)
    form = {
        False: lambda u, v, w: dot(u, v) if isinstance(element, tuple) else u * v,
        True: lambda u, v, w: inner(grad(u[0]), grad(v[0])) - u[1] * div(v[0]) - v[1] * div(u[0]),
    }[space.mixed]
    none = reduction([], space.num_dofs, mesh.pos.device)
    of = Meaning(space, assemble(form, space), none)
    return of.choice(size, symmetric=symmetric, definite=definite)


@pytest.mark.parametrize(
    ("mesh", "element", "limit", "above"),
    [
        (FLAT, "P1", meaning.DIRECT_2D, "amg"),
        (SOLID, "P2", meaning.DIRECT_3D, "amg"),
        (FLAT, ("P1", 2), meaning.VECTOR_2D, "amg"),
        (SOLID, ("P2", 3), meaning.VECTOR_3D, "amg"),
    ],
)
def test_definite_systems(mesh: Mesh, element: Any, limit: int, above: str) -> None:
    for size, expected in ((limit, "direct"), (limit + 1, above)):
        assert choice(mesh, element, size, symmetric=True, definite=True) == expected


@pytest.mark.parametrize(
    ("mesh", "limit", "symmetric"),
    [
        (FLAT, meaning.SADDLE_2D, True),
        (SOLID, meaning.SADDLE_3D, True),
        (FLAT, meaning.OSEEN_2D, False),
        (SOLID, meaning.OSEEN_3D, False),
    ],
)
def test_flows(mesh: Mesh, limit: int, symmetric: bool) -> None:
    element = [("P2", mesh.dim), "P1"]
    for size, expected in ((limit, "direct"), (limit + 1, "block")):
        assert choice(mesh, element, size, symmetric=symmetric, definite=False) == expected


def test_what_iterations_do_not_suit_is_factorised() -> None:
    huge = 10**7
    assert choice(FLAT, "P1", huge, symmetric=False, definite=False) == "direct"
    assert choice(SOLID, [("P2", 3), "P0"], huge, symmetric=False, definite=False) == "direct"
    assert choice(SOLID, [("P2", 3), "P0"], huge, symmetric=True, definite=False) == "block"


def elastic(u: Any, v: Any, w: Any) -> Any:
    return inner(sym(grad(u)), sym(grad(v)))


def test_large_solids_are_solved_by_multigrid_unless_told_otherwise() -> None:
    space = FunctionSpace(generate.box(14, 14, 14), ("P1", 3))
    assert space.num_dofs > meaning.VECTOR_3D
    matrix = assemble(elastic, space)
    load = torch.ones(space.num_dofs).double()
    auto = LinearSolver(matrix, [Dirichlet(space, "left")])
    found = auto(load)
    assert auto.iterations is not None
    assert auto.iterations < 30
    direct = LinearSolver(matrix, [Dirichlet(space, "left")], "direct")
    torch.testing.assert_close(found, direct(load), rtol=1e-7, atol=1e-7 * float(found.max()))
    assert direct.iterations is None


def test_the_space_can_be_given_where_no_condition_tells_it() -> None:
    space = FunctionSpace(generate.box(4, 4, 4), ("P1", 3))
    matrix = assemble(lambda u, v, w: elastic(u, v, w) + 1e-6 * dot(u, v), space)
    load = torch.sin(torch.arange(space.num_dofs).double())
    steps = []
    for known in (space, None):
        solver = LinearSolver(matrix, method="amg", tol=1e-8, space=known)
        solver(load)
        steps.append(solver.iterations)
    assert steps[0] < 0.7 * steps[1]
