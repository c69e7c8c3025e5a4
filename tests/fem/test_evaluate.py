"""Values anywhere, projections, restriction: exact on what the spaces hold, differentiable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from meshlearn.fem import Field, FunctionSpace, assemble_linear, errors, inner, reinterpolate
from meshlearn.fem.evaluate import evaluate, gradient, mass_matrix, project
from meshlearn.fem.places import locate
from meshlearn.fem.polynomials import polynomials
from meshlearn.mesh import CELL_TYPES, Mesh, MeshError, generate


def points(count: int, d: int) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, d, generator=generator, dtype=torch.float64)


def shaken(mesh: Mesh, size: float) -> Mesh:
    pos = mesh.pos.clone()
    inside = torch.ones(len(pos), dtype=torch.bool)
    inside[mesh.boundary_nodes] = False
    pos[inside] += size * (points(int(inside.sum()), mesh.dim) - 0.5)
    return mesh.moved(pos)


def powers(degree: int) -> object:
    """A full polynomial of a degree."""
    return lambda x: sum((k + 1) * x.sum(dim=1) ** k - x[:, 0] ** k for k in range(degree + 1))


@pytest.mark.parametrize(
    ("mesh", "element"),
    [
        (generate.interval(5), "P2"),
        (generate.rectangle(4, 3), "P1"),
        (generate.rectangle(4, 3), "P2"),
        (generate.rectangle(4, 3), "P3"),
        (generate.rectangle(4, 3), "P2DG"),
        (generate.box(2, 3, 2), "P2"),
        (generate.box(2, 3, 2), "P3"),
    ],
)
def test_polynomials_of_the_element_are_exact_with_their_gradient(mesh: Mesh, element: str) -> None:
    space = FunctionSpace(mesh, element)
    exact = powers(space.degree)
    x = points(200, mesh.dim).requires_grad_(True)
    value = exact(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    dofs = space.interpolate(exact)
    assert torch.allclose(space.evaluate(dofs, x.detach()), value.detach(), rtol=0, atol=1e-11)
    assert torch.allclose(gradient(space, dofs, x.detach()), slope, rtol=0, atol=1e-10)
    # and so are derivatives in the points by autograd
    (by_points,) = torch.autograd.grad(space.evaluate(dofs, x).sum(), x)
    assert torch.allclose(by_points, slope, rtol=0, atol=1e-10)


@pytest.mark.parametrize("element", ["Q1", "Q2"])
@pytest.mark.parametrize("kind", ["quad", "hexahedron"])
def test_newton_inverts_the_map_of_skewed_quads_and_hexahedra(kind: str, element: str) -> None:
    plain = (
        generate.rectangle(5, 4, cell="quad")
        if kind == "quad"
        else generate.box(3, 3, 3, cell="hexahedron")
    )
    mesh = shaken(plain, 0.08)
    d = mesh.dim
    space = FunctionSpace(mesh, element)
    dofs = space.interpolate(lambda x: 1 + x.sum(dim=1) - 3 * x[:, 0])
    x = points(500, d)
    assert torch.allclose(space.evaluate(dofs, x), 1 + x.sum(1) - 3 * x[:, 0], atol=1e-12)
    # the places map back to the points, inside the cell
    (part,) = locate(mesh, x).parts
    assert float(part.reference.min()) > -1e-9
    assert float(part.reference.max()) < 1 + 1e-9
    image = part.geometry.points(part.reference).reshape(500, 500, d)
    assert torch.allclose(torch.diagonal(image, dim1=0, dim2=1).T, x[part.index], atol=1e-12)


def test_a_hexahedron_is_found_beyond_the_locators_flat_cut_of_a_curved_face() -> None:
    mesh = shaken(generate.box(2, 2, 2, cell="hexahedron"), 0.5)
    space = FunctionSpace(mesh, "P0")
    (part,) = locate(mesh, points(2000, 3)).parts
    assert float(part.reference.min()) > -1e-9
    assert float(part.reference.max()) < 1 + 1e-9
    centre = torch.full((1, 3), 0.5, dtype=torch.float64)
    assert CELL_TYPES["hexahedron"].num_nodes == 8
    assert space.evaluate(space.interpolate(2.5), centre) == 2.5


@pytest.mark.parametrize("element", ["RT", "N"])
@pytest.mark.parametrize("mesh", [generate.rectangle(4, 4), generate.box(2, 2, 2)])
def test_vector_elements_reproduce_constants_and_their_trace_on_the_mesh(
    mesh: Mesh, element: str
) -> None:
    space = FunctionSpace(mesh, element)
    constant = torch.arange(1.0, mesh.dim + 1, dtype=torch.float64)
    dofs = space.project(lambda x: constant.expand(len(x), -1))
    assert torch.allclose(space.evaluate(dofs, points(50, mesh.dim)), constant, atol=1e-12)
    with pytest.raises(MeshError, match="gradient needs"):
        gradient(space, dofs, points(1, mesh.dim))


def test_components_and_mixed_spaces_come_apart() -> None:
    mesh = generate.rectangle(3, 3)
    space = FunctionSpace(mesh, [("P2", 2), "P1"])
    dofs = space.project([lambda x: torch.stack([x[:, 0] ** 2, x[:, 1]], dim=1), lambda x: x[:, 1]])
    x = points(40, 2)
    velocity, pressure = space.evaluate(dofs, x)
    assert torch.allclose(velocity, torch.stack([x[:, 0] ** 2, x[:, 1]], dim=1), atol=1e-12)
    assert torch.allclose(pressure, x[:, 1], atol=1e-12)


def test_the_value_at_a_point_is_differentiable_in_coefficients_points_and_nodes() -> None:
    for mesh, element in (
        (generate.rectangle(3, 2), "P2"),
        (shaken(generate.rectangle(3, 2, cell="quad"), 0.05), "Q1"),
    ):
        x = points(4, 2)
        dofs = torch.sin(torch.arange(FunctionSpace(mesh, element).num_dofs, dtype=torch.float64))

        def at(pos: Tensor, u: Tensor, x: Tensor, mesh: Mesh = mesh, name: str = element) -> Tensor:
            return evaluate(FunctionSpace(mesh.moved(pos), name), u, x)

        arguments = [t.clone().requires_grad_(True) for t in (mesh.pos, dofs, x)]
        assert torch.autograd.gradcheck(at, arguments, eps=1e-6, atol=1e-6)


def test_points_outside_raise_move_or_are_missing() -> None:
    space = FunctionSpace(generate.rectangle(4, 4), "P1")
    dofs = space.interpolate(lambda x: x[:, 0])
    x = torch.tensor([[0.5, 0.5], [1.25, 0.5]], dtype=torch.float64)
    with pytest.raises(MeshError, match=r"1 of 2 points are outside the mesh, by up to 0\.25"):
        space.evaluate(dofs, x)
    assert torch.allclose(space.evaluate(dofs, x, "nearest"), x[:, 0].clamp(max=1))
    found = space.evaluate(dofs, x, "nan")
    assert found[0] == 0.5
    assert torch.isnan(found[1])


def test_projection_has_the_order_of_the_element_and_an_orthogonal_error() -> None:
    def exact(x: Tensor) -> Tensor:
        return torch.sin(3 * x[:, 0]) * torch.exp(x[:, 1])

    for element, order in (("P0", 1), ("P1", 2), ("P2", 3), ("CR", 2), ("MINI", 2), ("P1DG", 2)):
        size = []
        for n in (16, 32):
            space = FunctionSpace(generate.rectangle(n, n), element)
            dofs = space.project(exact, degree=8)
            size.append(errors(space, dofs, exact)["l2"])
            field = Field(space, dofs)
            miss = assemble_linear(
                lambda v, w: (w.u.value - exact(w.x)) * v, space, degree=8, u=field
            )
            assert float(miss.abs().max()) < 1e-12
        assert abs(torch.log2(torch.tensor(size[0] / size[1])) - order) < 0.1


def test_projection_of_a_field_of_another_space_and_of_what_the_space_holds() -> None:
    mesh = generate.rectangle(4, 4)
    rich, poor = FunctionSpace(mesh, "P2"), FunctionSpace(mesh, "P1")
    dofs = poor.interpolate(lambda x: 1 + x[:, 0])
    assert torch.allclose(project(rich, Field(poor, dofs)), reinterpolate(Field(poor, dofs), rich))
    assert torch.allclose(poor.project(2.0), torch.full((poor.num_dofs,), 2.0).double())
    with pytest.raises(MeshError, match="needs as many functions"):
        poor.project([1.0, 2.0])


def test_the_mass_matrix_of_a_vector_measures_each_component() -> None:
    space = FunctionSpace(generate.box(2, 2, 2), ("P1", 3))
    dofs = space.interpolate(lambda x: torch.ones_like(x))
    assert float(dofs @ (mass_matrix(space) @ dofs)) == pytest.approx(3.0, rel=1e-13)
    load = assemble_linear(lambda v, w: inner(w.u, v), space, u=Field(space, dofs))
    assert torch.allclose(load, mass_matrix(space) @ dofs, atol=1e-14)


def test_reinterpolation_between_nested_spaces_loses_nothing() -> None:
    mesh = generate.box(2, 2, 1)
    coarse = FunctionSpace(mesh, [("P1", 3), "P1"])
    fine = FunctionSpace(mesh, [("P2", 3), "P2"])
    dofs = torch.sin(torch.arange(coarse.num_dofs, dtype=torch.float64))
    there = reinterpolate(Field(coarse, dofs), fine)
    assert torch.allclose(reinterpolate(Field(fine, there), coarse), dofs, atol=1e-14)
    x = points(30, 3)
    for a, b in zip(coarse.evaluate(dofs, x), fine.evaluate(there, x), strict=True):
        assert torch.allclose(a, b, atol=1e-13)
    with pytest.raises(MeshError, match="use project"):
        reinterpolate(Field(coarse, dofs), FunctionSpace(mesh, [("MINI", 3), "P1"]))


def test_restriction_to_a_cell_tag_is_the_closure_of_its_cells() -> None:
    plain = generate.rectangle(4, 2)
    left = torch.nonzero(plain.centroids()[:, 0] < 0.5).squeeze(1)
    mesh = Mesh.from_cells(plain.pos, plain.cells, cell_tags={"left": left})
    space = FunctionSpace(mesh, ["P2", "P0"])
    dofs = space.restrict("left", block=0)
    where = space.dof_points[dofs]
    assert float(where[:, 0].max()) == 0.5
    assert len(dofs) == 5 * 5  # the P2 nodes of a 2 x 2 grid
    assert torch.equal(space.restrict("left", block=1) - space.blocks[1].offset, left)
    assert len(space.restrict("left")) == len(dofs) + len(left)
    with pytest.raises(MeshError, match="no cell tag 'right'; there are 'left'"):
        space.restrict("right")


def test_polynomials_agree_with_the_tabulated_basis_and_differentiate_twice() -> None:
    for cell, name in (("triangle", "P3"), ("tetra", "MINI"), ("hexahedron", "Q2"), ("tetra", "N")):
        mesh = {
            "triangle": generate.rectangle(1, 1),
            "tetra": generate.box(1, 1, 1),
            "hexahedron": generate.box(1, 1, 1, cell="hexahedron"),
        }[cell]
        element = FunctionSpace(mesh, name).blocks[0].elements[cell]
        table, at = polynomials(element), points(20, mesh.dim) / 3
        value, slope = element.tabulate(at)
        assert torch.allclose(table.at(at), value, atol=1e-12)
        if element.kind == "scalar":
            assert torch.allclose(table.at(at, (1,)), slope[..., 1], atol=1e-11)
            x = at.clone().requires_grad_(True)
            (second,) = torch.autograd.grad(table.at(x, (0,)).sum(), x)
            assert torch.allclose(table.at(at, (0, 1)).sum(dim=1), second[:, 1], atol=1e-10)


def test_wrong_coefficients_are_an_error() -> None:
    space = FunctionSpace(generate.rectangle(1, 1), "P1")
    with pytest.raises(MeshError, match=r"4 degrees of freedom, got \[5\]"):
        space.evaluate(torch.zeros(5), points(1, 2))
