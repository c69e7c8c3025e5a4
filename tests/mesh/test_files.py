"""What goes into a file comes out of it, for every format and cell type; what cannot is named."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
import pyvista
import torch
from hypothesis import given
from hypothesis import strategies as st

from meshlearn.mesh import LossWarning, Mesh, MeshError
from meshlearn.mesh.files import FORMATS, known_suffixes, read, write

from .file_samples import SAMPLES, same_geometry, sample, tag_sets

VARIANTS = [
    ("vtu", ".vtu", True),
    ("vtu", ".vtu", False),
    ("vtk", ".vtk", True),
    ("xdmf", ".xdmf", None),
    ("gmsh", ".msh", True),
    ("gmsh", ".msh", False),
    ("gmsh22", ".msh", True),
    ("gmsh22", ".msh", False),
    ("su2", ".su2", None),
    ("abaqus", ".inp", None),
    ("medit", ".mesh", None),
    ("nastran", ".bdf", None),
    ("stl", ".stl", False),
    ("ply", ".ply", True),
    ("ply", ".ply", False),
    ("obj", ".obj", None),
]
EXACT = ("vtu", "vtk", "xdmf")
SURFACES = {
    "stl": ("triangle", "surface"),
    "ply": ("triangle", "surface", "quad", "triangle and quad"),
    "obj": ("triangle", "surface", "quad", "triangle and quad"),
}
HELD = {  # tags that a format holds for cells above dimension 1
    **dict.fromkeys(("gmsh", "gmsh22", "abaqus", "medit"), ("facet", "cell", "point")),
    "su2": ("facet",),
    "nastran": ("facet", "cell"),
    "stl": (),
    "ply": (),
    "obj": ("cell",),
}
ANY_SHAPE = ("inverted", "degenerate", "duplicate", "hanging")
CASES = [
    pytest.param(*variant, name, id=f"{variant[0]}-{'binary' if variant[2] else 'text'}-{name}")
    for variant in VARIANTS
    for name in SAMPLES
    if name in SURFACES.get(variant[0], SAMPLES)
]


def _through(mesh: Mesh, path: Path, form: str, binary: bool | None) -> tuple[Mesh, str]:
    """The mesh that comes back, and what was said to be lost."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        write(mesh, path, format=form, binary=binary)
    assert len(caught) <= 1
    assert all(issubclass(item.category, LossWarning) for item in caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(path), str(caught[0].message) if caught else ""


@pytest.mark.parametrize(("form", "suffix", "binary", "name"), CASES)
def test_round_trip(form: str, suffix: str, binary: bool | None, name: str, tmp_path: Path) -> None:
    mesh = sample(name)
    back, lost = _through(mesh, tmp_path / f"mesh{suffix}", form, binary)
    if form in EXACT:
        assert back == mesh
        assert not lost
        return
    if form == "nastran":
        assert torch.allclose(back.pos, mesh.pos, rtol=1e-13, atol=1e-300)
        back = back.moved(mesh.pos)
    assert same_geometry(back, mesh)
    before, after = tag_sets(mesh), tag_sets(back)
    for kind in ("facet", "cell", "point"):
        if mesh.cell_dim > 1 and kind in HELD[form]:
            assert after[kind] == before[kind]
    for field, kind in mesh.field_kinds.items():
        if field in back.field_kinds:
            assert back.field_kinds[field] == kind
            assert torch.equal(back[field].double(), mesh[field].double())
            assert back[field].shape == mesh[field].shape
        else:
            assert repr(field) in lost
    for kind in ("facet", "cell", "point"):
        for tag in before[kind].keys() - after[kind].keys():
            assert repr(tag) in lost


@pytest.mark.parametrize(("form", "suffix", "binary"), VARIANTS)
def test_a_mesh_without_tags_and_fields_loses_nothing(
    form: str, suffix: str, binary: bool | None, tmp_path: Path
) -> None:
    mesh = sample(
        "surface",
        facet_tags=False,
        cell_tags=False,
        point_tags=False,
        fields=False,
        facet_fields=False,
    )
    back, lost = _through(mesh, tmp_path / f"mesh{suffix}", form, binary)
    assert not lost
    assert same_geometry(back.moved(mesh.pos), mesh)
    assert tag_sets(back) == tag_sets(mesh)


@given(
    values=st.lists(
        st.floats(-1e150, 1e150).filter(lambda x: x == 0 or abs(x) > 1e-150), min_size=6, max_size=6
    ),
    variant=st.sampled_from([v for v in VARIANTS if v[0] not in ("nastran", "stl")]),
)
def test_positions_keep_every_bit(
    values: list[float],
    variant: tuple[str, str, bool | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    form, suffix, binary = variant
    pos = np.array(values).reshape(3, 2)
    mesh = Mesh.from_cells(pos, {"triangle": [[0, 1, 2]]}, allow=ANY_SHAPE)
    path = tmp_path_factory.mktemp("bits") / f"mesh{suffix}"
    write(mesh, path, format=form, binary=binary)
    back = read(path, allow=ANY_SHAPE)
    stored = back.pos if back.dim == 2 else back.pos[:, :2]
    assert (stored == mesh.pos).all()


@given(
    values=st.lists(
        st.floats(-1e90, 1e90).filter(lambda x: x == 0 or abs(x) > 1e-90), min_size=6, max_size=6
    )
)
def test_nastran_uses_its_sixteen_characters(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    mesh = Mesh.from_cells(
        np.array(values).reshape(3, 2),
        {"triangle": [[0, 1, 2]]},
        allow=ANY_SHAPE,
    )
    path = tmp_path_factory.mktemp("digits") / "mesh.bdf"
    write(mesh, path)
    back = read(path, allow=ANY_SHAPE)
    assert torch.allclose(back.pos, mesh.pos, rtol=1e-10, atol=0)
    assert all(len(line.rstrip()) <= 72 for line in path.read_text().splitlines())


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf"])
def test_empty_and_unsorted_tags_survive(suffix: str, tmp_path: Path) -> None:
    pos, cells, _, _ = SAMPLES["triangle"]
    mesh = Mesh.from_cells(
        pos,
        cells,
        facet_tags={"none": np.zeros((0, 2), int)},
        cell_tags={"none": [], "unsorted": [2, 0]},
        point_tags={"none": [], "unsorted": [4, 1]},
    )
    mesh.write(tmp_path / f"mesh{suffix}")
    assert read(tmp_path / f"mesh{suffix}") == mesh


def test_paraview_sees_cells_only_and_tags_to_colour_by(tmp_path: Path) -> None:
    mesh = sample("triangle")
    mesh.write(tmp_path / "mesh.vtu")
    grid = pyvista.read(tmp_path / "mesh.vtu")
    assert grid.n_cells == mesh.num_cells
    assert np.array_equal(grid.cell_data["tag:12"], [0, 0, 1])
    assert np.array_equal(grid.point_data["vector"], mesh["vector"])


def test_xdmf_notices_a_companion_that_is_not_its_own(tmp_path: Path) -> None:
    sample("triangle").write(tmp_path / "a.xdmf")
    sample("quad").write(tmp_path / "b.xdmf")
    (tmp_path / "b.h5").replace(tmp_path / "a.h5")
    with pytest.raises(MeshError, match=r"a\.h5 belongs to another mesh"):
        read(tmp_path / "a.xdmf")
    (tmp_path / "a.h5").unlink()
    with pytest.raises(MeshError, match=r"companion a\.h5 is not beside it"):
        read(tmp_path / "a.xdmf")


def test_stl_merges_equal_corners_and_names_what_it_loses(tmp_path: Path) -> None:
    mesh = sample("surface", fields=False, facet_fields=False)
    with pytest.warns(LossWarning, match="facet tags 'in flow', '7', 'both', cell tags .*float32"):
        write(mesh, tmp_path / "mesh.stl", binary=True)
    back = read(tmp_path / "mesh.stl")
    assert back.num_nodes == mesh.num_nodes
    assert torch.equal(back.pos, mesh.pos.float().double())


def test_unknown_formats_list_the_known_ones(tmp_path: Path) -> None:
    mesh = sample("triangle")
    known = re.escape(".vtu, .vtk")
    with pytest.raises(
        MeshError, match=rf"cannot tell the format of .*'\.xyz'; known are .*{known}"
    ):
        mesh.write(tmp_path / "mesh.xyz")
    with pytest.raises(MeshError, match="name without a suffix"):
        read(tmp_path / "mesh")
    with pytest.raises(MeshError, match="unknown format 'wishful'; known are gmsh, gmsh22, vtu"):
        read(tmp_path / "mesh.vtu", format="wishful")
    assert {suffix for item in FORMATS.values() for suffix in item.suffixes} <= set(
        known_suffixes()
    )


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("tetra", "mesh.stl", "STL holds triangles only; this mesh has tetra"),
        ("wedge", "mesh.ply", "PLY holds triangles and quads; this mesh has wedge"),
        ("line", "mesh.obj", "OBJ holds triangles and quads; this mesh has line"),
        ("triangle", "mesh.vtp", "vtkxml files can only be read"),
    ],
)
def test_cells_that_a_format_cannot_hold(
    name: str, file: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(MeshError, match=message):
        sample(name).write(tmp_path / file)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tags", "file", "message"),
    [
        ({"cell_tags": {'a"b': [0]}}, "m.msh", "rename it without quotes"),
        (
            {"point_tags": {"A": [0], "a": [1]}},
            "m.inp",
            "does not tell the names 'A' and 'a' apart",
        ),
        ({"cell_tags": {"a,b": [0]}}, "m.inp", "cannot hold the tag name 'a,b'"),
        ({"cell_tags": {"a b": [0]}}, "m.obj", "cannot hold the tag name 'a b'"),
    ],
)
def test_names_that_a_format_cannot_hold(
    tags: dict[str, dict[str, list[int]]], file: str, message: str, tmp_path: Path
) -> None:
    pos, cells, _, _ = SAMPLES["triangle"]
    with pytest.raises(MeshError, match=message):
        Mesh.from_cells(pos, cells, **tags).write(tmp_path / file)
