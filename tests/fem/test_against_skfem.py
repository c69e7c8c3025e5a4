"""Assembled matrices against scikit-fem, element by element, and the orders of convergence.

Degrees of freedom are numbered differently, so matrices are compared by matching the locations of
the degrees of freedom, or by their eigenvalues where these carry directions.
"""

from __future__ import annotations

import numpy as np
import pytest
import skfem
import torch
from skfem import helpers as sk
from strategies import random_mesh
from torch import Tensor
from torch_geometric.data import Batch

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
    sym,
)
from meshlearn.fem.elements import quadrature
from meshlearn.mesh import Mesh, generate

SCALAR = {
    ("triangle", "P0"): skfem.ElementTriP0,
    ("triangle", "P1"): skfem.ElementTriP1,
    ("triangle", "P2"): skfem.ElementTriP2,
    ("triangle", "P3"): skfem.ElementTriP3,
    ("triangle", "CR"): skfem.ElementTriCR,
    ("triangle", "MINI"): skfem.ElementTriMini,
    ("quad", "Q1"): skfem.ElementQuad1,
    ("quad", "Q2"): skfem.ElementQuad2,
    ("tetra", "P1"): skfem.ElementTetP1,
    ("tetra", "P2"): skfem.ElementTetP2,
    ("tetra", "CR"): skfem.ElementTetCR,
    ("tetra", "MINI"): skfem.ElementTetMini,
    ("hexahedron", "Q1"): skfem.ElementHex1,
    ("hexahedron", "Q2"): skfem.ElementHex2,
}


def sample(cell: str) -> Mesh:
    """A small distorted mesh, randomly numbered."""
    return random_mesh(cell, [3, 3] if cell in ("triangle", "quad") else [2, 2, 2], seed=4)


def peer(mesh: Mesh, element: object, order: int) -> skfem.Basis:
    """scikit-fem's basis on the same mesh; simplices sorted, as its elements expect."""
    other = mesh.to_skfem()
    if isinstance(other, skfem.MeshTri | skfem.MeshTet):
        other = type(other)(other.p, np.sort(other.t, axis=0))
    # With our quadrature: scikit-fem's on tetrahedra is inexact above degree 4.
    points, weights = quadrature(next(iter(mesh.cells)), order)
    return skfem.Basis(other, element, quadrature=(points.numpy().T.copy(), weights.numpy()))


def spectrum(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.eigvalsh((matrix + matrix.T) / 2)


@pytest.mark.parametrize(("cell", "name"), sorted(SCALAR))
def test_mass_and_stiffness_have_scikit_fems_spectrum(cell: str, name: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, name)
    order = 8 if cell == "tetra" else 10  # scikit-fem has no more on tetrahedra
    basis = peer(mesh, SCALAR[cell, name](), order)
    assert space.num_dofs == basis.N
    pairs = [
        (lambda u, v, w: u * v, lambda u, v, w: u * v),
        (lambda u, v, w: dot(grad(u), grad(v)), lambda u, v, w: sk.dot(sk.grad(u), sk.grad(v))),
        (
            lambda u, v, w: (1 + w.x[:, 0] ** 2) * u * v,
            lambda u, v, w: (1 + w.x[0] ** 2) * u * v,
        ),
    ]
    for ours, theirs in pairs[: 1 if name == "P0" else 3]:
        degree = order if cell in ("quad", "hexahedron") or ours is pairs[2][0] else None
        found = assemble(ours, space, degree=degree).to_dense().numpy()
        wanted = skfem.BilinearForm(theirs).assemble(basis).toarray()
        scale = np.abs(wanted).max()
        assert np.abs(found - found.T).max() <= 1e-13 * scale
        assert np.abs(spectrum(found) - spectrum(wanted)).max() <= 1e-12 * scale * len(wanted)


NODAL = [key for key in sorted(SCALAR) if key[1] in ("P1", "P2", "Q1")]


@pytest.mark.parametrize(("cell", "name"), NODAL)
def test_entries_agree_where_degrees_of_freedom_have_places(cell: str, name: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, name)
    basis = peer(mesh, SCALAR[cell, name](), 8)
    places = torch.from_numpy(basis.doflocs.T.copy())
    distance = (space.dof_points[:, None] - places[None]).norm(dim=2)
    match = distance.argmin(dim=1).numpy()
    assert float(distance.min(dim=1).values.max()) < 1e-12
    found = assemble(lambda u, v, w: dot(grad(u), grad(v)), space, degree=8).to_dense().numpy()
    form = skfem.BilinearForm(lambda u, v, w: sk.dot(sk.grad(u), sk.grad(v)))
    wanted = form.assemble(basis).toarray()[np.ix_(match, match)]
    assert np.abs(found - wanted).max() <= 1e-12 * np.abs(wanted).max()
    load = assemble_linear(lambda v, w: torch.sin(w.x[:, 0]) * v, space, degree=8).numpy()
    known = skfem.LinearForm(lambda v, w: np.sin(w.x[0]) * v).assemble(basis)[match]
    assert np.abs(load - known).max() <= 1e-12 * np.abs(known).max()


@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_raviart_thomas_and_nedelec_have_scikit_fems_spectrum(cell: str) -> None:
    mesh = sample(cell)
    elements = {
        ("triangle", "RT"): skfem.ElementTriRT0,
        ("triangle", "N"): skfem.ElementTriN1,
        ("tetra", "RT"): skfem.ElementTetRT0,
        ("tetra", "N"): skfem.ElementTetN0,
    }
    for name in ("RT", "N"):
        space = FunctionSpace(mesh, name)
        basis = peer(mesh, elements[cell, name](), 4)
        if name == "RT":
            ours = assemble(lambda u, v, w: dot(u, v) + div(u) * div(v), space)
            theirs = skfem.BilinearForm(
                lambda u, v, w: sk.dot(u, v) + sk.div(u) * sk.div(v)
            ).assemble(basis)
        elif cell == "triangle":
            ours = assemble(lambda u, v, w: dot(u, v) + curl(u) * curl(v), space)
            theirs = skfem.BilinearForm(
                lambda u, v, w: sk.dot(u, v) + sk.curl(u) * sk.curl(v)
            ).assemble(basis)
        else:
            ours = assemble(lambda u, v, w: dot(u, v) + dot(curl(u), curl(v)), space)
            theirs = skfem.BilinearForm(
                lambda u, v, w: sk.dot(u, v) + sk.dot(sk.curl(u), sk.curl(v))
            ).assemble(basis)
        found, wanted = spectrum(ours.to_dense().numpy()), spectrum(theirs.toarray())
        assert np.abs(found - wanted).max() <= 1e-11 * np.abs(wanted).max()


@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_normal_traces_of_raviart_thomas_functions_match_across_facets(cell: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, "RT")
    u = torch.randn(space.num_dofs, generator=torch.Generator().manual_seed(0)).double()
    # Divergence theorem for a continuous normal trace: total divergence is the boundary flux.
    flux = integrate(lambda w: dot(w.u, w.n), mesh, on="boundary", u=Field(space, u))
    one = assemble_linear(lambda v, w: 1.0 * div(v), space)
    assert float(one @ u) == pytest.approx(float(flux), abs=1e-10)


@pytest.mark.parametrize(("cell", "element"), [("triangle", "P2"), ("quad", "Q2"), ("tetra", "P1")])
def test_elasticity_agrees_with_scikit_fem(cell: str, element: str) -> None:
    mesh = sample(cell)
    space = FunctionSpace(mesh, (element, mesh.dim))
    basis = peer(mesh, skfem.ElementVector(SCALAR[cell, element]()), 8)
    found = assemble(
        lambda u, v, w: 2 * inner(sym(grad(u)), sym(grad(v))) + 3 * div(u) * div(v),
        space,
        degree=8,
    )
    wanted = skfem.BilinearForm(
        lambda u, v, w: 2 * sk.ddot(sk.sym_grad(u), sk.sym_grad(v)) + 3 * sk.div(u) * sk.div(v)
    ).assemble(basis)
    one, two = spectrum(found.to_dense().numpy()), spectrum(wanted.toarray())
    assert np.abs(one - two).max() <= 1e-11 * np.abs(two).max()


def wave(x: Tensor) -> Tensor:
    return torch.sin(torch.pi * x).prod(dim=1)


@pytest.mark.parametrize(
    ("cell", "name", "order"),
    [
        ("triangle", "P1", 2),
        ("triangle", "P2", 3),
        ("triangle", "P3", 4),
        ("triangle", "CR", 2),
        ("triangle", "MINI", 2),
        ("quad", "Q1", 2),
        ("quad", "Q2", 3),
        ("tetra", "P1", 2),
        ("tetra", "P2", 3),
        ("hexahedron", "Q1", 2),
        ("hexahedron", "Q2", 3),
    ],
)
def test_poisson_converges_at_the_order_of_the_element(cell: str, name: str, order: int) -> None:
    flat = cell in ("triangle", "quad")
    sizes = (8, 16) if flat else (4, 8)
    found = []
    for n in sizes:
        mesh = generate.rectangle(n, n, cell=cell) if flat else generate.box(n, n, n, cell=cell)
        space = FunctionSpace(mesh, name)
        matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
        load = assemble_linear(
            lambda v, w: w.x.shape[1] * torch.pi**2 * wave(w.x) * v, space, degree=2 * order + 2
        )
        u = solve(matrix, load, [Dirichlet(space, "boundary", 0.0)])
        found.append(errors(space, u, wave))
    rate = np.log2(found[0]["l2"] / found[1]["l2"])
    slope = np.log2(found[0]["h1"] / found[1]["h1"])
    assert rate > order - (0.1 if flat else 0.3)  # coarse meshes in 3D
    assert slope > order - 1 - (0.1 if flat else 0.25)


def test_boundary_values_are_exact_and_the_matrix_stays_symmetric() -> None:
    mesh = sample("triangle")
    for name in ("P1", "P2", "P3"):
        space = FunctionSpace(mesh, name)
        matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
        condition = Dirichlet(space, "boundary", wave)
        u = solve(matrix, torch.zeros(space.num_dofs, dtype=torch.float64), [condition])
        wanted = wave(space.dof_points[condition.dofs])
        assert float((u[condition.dofs] - wanted).abs().max()) <= 1e-13


def test_published_facet_integrals_of_the_unit_square() -> None:
    mesh = generate.rectangle(3, 5)
    for function, exact in (
        (lambda w: 1.0, 4.0),
        (lambda w: w.x[:, 0], 2.0),
        (lambda w: w.x[:, 0] ** 2, 5 / 3),
        (lambda w: w.x.sum(dim=1), 4.0),
    ):
        assert float(integrate(function, mesh, on="boundary")) == pytest.approx(exact, rel=1e-13)
    normals = integrate(lambda w: w.n[:, 0], mesh, on="right")
    assert float(normals) == pytest.approx(1.0, rel=1e-13)


def test_a_batch_assembles_as_a_loop() -> None:
    meshes = [generate.rectangle(2, 3), generate.rectangle(4, 2)]
    batch = Batch.from_data_list(meshes)

    def stiffness(mesh: Mesh) -> Tensor:
        return assemble(
            lambda u, v, w: (1 + w.x[:, 1]) * dot(grad(u), grad(v)), FunctionSpace(mesh, "P1")
        ).to_dense()

    wanted = torch.block_diag(*(stiffness(mesh) for mesh in meshes))
    assert torch.allclose(stiffness(batch), wanted, atol=1e-14)


def test_small_memory_gives_the_same_matrix() -> None:
    mesh = generate.rectangle(60, 60)
    space = FunctionSpace(mesh, ("P2", 2))

    def matrix(memory_mb: int) -> Tensor:
        return assemble(
            lambda u, v, w: w.x[:, 0] * inner(grad(u), grad(v)), space, memory_mb=memory_mb
        ).values()

    assert torch.allclose(matrix(1), matrix(256), atol=1e-14)


def test_cell_tags_restrict_the_integral() -> None:
    square = generate.rectangle(4, 4)
    left = torch.nonzero(square.centroids()[:, 0] < 0.5).squeeze(1)
    mesh = Mesh.from_cells(square.pos, square.cells, cell_tags={"left": left})
    space = FunctionSpace(mesh, "P1")
    ones = torch.ones(space.num_dofs, dtype=torch.float64)
    mass = assemble(lambda u, v, w: u * v, space, on="left")
    assert float(ones @ (mass @ ones)) == pytest.approx(0.5, rel=1e-13)
