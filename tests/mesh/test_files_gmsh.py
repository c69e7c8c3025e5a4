"""Files that gmsh writes are read whole; files that we write are whole to gmsh."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import gmsh
import meshio
import numpy as np
import pytest
import torch

from meshlearn.mesh import LossWarning, Mesh, MeshError
from meshlearn.mesh.files import read, write

from .file_samples import SAMPLES, sample, tag_sets

VERSIONS = [(2.2, 0), (2.2, 1), (4.1, 0), (4.1, 1)]


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.logger.start()
    yield
    gmsh.finalize()


def _save(path: Path, version: float, binary: int, **options: float) -> Path:
    settings = {"Mesh.MshFileVersion": version, "Mesh.Binary": binary} | {
        f"Mesh.{key}": value for key, value in options.items()
    }
    for key, value in settings.items():
        gmsh.option.setNumber(key, value)
    gmsh.write(str(path))
    return path


def _two_squares(order: int = 1) -> None:
    """Two squares side by side: overlapping, unnamed and point groups."""
    occ, model = gmsh.model.occ, gmsh.model
    left, right = occ.addRectangle(0, 0, 0, 1, 1), occ.addRectangle(1, 0, 0, 1, 1)
    occ.fragment([(2, left)], [(2, right)])
    occ.synchronize()
    model.addPhysicalGroup(2, [1, 2], 10, "all")
    model.addPhysicalGroup(2, [2], 11, "right half")
    model.addPhysicalGroup(1, [1], 20, "inlet")
    model.addPhysicalGroup(1, [2, 3], 21)
    model.addPhysicalGroup(0, [1], 30, "corner")
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.4)
    model.mesh.generate(2)
    model.mesh.setOrder(order)


def _check_two_squares(mesh: Mesh) -> None:
    assert mesh.dim == 2
    assert float(mesh.volumes().sum()) == pytest.approx(2)
    assert set(mesh.facet_tags) == {"inlet", "21"}
    assert len(mesh.cell_tags["all"]) == mesh.num_cells
    assert (mesh.centroids()[mesh.cell_tags["right half"], 0] > 1).all()
    assert (mesh.pos[mesh.facet_tags["inlet"], 1] == 0).all()
    assert mesh.pos[mesh.point_tags["corner"]].tolist() == [[0, 0]]


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_groups_of_gmsh(version: float, binary: int, tmp_path: Path) -> None:
    _two_squares()
    path = _save(tmp_path / "mesh.msh", version, binary)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = read(path)
    _check_two_squares(mesh)
    assert np.array_equal(mesh.pos, meshio.read(path).points[:, :2])


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_curved_elements_are_straightened(version: float, binary: int, tmp_path: Path) -> None:
    _two_squares(order=2)
    path = _save(tmp_path / "mesh.msh", version, binary)
    with pytest.warns(LossWarning, match="not corners of the triangle6, line3 cells"):
        mesh = read(path)
    _check_two_squares(mesh)


@pytest.mark.parametrize("binary", [0, 1])
def test_parametric_nodes_and_no_groups(binary: int, tmp_path: Path) -> None:
    gmsh.model.occ.addSphere(0, 0, 0, 1)
    gmsh.model.occ.synchronize()
    gmsh.model.mesh.generate(3)
    path = _save(tmp_path / "mesh.msh", 4.1, binary, SaveParametric=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mesh = read(path)
    assert list(mesh.cells) == ["tetra"]
    assert not mesh.facet_tags
    assert float(mesh.volumes().sum()) == pytest.approx(4 * np.pi / 3, rel=0.1)
    _save(path, 2.2, binary, SaveParametric=1)
    with pytest.raises(MeshError, match=r"save it without Mesh\.SaveParametric"):
        read(path)


@pytest.mark.parametrize("binary", [0, 1])
def test_partitioned_meshes(binary: int, tmp_path: Path) -> None:
    _two_squares()
    gmsh.model.mesh.partition(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossWarning)
        mesh = read(_save(tmp_path / "mesh.msh", 4.1, binary))
    _check_two_squares(mesh)


@pytest.mark.parametrize("binary", [0, 1])
def test_numbers_with_gaps_and_out_of_order(binary: int, tmp_path: Path) -> None:
    surface = gmsh.model.addDiscreteEntity(2)
    gmsh.model.mesh.addNodes(2, surface, [9, 4, 30, 7], [1, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0])
    gmsh.model.mesh.addElementsByType(surface, 2, [8, 3], [7, 9, 30, 4, 7, 30])
    mesh = read(_save(tmp_path / "mesh.msh", 4.1, binary, SaveAll=1))
    assert mesh.pos.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]  # in the order of the numbers
    assert mesh.cells["triangle"].tolist() == [[0, 1, 3], [1, 2, 3]]


@pytest.mark.parametrize(("version", "binary"), VERSIONS)
def test_views_become_fields(version: float, binary: int, tmp_path: Path) -> None:
    _two_squares()
    number, x, _ = gmsh.model.mesh.getNodes()
    view = gmsh.view.add("u")
    for step in (0, 1):
        gmsh.view.addHomogeneousModelData(view, step, "", "NodeData", number, x[::3] + step)
    _save(tmp_path / "mesh.msh", version, binary)
    gmsh.option.setNumber("PostProcessing.SaveMesh", 0)
    gmsh.view.write(view, str(tmp_path / "mesh.msh"), append=True)
    with pytest.warns(LossWarning, match="all but the last time step of 'u'"):
        mesh = read(tmp_path / "mesh.msh")
    assert torch.allclose(mesh["u"], mesh.pos[:, 0] + 1, atol=1e-12)


@pytest.mark.parametrize("form", ["gmsh", "gmsh22"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("name", SAMPLES)
def test_gmsh_sees_what_we_write(form: str, binary: bool, name: str, tmp_path: Path) -> None:
    mesh = sample(name, facet_fields=False)
    path = tmp_path / "mesh.msh"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossWarning)
        write(mesh, path, format=form, binary=binary)
    gmsh.logger.stop()
    gmsh.logger.start()
    gmsh.open(str(path))
    assert not [line for line in gmsh.logger.get() if "Warning" in line or "Error" in line]
    model = gmsh.model
    numbers, coordinates, _ = model.mesh.getNodes()
    positions = coordinates.reshape(-1, 3)[np.argsort(numbers), : mesh.dim]
    assert np.array_equal(positions, mesh.pos)
    names = {model.getPhysicalName(*group) for group in model.getPhysicalGroups()}
    assert {"in flow", "both", "fluid", "corner"} <= names
    assert {7, 12, 5} <= {tag for _, tag in model.getPhysicalGroups()}
    if form == "gmsh":
        cells = sum(len(tags) for tags in model.mesh.getElements(mesh.cell_dim)[1])
        assert cells == mesh.num_cells
        nodes, _ = model.mesh.getNodesForPhysicalGroup(mesh.cell_dim - 1, 7)
        assert {int(node) - 1 for node in nodes} == set(mesh.facet_tags["7"].ravel().tolist())
    views = {gmsh.view.option.getString(view, "Name"): view for view in gmsh.view.getTags()}
    assert set(views) == set(mesh.field_kinds)
    kind, tags, data, _, _ = gmsh.view.getModelData(views["vector"], 0)
    assert kind == "NodeData"
    assert np.array_equal(np.array(data)[np.argsort(tags)], mesh["vector"])


@pytest.mark.parametrize("form", ["gmsh", "gmsh22"])
def test_cells_without_a_tag_survive_gmsh(form: str, tmp_path: Path) -> None:
    mesh = sample("triangle", cell_tags=False, fields=False, facet_fields=False)
    write(mesh, tmp_path / "ours.msh", format=form)
    gmsh.open(str(tmp_path / "ours.msh"))
    gmsh.write(str(tmp_path / "theirs.msh"))
    back = read(tmp_path / "theirs.msh")
    assert back.num_cells == mesh.num_cells
    assert tag_sets(back)["facet"].keys() == mesh.facet_tags.keys()
    assert tag_sets(read(tmp_path / "ours.msh")) == tag_sets(mesh)
    seen = meshio.read(tmp_path / "ours.msh")
    assert np.array_equal(seen.cells_dict["triangle"], mesh.cells["triangle"])


def test_point_tags_of_a_line_mesh_are_facet_tags(tmp_path: Path) -> None:
    mesh = sample("line", fields=False, facet_fields=False)
    with pytest.warns(LossWarning, match=r"between point and facet tags \('corner', '5'\)"):
        mesh.write(tmp_path / "line.msh")
    assert set(read(tmp_path / "line.msh").facet_tags) == {"in flow", "7", "both", "corner", "5"}


def test_more_than_nine_components_are_lost(tmp_path: Path) -> None:
    mesh = sample("triangle", fields=False, facet_fields=False)
    mesh.set_field("many", torch.zeros(mesh.num_nodes, 10), "node")
    with pytest.warns(LossWarning, match="node field 'many' .10 components, gmsh has up to 9"):
        mesh.write(tmp_path / "mesh.msh")


def test_damage_that_only_msh_can_have(tmp_path: Path) -> None:
    sample("triangle", fields=False, facet_fields=False).write(tmp_path / "a.msh", binary=False)
    text = (tmp_path / "a.msh").read_text()
    for old, new, message in (
        ("$Nodes\n1 5 1 5", "$Nodes\n1 6 1 6", "announces 6 nodes but holds 5"),
        ("\n1\n2\n3\n4\n5\n", "\n1\n2\n3\n4\n4\n", "node number is given twice"),
        ("\n1\n2\n3\n4\n5\n", "\n1\n2\n3\n4\n8\n", "uses node 5, which does not exist"),
        ("$EndNodes", "$EndNode", "is not closed"),
    ):
        assert old in text
        (tmp_path / "b.msh").write_text(text.replace(old, new))
        with pytest.raises(MeshError, match=message):
            read(tmp_path / "b.msh")
