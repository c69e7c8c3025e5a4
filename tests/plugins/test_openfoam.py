"""OpenFOAM cases without OpenFOAM: formats, what moves and what stays, fields, remapping."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from polymesh import Style, everywhere, side, write_field, write_mesh

import meshlearn as ml
from meshlearn.mesh import Mesh, MeshError
from meshlearn.monitors import Function
from meshlearn.plugins import openfoam
from meshlearn.plugins.openfoam import fields as foam_fields
from meshlearn.plugins.openfoam import foamfile
from meshlearn.plugins.openfoam.polymesh import points_slots, shortened

STYLES = [
    Style(binary, label, compressed)
    for binary in (False, True)
    for label in ((32, 64) if binary else (32,))
    for compressed in (False, True)
]
BALL = Function(lambda x: 1 + 8 * torch.exp(-30 * ((x - 0.3) ** 2).sum(dim=1)))
WALL = {"outside": ("wall", everywhere)}
FLAT = {
    "frontAndBack": ("empty", lambda c: side(2, 0.0)(c) | side(2, 0.1)(c)),
    "lid": ("wall", side(1, 1.0)),
    "rest": ("patch", everywhere),
}


def box(kind: str = "hexahedron", n: int = 3) -> Mesh:
    return ml.generate.box(n, n, n, cell=kind)


def slab(n: int = 6, axis: int = 2) -> Mesh:
    """One layer of hexahedra; `axis` is the thin direction."""
    mesh = ml.generate.box(n, n, 1, upper=(1.0, 1.0, 0.1), cell="hexahedron")
    return mesh.moved(mesh.pos.roll(axis - 2, dims=1))


def write_slab(case: Path, style: Style = STYLES[0], n: int = 6, axis: int = 2) -> None:
    def turned(member: object) -> object:
        return lambda centre: member(np.roll(centre, 2 - axis, axis=1))  # type: ignore[operator]

    patches = {name: (kind, turned(member)) for name, (kind, member) in FLAT.items()}
    write_mesh(case, slab(n, axis), patches, style)  # type: ignore[arg-type]


def raw(path: Path) -> bytes:
    found = foamfile.find(path.parent, path.name)
    assert found is not None
    return gzip.decompress(found.read_bytes()) if found.suffix == ".gz" else found.read_bytes()


@pytest.mark.parametrize("style", STYLES, ids=str)
@pytest.mark.parametrize("kind", ["hexahedron", "tetra", "wedge", "pyramid"])
def test_cells_are_read(kind: str, style: Style, tmp_path: Path) -> None:
    """The same cells, each with the same corners, volume and sign; the patches as tags."""
    mesh = some_cells(kind)
    top = float(mesh.pos[:, 2].max())
    write_mesh(tmp_path, mesh, {"top": ("patch", side(2, top)), **WALL}, style)
    found = openfoam.to_mesh(tmp_path)
    assert {name: len(nodes) for name, nodes in found.cells.items()} == {
        name: len(nodes) for name, nodes in mesh.cells.items()
    }
    assert torch.equal(found.pos, mesh.pos)
    for name, nodes in mesh.cells.items():
        ids = found.cell_ids[name]
        assert corners(found.cells[name]) == corners(nodes)
        assert bool((found.volumes()[ids] > 0).all())
    assert not len(found.inverted_cells())
    assert float(found.volumes().sum()) == pytest.approx(float(mesh.volumes().sum()))
    assert set(found.facet_tags) == {"top", "outside"}
    assert bool((found.pos[found.tagged_nodes("top"), 2] == top).all())


def some_cells(kind: str) -> Mesh:
    if kind in ("hexahedron", "tetra"):
        return box(kind, 2)
    if kind == "wedge":
        flat = ml.generate.rectangle(2, 2)
        n, base = flat.num_nodes, flat.cells["triangle"].numpy()
        pos = np.concatenate([np.c_[flat.pos, np.full(n, z)] for z in (0.0, 0.5, 1.0)])
        layers = [np.c_[base + k * n, base + (k + 1) * n] for k in (0, 1)]
        return Mesh.from_cells(pos, {"wedge": np.concatenate(layers)})
    cube = box("hexahedron", 1)
    nodes = cube.cells["hexahedron"][0].numpy()
    faces = [nodes[list(f)][::-1] for f in ml.mesh.cells.CELL_TYPES["hexahedron"].facets]
    pyramids = np.array([[*face, 8] for face in faces])
    return Mesh.from_cells(np.r_[cube.pos, [[0.5, 0.5, 0.5]]], {"pyramid": pyramids})


def corners(nodes: torch.Tensor) -> set[tuple[int, ...]]:
    return {tuple(sorted(row)) for row in nodes.tolist()}


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_only_points_change(style: Style, tmp_path: Path) -> None:
    """Read - write - read, the header and the end of the file; and back again bit for bit."""
    write_mesh(tmp_path, box(), WALL, style)
    folder = tmp_path / "constant" / "polyMesh"
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    before = openfoam.to_mesh(tmp_path)
    new = before.pos.numpy() * 1.25 + 1 / 3
    openfoam.set_positions(tmp_path, new)
    after = openfoam.to_mesh(tmp_path)
    assert (after.pos.numpy() == new).all()
    assert before.moved(after.pos) == after
    points = foamfile.find(folder, "points")
    assert points is not None
    slots = points_slots(foamfile.load(points))
    begin = raw(folder / "points").index(b"\n(") if not style.binary else 0
    assert raw(folder / "points")[:begin] == expand(files[points.name], points)[:begin]
    assert raw(folder / "points").endswith(b"\n\n// ************ //\n")
    for name, stored in files.items():
        if name != points.name:
            assert (folder / name).read_bytes() == stored
    openfoam.set_positions(tmp_path, before.pos)
    assert raw(folder / "points") == expand(files[points.name], points)
    assert slots.points.shape == (64, 3)


def expand(stored: bytes, path: Path) -> bytes:
    return gzip.decompress(stored) if path.suffix == ".gz" else stored


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("style", [STYLES[0], STYLES[-1]], ids=str)
def test_a_flat_case_moves_both_sides_alike(style: Style, axis: int, tmp_path: Path) -> None:
    write_slab(tmp_path, style, axis=axis)
    old = openfoam.read_case(tmp_path).mesh.points
    mesh = openfoam.to_mesh(tmp_path)
    assert (mesh.dim, len(mesh.cells["quad"]), set(mesh.facet_tags)) == (2, 36, {"lid", "rest"})
    assert len(mesh.facet_tags["lid"]) == 6
    report = openfoam.adapt(tmp_path, BALL)
    new = openfoam.read_case(tmp_path).mesh.points
    assert (new[:, axis] == old[:, axis]).all()
    layers = [np.flatnonzero(np.isclose(new[:, axis], z, atol=1e-12)) for z in (0, 0.1)]
    across = [k for k in range(3) if k != axis]
    flat = [new[layer][:, across] for layer in layers]
    sets = [{tuple(row) for row in side} for side in flat]
    assert sets[0] == sets[1]
    assert np.abs(new - old).max() > 0.01
    assert report.moves[-1]["check"]["min_pyramid"] > 0
    lid = openfoam.to_mesh(tmp_path).tagged_nodes("lid")
    assert torch.equal(openfoam.to_mesh(tmp_path).pos[lid], mesh.pos[lid])
    report.undo()
    assert (openfoam.read_case(tmp_path).mesh.points == old).all()


def test_walls_slide_when_asked(tmp_path: Path) -> None:
    write_slab(tmp_path)
    before = openfoam.to_mesh(tmp_path)
    lid = before.tagged_nodes("lid")
    openfoam.adapt(tmp_path, BALL, slide_patches=["l.*"])
    after = openfoam.to_mesh(tmp_path)
    assert float((after.pos[lid] - before.pos[lid]).norm(dim=1).max()) > 1e-3
    assert float((after.pos[lid, 1] - 1).abs().max()) == 0
    openfoam.set_positions(tmp_path, before.pos)
    openfoam.adapt(tmp_path, BALL, slide_patches=["lid"], fixed=["lid"])
    assert torch.equal(openfoam.to_mesh(tmp_path).pos[lid], before.pos[lid])


@pytest.mark.parametrize("shift", [False, True])
def test_cyclic_patches_move_together(shift: bool, tmp_path: Path) -> None:
    mesh = box("hexahedron", 4)
    patches = {
        "left": ("cyclic; neighbourPatch right", side(0, 0.0)),
        "right": ("cyclic; neighbourPatch left", side(0, 1.0)),
        "rest": ("patch", everywhere),
    }
    if shift:  # no translation maps one side to the other: they stay
        pos = mesh.pos.clone()
        right = pos[:, 0] == 1
        pos[right, 1] = pos[right, 1] ** 1.5
        mesh = mesh.moved(pos)
    write_mesh(tmp_path, mesh, patches)
    before = openfoam.to_mesh(tmp_path)
    openfoam.adapt(tmp_path, BALL)
    moved = openfoam.to_mesh(tmp_path).pos - before.pos
    sides = [before.tagged_nodes(name) for name in ("left", "right")]
    if shift:
        assert all(float(moved[nodes].abs().max()) == 0 for nodes in sides)
        assert float(moved.abs().max()) > 0.01
        return
    place = [
        {tuple(before.pos[k, 1:].tolist()): moved[k] for k in nodes.tolist()} for nodes in sides
    ]
    assert place[0].keys() == place[1].keys()
    for key, step in place[0].items():
        torch.testing.assert_close(step, place[1][key], rtol=0, atol=1e-14)
    assert float(moved[sides[0]].norm(dim=1).max()) > 1e-3


@pytest.mark.parametrize("style", [STYLES[0], STYLES[-1]], ids=str)
def test_polyhedra_are_cut_for_the_mover(style: Style, tmp_path: Path) -> None:
    """Pairs of hexahedra as polyhedra of ten faces: the centres move too, but are not points."""
    mesh = ml.generate.box(4, 3, 3, cell="hexahedron")
    column = torch.div(mesh.centroids()[:, 0] * 4, 2, rounding_mode="floor").long()
    row = (mesh.centroids()[:, 1:] * 3).long()
    merge = (column * 9 + row[:, 0] * 3 + row[:, 1]).numpy()
    write_mesh(tmp_path, mesh, {"all": ("patch", everywhere)}, style, merge)
    found = openfoam.to_mesh(tmp_path)
    case = openfoam.read_case(tmp_path)
    assert case.mesh.num_cells == 18
    assert set(found.cells) == {"tetra"}
    assert float(found.volumes().sum()) == pytest.approx(1.0)
    assert bool((found.volumes() > 0).all())
    volume = np.bincount(case.moving.parent, found.volumes().numpy())
    np.testing.assert_allclose(volume, case.mesh.cell_geometry[1], rtol=1e-12)
    report = openfoam.adapt(tmp_path, BALL)
    check = openfoam.check(tmp_path)
    assert check == report.moves[-1]["check"]
    assert check["min_pyramid"] > 0
    assert np.abs(openfoam.read_case(tmp_path).mesh.points - case.mesh.points).max() > 0.01


PRISM = """2
(
    sides { type patch; nFaces 7; startFace 1; }
    ends { type empty; nFaces 4; startFace 8; }
)"""


def test_large_polygons_of_a_flat_case(tmp_path: Path) -> None:
    """A hexagon beside a quad, cut about its centre."""
    flat = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [1, 1], [0, 1], [3, 0], [3, 1]], float)
    n, style, folder = len(flat), STYLES[0], tmp_path / "constant" / "polyMesh"
    points = np.concatenate([np.c_[flat, np.full(n, z)] for z in (0.0, 0.2)])
    edges = [(2, 3), (0, 1), (1, 2), (3, 4), (4, 5), (5, 0), (2, 6), (6, 7), (7, 3)]
    edges = [edges[0], *edges[1:6], edges[6], edges[7], edges[8]]
    rows = [[a, b, b + n, a + n] for a, b in edges]
    rows += [[5, 4, 3, 2, 1, 0], [3, 7, 6, 2]]
    rows += [[k + n for k in (0, 1, 2, 3, 4, 5)], [k + n for k in (2, 6, 7, 3)]]
    owner = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 1])
    style.put(folder / "points", "vectorField", style.rows(points))
    lines = "\n".join("{} ({})".format(len(r), " ".join(map(str, r))) for r in rows)
    style.put(folder / "faces", "faceList", f"{len(rows)}\n(\n{lines}\n)".encode())
    style.put(folder / "owner", "labelList", style.labels(owner))
    style.put(folder / "neighbour", "labelList", style.labels(np.array([1])))
    text = PRISM.replace("nFaces 7", "nFaces 8").replace("startFace 8", "startFace 9")
    style.put(folder / "boundary", "polyBoundaryMesh", text.encode())
    found, case = openfoam.to_mesh(tmp_path), openfoam.read_case(tmp_path)
    assert {k: len(v) for k, v in found.cells.items()} == {"triangle": 6, "quad": 1}
    area = np.bincount(case.moving.parent, found.volumes().numpy())
    np.testing.assert_allclose(area, [2.0, 1.0], rtol=1e-12)
    np.testing.assert_allclose(case.mesh.cell_geometry[1], [0.4, 0.2], rtol=1e-12)
    openfoam.adapt(tmp_path, Function(lambda x: 1 + 5 * x[:, 0]))
    moved = openfoam.read_case(tmp_path)
    assert moved.mesh.check()["min_pyramid"] > 0
    assert (moved.mesh.points[:n, :2] == moved.mesh.points[n:, :2]).all()
    assert np.abs(moved.mesh.points - points).max() > 0.01


def test_the_geometry_is_that_of_the_cells(tmp_path: Path) -> None:
    """Volumes of tetrahedra; a skewed pair of cells by hand."""
    mesh = ml.generate.box(2, 2, 2, cell="tetra")
    write_mesh(tmp_path, mesh, WALL)
    poly = openfoam.read_case(tmp_path).mesh
    np.testing.assert_allclose(np.sort(poly.cell_geometry[1]), np.sort(mesh.volumes()), rtol=1e-12)
    assert poly.pyramids().sum() == pytest.approx(1.0)
    cube = ml.generate.box(2, 1, 1, cell="hexahedron")
    write_mesh(tmp_path / "cube", cube, WALL)
    check = openfoam.check(tmp_path / "cube")
    assert check["max_non_orthogonality"] == pytest.approx(0, abs=1e-5)
    assert check["max_skewness"] == pytest.approx(0, abs=1e-12)
    assert check["min_volume"] == pytest.approx(0.5)
    assert check["min_pyramid"] == pytest.approx(0.5 / 6, rel=1e-12)


def test_a_point_that_would_turn_a_pyramid_goes_back(tmp_path: Path) -> None:
    write_mesh(tmp_path, box(), WALL)
    mesh = openfoam.read_case(tmp_path).mesh
    points = mesh.points.copy()
    inner = int(np.flatnonzero((np.abs(points - 0.5) < 0.2).all(axis=1))[0])
    points[inner] = [2.0, 2.0, 2.0]
    kept = shortened(mesh, points)
    assert (mesh.moved(kept).pyramids() > 0).all()
    assert (np.delete(kept, inner, 0) == np.delete(mesh.points, inner, 0)).all()
    good = mesh.points.copy()
    good[inner] += 0.01
    assert shortened(mesh, good) is good
    with pytest.raises(MeshError, match="cells are not valid before the move"):
        shortened(mesh.moved(points), mesh.points)


LINEAR = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0], [2.0, 0.0, -1.0]])


@settings(max_examples=10)
@given(data=st.data())
def test_linear_fields_are_exact_at_the_points(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """On distorted hexahedra, with values on the boundary or without, in every format."""
    case = tmp_path_factory.mktemp("case")
    style = data.draw(st.sampled_from(STYLES))
    mesh = box("hexahedron", 4)
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    mesh = mesh.moved(mesh.pos + torch.from_numpy(0.06 * (rng.random(mesh.pos.shape) - 0.5)))
    write_mesh(case, mesh, {"outside": ("patch", everywhere)}, style)
    poly = openfoam.read_case(case).mesh
    outer = poly.face_geometry[0][len(poly.neighbour) :]
    boundary = (
        {"outside": outer @ LINEAR.T} if data.draw(st.booleans()) else {".*": "type zeroGradient;"}
    )
    write_field(case, "2", "U", poly.cell_geometry[0] @ LINEAR.T, boundary, style)
    found = openfoam.read_case(case)
    field = foam_fields.read_field(case, "2", "U", found.mesh)
    slope = foam_fields.gradients(found.mesh, field)
    np.testing.assert_allclose(slope, np.broadcast_to(LINEAR, slope.shape), atol=1e-9)
    at = foam_fields.at_points(found.mesh, field)
    inner = np.setdiff1d(
        np.arange(len(at)), found.mesh.nodes[found.mesh.face_of >= len(poly.neighbour)]
    )
    np.testing.assert_allclose(at[inner], found.mesh.points[inner] @ LINEAR.T, atol=1e-9)
    if "outside" not in boundary:
        np.testing.assert_allclose(at, found.mesh.points @ LINEAR.T, atol=1e-9)


@pytest.mark.parametrize("style", STYLES, ids=str)
@pytest.mark.parametrize("width", [1, 3])
def test_a_field_keeps_every_other_byte(width: int, style: Style, tmp_path: Path) -> None:
    write_mesh(tmp_path, box(), WALL, style)
    rng = np.random.default_rng(0)
    values = rng.random(27) if width == 1 else rng.random((27, 3))
    sides = {"outside": rng.random(54) if width == 1 else rng.random((54, 3))}
    write_field(tmp_path, "1", "q", values, sides, style)
    mesh = openfoam.read_case(tmp_path).mesh
    field = foam_fields.read_field(tmp_path, "1", "q", mesh)
    assert (field.values == values.reshape(27, -1)).all()
    assert (field.boundary["outside"] == sides["outside"].reshape(54, -1)).all()
    new = foam_fields.with_values(field, field.values * 1.5)
    field.file.write(new)
    again = foam_fields.read_field(tmp_path, "1", "q", mesh)
    assert (again.values == field.values * 1.5).all()
    assert (again.boundary["outside"] == field.boundary["outside"]).all()
    old, head, tail = field.file.raw, b"internalField", b"boundaryField"
    assert new[: new.index(head)] == old[: old.index(head)]
    assert new[new.index(tail) :] == old[old.index(tail) :]


BOUNDARIES = """internalField uniform (1 2 3);
boundaryField
{
    #include "nothing"
    lid { type fixedValue; value uniform (1 0 0); }
    "(re|x).*" { type noSlip; }
    frontAndBack { type empty; }
}
"""


def test_boundary_values_by_name_group_and_pattern(tmp_path: Path) -> None:
    write_slab(tmp_path)
    STYLES[0].put(tmp_path / "0" / "U", "volVectorField", BOUNDARIES.encode())
    case = openfoam.read_case(tmp_path)
    field = foam_fields.read_field(tmp_path, "0", "U", case.mesh)
    assert (field.values == [1, 2, 3]).all()
    assert set(field.boundary) == {"lid", "rest"}
    assert (field.boundary["lid"] == [1, 0, 0]).all()
    assert (field.boundary["rest"] == 0).all()
    nodal = case.nodal(field)
    lid = case.nodes_of(next(p for p in case.mesh.patches if p.name == "lid"))
    assert ((nodal[lid] == [1, 0, 0]).all(axis=1)).sum() == 5
    text = BOUNDARIES.replace('"(re|x).*"', "wall").replace("lid {", "other {")
    STYLES[0].put(tmp_path / "1" / "U", "volVectorField", text.encode())
    assert set(foam_fields.read_field(tmp_path, "1", "U", case.mesh).boundary) == {"lid"}
    text = BOUNDARIES.replace("uniform (1 0 0)", "$internalField")
    STYLES[0].put(tmp_path / "2" / "U", "volVectorField", text.encode())
    same = foam_fields.read_field(tmp_path, "2", "U", case.mesh)
    assert (same.boundary["lid"] == [1, 2, 3]).all()


@pytest.mark.parametrize("method", ["conservative", "interpolate"])
@pytest.mark.parametrize("flat", [True, False])
def test_remapped_fields(flat: bool, method: str, tmp_path: Path) -> None:
    """Linear fields away from the boundary are exact; the integral is kept to round-off."""
    if flat:
        write_slab(tmp_path, n=10)
    else:
        write_mesh(tmp_path, box("hexahedron", 5), {"all": ("patch", everywhere)})
    old = openfoam.read_case(tmp_path)
    centre, volume = old.mesh.cell_geometry
    write_field(tmp_path, "1", "T", centre @ LINEAR[0])
    bump = np.exp(-5 * ((centre[:, :2] - 0.4) ** 2).sum(axis=1))
    write_field(tmp_path, "1", "q", bump)
    report = openfoam.adapt(tmp_path, BALL, transfer=["T", "q"], method=method)
    new = openfoam.read_case(tmp_path)
    fields = {
        name: foam_fields.read_field(tmp_path, "1", name, new.mesh).values[:, 0] for name in "Tq"
    }
    after, size = new.mesh.cell_geometry
    assert np.abs(after - centre).max() > 0.01
    # OpenFOAM's centre of a cell with warped faces is not quite its centroid
    warped = not flat and method == "conservative"
    np.testing.assert_allclose(fields["T"], after @ LINEAR[0], atol=1e-3 if warped else 1e-9)
    exact = np.exp(-5 * ((after[:, :2] - 0.4) ** 2).sum(axis=1))
    kept = np.abs(fields["q"] - exact).mean()
    assert kept < 0.4 * np.abs(bump - exact).mean()
    if method == "conservative":
        for name, values in (("T", centre @ LINEAR[0]), ("q", bump)):
            assert fields[name] @ size == pytest.approx(values @ volume, rel=1e-12, abs=1e-14)
    report.undo()
    back = openfoam.read_case(tmp_path)
    assert (back.mesh.points == old.mesh.points).all()
    assert (foam_fields.read_field(tmp_path, "1", "q", back.mesh).values[:, 0] == bump).all()


def test_a_field_leads(tmp_path: Path) -> None:
    """The estimated error of a steep field falls; the points go to a time of their own."""
    write_slab(tmp_path, n=24)
    case = openfoam.read_case(tmp_path)
    write_field(tmp_path, "0.5", "T", np.tanh(20 * (case.mesh.cell_geometry[0][:, 0] - 0.4)))
    constant = (tmp_path / "constant/polyMesh/points").read_bytes()
    report = openfoam.adapt(tmp_path, "T", output="0.5")
    assert report.estimates[1] < report.estimates[0] / 2
    assert (tmp_path / "constant/polyMesh/points").read_bytes() == constant
    written = tmp_path / "0.5/polyMesh/points"
    assert b'location    "0.5/polyMesh";' in written.read_bytes()
    assert openfoam.read_case(tmp_path).mesh.points is not case.mesh.points
    assert (openfoam.read_case(tmp_path, None).mesh.points == case.mesh.points).all()
    np.testing.assert_array_equal(openfoam.to_mesh(tmp_path).pos, report.positions)
    moved = written.read_bytes()
    openfoam.adapt(tmp_path, BALL)  # in the place that holds at the time
    assert written.read_bytes() != moved
    report.undo()
    assert not (tmp_path / "0.5/polyMesh").exists()
    assert (tmp_path / "0.5/T").exists()


def test_times_of_a_case(tmp_path: Path) -> None:
    write_slab(tmp_path)
    for name in ("0", "0.1", "10", "2", "1e-3", "notes", "0.orig"):
        (tmp_path / name).mkdir()
    assert openfoam.read_case(tmp_path).time == "10"
    assert openfoam.read_case(tmp_path, 0.001).time == "1e-3"
    assert openfoam.read_case(tmp_path, "constant").time is None
    with pytest.raises(MeshError, match=r"has no time 3; there are 0, 1e-3, 0\.1, 2, 10"):
        openfoam.read_case(tmp_path, 3)
