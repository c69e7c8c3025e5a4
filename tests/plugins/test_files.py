"""Files adapted in place: coordinates only, second-order nodes, fields from other files."""

from __future__ import annotations

from pathlib import Path

import gmsh
import meshio
import numpy as np
import pytest
import torch

import meshlearn as ml
from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.files.inplace import find_slots
from meshlearn.monitors import Constant
from meshlearn.movers import Variational
from meshlearn.movers.base import Outcome
from meshlearn.plugins import files
from meshlearn.plugins.arrays import PluginError
from meshlearn.plugins.second_order import between, places


def front(pos: torch.Tensor) -> torch.Tensor:
    return torch.tanh((0.3 - pos.norm(dim=1)) / 0.04)


def error(mesh: Mesh) -> float:
    """Interpolation error of the front, by midpoints of the edges (relative to each other)."""
    first, second = mesh.topology.edges.unbind(dim=1)
    middle = (mesh.pos[first] + mesh.pos[second]) / 2
    linear = (front(mesh.pos)[first] + front(mesh.pos)[second]) / 2
    length = (mesh.pos[first] - mesh.pos[second]).norm(dim=1)
    return float(((linear - front(middle)) ** 2 * length**mesh.dim).sum().sqrt())


@pytest.fixture
def su2(tmp_path: Path) -> Path:
    """A case with comments and a solution beside it."""
    square = ml.generate.rectangle(24, 24)
    path = tmp_path / "case.su2"
    square.write(path)
    path.write_text("% by hand\n" + path.read_text().replace("NPOIN", "% points\nNPOIN"))
    square.set_field("T", front(square.pos), "node")
    square.write(tmp_path / "solution.vtu")
    return path


def test_a_field_of_the_same_mesh(su2: Path) -> None:
    before = ml.read(su2)
    text = su2.read_text()
    report = files.adapt(su2, field_file=su2.with_name("solution.vtu"))
    after = ml.read(su2)
    assert error(after) < error(before) / 2
    assert report.kept == 1
    assert report.estimates[1] < report.estimates[0]
    assert before.moved(after.pos) == after
    lines, new = text.splitlines(), su2.read_text().splitlines()
    assert len(lines) == len(new)
    begin = next(k for k, line in enumerate(lines) if line.startswith("NPOIN"))
    changed = {k for k in range(len(lines)) if lines[k] != new[k]}
    assert changed <= set(range(begin + 1, begin + 1 + before.num_nodes))
    report.undo()
    assert su2.read_text() == text


def test_a_field_of_another_mesh(su2: Path, tmp_path: Path) -> None:
    fine = ml.generate.rectangle(50, 60, diagonal="crossed")
    fine.set_field("T", front(fine.pos), "node")
    fine.set_field("p", fine.pos[:, 0], "node")
    fine.write(tmp_path / "fine.vtu")
    target = tmp_path / "moved.su2"
    text = su2.read_text()
    files.adapt(su2, "T", field_file=tmp_path / "fine.vtu", output=target)
    assert su2.read_text() == text
    assert error(ml.read(target)) < error(ml.read(su2)) / 2


def test_set_positions_and_the_numbering(tmp_path: Path) -> None:
    """Nodes without cells keep their place; the others are told by `numbering`."""
    path = tmp_path / "mesh.vtu"
    points = np.array([[9.0, 9, 0], [0, 0, 0], [1, 0, 0], [8, 8, 0], [0, 1, 0]])
    meshio.Mesh(points, {"triangle": [[1, 2, 4]]}).write(path)
    mesh = files.to_mesh(path)
    assert mesh["numbering"].tolist() == [1, 2, 4]
    files.set_positions(path, [[0, 0], [2, 0], [0, 3]])
    expected = points.copy()
    expected[[2, 4]] = [[2, 0, 0], [0, 3, 0]]
    assert (meshio.read(path).points == expected).all()
    with pytest.raises(PluginError, match=r"positions must be \[3, 2\], got \[2, 2\]"):
        files.set_positions(path, np.zeros((2, 2)))


@pytest.fixture(params=["disk6", "disk-quad9", "ball10", "disk-quad8"])
def curved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Second-order meshes of round bodies by gmsh."""
    path = tmp_path / f"{request.param}.msh"
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.option.setNumber("Mesh.SecondOrderIncomplete", int("8" in request.param))
        if "ball" in request.param:
            gmsh.model.occ.addSphere(0, 0, 0, 1)
        else:
            gmsh.model.occ.addDisk(0, 0, 0, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.5 if "ball" in request.param else 0.15)
        dim = 3 if "ball" in request.param else 2
        if "quad" in request.param:
            gmsh.model.mesh.setRecombine(2, 1)
        gmsh.model.mesh.generate(dim)
        gmsh.model.mesh.setOrder(2)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return path


def test_second_order_nodes_follow(curved: Path) -> None:
    """The round boundary keeps its shape, nodes between free vertices stay in the middle."""
    case = files.read_case(curved)
    u = front(case.mesh.pos + 0.3).numpy()
    files.adapt(curved, u, slide="none")
    old, new = case.points, find_slots(curved).points
    moved = files.read_case(curved)
    assert not len(moved.mesh.inverted_cells())
    assert np.abs(new - old).max() > 0.02
    round_ = np.abs(np.linalg.norm(old, axis=1) - 1) < 1e-9
    assert (new[round_] == old[round_]).all()
    middle = case.between
    share = middle.weights[:, :, None]
    bend = [(p[middle.node] - (share * p[middle.vertices]).sum(axis=1)) for p in (old, new)]
    np.testing.assert_allclose(bend[0], bend[1], atol=1e-12)
    assert (case.geometry is None) == ("quad8" in curved.name)


def test_places_are_found_in_any_order() -> None:
    """Every order of the further nodes of curved cells."""
    rng = np.random.default_rng(0)
    kinds = {
        "triangle": (3, 4),
        "quad": (4, 5),
        "tetra": (6,),
        "hexahedron": (12, 19),
    }
    for cell, sizes in kinds.items():
        kind, corners = ml.mesh.cells.CELL_TYPES[cell], CORNERS[cell]
        faces = [facet for facet in kind.facets if len(facet) == 4 and kind.dim == 3]
        every = [*kind.edges, *faces, tuple(range(kind.num_nodes))]
        for size in sizes:
            known = every if size == len(every) else list(kind.edges)
            chosen = [known[k] for k in rng.permutation(size)]
            further = np.array([corners[list(local)].mean(axis=0) for local in chosen])
            points = np.concatenate([corners, further + 0.05 * rng.standard_normal(further.shape)])
            assert list(places(cell, points, np.arange(len(points))[None])) == chosen


CUBE = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], float)
CORNERS = {
    "triangle": CUBE[[0, 1, 3], :2],
    "quad": CUBE[:4, :2],
    "tetra": CUBE[[0, 1, 3, 4]],
    "hexahedron": CUBE,
}


def test_third_order_is_refused() -> None:
    points, nodes = np.random.default_rng(0).random((10, 2)), np.arange(10)[None]
    with pytest.raises(MeshError, match="triangle cells of 10 nodes are not supported"):
        between([("triangle", nodes)], points)


NARROW = """BEGIN BULK
GRID    1               101.0   0.0     0.0
GRID    2               102.0   0.0     0.0
GRID    3               102.0   1.0     0.0
GRID    4               101.0   1.0     0.0
GRID    5               101.5   .5      0.0
CTRIA3  1       1       1       2       5
CTRIA3  2       1       2       3       5
CTRIA3  3       1       3       4       5
CTRIA3  4       1       4       1       5
ENDDATA
"""


def test_few_digits_are_an_error_where_they_tangle(tmp_path: Path) -> None:
    """A mover that goes so near to a side that eight characters would put the node on it."""
    path = tmp_path / "thin.bdf"
    path.write_text(NARROW)

    class Near(Variational):
        def _relocate(self, mesh: Mesh, *_: object) -> Outcome:
            pos = mesh.pos.clone()
            pos[4, 0] = 102 - 1e-5
            return Outcome(pos, True, "near", 1, 0.0)

    with pytest.raises(MeshError, match=r"too few digits: rounding inverts 1 cells"):
        files.adapt(path, Constant(), mover=Near())
    assert path.read_text() == NARROW


@pytest.mark.parametrize(
    ("guide", "options", "sentence"),
    [
        (None, {}, "name the field to follow; the nodal fields are: none"),
        ("U", {"field_file": "solution.vtu"}, "there is no field 'U'; the node fields"),
        ("U", {"field_file": "nowhere.vtu"}, "nowhere.vtu does not exist"),
        (np.ones(3), {}, "the field must have a value for each of 625 nodes"),
        (np.ones(625), {"field_file": "solution.vtu"}, "give the name of a field in it"),
        (np.ones(625), {"transfer": ["T"]}, "fields in files are not carried along"),
        (np.ones(625), {"fixed": ["inlet"]}, "there is no tag 'inlet'"),
    ],
)
def test_what_cannot_be(
    su2: Path, monkeypatch: pytest.MonkeyPatch, guide: object, options: dict, sentence: str
) -> None:
    text = su2.read_text()
    monkeypatch.chdir(su2.parent)
    with pytest.raises((MeshError, PluginError), match=sentence):
        files.adapt(su2, guide, **options)
    assert su2.read_text() == text
    with pytest.raises((MeshError, PluginError)):
        files.adapt(su2, guide, output="new.su2", **options)
    assert not Path("new.su2").exists()


def test_a_field_of_another_place(su2: Path, tmp_path: Path) -> None:
    other = ml.generate.rectangle(5, 5, lower=(0, 0), upper=(1, 0.5))
    other.set_field("T", other.pos[:, 0], "node")
    with pytest.raises(MeshError, match=r"the mesh of the field 'T' ends 0.5 from node \d+"):
        files.field_values(ml.read(su2), other, "T")
    box = ml.generate.box(2, 2, 2)
    box.set_field("T", box.pos[:, 0], "node")
    with pytest.raises(MeshError, match="the mesh is 2D, that of the field 3D"):
        files.field_values(ml.read(su2), box, None)


def test_a_uniform_monitor_changes_nothing(su2: Path, tmp_path: Path) -> None:
    files.adapt(su2, Constant(), output=tmp_path / "same.su2")
    np.testing.assert_allclose(
        ml.read(tmp_path / "same.su2").pos, ml.read(su2).pos, rtol=0, atol=1e-9
    )


def test_a_format_that_cannot(tmp_path: Path) -> None:
    path = tmp_path / "surface.stl"
    path.write_text("solid x\nendsolid x\n")
    with pytest.raises(MeshError, match="the coordinates of stl files cannot be replaced alone"):
        files.adapt(path, "T")
