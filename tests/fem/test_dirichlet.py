"""Strong boundary values: which unknowns, exact values, symmetry, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fem_peers import jittered, scipy_matrix
from strategies import random_mesh
from torch import Tensor

import meshlearn as ml
from meshlearn.fem import Dirichlet, FunctionSpace, assemble, assemble_linear, dot, grad, solve
from meshlearn.fem.elimination import reduction
from meshlearn.fem.sparse import csr_values, rows_of
from meshlearn.mesh import MeshError


def laplace(u: Any, v: Any, w: Any) -> Any:
    return dot(grad(u), grad(v))


def wave(x: Tensor) -> Tensor:
    return torch.cos(3 * x[:, 0]) + x.sum(dim=1) ** 2


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("triangle", "P1"),
        ("triangle", "P3"),
        ("triangle", "CR"),
        ("quad", "Q2"),
        ("tetra", "P2"),
        ("hexahedron", "Q1"),
    ],
)
def test_values_in_the_solution_are_exact(cell: str, name: str) -> None:
    mesh = random_mesh(cell, [3, 3] if cell in ("triangle", "quad") else [2, 2, 2], seed=4)
    space = FunctionSpace(mesh, name)
    bc = Dirichlet(space, "boundary", wave)
    u = solve(assemble(laplace, space), assemble_linear(lambda v, w: 1.0 * v, space), [bc])
    assert float((u[bc.dofs] - wave(space.dof_points[bc.dofs])).abs().max()) <= 1e-13


@pytest.mark.parametrize("cell", ["triangle", "tetra", "quad", "hexahedron"])
def test_linear_functions_are_solved_for_exactly(cell: str) -> None:
    d = 2 if cell in ("triangle", "quad") else 3
    mesh = random_mesh(cell, [3, 3, 3][:d], seed=6)
    space = FunctionSpace(mesh, "P1")
    linear = lambda x: 2 + x @ torch.arange(1.0, d + 1).double()  # noqa: E731
    u = solve(
        assemble(laplace, space),
        torch.zeros(space.num_dofs, dtype=torch.float64),
        [Dirichlet(space, "boundary", linear)],
    )
    torch.testing.assert_close(u, linear(mesh.pos), rtol=1e-12, atol=1e-12)


def test_elimination_keeps_symmetry_and_definiteness() -> None:
    space = FunctionSpace(jittered(ml.generate.rectangle(4, 4)), "P2")
    matrix = assemble(laplace, space)
    bc = Dirichlet(space, ["left", "bottom"], 1.0)
    reduced = reduction([bc], space.num_dofs, torch.device("cpu"))
    row, column, values = reduced.congruence(
        rows_of(matrix), matrix.col_indices(), csr_values(matrix)
    )
    n = len(reduced.free)
    assert n == space.num_dofs - len(bc.dofs)
    dense = torch.zeros(n, n, dtype=torch.float64).index_put((row, column), values, accumulate=True)
    assert float((dense - dense.T).abs().max()) < 1e-14 * float(dense.abs().max())
    assert float(torch.linalg.eigvalsh(dense).min()) > 1e-3
    kept = scipy_matrix(matrix)[reduced.free.numpy()][:, reduced.free.numpy()].toarray()
    np.testing.assert_array_equal(dense.numpy(), kept)


def test_where() -> None:
    space = FunctionSpace(ml.generate.rectangle(4, 2), "P1")
    by_name = Dirichlet(space, "left").dofs
    by_function = Dirichlet(space, lambda x: x[:, 0] == 0).dofs
    by_number = Dirichlet(space, by_name.flip(0)).dofs
    assert torch.equal(by_name, by_function)
    assert torch.equal(by_name, by_number)
    both = Dirichlet(space, ["left", "right"]).dofs
    assert len(both) == 2 * len(by_name)
    assert torch.equal(Dirichlet(space).dofs, space.mesh.boundary_nodes.sort().values)


def test_values_of_vectors_and_components() -> None:
    space = FunctionSpace(ml.generate.rectangle(3, 3), ("P2", 2))
    whole = Dirichlet(space, "top", lambda x: torch.stack([x[:, 0], 1 + x[:, 0]], dim=1))
    x = space.dof_points[whole.dofs, 0]
    torch.testing.assert_close(whole.values, x + (whole.dofs % 2))
    second = Dirichlet(space, "top", lambda x: 5 * x[:, 0], components=[1])
    assert torch.equal(second.dofs % 2, torch.ones_like(second.dofs))
    torch.testing.assert_close(second.values, 5 * space.dof_points[second.dofs, 0])
    solid = FunctionSpace(ml.generate.box(2, 2, 2), ("P1", 3))
    pair = Dirichlet(
        solid, "top", lambda x: torch.stack([x[:, 0], -x[:, 0]], dim=1), components=[2, 0]
    )
    x = solid.dof_points[pair.dofs, 0]
    assert set((pair.dofs % 3).tolist()) == {0, 2}
    torch.testing.assert_close(pair.values, torch.where(pair.dofs % 3 == 2, x, -x))


def test_one_element_of_a_mixed_space() -> None:
    space = FunctionSpace(ml.generate.rectangle(3, 3), [("P2", 2), "P1"])
    pressure = Dirichlet(space, "left", 2.0, block=1)
    assert bool(torch.isin(pressure.dofs, space.sub(1)).all())
    assert len(pressure.dofs) == 4


def test_a_later_condition_wins_where_two_meet() -> None:
    space = FunctionSpace(ml.generate.rectangle(3, 3), "P1")
    matrix, load = assemble(laplace, space), torch.zeros(16, dtype=torch.float64)
    corner = int(torch.nonzero(space.mesh.pos.sum(dim=1) == 0))
    left, bottom = Dirichlet(space, "left", 1.0), Dirichlet(space, "bottom", 2.0)
    assert float(solve(matrix, load, [left, bottom])[corner]) == 2.0
    assert float(solve(matrix, load, [bottom, left])[corner]) == 1.0


def test_everything_given() -> None:
    space = FunctionSpace(ml.generate.rectangle(1, 1), "P1")
    u = solve(
        assemble(laplace, space),
        torch.zeros(4, dtype=torch.float64),
        [Dirichlet(space, "boundary", 3.0)],
    )
    assert torch.equal(u, torch.full((4,), 3.0, dtype=torch.float64))


def test_differentiable_in_the_values() -> None:
    space = FunctionSpace(ml.generate.rectangle(3, 3), "P1")
    matrix, load = assemble(laplace, space), torch.ones(16, dtype=torch.float64)
    count = len(Dirichlet(space).dofs)
    given = torch.rand(count, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda g: solve(matrix, load, [Dirichlet(space, "boundary", g)]), (given,)
    )


def test_errors() -> None:
    space = FunctionSpace(ml.generate.rectangle(2, 2), ("P1", 2))
    with pytest.raises(MeshError, match="no tag 'inlet'"):
        Dirichlet(space, "inlet")
    with pytest.raises(MeshError, match="6 values are needed for the boundary, got 5"):
        Dirichlet(space, "left", torch.zeros(5))
    with pytest.raises(MeshError, match=r"must return \[m\] or \[m, 2\], got \[6, 3\]"):
        Dirichlet(space, "left", lambda x: torch.zeros(len(x), 3))
    with pytest.raises(MeshError, match="values from a function need an element with point values"):
        Dirichlet(FunctionSpace(space.mesh, "RT"), "left", lambda x: x[:, 0])
