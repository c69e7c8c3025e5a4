"""Conversions keep numbering, tags and fields, and say what they cannot keep."""

from __future__ import annotations

import warnings

import meshio
import numpy as np
import pytest
import pyvista
import skfem
import torch

from meshlearn.mesh import LossWarning, Mesh, MeshError
from meshlearn.mesh.convert import (
    from_meshio,
    from_pyvista,
    from_skfem,
    to_meshio,
    to_networkx,
    to_pyvista,
    to_skfem,
)

from .file_samples import SAMPLES, same_geometry, sample, tag_sets

MIXED = ("wedge", "pyramid", "hexahedron, wedge and pyramid")


@pytest.mark.parametrize("name", SAMPLES)
def test_meshio_and_back(name: str) -> None:
    mesh = sample(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = from_meshio(to_meshio(mesh))
    if name in MIXED:  # facets of a tag come sorted by type
        assert tag_sets(back) == tag_sets(mesh)
        assert same_geometry(back, mesh)
    else:
        assert back == mesh


@pytest.mark.parametrize("name", SAMPLES)
def test_pyvista_and_back(name: str) -> None:
    mesh = sample(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = to_pyvista(mesh)
        assert from_pyvista(grid) == mesh
    assert grid.n_cells == mesh.num_cells


@pytest.mark.parametrize("name", ["triangle", "quad", "tetra", "hexahedron"])
def test_cells_are_positive_in_vtk_too(name: str) -> None:
    mesh = sample(name)
    sizes = to_pyvista(mesh).compute_cell_sizes()
    key = "Area" if mesh.cell_dim == 2 else "Volume"
    assert np.allclose(sizes.cell_data[key], mesh.volumes())


def test_conversions_share_no_memory() -> None:
    mesh = sample("triangle")
    m, grid = to_meshio(mesh), to_pyvista(mesh)
    kept = from_pyvista(grid)
    m.points += 1
    m.point_data["u"] += 1
    grid.points += 1
    grid.point_data["u"] += 1
    assert mesh == sample("triangle")
    assert kept == mesh


def test_complex_fields_are_lost_by_name() -> None:
    mesh = sample("triangle", facet_fields=False)
    mesh.set_field("wave", torch.zeros(5, dtype=torch.complex128), "node")
    with pytest.warns(LossWarning, match=r"to_pyvista: lost node field 'wave' \(complex\)"):
        to_pyvista(mesh)
    assert from_meshio(to_meshio(mesh)) == mesh


def _square(extra: list[tuple[str, list[list[int]]]], **options: object) -> meshio.Mesh:
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    return meshio.Mesh(points, [("triangle", [[0, 1, 2], [0, 2, 3]]), *extra], **options)


def test_physical_groups_become_tags() -> None:
    m = _square(
        [("line", [[0, 1], [1, 2], [2, 3]]), ("vertex", [[0], [3]])],
        cell_data={
            "gmsh:physical": [[5, 6], [7, 9, 0], [3, 0]],
            "gmsh:geometrical": [[1, 1], [1] * 3, [1, 1]],
        },
        field_data={"inlet": np.array([7, 1]), "left part": np.array([5, 2])},
    )
    mesh = from_meshio(m)
    assert mesh.dim == 2
    assert tag_sets(mesh) == {
        "facet": {"inlet": {(0, 1)}, "9": {(1, 2)}},
        "cell": {"left part": {(0,)}, "6": {(1,)}},
        "point": {"3": {(0,)}},
    }
    assert not mesh.field_kinds


def test_untagged_skin_leaves_quietly_and_inner_facets_do_not() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not from_meshio(_square([("line", [[0, 1], [2, 3]])])).facet_tags
    with pytest.warns(LossWarning, match="1 untagged facets inside the domain"):
        from_meshio(_square([("line", [[0, 1], [0, 2]])]))
    with pytest.warns(LossWarning, match="not facets of any cell"):
        from_meshio(_square([("line", [[1, 3]])]))


def test_lines_of_a_volume_mesh_become_point_tags() -> None:
    mesh = sample("tetra", facet_tags=False, cell_tags=False, point_tags=False, fields=False)
    m = meshio.Mesh(
        mesh.pos.numpy(),
        [("tetra", mesh.cells["tetra"].numpy()), ("line", [[0, 1], [1, 4]])],
        cell_sets={"edge": [[], [0, 1]]},
    )
    with pytest.warns(LossWarning, match="the lines of 'edge'"):
        back = from_meshio(m)
    assert back.point_tags["edge"].tolist() == [0, 1, 4]


@pytest.mark.parametrize("kind", ["triangle6", "VTK_LAGRANGE_TRIANGLE"])
def test_curved_cells_are_straightened(kind: str) -> None:
    points = [[0.5, 0], [0, 0], [1, 0], [0, 1], [0.5, 0.6], [0, 0.5]]
    m = meshio.Mesh(
        points,
        [(kind, [[1, 2, 3, 0, 4, 5]]), ("line3", [[1, 2, 0]])],
        point_data={"u": np.arange(6.0)},
        cell_data={"k": [[4], [0]]},
        cell_sets={"wall": [[], [0]]},
        point_sets={"some": [0, 3]},
    )
    with pytest.warns(
        LossWarning, match=f"the 3 nodes that are not corners of the {kind}, line3 cells"
    ):
        mesh = from_meshio(m)
    assert mesh.cells["triangle"].tolist() == [[0, 1, 2]]
    assert mesh["u"].tolist() == [1, 2, 3]
    assert tag_sets(mesh) == {
        "facet": {"wall": {(0, 1)}},
        "cell": {},
        "point": {"some": {(2,)}},
    }


@pytest.mark.parametrize(
    "kind",
    [
        "quad8",
        "quad9",
        "tetra10",
        "hexahedron20",
        "hexahedron27",
        "wedge18",
    ],
)
def test_corners_come_first_in_every_curved_cell(kind: str) -> None:
    name = kind.rstrip("0123456789")
    size = int(kind[len(name) :])
    pos, cells, _, _ = SAMPLES[name]
    corners = cells[0][1][0]
    points = np.concatenate([pos[corners], np.full((size - len(corners), pos.shape[1]), 0.5)])
    with pytest.warns(LossWarning, match=kind):
        mesh = from_meshio(meshio.Mesh(points, [(kind, [list(range(size))])]))
    assert torch.equal(mesh.pos, torch.as_tensor(pos[corners]))
    assert (mesh.volumes() > 0).all()


def test_cell_fields_come_from_the_cells_only() -> None:
    m = _square(
        [("line", [[0, 1]])],
        cell_data={"a": [[1, 2], [np.nan]], "b": [[1, 2], [5]], "text": [["x", "y"], ["z"]]},
    )
    with pytest.warns(
        LossWarning, match=r"values of 'b' on cells of lower.*'text' \(not numbers\)"
    ):
        mesh = from_meshio(m)
    assert mesh["a"].tolist() == [1, 2]
    assert list(mesh.cell_fields) == ["a", "b"]


@pytest.mark.parametrize(
    ("m", "message"),
    [
        (meshio.Mesh([[0.0, 0]], [("vertex", [[0]])]), "there are no cells"),
        (
            meshio.Mesh([[0.0, 0]] * 5, [("polygon", [[0, 1, 2, 3, 4]])]),
            "'polygon' are not supported",
        ),
        (
            meshio.Mesh([[0.0, 0]] * 3, [("triangle", [[0, 1, 7]])]),
            "triangle cell 0 names a node outside",
        ),
        (meshio.Mesh([[0.0, 0], [1, 0], [np.nan, 1]], [("triangle", [[0, 1, 2]])]), "not finite"),
    ],
)
def test_what_is_no_mesh(m: meshio.Mesh, message: str) -> None:
    with pytest.raises(MeshError, match=message):
        from_meshio(m)


def test_repair_and_allow_are_passed_on() -> None:
    m = meshio.Mesh([[0.0, 0], [1, 0], [0, 1], [9, 9]], [("triangle", [[0, 2, 1]])])
    with pytest.raises(MeshError, match="belong to no cell"):
        from_meshio(m)
    assert from_meshio(m, repair=("orphan", "inverted")).num_nodes == 3
    assert from_meshio(m, allow=("orphan", "inverted")).num_nodes == 4


def test_pyvista_data_sets_of_all_kinds() -> None:
    image = pyvista.ImageData(dimensions=(3, 3, 3))
    assert from_pyvista(image).volumes().sum() == 8
    sphere = pyvista.Sphere()
    surface = from_pyvista(sphere)
    assert (surface.dim, surface.num_cells) == (3, sphere.n_cells)
    assert list(surface.node_fields) == ["Normals"]
    grid = to_pyvista(sample("triangle"))
    grid.field_data["meshlearn"] = [99]
    with pytest.raises(MeshError, match="newer meshlearn"):
        from_pyvista(grid)
    with pytest.raises(MeshError, match="VTK cells of type 7 are not supported"):
        from_pyvista(_pentagon())


def _pentagon() -> pyvista.PolyData:
    angle = 2 * np.pi * np.arange(5) / 5
    points = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    return pyvista.PolyData(points, faces=[5, 0, 1, 2, 3, 4])


@pytest.mark.parametrize("name", ["line", "triangle", "quad", "tetra", "hexahedron"])
def test_skfem_and_back(name: str) -> None:
    mesh = sample(name, point_tags=False, fields=False, facet_fields=False)
    m = to_skfem(mesh)
    assert np.array_equal(m.p.T, mesh.pos)
    back = from_skfem(m)
    assert same_geometry(back, mesh)
    assert tag_sets(back) == tag_sets(mesh)
    for tag, facets in m.boundaries.items():
        nodes = {tuple(sorted(column)) for column in m.facets[:, facets].T.tolist()}
        assert nodes == tag_sets(mesh)["facet"][tag]


@pytest.mark.parametrize("name", ["line", "triangle", "quad", "tetra", "hexahedron"])
def test_skfem_integrates_our_mesh(name: str) -> None:
    mesh = sample(name, point_tags=False)
    element = {
        "line": skfem.ElementLineP1,
        "triangle": skfem.ElementTriP1,
        "quad": skfem.ElementQuad1,
        "tetra": skfem.ElementTetP1,
        "hexahedron": skfem.ElementHex1,
    }[name]()
    basis = skfem.Basis(to_skfem(mesh), element, intorder=4)
    volume = skfem.Functional(lambda w: 1.0 + 0 * w.x[0]).assemble(basis)
    assert np.isclose(volume, mesh.volumes().sum())
    stiffness = skfem.BilinearForm(lambda u, v, w: skfem.helpers.dot(u.grad, v.grad))
    x = mesh.pos[:, 0].numpy()
    assert np.isclose(x @ stiffness.assemble(basis) @ x, volume)  # |grad x| = 1


@pytest.mark.parametrize(
    "m",
    [skfem.MeshLine(), skfem.MeshTri(), skfem.MeshQuad(), skfem.MeshTet(), skfem.MeshHex()],
    ids=repr,
)
def test_meshes_made_by_skfem(m: skfem.Mesh) -> None:
    m = m.refined(1).with_boundaries({"left": lambda x: x[0] == 0})
    m = m.with_subdomains({"half": lambda x: x[0] < 0.5})
    mesh = from_skfem(m)
    assert (mesh.volumes() > 0).all()
    assert np.array_equal(mesh.pos, m.p.T)
    again = to_skfem(mesh)
    assert np.array_equal(np.sort(again.t, axis=0), np.sort(m.t, axis=0))
    left = {tuple(sorted(c)) for c in again.facets[:, again.boundaries["left"]].T.tolist()}
    assert left == {tuple(sorted(c)) for c in m.facets[:, m.boundaries["left"]].T.tolist()}
    assert np.array_equal(again.subdomains["half"], m.subdomains["half"])


def test_what_skfem_cannot_hold() -> None:
    with pytest.warns(LossWarning, match="to_skfem: lost point tags 'corner', '5'"):
        to_skfem(sample("triangle"))
    with pytest.raises(MeshError, match=r"one cell type of line, .*; this one has triangle, quad"):
        to_skfem(sample("triangle and quad"))
    with pytest.raises(MeshError, match="no triangle meshes in 3D space"):
        to_skfem(sample("surface"))
    with pytest.raises(MeshError, match="MeshTri2 is not supported"):
        from_skfem(skfem.MeshTri2())


def test_networkx_has_the_edges_and_positions() -> None:
    mesh = sample("hexahedron, wedge and pyramid")
    graph = to_networkx(mesh)
    assert sorted(graph.nodes) == list(range(mesh.num_nodes))
    assert {tuple(sorted(e)) for e in graph.edges} == {
        tuple(e) for e in mesh.topology.edges.tolist()
    }
    assert graph.nodes[8]["pos"] == (0.5, 0.5, 2.0)


def test_the_methods_of_a_mesh_are_these_functions() -> None:
    mesh = sample("triangle")
    assert Mesh.from_pyvista(mesh.to_pyvista()) == mesh
    assert Mesh.from_meshio(mesh.to_meshio()) == mesh
    assert mesh.to_networkx().number_of_nodes() == mesh.num_nodes
