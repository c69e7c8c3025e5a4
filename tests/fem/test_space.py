"""Function spaces: numbers of unknowns, conformity, interpolation, numbering."""

from __future__ import annotations

import pytest
import torch
from fem_peers import jittered
from strategies import random_mesh
from torch import Tensor

import meshlearn as ml
from meshlearn.fem import Dirichlet, Field, FunctionSpace, dot, grad, integrate, jump
from meshlearn.fem.interior import facet_pairs
from meshlearn.mesh import Mesh, MeshError


def counts(mesh: Mesh) -> tuple[int, int, int, int]:
    """Nodes, edges, facets and cells."""
    topology = mesh.topology
    return mesh.num_nodes, len(topology.edges), topology.num_facets, mesh.num_cells


@pytest.mark.parametrize("d", [2, 3])
def test_number_of_degrees_of_freedom_on_simplices(d: int) -> None:
    mesh = ml.generate.rectangle(3, 4) if d == 2 else ml.generate.box(2, 1, 3)
    nodes, edges, facets, cells = counts(mesh)
    expected = {
        "P0": cells,
        "P1": nodes,
        "P2": nodes + edges,
        "P3": nodes + 2 * edges + (cells if d == 2 else facets),
        "P1DG": (d + 1) * cells,
        "CR": facets,
        "RT": facets,
        "N": edges,
        "MINI": nodes + cells,
    }
    for name, count in expected.items():
        assert FunctionSpace(mesh, name).num_dofs == count, name
    assert FunctionSpace(mesh, ("P2", d)).num_dofs == d * (nodes + edges)
    assert FunctionSpace(mesh, [("P2", d), "P1"]).num_dofs == d * (nodes + edges) + nodes


def test_number_of_degrees_of_freedom_on_quads_and_hexahedra() -> None:
    flat, solid = (
        ml.generate.rectangle(3, 4, cell="quad"),
        ml.generate.box(2, 1, 3, cell="hexahedron"),
    )
    nodes, edges, _, cells = counts(flat)
    assert FunctionSpace(flat, "Q2").num_dofs == nodes + edges + cells
    nodes, edges, facets, cells = counts(solid)
    assert FunctionSpace(solid, "Q2").num_dofs == nodes + edges + facets + cells


@pytest.mark.parametrize("cell", ["triangle", "tetra"])
@pytest.mark.parametrize(
    ("name", "trace"),
    [
        ("P1", "value"),
        ("P2", "value"),
        ("P3", "value"),
        ("MINI", "value"),
        ("RT", "normal"),
        ("N", "tangential"),
        ("CR", "mean"),
    ],
)
def test_traces_match_across_facets(cell: str, name: str, trace: str) -> None:
    mesh = random_mesh(cell, [3, 2, 2][: 2 if cell == "triangle" else 3], seed=3)
    space = FunctionSpace(mesh, name)
    u = Field(space, torch.randn(space.num_dofs, dtype=torch.float64))

    def square(w: object) -> Tensor:
        gap = jump(w.u)  # type: ignore[attr-defined]
        normal = w.n  # type: ignore[attr-defined]
        if trace == "normal":
            gap = dot(gap, normal)
        elif trace == "tangential":
            gap = gap - dot(gap, normal)[:, None] * normal
        return (gap**2).reshape(len(normal), -1).sum(dim=1)

    # One point, the middle, for the mean of a linear function.
    degree = 1 if trace == "mean" else 6
    assert float(integrate(square, mesh, on="interior", degree=degree, u=u)) < 1e-24
    broken = Field(
        FunctionSpace(mesh, "P1DG"), torch.randn(mesh.num_cells * (mesh.dim + 1)).double()
    )
    assert float(integrate(lambda w: jump(w.u) ** 2, mesh, on="interior", u=broken)) > 1e-2


def polynomial(degree: int) -> object:
    """A full polynomial of a total degree (of each coordinate for quads and hexahedra)."""
    return lambda x: sum(
        ((k + 1) * x[:, i] ** k for i in range(x.shape[1]) for k in range(degree + 1)),
        x.prod(dim=1) if degree >= x.shape[1] else 0 * x[:, 0],
    )


@pytest.mark.parametrize(
    ("cell", "name", "degree"),
    [
        ("line", "P2", 2),
        ("triangle", "P1", 1),
        ("triangle", "P2", 2),
        ("triangle", "P3", 3),
        ("triangle", "P1DG", 1),
        ("triangle", "P2DG", 2),
        ("triangle", "CR", 1),
        ("tetra", "P1", 1),
        ("tetra", "P2", 2),
        ("tetra", "P3", 3),
        ("tetra", "CR", 1),
        ("quad", "Q1", 1),
        ("hexahedron", "Q1", 1),
    ],
)
def test_polynomials_are_interpolated_exactly(cell: str, name: str, degree: int) -> None:
    d = {"line": 1, "triangle": 2, "quad": 2}.get(cell, 3)
    space = FunctionSpace(random_mesh(cell, [3, 2, 2][:d], seed=5), name)
    function = polynomial(degree)
    dofs = space.interpolate(function)  # type: ignore[arg-type]
    found = ml.fem.errors(space, dofs, function)  # type: ignore[arg-type]
    scale = float(dofs.abs().max())
    assert found["max"] < 1e-12 * scale
    assert found["h1"] < 1e-11 * scale


@pytest.mark.parametrize("cell", ["quad", "hexahedron"])
def test_tensor_polynomials_on_affine_quads_and_hexahedra(cell: str) -> None:
    mesh = ml.generate.rectangle(2, 3, cell="quad")
    if cell == "hexahedron":
        mesh = ml.generate.box(2, 1, 2, cell="hexahedron")
    space = FunctionSpace(mesh, "Q2")
    dofs = space.interpolate(lambda x: (1 + x - 2 * x**2).prod(dim=1))
    assert ml.fem.errors(space, dofs, lambda x: (1 + x - 2 * x**2).prod(dim=1))["max"] < 1e-13


def test_vectors_are_numbered_component_by_component_at_each_place() -> None:
    space = FunctionSpace(ml.generate.rectangle(2, 2), ("P2", 2))
    dofs = space.interpolate(lambda x: x * torch.tensor([1.0, 10.0]))
    torch.testing.assert_close(dofs[0::2], space.dof_points[0::2, 0])
    torch.testing.assert_close(dofs[1::2], 10 * space.dof_points[1::2, 1])
    assert torch.equal(space.component(torch.arange(4)), torch.tensor([0, 1, 0, 1]))


def test_nodes_come_first_in_the_order_of_the_mesh() -> None:
    mesh = random_mesh("triangle", [3, 3], seed=7)
    for name in ("P1", "P2", "P3", "MINI"):
        places = FunctionSpace(mesh, name).dof_points
        torch.testing.assert_close(places[: mesh.num_nodes], mesh.pos)


def test_a_moved_mesh_keeps_the_numbering_and_shares_its_tables() -> None:
    mesh = ml.generate.rectangle(3, 3)
    space = FunctionSpace(mesh, "P2")
    other = space.on(mesh.moved(mesh.pos + 1))
    assert other.cell_dofs("triangle") is space.cell_dofs("triangle")
    torch.testing.assert_close(other.dof_points, space.dof_points + 1)


@pytest.mark.parametrize("name", ["P1", "P2"])
def test_triangles_and_quads_share_their_unknowns(name: str) -> None:
    mesh = random_mesh("mixed2", [3, 3], seed=2)
    assert len(mesh.cells) == 2
    space = FunctionSpace(mesh, name)
    dofs = space.interpolate(lambda x: 1 + x[:, 0] - 2 * x[:, 1])
    assert ml.fem.errors(space, dofs, lambda x: 1 + x[:, 0] - 2 * x[:, 1])["h1"] < 1e-12
    u = Field(space, torch.randn(space.num_dofs, dtype=torch.float64))
    gap = integrate(lambda w: jump(w.u) ** 2, mesh, on="interior", u=u)
    assert float(gap) < 1e-24


def test_facet_unknowns_are_those_of_the_closure() -> None:
    mesh = ml.generate.rectangle(4, 3)
    for name, count in (("P1", 5), ("P2", 9), ("P3", 13), ("CR", 4), ("RT", 4), ("P1DG", 0)):
        bottom = Dirichlet(FunctionSpace(mesh, name), "bottom", 0.0).dofs
        assert len(bottom) == count, name


def test_gradients_of_fields_are_those_of_the_interpolant() -> None:
    mesh = jittered(ml.generate.box(2, 2, 2))
    space = FunctionSpace(mesh, ("P2", 3))
    dofs = space.interpolate(lambda x: torch.stack([x[:, 1] ** 2, x[:, 0] * x[:, 2], x[:, 0]], 1))
    u = Field(space, dofs)

    def gap(w: object) -> Tensor:
        g, x = grad(w.u), w.x  # type: ignore[attr-defined]
        return (g[:, 0, 1] - 2 * x[:, 1]) ** 2 + (g[:, 1, 2] - x[:, 0]) ** 2 + g[:, 2, 2] ** 2

    assert float(integrate(gap, mesh, u=u)) < 1e-24


def test_facet_pairs_cover_the_interior_once() -> None:
    mesh = random_mesh("tetra", [2, 2, 2], seed=1)
    facets = torch.cat([pair.first.facets for pair in facet_pairs(mesh)])
    inner = torch.nonzero(mesh.topology.facet_cells[:, 1] >= 0).squeeze(1)
    assert torch.equal(facets.sort().values, inner)


def test_errors() -> None:
    mesh = ml.generate.rectangle(2, 2)
    with pytest.raises(MeshError, match="unknown element 'P7'; there are P0"):
        FunctionSpace(mesh, "P7")
    with pytest.raises(MeshError, match="element 'RT' is vector-valued already"):
        FunctionSpace(mesh, ("RT", 2))
    with pytest.raises(MeshError, match="interpolate needs one element with point values"):
        FunctionSpace(mesh, "RT").interpolate(1.0)
    with pytest.raises(MeshError, match="interpolate needs one element with point values"):
        FunctionSpace(mesh, ["P1", "P1"]).interpolate(1.0)
    with pytest.raises(MeshError, match=r"must return \[9, 2\], got \[9\]"):
        FunctionSpace(mesh, ("P1", 2)).interpolate(lambda x: x[:, 0])
    surface = Mesh.from_cells(
        torch.cat([mesh.pos, mesh.pos[:, :1]], dim=1), {"triangle": mesh.cells["triangle"]}
    )
    with pytest.raises(MeshError, match="no function spaces on 2D cells in 3D space"):
        FunctionSpace(surface, "P1")
