"""Multigrid told of the elements: kernels, coarse functions, and steps that do not grow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from strategies import random_mesh
from torch import Tensor

from meshlearn import generate
from meshlearn.fem import (
    Dirichlet,
    FunctionSpace,
    LinearSolver,
    SolveError,
    assemble,
    assemble_linear,
    div,
    dot,
    grad,
    inner,
    sym,
)
from meshlearn.fem.multigrid import multigrid, near_of
from meshlearn.fem.structure import to_scipy
from meshlearn.mesh import Mesh


def elastic(u: Any, v: Any, w: Any) -> Any:
    return 0.8 * inner(sym(grad(u)), sym(grad(v))) + 0.6 * (div(u) * div(v))


def laplace(u: Any, v: Any, w: Any) -> Any:
    return dot(grad(u), grad(v))


def mesh_of(cell: str, n: int) -> Mesh:
    if cell in ("triangle", "quad"):
        return generate.rectangle(n, n, cell="quad") if cell == "quad" else generate.rectangle(n, n)
    return generate.box(n, n, n, cell=cell)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("triangle", "P1"),
        ("triangle", "P2"),
        ("triangle", "P3"),
        ("triangle", "MINI"),
        ("tetra", "P1"),
        ("tetra", "P2"),
        ("tetra", "MINI"),
        ("quad", "Q2"),
        ("hexahedron", "Q1"),
        ("hexahedron", "Q2"),
    ],
)
def test_rigid_motions_cost_no_energy(cell: str, name: str) -> None:
    simplex = cell in ("triangle", "tetra")
    mesh = random_mesh(cell, [3, 2, 2][: 2 if cell == "triangle" else 3], 1) if simplex else None
    mesh = mesh_of(cell, 2) if mesh is None else mesh
    d = mesh.dim
    space = FunctionSpace(mesh, (name, d))
    near = near_of(space, space.blocks[0], rigid=True)
    assert near.null.shape == (space.num_dofs, {2: 3, 3: 6}[d])
    assert np.linalg.matrix_rank(near.null) == near.null.shape[1]
    matrix = to_scipy(assemble(elastic, space))
    assert abs(matrix @ near.null).max() < 1e-12 * abs(matrix).max()


@pytest.mark.parametrize("name", ["P2", "P3"])
def test_linear_functions_go_through_the_vertices(name: str) -> None:
    mesh = random_mesh("tetra", [2, 2, 2], 2)
    space = FunctionSpace(mesh, name)
    near = near_of(space, space.blocks[0], rigid=False)
    assert near.coarse is not None

    def linear(x: Tensor) -> Tensor:
        return 1 + x @ torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)

    found = near.coarse @ linear(mesh.pos).numpy()
    assert np.allclose(found, space.interpolate(linear).numpy(), rtol=0, atol=1e-13)


def steps(name: Any, cell: str, n: int, form: Any, **options: Any) -> int:
    space = FunctionSpace(mesh_of(cell, n), name)
    d = space.mesh.dim
    vector = isinstance(name, tuple)
    load = assemble_linear(lambda v, w: 1.0 * (v[d - 1] if vector else v), space)
    matrix = assemble(form, space)
    solver = LinearSolver(matrix, [Dirichlet(space, "left")], "amg", 1e-8)
    solver(load)
    assert solver.iterations is not None
    return solver.iterations


SIZES = {"triangle": (16, 32, 64), "tetra": (4, 8, 12), "hexahedron": (4, 8, 12)}


@pytest.mark.parametrize(
    ("name", "cell", "bound"),
    [("P2", "triangle", 14), ("P3", "triangle", 22), ("MINI", "triangle", 18), ("P2", "tetra", 12)],
)
def test_steps_for_poisson_do_not_grow(name: str, cell: str, bound: int) -> None:
    found = [steps(name, cell, n, laplace) for n in SIZES[cell]]
    assert max(found) <= bound
    assert found[-1] <= found[-2] + 2


@pytest.mark.parametrize(
    ("name", "cell", "sizes", "bound"),
    [
        ("P1", "tetra", (4, 8, 14), 22),
        ("P2", "tetra", (2, 4, 7), 20),
        ("Q1", "hexahedron", (4, 8, 14), 18),
        ("P2", "triangle", (8, 16, 32), 22),
    ],
)
def test_steps_for_elasticity_do_not_grow(
    name: str, cell: str, sizes: tuple[int, ...], bound: int
) -> None:
    d = 2 if cell == "triangle" else 3
    found = [steps((name, d), cell, n, elastic) for n in sizes]
    assert max(found) <= bound
    assert found[-1] <= found[-2] + 4


def test_rotations_are_what_keeps_them_low() -> None:
    space = FunctionSpace(mesh_of("tetra", 10), ("P1", 3))
    bc = Dirichlet(space, "left")
    free = np.setdiff1d(np.arange(space.num_dofs), bc.dofs.numpy())
    matrix = to_scipy(assemble(elastic, space))[free][:, free]
    count = []
    for rigid in (True, False):
        near = near_of(space, space.blocks[0], rigid=rigid)
        history: list[float] = []
        multigrid(matrix, near, free).solve(np.ones(len(free)), 1e-8, 200, history)
        count.append(len(history))
    assert count[0] < 0.75 * count[1]


@pytest.mark.parametrize("name", ["P1", "P2"])
def test_the_cycle_is_symmetric_and_definite(name: str) -> None:
    space = FunctionSpace(random_mesh("triangle", [6, 5], 3), name)
    free = np.setdiff1d(np.arange(space.num_dofs), Dirichlet(space, "boundary").dofs.numpy())
    matrix = to_scipy(assemble(laplace, space))[free][:, free]
    near = near_of(space, space.blocks[0], rigid=False)
    cycle = multigrid(matrix, near, free).cycle
    inverse = np.column_stack([cycle(e) for e in np.eye(len(free))])
    assert np.allclose(inverse, inverse.T, rtol=0, atol=1e-12 * abs(inverse).max())
    values = np.linalg.eigvals(inverse @ matrix.toarray()).real
    assert 0.3 < values.min() <= values.max() < 1.0 + 1e-10


@pytest.mark.parametrize("components", [None, [0], [2]])
def test_partly_held_bodies_match_a_direct_solve(components: list[int] | None) -> None:
    space = FunctionSpace(mesh_of("tetra", 4), ("P2", 3))
    matrix = assemble(elastic, space)
    load = assemble_linear(lambda v, w: v[0] - v[2], space)
    held = [Dirichlet(space, "left"), Dirichlet(space, "top", 0.1, components=components)]
    amg = LinearSolver(matrix, held, "amg", 1e-12)(load)
    direct = LinearSolver(matrix, held, "direct")(load)
    torch.testing.assert_close(amg, direct, rtol=1e-8, atol=1e-9)


def test_a_matrix_that_is_not_definite_is_told() -> None:
    space = FunctionSpace(mesh_of("triangle", 8), "P2")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)) - 1000.0 * (u * v), space)
    with pytest.raises(SolveError, match="multigrid-preconditioned iteration stopped above"):
        LinearSolver(matrix, [Dirichlet(space)], "amg")(
            assemble_linear(lambda v, w: 1.0 * v, space)
        )
