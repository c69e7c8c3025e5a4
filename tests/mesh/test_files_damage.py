"""Files that are missing, cut off, damaged or not writable: one clear error, nothing half done."""

from __future__ import annotations

import random
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from meshlearn.mesh import LossWarning, Mesh, MeshError
from meshlearn.mesh.files import read, registry, write
from meshlearn.mesh.files.registry import FORMATS, Format

from .file_samples import sample
from .test_files import VARIANTS

CUTS, FLIPS = 60, 40


def _written(variant: tuple[str, str, bool | None], folder: Path) -> Path:
    form, suffix, binary = variant
    path = folder / f"mesh{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LossWarning)
        write(sample("surface"), path, format=form, binary=binary)
    return path


def _read(path: Path) -> Mesh | MeshError:
    try:
        return read(path)
    except MeshError as error:
        return error


@pytest.mark.parametrize("variant", [*VARIANTS, ("stl", ".stl", True)], ids=str)
def test_a_file_that_is_cut_off_is_an_error_or_whole(
    variant: tuple[str, str, bool | None], tmp_path: Path
) -> None:
    path = _written(variant, tmp_path)
    whole, raw = read(path), path.read_bytes()
    cuts = {*range(0, len(raw), max(1, len(raw) // CUTS)), *range(len(raw) - 12, len(raw))}
    for cut in sorted(cuts):
        path.write_bytes(raw[:cut])
        found = _read(path)
        assert found == whole or str(path) in str(found), f"cut after {cut} of {len(raw)} bytes"


@pytest.mark.parametrize("variant", [*VARIANTS, ("stl", ".stl", True)], ids=str)
def test_a_damaged_file_never_ends_in_another_error(
    variant: tuple[str, str, bool | None], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = _written(variant, tmp_path)
    raw, rng = path.read_bytes(), random.Random(1)
    for _ in range(FLIPS):
        damaged = bytearray(raw)
        for _ in range(rng.choice((1, 3, 20))):
            damaged[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LossWarning)
            found = _read(path)
        assert isinstance(found, Mesh) or str(path) in str(found)
    assert capfd.readouterr() == ("", "")


def test_a_cut_companion_of_xdmf(tmp_path: Path) -> None:
    path = _written(("xdmf", ".xdmf", None), tmp_path)
    raw = (tmp_path / "mesh.h5").read_bytes()
    for cut in range(0, len(raw), len(raw) // 20):
        (tmp_path / "mesh.h5").write_bytes(raw[:cut])
        with pytest.raises(MeshError, match="damaged or incomplete"):
            read(path)


@pytest.mark.parametrize(
    "suffix", [s for item in FORMATS.values() for s in item.suffixes] + [".med", ".vol"]
)
def test_empty_files_and_nonsense(suffix: str, tmp_path: Path) -> None:
    for content in (b"", b"\n", b"nonsense\n" * 20, bytes(range(256)) * 4):
        path = tmp_path / f"mesh{suffix}"
        path.write_bytes(content)
        with pytest.raises(MeshError, match=re.escape(str(path))):
            read(path)


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"no\.vtu does not exist"):
        read(tmp_path / "no.vtu")
    (tmp_path / "folder.vtu").mkdir()
    with pytest.raises(MeshError, match="is a directory, not a mesh file"):
        read(tmp_path / "folder.vtu")
    with pytest.raises(MeshError, match="is a directory; give the name of a file"):
        sample("triangle").write(tmp_path / "folder.vtu")
    with pytest.raises(MeshError, match=r"cannot write .*No such file or directory"):
        sample("triangle").write(tmp_path / "nowhere" / "mesh.vtu")
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshError, match=r"cannot write .*Not a directory"):
        sample("triangle").write(tmp_path / "file" / "mesh.vtu")


def test_a_file_without_cells(tmp_path: Path) -> None:
    (tmp_path / "points.msh").write_text(
        "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n1\n1 0 0 0\n$EndNodes\n"
        "$Elements\n1\n1 15 2 1 1 1\n$EndElements\n"
    )
    with pytest.raises(MeshError, match=r"points\.msh: there are no cells"):
        read(tmp_path / "points.msh")


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_coordinates_that_are_not_numbers(
    variant: tuple[str, str, bool | None], tmp_path: Path
) -> None:
    form, suffix, binary = variant
    mesh = sample("triangle", facet_tags=False, cell_tags=False, point_tags=False, fields=False)
    pos = mesh.pos.clone()
    pos[2, 0] = np.nan
    bad = Mesh.from_cells(
        pos,
        {"triangle": mesh.cells["triangle"]},
        allow=("nonfinite", "inverted", "degenerate", "hanging"),
    )
    path = tmp_path / f"mesh{suffix}"
    if form == "nastran":
        with pytest.raises(MeshError, match="Nastran has no numbers that are not finite"):
            write(bad, path)
        return
    write(bad, path, format=form, binary=binary)
    with pytest.raises(MeshError, match=re.escape(str(path))):
        read(path)


@pytest.mark.parametrize("suffix", [".vtu", ".xdmf", ".msh", ".su2"])
def test_a_write_that_fails_leaves_the_old_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"mesh{suffix}"
    sample("triangle", **_NOTHING).write(path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    good = registry.find_format(path)

    def fail(mesh: Mesh, place: Path, lost: list[str], binary: bool) -> None:
        assert good.write is not None
        good.write(mesh, place, lost, binary)
        place.write_bytes(place.read_bytes()[:100])
        raise OSError(28, "No space left on device")

    failing = Format(good.name, good.suffixes, good.read, fail, good.text_only)
    monkeypatch.setitem(FORMATS, good.name, failing)
    with pytest.raises(MeshError, match=r"cannot write .*No space left on device"):
        sample("quad", **_NOTHING).write(path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    monkeypatch.undo()
    assert read(path) == sample("triangle", **_NOTHING)


_NOTHING = {
    "cell_tags": False,
    "point_tags": False,
    "facet_tags": False,
    "fields": False,
    "facet_fields": False,
}


def test_a_loss_that_is_an_error_writes_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", LossWarning)
        with pytest.raises(LossWarning, match="facet fields 'flux'"):
            sample("triangle").write(tmp_path / "mesh.msh")
    assert not list(tmp_path.iterdir())


def test_a_link_and_the_rights_of_a_file_are_kept(tmp_path: Path) -> None:
    mesh = sample("triangle")
    mesh.write(tmp_path / "real.vtu")
    (tmp_path / "real.vtu").chmod(0o640)
    (tmp_path / "link.vtu").symlink_to("real.vtu")
    mesh.moved(2 * mesh.pos).write(tmp_path / "link.vtu")
    assert (tmp_path / "link.vtu").is_symlink()
    assert (tmp_path / "real.vtu").stat().st_mode & 0o777 == 0o640
    assert read(tmp_path / "real.vtu") == mesh.moved(2 * mesh.pos)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("a.msh", "$MeshFormat\n4 0 8\n$EndMeshFormat\n", "MSH 4.0 is not supported"),
        ("a.msh", "(0 fluent)\n", "Fluent mesh"),
        ("a.mesh", "MFEM mesh v1.0\n", "not a Medit mesh"),
        ("a.inp", "*NODE\n1,0,0\n*INCLUDE, INPUT=b.inp\n", r"\*INCLUDE is not supported"),
        ("a.inp", "*NODE\n1,0,0\n1,1,0\n*ELEMENT, TYPE=T2D2\n1,1,1\n", "node 1 is defined twice"),
        ("a.inp", "*NODE\n1,0,0\n*ELEMENT, TYPE=CUSTOM\n1,1,1\n", "elements of type 'CUSTOM'"),
        ("a.su2", "NZONE= 2\n", "several zones"),
        ("a.bdf", "BEGIN BULK\nGRID,1,4,0.,0.,0.\nENDDATA\n", "local coordinate system"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 2 0\nf 1 2 3 4 5\n", "5 corners"),
    ],
)
def test_what_is_not_supported_says_so(
    file: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(MeshError, match=message):
        read(tmp_path / file)
