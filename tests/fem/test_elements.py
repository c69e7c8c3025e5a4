"""Reference elements: unity, places, tables, and the matrices of scikit-fem."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import skfem
import torch
from fem_peers import ELEMENTS, SCALAR, distance, jittered, peer, scipy_matrix
from skfem import helpers

import meshlearn as ml
from meshlearn import fem
from meshlearn.fem import FunctionSpace, assemble
from meshlearn.fem.elements import NAMES, quadrature, reference_element, vertices
from meshlearn.fem.pullback import tabulated
from meshlearn.mesh import Mesh, MeshError


def sample(cell: str) -> Mesh:
    """A few jittered cells of one type."""
    if cell == "line":
        return jittered(ml.generate.interval(5))
    if cell in ("triangle", "quad"):
        return jittered(ml.generate.rectangle(3, 2, cell=cell))
    return jittered(ml.generate.box(2, 2, 1, cell=cell))


def reference_points(cell: str, count: int = 7) -> torch.Tensor:
    """Random points in the reference cell."""
    weights = torch.distributions.Dirichlet(torch.ones(len(vertices(cell)))).sample((count,))
    return weights.to(torch.float64) @ vertices(cell)


SIZES = {
    ("line", "P2"): 3,
    ("triangle", "P0"): 1,
    ("triangle", "P1"): 3,
    ("triangle", "P2"): 6,
    ("triangle", "P3"): 10,
    ("triangle", "P1DG"): 3,
    ("triangle", "CR"): 3,
    ("triangle", "RT"): 3,
    ("triangle", "N"): 3,
    ("triangle", "MINI"): 4,
    ("tetra", "P1"): 4,
    ("tetra", "P2"): 10,
    ("tetra", "P3"): 20,
    ("tetra", "CR"): 4,
    ("tetra", "RT"): 4,
    ("tetra", "N"): 6,
    ("tetra", "MINI"): 5,
    ("quad", "Q1"): 4,
    ("quad", "Q2"): 9,
    ("hexahedron", "Q1"): 8,
    ("hexahedron", "Q2"): 27,
}


@pytest.mark.parametrize(("cell", "name"), SIZES)
def test_size(cell: str, name: str) -> None:
    element = reference_element(name, cell)
    assert element.size == len(element.points) == len(element.entities) == SIZES[cell, name]


LAGRANGE = [
    (c, n) for c, n in [*SIZES, ("triangle", "P2DG")] if n.rstrip("DG")[0] in "PQ" or n == "CR"
]


@pytest.mark.parametrize(("cell", "name"), LAGRANGE)
def test_partition_of_unity(cell: str, name: str) -> None:
    table = tabulated(reference_element(name, cell), reference_points(cell))
    torch.testing.assert_close(table[0].sum(1), torch.ones(7, dtype=torch.float64))
    assert table[1:].sum(2).abs().max() < 1e-13


@pytest.mark.parametrize(("cell", "name"), LAGRANGE)
def test_one_at_its_own_place_and_zero_at_the_others(cell: str, name: str) -> None:
    element = reference_element(name, cell)
    value, _ = element.tabulate(element.points)
    torch.testing.assert_close(value, torch.eye(element.size, dtype=torch.float64))


@pytest.mark.parametrize(("cell", "name"), LAGRANGE)
def test_derivatives_are_those_of_the_values(cell: str, name: str) -> None:
    element, at, step = reference_element(name, cell), reference_points(cell), 1e-6
    _, slope = element.tabulate(at)
    for j in range(at.shape[1]):
        shift = torch.zeros_like(at)
        shift[:, j] = step
        difference = (element.tabulate(at + shift)[0] - element.tabulate(at - shift)[0]) / 2 / step
        torch.testing.assert_close(slope[:, :, j], difference, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("cell", ["line", "triangle", "quad", "tetra", "hexahedron"])
@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5, 6, 8, 12])
def test_quadrature_integrates_monomials(cell: str, degree: int) -> None:
    points, weights = quadrature(cell, degree)
    d = points.shape[1]
    for powers in itertools.product(range(degree + 1), repeat=d):
        if sum(powers) > degree:
            continue
        found = float((points ** torch.tensor(powers)).prod(dim=1) @ weights)
        if cell in ("line", "triangle", "tetra"):  # p! q! r! / (p + q + r + d)!
            exact = math.prod(map(math.factorial, powers)) / math.factorial(sum(powers) + d)
        else:
            exact = math.prod(1 / (p + 1) for p in powers)
        assert found == pytest.approx(exact, rel=1e-12)


# -- the matrices of scikit-fem ------------------------------------------------------------------


def weight(w: Any) -> Any:
    """A coefficient that varies in the cells, for both libraries."""
    return 1 + w.x[:, 0] if isinstance(w.x, torch.Tensor) else 1 + w.x[0]


SCALAR_FORMS = {
    "mass": (lambda u, v, w: u * v, lambda u, v, w: u * v),
    "stiffness": (
        lambda u, v, w: fem.dot(fem.grad(u), fem.grad(v)),
        lambda u, v, w: helpers.dot(helpers.grad(u), helpers.grad(v)),
    ),
    "advection": (
        lambda u, v, w: weight(w) * fem.grad(u)[0] * v,
        lambda u, v, w: weight(w) * helpers.grad(u)[0] * v,
    ),
    "weighted": (
        lambda u, v, w: weight(w) * (fem.dot(fem.grad(u), fem.grad(v)) + 3.0 * u * v),
        lambda u, v, w: weight(w) * (helpers.dot(helpers.grad(u), helpers.grad(v)) + 3.0 * u * v),
    ),
}


@pytest.mark.parametrize("form", SCALAR_FORMS)
@pytest.mark.parametrize(("cell", "name"), SCALAR)
def test_scalar_matrices_agree_with_scikit_fem(cell: str, name: str, form: str) -> None:
    if name == "P0" and form != "mass":
        form = "mass"  # no gradient
    space, (ours, theirs) = FunctionSpace(sample(cell), name), SCALAR_FORMS[form]
    other = peer(space, 9)
    found = other.matrix(assemble(ours, space, degree=9))
    assert distance(found, skfem.BilinearForm(theirs).assemble(other.basis)) < 1e-12


VECTOR_FORMS = {
    "mass": (lambda u, v, w: fem.dot(u, v), lambda u, v, w: helpers.dot(u, v)),
    "elasticity": (
        lambda u, v, w: (
            1.3 * fem.div(u) * fem.div(v)
            + 2 * 0.7 * fem.inner(fem.sym(fem.grad(u)), fem.sym(fem.grad(v)))
        ),
        lambda u, v, w: (
            1.3 * helpers.div(u) * helpers.div(v)
            + 2 * 0.7 * helpers.ddot(helpers.sym_grad(u), helpers.sym_grad(v))
        ),
    ),
    "div-div": (
        lambda u, v, w: fem.div(u) * fem.div(v),
        lambda u, v, w: helpers.div(u) * helpers.div(v),
    ),
    "not symmetric": (
        lambda u, v, w: weight(w) * fem.grad(u)[0, 1] * v[1],
        lambda u, v, w: weight(w) * helpers.grad(u)[0, 1] * v[1],
    ),
}


@pytest.mark.parametrize("form", VECTOR_FORMS)
@pytest.mark.parametrize(
    ("cell", "name"), [("triangle", "P2"), ("tetra", "P1"), ("quad", "Q2"), ("hexahedron", "Q1")]
)
def test_vector_matrices_agree_with_scikit_fem(cell: str, name: str, form: str) -> None:
    mesh = sample(cell)
    space, (ours, theirs) = FunctionSpace(mesh, (name, mesh.dim)), VECTOR_FORMS[form]
    other = peer(space, 7)
    found = other.matrix(assemble(ours, space, degree=7))
    assert distance(found, skfem.BilinearForm(theirs).assemble(other.basis)) < 1e-12


def test_curl_curl_of_vector_lagrange() -> None:
    # int curl u . curl v + div u div v = int grad u : grad v for functions that vanish outside
    space = FunctionSpace(sample("tetra"), ("P1", 3))
    curls = assemble(lambda u, v, w: fem.dot(fem.curl(u), fem.curl(v)), space)
    divs = assemble(lambda u, v, w: fem.div(u) * fem.div(v), space)
    slopes = assemble(lambda u, v, w: fem.inner(fem.grad(u), fem.grad(v)), space)
    inner = np.setdiff1d(
        np.arange(space.num_dofs), space.facet_dofs(space.mesh.topology.boundary_facets)
    )
    residual = (scipy_matrix(curls) + scipy_matrix(divs) - scipy_matrix(slopes))[inner][:, inner]
    assert abs(residual).max() < 1e-13 if len(inner) else True


SPECIAL_FORMS = {
    "mass": (lambda u, v, w: fem.dot(u, v), lambda u, v, w: helpers.dot(u, v)),
    "weighted mass": (
        lambda u, v, w: weight(w) * fem.dot(u, v),
        lambda u, v, w: weight(w) * helpers.dot(u, v),
    ),
    "derivative": (None, None),
}


@pytest.mark.parametrize("form", SPECIAL_FORMS)
@pytest.mark.parametrize("name", ["RT", "N"])
@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_vector_elements_agree_with_scikit_fem(cell: str, name: str, form: str) -> None:
    space, (ours, theirs) = FunctionSpace(sample(cell), name), SPECIAL_FORMS[form]
    if ours is None and name == "RT":
        ours, theirs = VECTOR_FORMS["div-div"]
    elif ours is None and cell == "triangle":
        ours = lambda u, v, w: fem.curl(u) * fem.curl(v)  # noqa: E731
        theirs = lambda u, v, w: helpers.curl(u) * helpers.curl(v)  # noqa: E731
    elif ours is None:
        ours = lambda u, v, w: fem.dot(fem.curl(u), fem.curl(v))  # noqa: E731
        theirs = lambda u, v, w: helpers.dot(helpers.curl(u), helpers.curl(v))  # noqa: E731
    other = peer(space, 5)
    found = other.matrix(assemble(ours, space, degree=5))
    assert distance(found, skfem.BilinearForm(theirs).assemble(other.basis)) < 1e-12


@pytest.mark.parametrize("velocity", ["P2", "MINI"])
@pytest.mark.parametrize("cell", ["triangle", "tetra"])
def test_mixed_blocks_agree_with_scikit_fem(cell: str, velocity: str) -> None:
    mesh = sample(cell)
    d = mesh.dim
    space = FunctionSpace(mesh, [(velocity, d), "P1"])
    both = assemble(
        lambda u, v, w: (
            fem.inner(fem.grad(u[0]), fem.grad(v[0])) - u[1] * fem.div(v[0]) - v[1] * fem.div(u[0])
        ),
        space,
    )
    speed, pressure = FunctionSpace(mesh, (velocity, d)), FunctionSpace(mesh, "P1")
    left, right = peer(speed, 8), peer(pressure, 8)
    viscous = skfem.BilinearForm(lambda u, v, w: helpers.ddot(helpers.grad(u), helpers.grad(v)))
    divergence = skfem.BilinearForm(lambda u, q, w: -q * helpers.div(u))
    n = speed.num_dofs
    blocks = scipy_matrix(both)
    a, b = blocks[:n][:, :n][left.ours][:, left.ours], blocks[n:][:, :n][right.ours][:, left.ours]
    assert distance(a, viscous.assemble(left.basis)) < 1e-12
    assert distance(b, divergence.assemble(left.basis, right.basis)) < 1e-12
    assert abs(blocks - blocks.T).max() < 1e-13 * abs(blocks).max()
    assert abs(blocks[n:][:, n:]).max() == 0


def test_discontinuous_elements_have_the_same_matrices_cell_by_cell() -> None:
    mesh = sample("triangle")
    broken, joined = FunctionSpace(mesh, "P1DG"), FunctionSpace(mesh, "P1")
    a, b = (
        assemble(SCALAR_FORMS["mass"][0], s) for s in (broken, joined)
    )  # the sum over the copies of a node
    spread = sp.coo_array(
        (
            np.ones(broken.num_dofs),
            (
                broken.cell_dofs("triangle").reshape(-1).numpy(),
                joined.cell_dofs("triangle").reshape(-1).numpy(),
            ),
        )
    ).tocsr()
    assert distance(spread.T @ scipy_matrix(a) @ spread, scipy_matrix(b)) < 1e-13
    assert scipy_matrix(a).nnz == 9 * mesh.num_cells


def test_cubic_tetrahedra_integrate_like_a_reference_table() -> None:
    # P3 on tetrahedra is not in scikit-fem: its mass matrix is exact for cubics.
    space = FunctionSpace(sample("tetra"), "P3")
    mass = assemble(lambda u, v, w: u * v, space)
    x = space.dof_points
    f, g = x[:, 0] ** 3 + x[:, 1] * x[:, 2], x[:, 2] ** 2 - 1
    exact = fem.integrate(
        lambda w: (w.x[:, 0] ** 3 + w.x[:, 1] * w.x[:, 2]) * (w.x[:, 2] ** 2 - 1),
        space.mesh,
        degree=6,
    )
    assert float(f @ (mass @ g)) == pytest.approx(float(exact), rel=1e-12)


def test_unknown_elements() -> None:
    with pytest.raises(MeshError, match="unknown element 'P9'; there are P0, P1"):
        reference_element("P9", "triangle")
    with pytest.raises(MeshError, match="no element 'RT' on quad cells"):
        reference_element("RT", "quad")
    with pytest.raises(MeshError, match="no element 'P3' on hexahedron cells"):
        FunctionSpace(sample("hexahedron"), "P3")


def test_every_name_exists_somewhere() -> None:
    for name in NAMES:
        cells = [cell for cell in ELEMENTS if _exists(name, cell)]
        assert cells, name


def _exists(name: str, cell: str) -> bool:
    try:
        reference_element(name, cell)
    except MeshError:
        return False
    return True
