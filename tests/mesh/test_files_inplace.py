"""Other coordinates in a file: read - write - read is the identity apart from them."""

from __future__ import annotations

import difflib
import itertools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import meshio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

import meshlearn as ml
from meshlearn.mesh import Mesh, MeshError
from meshlearn.mesh.files.inplace import find_slots, rewritable, rewrite
from meshlearn.mesh.files.inplace.slots import spliced, tokens

from .file_samples import SAMPLES, sample

pytestmark = pytest.mark.filterwarnings("ignore::meshlearn.mesh.convert.losses.LossWarning")

Make = Callable[[Path, Mesh], Path]


def ours(suffix: str, **options: object) -> Make:
    def make(folder: Path, mesh: Mesh) -> Path:
        path = folder / f"mesh{suffix}"
        mesh.write(path, **options)
        return path

    return make


def by_meshio(suffix: str, **options: object) -> Make:
    def make(folder: Path, mesh: Mesh) -> Path:
        path = folder / f"mesh{suffix}"
        points = np.zeros((mesh.num_nodes, 3))
        points[:, : mesh.dim] = mesh.pos.numpy()
        cells = {name: nodes.numpy() for name, nodes in mesh.cells.items()}
        meshio.Mesh(points, cells).write(path, **options)
        return path

    return make


def by_vtk(coded: bool, appended: bool, compressor: str, double: bool = True) -> Make:
    def make(folder: Path, mesh: Mesh) -> Path:
        from vtkmodules import vtkIOXML

        writer = vtkIOXML.vtkXMLUnstructuredGridWriter()
        grid = mesh.to_pyvista()
        if not double:
            grid.points = grid.points.astype(np.float32)
        writer.SetInputData(grid)
        writer.SetFileName(str(folder / "mesh.vtu"))
        writer.SetDataModeToAppended() if appended else writer.SetDataModeToBinary()
        writer.SetEncodeAppendedData(coded)
        writer.SetBlockSize(64)
        getattr(writer, f"SetCompressorTypeTo{compressor}")()
        assert writer.Write()
        return folder / "mesh.vtu"

    return make


EXACT: dict[str, Make] = {
    "msh 4.1 binary": ours(".msh", binary=True),
    "msh 4.1 text": ours(".msh", binary=False),
    "msh 2.2 binary": ours(".msh", format="gmsh22", binary=True),
    "msh 2.2 text": ours(".msh", format="gmsh22", binary=False),
    "su2": ours(".su2"),
    "abaqus": ours(".inp"),
    "medit": ours(".mesh"),
    "vtk binary": ours(".vtk"),
    "vtk text": by_meshio(".vtk", binary=False),
    "vtu raw": ours(".vtu"),
    "vtu text": ours(".vtu", binary=False),
    "vtu of meshio": by_meshio(".vtu"),
    "med": by_meshio(".med"),
}
for coded, appended, compressor in itertools.product(
    (False, True), (False, True), ("None", "ZLib", "LZMA")
):
    EXACT[f"vtu {compressor} coded {coded} appended {appended}"] = by_vtk(
        coded, appended, compressor
    )
ROUNDED: dict[str, tuple[Make, float]] = {
    "nastran": (ours(".bdf"), 1e-10),
    "vtu single": (by_vtk(False, True, "ZLib", double=False), 1e-6),
}


def read(path: Path) -> Mesh:
    return ml.read(path, allow=tuple(ml.mesh.validate.CHECKS))


def equal_but_points(first: Mesh, second: Mesh) -> bool:
    return first.moved(second.pos) == second


def wide(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Positions of the mesh with the columns that the file has."""
    out = points.copy()
    out[:, : mesh.dim] = mesh.pos.numpy()
    return out


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same square in every format."""
    square = ml.generate.rectangle(3, 2)
    found = {}
    for name, make in {**EXACT, **{name: make for name, (make, _) in ROUNDED.items()}}.items():
        found[name] = make(tmp_path_factory.mktemp("format"), square)
    return found


@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_the_same_points_give_the_same_file(written: dict[str, Path], name: str) -> None:
    path = written[name]
    target = path.with_name(f"same{path.suffix}")
    rewrite(path, find_slots(path).points, target)
    assert target.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=8)
@given(data=st.data())
def test_only_points_change(written: dict[str, Path], name: str, data: st.DataObject) -> None:
    """Read - write - read; and back again, which gives the first file byte for byte."""
    path = written[name]
    mesh, slots = read(path), find_slots(path)
    assert (slots.points[:, : mesh.dim] == mesh.pos.numpy()).all()
    numbers = st.floats(-1e300, 1e300, allow_subnormal=False)
    new = data.draw(arrays_of.arrays(float, slots.points.shape, elements=numbers))
    new[:, mesh.dim :] = slots.points[:, mesh.dim :]
    stay = data.draw(st.integers(0, len(new)))
    new[:stay] = slots.points[:stay]
    with tempfile.TemporaryDirectory() as folder:
        first, second = (Path(folder) / f"{k}{path.suffix}" for k in (1, 2))
        rewrite(path, new, first)
        moved = read(first)
        assert (find_slots(first).points == new).all()
        assert (moved.pos.numpy() == new[:, : mesh.dim]).all()
        assert equal_but_points(mesh, moved)
        rewrite(first, slots.points, second)
        assert read(second) == mesh
        if not name.startswith(("vtu", "med")):
            assert outside(second) == outside(path)


def outside(path: Path) -> bytes:
    """The file with all coordinates taken out."""
    slots = find_slots(path)
    raw = path.read_bytes()
    if hasattr(slots, "begin"):
        places = sorted(zip(slots.begin.ravel(), slots.end.ravel(), strict=True))
        return spliced(raw, [(a, b, b"") for a, b in places])
    places = [(a, b) for a, b, _ in slots.encode(slots.points + 1.0)]
    return spliced(raw, [(a, b, b"") for a, b in places if not raw[a:b].isdigit()])


@pytest.mark.parametrize("name", [name for name in EXACT if "med" not in name[:3]])
def test_bytes_outside_the_coordinates_stay(written: dict[str, Path], name: str) -> None:
    path = written[name]
    target = path.with_name(f"moved{path.suffix}")
    slots = find_slots(path)
    rewrite(path, slots.points * 1.25 + 0.125, target)
    if name.startswith("vtu"):
        pattern = re.compile(rb'offset="\d+"')
        one, two = (pattern.sub(b"", outside(p)) for p in (path, target))
        assert one == two
    else:
        assert outside(target) == outside(path)


def test_hdf5_keeps_what_is_outside_its_data_sets(tmp_path: Path) -> None:
    """CGNS without compression, of tetrahedra: all that meshio reads."""
    path, moved = tmp_path / "mesh.cgns", tmp_path / "moved.cgns"
    box = ml.generate.box(2, 1, 1)
    cells = [("tetra", box.cells["tetra"].numpy())]
    meshio.write(path, meshio.Mesh(box.pos.numpy(), cells), compression=None, compression_opts=None)
    new = 1.25 * box.pos.numpy() + 0.125
    rewrite(path, new, moved)
    assert equal_but_points(read(path), read(moved))
    assert (read(moved).pos.numpy() == new).all()
    kept = []
    for file in (path, moved):
        with h5py.File(file) as opened:
            names = [f"Base/Zone1/GridCoordinates/Coordinate{axis}/ data" for axis in "XYZ"]
            data = [opened[name].id for name in names]
            places = [(d.get_offset(), d.get_offset() + d.get_storage_size()) for d in data]
        kept.append(spliced(file.read_bytes(), [(a, b, b"") for a, b in sorted(places)]))
    assert kept[0] == kept[1]


@pytest.mark.parametrize("name", ROUNDED)
def test_narrow_numbers_are_rounded(written: dict[str, Path], name: str, tmp_path: Path) -> None:
    path, tolerance = written[name], ROUNDED[name][1]
    mesh, slots = read(path), find_slots(path)
    rng = np.random.default_rng(0)
    new = slots.points.copy()
    new[:, :2] += 0.1 * rng.random((len(new), 2))
    target = tmp_path / path.name
    rewrite(path, new, target)
    moved = read(target)
    np.testing.assert_allclose(moved.pos.numpy(), new[:, :2], rtol=tolerance)
    assert equal_but_points(mesh, moved)


@pytest.mark.parametrize("suffix", [".msh", ".su2", ".inp", ".mesh", ".vtk", ".vtu"])
@pytest.mark.parametrize("kind", [name for name in SAMPLES if name != "line"])
def test_every_cell_type(kind: str, suffix: str, tmp_path: Path) -> None:
    """Tags, fields and cells of all types are what they were."""
    mesh = sample(kind)
    path = tmp_path / f"mesh{suffix}"
    mesh.write(path)
    before, slots = read(path), find_slots(path)
    new = slots.points.copy()
    new[:, : before.dim] *= 1.5
    rewrite(path, new)
    assert equal_but_points(before, read(path))
    assert (read(path).pos == 1.5 * before.pos).all()


SU2 = """% a comment with NPOIN= 3 in it
NDIME= 2
% second
NELEM= 2
5 0 1 2 0
5 0 2 3 1
  NPOIN =4 4   % as many
0 0 0
% the far side = x
1.0e0   0.0\t1
1\t1 2

0 1 3
NMARK= 1
MARKER_TAG= wall
MARKER_ELEMS= 1
3 0 1
SEND_RECV= 0
"""
ABAQUS = """*HEADING
a plate *NODE
**
*NODE, NSET=all
 1, 0., 0.
** between
 2 ,1.0 ,  0.
 7, 1., 1.
*ELEMENT, TYPE=CPS3, ELSET=e
1, 1, 2, 7
2, 1, 7, 9
*Node
9, 0, 1.
*MATERIAL, NAME=steel
*ELASTIC
2.1e5, 0.3
*STEP
*END STEP
"""
NASTRAN = """SOL 101
$ a comment
BEGIN BULK
MAT1    1       2.1+5           .3
GRID    1               0.0     0.0     0.0
GRID    2               1.      0.0     0.0     2
GRID*                  7                             1.0             1.0
*                    0.0
GRID,9,,0.,1.,0.
CTRIA3  1       1       1       2       7
CTRIA3  2       1       1       7       9
ENDDATA
"""


@pytest.mark.parametrize(("suffix", "text"), [(".su2", SU2), (".inp", ABAQUS), (".bdf", NASTRAN)])
def test_what_others_write_survives(suffix: str, text: str, tmp_path: Path) -> None:
    """Comments, unknown keywords, odd spacing, numbers with gaps: all as it was, but one number."""
    path = tmp_path / f"case{suffix}"
    path.write_text(text)
    slots = find_slots(path)
    assert slots.points[:, :2].tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    new = slots.points.copy()
    new[2, 0] = 1.25
    rewrite(path, new)
    assert read(path).pos.tolist()[2] == [1.25, 1.0]
    changes = [
        line
        for line in difflib.ndiff(text.splitlines(), path.read_text().splitlines())
        if line[0] in "+-"
    ]
    assert len(changes) == 2
    assert "1.25" in changes[1]


@pytest.mark.parametrize(
    ("suffix", "text", "sentence"),
    [
        (".su2", "NDIME= 2\n", "it lacks NDIME or NPOIN"),
        (".su2", "NDIME= 2\nNPOIN= 3\n0 0\n", "cannot find the coordinates of NPOIN"),
        (".inp", "*ELEMENT\n", r"its \*NODE lines have no"),
        (".mesh", "MeshVersionFormatted 2\n", "it lacks Dimension or Vertices"),
        (".bdf", "ENDDATA\n", "there are no GRID cards"),
        (".bdf", "GRID    1               1.\nENDDATA", "a GRID card leaves out a coordinate"),
        (".bdf", "GRID,1,,1.,1.\nENDDATA", "a GRID card leaves out a coordinate"),
        (".bdf", "GRID    1\t\t0.0     0.0     0.0\n", "GRID cards with tabs"),
        (".msh", "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n", r"the file ends before \$Nodes"),
        (".vtk", "# vtk DataFile Version 3.0\nx\nASCII\n", "there is no section POINTS"),
        (".vtu", "<VTKFile></VTKFile>", "it holds no unstructured grid"),
        (".vtu", "nothing", "the file ends before"),
        (".cgns", "nothing", "it is damaged"),
        (".xdmf", "", "the coordinates of xdmf files cannot be replaced alone, only those of gmsh"),
        (".none", "", "cannot tell the format"),
    ],
)
def test_files_without_coordinates(suffix: str, text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    with pytest.raises(MeshError, match=sentence):
        find_slots(path)


def test_points_that_do_not_fit(written: dict[str, Path]) -> None:
    path = written["su2"]
    before = path.read_bytes()
    with pytest.raises(MeshError, match=r"the file has coordinates \[12, 2\], got \[3, 2\]"):
        rewrite(path, np.zeros((3, 2)))
    bad = find_slots(path).points.copy()
    bad[4, 1] = np.nan
    with pytest.raises(MeshError, match="the new coordinates of node 4 are not finite"):
        rewrite(path, bad)
    assert path.read_bytes() == before


def test_gmsh_numbers_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "mesh.msh"
    path.write_text(
        "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Comments\nkept $Nodes\n$EndComments\n"
        "$Nodes\n3\n30 0 1 0\n10 0 0 0\n20 1 0 0\n$EndNodes\n"
        "$Elements\n1\n1 2 2 7 1 10 20 30\n$EndElements\n$Unknown\nstays\n$EndUnknown\n"
    )
    before = path.read_text()
    assert find_slots(path).points.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    rewrite(path, np.array([[0, 0, 0], [2.5, 0, 0], [0, 1, 0]]))
    assert path.read_text() == before.replace("20 1 0 0", "20 2.5 0 0")
    assert ml.read(path).pos.tolist() == [[0, 0], [2.5, 0], [0, 1]]


@given(st.text(st.sampled_from("ab, \n\t%"), max_size=60))
def test_words_are_where_python_finds_them(text: str) -> None:
    raw = text.encode()
    found = tokens(raw, 0, len(raw), separators=b",", comment=b"%")
    expected = [
        (number, word)
        for number, line in enumerate(text.split("\n"))
        if not line.replace(",", " ").lstrip().startswith("%")
        for word in line.replace(",", " ").split()
    ]
    got = [
        (int(number), raw[a:b].decode())
        for a, b, number in zip(found.begin, found.end, found.line, strict=True)
    ]
    assert got == expected


def test_which_formats() -> None:
    assert rewritable(Path("a.msh"))
    assert not rewritable(Path("a.stl"))
