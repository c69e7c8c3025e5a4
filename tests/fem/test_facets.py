"""Facets as seen from their cells: measures, normals, tags, published integrals."""

from __future__ import annotations

import pytest
import torch
from fem_peers import jittered
from strategies import random_mesh
from torch import Tensor

import meshlearn as ml
from meshlearn.fem import FunctionSpace, assemble, assemble_linear, dot, grad, integrate
from meshlearn.fem.facets import facet_groups, groups_of, tagged_facets
from meshlearn.mesh import Mesh, MeshError

CELLS = ["triangle", "quad", "tetra", "hexahedron", "mixed2"]


def sample(cell: str) -> Mesh:
    """A small distorted mesh in a parallelogram or parallelepiped."""
    return random_mesh(cell, [3, 2] if cell in ("triangle", "quad", "mixed2") else [2, 2, 1], 3)


@pytest.mark.parametrize("cell", CELLS)
def test_divergence_theorem(cell: str) -> None:
    # int x . n = d |domain|, int n = 0
    mesh = sample(cell)
    flux = integrate(lambda w: dot(w.x, w.n), mesh, on="boundary")
    assert float(flux) == pytest.approx(mesh.dim * float(mesh.volumes().sum()), rel=1e-12)
    for i in range(mesh.dim):
        total = integrate(lambda w, i=i: w.n[:, i], mesh, on="boundary")
        assert abs(float(total)) < 1e-12
    length = integrate(lambda w: (w.n**2).sum(dim=1) - 1, mesh, on="boundary")
    assert abs(float(length)) < 1e-12


@pytest.mark.parametrize("cell", ["triangle", "quad"])
@pytest.mark.parametrize(
    ("function", "exact"),
    [
        (lambda x: torch.ones_like(x[:, 0]), 4.0),
        (lambda x: x[:, 0], 2.0),
        (lambda x: x[:, 0] ** 2, 5 / 3),
        (lambda x: x.sum(dim=1), 4.0),
    ],
)
def test_published_integrals_over_the_sides_of_the_unit_square(
    cell: str, function: object, exact: float
) -> None:
    mesh = jittered(ml.generate.rectangle(4, 3, cell=cell))
    found = integrate(lambda w: function(w.x), mesh, on="boundary")  # type: ignore[operator]
    assert float(found) == pytest.approx(exact, rel=1e-13)
    space = FunctionSpace(mesh, "P2")
    vector = assemble_linear(
        lambda v, w: function(w.x) * v,  # type: ignore[operator]
        space,
        on="boundary",
    )
    assert float(vector.sum()) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("cell", ["tetra", "hexahedron"])
def test_sides_of_the_unit_cube(cell: str) -> None:
    mesh = jittered(ml.generate.box(2, 3, 2, cell=cell))
    assert float(integrate(lambda w: 1.0, mesh, on="boundary")) == pytest.approx(6.0, rel=1e-12)
    squares = integrate(lambda w: (w.x**2).sum(dim=1), mesh, on="boundary")
    # Each of three coordinates: four sides of 1/3 and one of 1.
    assert float(squares) == pytest.approx(3 * (4 / 3 + 1), rel=1e-12)


@pytest.mark.parametrize("cell", ["triangle", "quad"])
def test_tags_pick_their_sides_and_their_normals(cell: str) -> None:
    mesh = ml.generate.rectangle(3, 4, (0.0, 0.0), (2.0, 1.0), cell=cell)
    outward = {"left": (-1, 0), "right": (1, 0), "bottom": (0, -1), "top": (0, 1)}
    for tag, normal in outward.items():
        length = 1.0 if normal[0] else 2.0
        for i in (0, 1):
            found = integrate(lambda w, i=i: w.n[:, i], mesh, on=tag)
            assert float(found) == pytest.approx(length * normal[i], abs=1e-13)


def test_the_matrix_on_the_boundary_is_the_mass_matrix_of_the_sides() -> None:
    mesh = ml.generate.rectangle(4, 4)
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: u * v, space, on="bottom").to_dense()
    bottom = torch.nonzero(mesh.pos[:, 1] == 0).squeeze(1)
    order = bottom[mesh.pos[bottom, 0].argsort()]
    h = 0.25
    exact = h / 6 * (torch.diag(torch.tensor([2.0, 4, 4, 4, 2])) + torch.diag(torch.ones(4), 1))
    exact = (exact + h / 6 * torch.diag(torch.ones(4), -1)).to(torch.float64)
    torch.testing.assert_close(matrix[order][:, order], exact)
    assert float(matrix.abs().sum()) == pytest.approx(float(exact.sum()))


@pytest.mark.parametrize("cell", CELLS)
def test_green_s_formula_with_normal_derivatives(cell: str) -> None:
    # int grad u . grad v = int dn u v on the boundary for a linear u, whatever v is
    mesh = sample(cell)
    space = FunctionSpace(mesh, "P1")
    u = space.interpolate(lambda x: 1 + x @ torch.arange(1.0, x.shape[1] + 1).to(x))
    inside = assemble(lambda u, v, w: dot(grad(u), grad(v)), space) @ u
    outside = assemble(lambda u, v, w: dot(grad(u), w.n) * v, space, on="boundary") @ u
    torch.testing.assert_close(inside, outside, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_groups_hold_every_facet_once_and_see_its_nodes(cell: str) -> None:
    mesh = sample(cell)
    topology = mesh.topology
    facets = torch.arange(topology.num_facets)
    groups = groups_of(mesh, facets, side=0)
    assert torch.equal(torch.cat([g.facets for g in groups]).sort().values, facets)
    for group in groups:
        nodes = mesh.cells[group.cell][group.rows]
        if group.cell in ("triangle", "tetra"):
            nodes = nodes.sort(dim=1).values
        seen = nodes[:, list(group.local)].sort(dim=1).values
        stored = topology.facets[group.facets][:, : seen.shape[1]].sort(dim=1).values
        assert torch.equal(seen, stored)


def test_normals_are_differentiable_in_the_nodes() -> None:
    mesh = jittered(ml.generate.rectangle(2, 2))
    pos = mesh.pos.clone().requires_grad_()

    def flux(at: Tensor) -> Tensor:
        return integrate(lambda w: w.n[:, 0] * w.x[:, 1] ** 2, mesh.moved(at), on="top")

    assert torch.autograd.gradcheck(flux, (pos,), eps=1e-6, atol=1e-8)


def test_unknown_tags_list_the_known_ones() -> None:
    mesh = ml.generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="'inlet' to integrate over; there are 'cells', 'boundary'"):
        tagged_facets(mesh, "inlet")
    assert len(tagged_facets(mesh, "interior")) + len(tagged_facets(mesh, "boundary")) == (
        mesh.topology.num_facets
    )
    assert sum(len(group.rows) for group in facet_groups(mesh, "left")) == 2
