"""Reference solves: orders of convergence, patch test, scikit-fem itself, a published error."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import skfem
import torch
from convergence import last_order
from skfem.helpers import dot, grad
from strategies import random_mesh, renumbered
from torch import Tensor
from torch_geometric.data import Batch

from meshlearn.fem.reference import (
    gradient_of,
    interpolate,
    lagrange_basis,
    laplacian_of,
    solve_reaction_diffusion,
)
from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate

CELLS = ["line", "triangle", "quad", "tetra", "hexahedron"]
every_cell = pytest.mark.parametrize("cell", CELLS)


def grid(cell: str, n: int) -> Mesh:
    """The unit box cut into `n` boxes along each axis, slightly bent."""
    mesh: Mesh = {
        "line": lambda: generate.interval(n),
        "triangle": lambda: generate.rectangle(n, n),
        "quad": lambda: generate.rectangle(n, n, cell="quad"),
        "tetra": lambda: generate.box(n, n, n),
        "hexahedron": lambda: generate.box(n, n, n, cell="hexahedron"),
    }[cell]()
    bend = torch.sin(2 * torch.pi * mesh.pos).prod(dim=1, keepdim=True)
    return mesh.moved(mesh.pos + (0.04 if mesh.dim < 3 else 0.015) * bend)


def waves(x: Tensor) -> Tensor:
    return torch.sin(2 * x + 0.3).prod(dim=1) + x[:, 0]


def solve(mesh: Mesh, exact: Callable[[Tensor], Tensor], degree: int, reaction: float = 1.0):  # type: ignore[no-untyped-def]
    def source(x: Tensor) -> Tensor:
        return reaction * exact(x) - laplacian_of(exact)(x)

    return solve_reaction_diffusion(mesh, source, exact, reaction, degree)


# -- convergence -------------------------------------------------------------------------------

SIZES = {
    ("line", 1): (16, 32),
    ("line", 2): (8, 16),
    ("triangle", 1): (16, 32),
    ("triangle", 2): (8, 16),
    ("quad", 1): (16, 32),
    ("quad", 2): (8, 16),
    ("tetra", 1): (10, 16),
    ("tetra", 2): (5, 8),
    ("hexahedron", 1): (8, 14),
    ("hexahedron", 2): (4, 7),
}


@pytest.mark.parametrize(("cell", "degree"), SIZES)
def test_orders_of_solution_and_interpolant(cell: str, degree: int) -> None:
    sizes = SIZES[cell, degree]
    solved = last_order(lambda n: solve(grid(cell, n), waves, degree).errors(waves), sizes)
    assert solved["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert solved["h1"] == pytest.approx(degree, abs=0.1)
    drawn = last_order(lambda n: interpolate(grid(cell, n), waves, degree).errors(waves), sizes)
    assert drawn["l2"] == pytest.approx(degree + 1, abs=0.1)
    assert drawn["h1"] == pytest.approx(degree, abs=0.1)


# -- exactness ---------------------------------------------------------------------------------


def polynomial(degree: int) -> Callable[[Tensor], Tensor]:
    def value(x: Tensor) -> Tensor:
        line = 1 + x @ torch.arange(1.0, x.shape[1] + 1, dtype=x.dtype)
        return line**degree - x[:, 0]

    return value


@every_cell
@pytest.mark.parametrize("degree", [1, 2])
def test_patch(cell: str, degree: int) -> None:
    """A polynomial of the element's degree comes out exactly on any affine cells."""
    d = CELL_TYPES[cell].dim
    jitter = 0.25 if CELL_TYPES[cell].is_simplex or degree == 1 else 0.0
    mesh = random_mesh(cell, [4, 3, 3][:d], 1, jitter=jitter, stretch=2.0)
    exact = polynomial(degree)
    found = solve(mesh, exact, degree)
    errors = found.errors(exact)
    scale = float(exact(mesh.pos).abs().max())
    assert max(errors["l2"], errors["max"]) < 1e-11 * scale
    assert errors["h1"] < 1e-9 * scale
    assert interpolate(mesh, exact, degree).errors(exact)["max"] < 1e-12 * scale


@every_cell
@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("reaction", [0.0, 3.0])
def test_agrees_with_scikit_fem_used_directly(cell: str, degree: int, reaction: float) -> None:
    """Its own meshes and elements, from our arrays; only the vertex numbering is ours."""
    d = CELL_TYPES[cell].dim
    mesh = random_mesh(cell, [4, 3, 2][:d], 2)
    kind = {
        "line": (skfem.MeshLine1, skfem.ElementLineP1, skfem.ElementLineP2),
        "triangle": (skfem.MeshTri1, skfem.ElementTriP1, skfem.ElementTriP2),
        "quad": (skfem.MeshQuad1, skfem.ElementQuad1, skfem.ElementQuad2),
        "tetra": (skfem.MeshTet1, skfem.ElementTetP1, skfem.ElementTetP2),
        "hexahedron": (skfem.MeshHex1, skfem.ElementHex1, skfem.ElementHex2),
    }[cell]
    cells = mesh.cells[cell].numpy().T
    if cell == "hexahedron":
        cells = cells[[0, 4, 3, 1, 7, 5, 2, 6]]
    basis = skfem.Basis(kind[0](mesh.pos.numpy().T.copy(), cells.copy()), kind[degree]())
    fine = skfem.Basis(basis.mesh, basis.elem, intorder=2 * degree + 4)

    @skfem.BilinearForm
    def operator(u, v, w):  # type: ignore[no-untyped-def]
        return dot(grad(u), grad(v)) + reaction * u * v

    @skfem.LinearForm
    def load(v, w):  # type: ignore[no-untyped-def]
        return (1 + w.x[0] ** 2) * v

    fixed = basis.get_dofs().flatten()
    value = basis.doflocs[0] * 2.0 + 1
    reduced = skfem.condense(operator.assemble(basis), load.assemble(fine), x=value, D=fixed)
    expected = skfem.solve(*reduced)
    found = solve_reaction_diffusion(
        mesh, lambda x: 1 + x[:, 0] ** 2, lambda x: 2 * x[:, 0] + 1, reaction, degree
    )
    nodal = torch.from_numpy(expected[basis.nodal_dofs[0]])
    torch.testing.assert_close(found.nodal, nodal, rtol=0, atol=1e-10)
    assert np.sort(found.dofs) == pytest.approx(np.sort(expected), abs=1e-10)


def test_the_published_error_of_the_helmholtz_bell() -> None:
    """0.0102338 with u = exp(-|x - c|^2 / w^2), c = (.51, .65), w = .1, 20 x 20, u on the sides."""
    centre = torch.tensor([0.51, 0.65], dtype=torch.float64)

    def bell(x: Tensor) -> Tensor:
        return torch.exp(-((x - centre) ** 2).sum(dim=1) / 0.1**2)

    found = solve(generate.rectangle(20, 20, diagonal="left"), bell, degree=1)
    assert found.errors(bell)["l2"] == pytest.approx(0.0102338, abs=5e-7)


# -- errors ------------------------------------------------------------------------------------


def test_errors_are_norms_of_the_difference() -> None:
    """Zero against x: known integrals over the unit square."""
    mesh = generate.rectangle(3, 3)
    zero = interpolate(mesh, lambda x: 0 * x[:, 0])
    errors = zero.errors(lambda x: x[:, 0])
    assert errors["l2"] == pytest.approx(1 / math.sqrt(3), rel=1e-12)
    assert errors["h1"] == pytest.approx(1.0, rel=1e-12)
    assert errors["max"] == 1.0  # at a node: no quadrature point lies there
    given = zero.errors(lambda x: x[:, 0], lambda x: torch.stack([2 + 0 * x[:, 0], x[:, 1]], dim=1))
    assert given["h1"] == pytest.approx(math.sqrt(4 + 1 / 3), rel=1e-12)


def test_errors_see_a_layer_inside_a_cell() -> None:
    """Norm of a hat ten times narrower than a cell, to some digits."""
    mesh = generate.interval(3)
    zero = interpolate(mesh, lambda x: 0 * x[:, 0])
    found = zero.errors(lambda x: torch.exp(-(((x[:, 0] - 0.37) / 0.035) ** 2)))
    assert found["l2"] ** 2 == pytest.approx(0.035 * math.sqrt(math.pi / 2), rel=0.02)


def test_nodal_values_are_at_the_nodes_of_the_mesh() -> None:
    for cell in CELLS:
        mesh = random_mesh(cell, [3, 3, 2][: CELL_TYPES[cell].dim], 3)
        for degree in (1, 2):
            torch.testing.assert_close(interpolate(mesh, waves, degree).nodal, waves(mesh.pos))


def test_solutions_do_not_depend_on_the_numbering() -> None:
    mesh = random_mesh("triangle", [4, 4], 0)
    other, node, _ = renumbered(mesh, 5)
    torch.testing.assert_close(solve(other, waves, 2).nodal[node], solve(mesh, waves, 2).nodal)


def test_a_batch_is_solved_mesh_by_mesh() -> None:
    meshes = [random_mesh("triangle", [3, 4], k, hole=True) for k in range(2)]
    together = solve(Batch.from_data_list(meshes), waves, 1).nodal
    torch.testing.assert_close(together, torch.cat([solve(m, waves, 1).nodal for m in meshes]))


def test_boundary_values_may_be_a_number() -> None:
    mesh = random_mesh("triangle", [4, 4], 0, hole=True)
    found = solve_reaction_diffusion(mesh, lambda x: 0 * x[:, 0], 2.5)
    torch.testing.assert_close(found.nodal, torch.full_like(found.nodal, 2.5))


# -- derivatives of formulas -------------------------------------------------------------------


def test_gradient_and_laplacian_of_formulas() -> None:
    x = torch.rand(20, 3, dtype=torch.float64)
    torch.testing.assert_close(gradient_of(lambda p: (p**3).sum(dim=1))(x), 3 * x**2)
    torch.testing.assert_close(laplacian_of(lambda p: (p**3).sum(dim=1))(x), 6 * x.sum(dim=1))
    r2 = (x**2).sum(dim=1)
    harmonic = laplacian_of(lambda p: 1 / (p**2).sum(dim=1).sqrt())(x)
    assert (harmonic.abs() < 1e-9 * r2**-1.5).all()
    for constant in (lambda p: torch.ones(len(p)), lambda p: p[:, 0] * 0 + 2):
        assert not gradient_of(constant)(x).any()
        assert not laplacian_of(constant)(x).any()
    assert not laplacian_of(lambda p: p[:, 1])(x).any()


def test_derivatives_of_formulas_work_without_a_graph() -> None:
    with torch.no_grad():
        slope = gradient_of(lambda p: p[:, 0] ** 2)(torch.ones(2, 2))
    assert slope.tolist() == [[2, 0], [2, 0]]


# -- input errors ------------------------------------------------------------------------------


def test_wrong_problems_are_refused() -> None:
    mesh = generate.rectangle(2, 2)
    with pytest.raises(MeshError, match=r"must not be negative, got -1"):
        solve_reaction_diffusion(mesh, waves, 0.0, reaction=-1.0)
    with pytest.raises(MeshError, match="the source is not finite"):
        solve_reaction_diffusion(mesh, lambda x: x[:, 0] / 0, 0.0)
    with pytest.raises(MeshError, match="degree 3 on triangle cells in 2D"):
        lagrange_basis(mesh, 3)
    with pytest.raises(MeshError, match="degree 1 on wedge cells in 3D"):
        lagrange_basis(generate.box(1, 1, 1, cell="wedge"), 1)
    with pytest.raises(MeshError, match=r"need one cell type, the mesh has (tri|quad)"):
        lagrange_basis(random_mesh("mixed2", [2, 2]), 1)
    surface = Mesh.from_cells([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]], {"triangle": [[0, 1, 2]]})
    with pytest.raises(MeshError, match="degree 1 on triangle cells in 3D"):
        lagrange_basis(surface, 1)
