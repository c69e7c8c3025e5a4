"""OpenFOAM cases that are not what they should be: one sentence each, and nothing is changed."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from polymesh import Style, everywhere, side, write_field, write_mesh

import meshlearn as ml
from meshlearn.mesh import MeshError
from meshlearn.monitors import Constant
from meshlearn.plugins import openfoam
from meshlearn.plugins.arrays import PluginError

POLY = "constant/polyMesh"


@pytest.fixture
def case(tmp_path: Path) -> Path:
    mesh = ml.generate.box(2, 2, 2, cell="hexahedron")
    patches = {"top": ("patch", side(2, 1.0)), "rest": ("wall", everywhere)}
    write_mesh(tmp_path, mesh, patches)
    write_field(tmp_path, "1", "T", np.arange(8.0))
    return tmp_path


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(case: Path) -> None:
        path = case / name
        text = path.read_text()
        assert re.search(old, text), text
        path.write_text(re.sub(old, new, text, count=1))

    return change


def removed(name: str) -> Callable[[Path], None]:
    return lambda case: (case / name).unlink()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (removed(f"{POLY}/points"), "has no constant/polyMesh/points: make the mesh first"),
        (removed(f"{POLY}/owner"), "polyMesh lacks the file owner"),
        (replaced(f"{POLY}/owner", "FoamFile", "Foam"), "owner has no FoamFile header"),
        (replaced(f"{POLY}/owner", r"36\n", "37\n"), "announces 37 labels but holds 36"),
        (replaced(f"{POLY}/owner", r"36\n\(", "36 ["), "owner: expected a list after its header"),
        (replaced(f"{POLY}/owner", r"\n0\n", "\nzero\n"), "a list holds what is no number"),
        (replaced(f"{POLY}/points", r"27\n", "28\n"), "announces 28 points but is not complete"),
        (replaced(f"{POLY}/faces", r"36\n", "35\n"), "announces 35 faces but is not complete"),
        (replaced(f"{POLY}/faces", r"4\((\d+) ", "4(99 "), "a face names point 99 of 27"),
        (replaced(f"{POLY}/boundary", "wall", "processor"), "reconstruct the case first"),
        (
            replaced(f"{POLY}/points", r"27\n\(\n\([^)]*\)", "27\n(\n(9 9 9)"),
            "1 of 8 cells are inverted",
        ),
        (replaced("1/T", "volScalarField", "surfaceScalarField"), "not a volScalarField or vol"),
        (replaced("1/T", r"internalField", "outerField"), "T has no internalField"),
        (replaced("1/T", r"8\n\(", "7\n("), "a list of 7 scalars stands where the mesh needs 8"),
        (replaced("1/T", r"\n7\.0", ""), "a list of 8 scalars is not complete"),
        (replaced("1/T", r"nonuniform [^;]*;", "$inlet;"), r"internalField '\$inlet' is not given"),
        (replaced("1/T", r"nonuniform List<scalar>", "uniform"), "is not given in numbers"),
    ],
)
def test_damage(case: Path, change: Callable[[Path], None], sentence: str) -> None:
    change(case)
    before = {path: path.read_bytes() for path in case.rglob("*") if path.is_file()}
    with pytest.raises(MeshError, match=sentence):
        openfoam.adapt(case, "T")
    assert {path: path.read_bytes() for path in case.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"guide": "U"}, "there is no field 'U' at time 1; the cell fields are: 'T'"),
        ({"time": "7"}, "has no time 7; there are 1"),
        ({"time": None}, "has no time directory with a field 'T'"),
        ({"slide_patches": ["up"]}, "there is no patch 'up'; the patches are 'top', 'rest'"),
        ({"fixed": ["up"]}, "there is no patch 'up'; the patches are 'top', 'rest'"),
        ({"output": "there"}, 'output is "same", "constant" or a time, not \'there\''),
        ({"transfer": ["p"]}, "there is no field 'p' at time 1"),
        (
            {"transfer": ["T"], "method": "guess"},
            'is "interpolate" or "conservative", not \'guess\'',
        ),
        ({"guide": np.ones(3)}, "must have a value for each of 27 nodes"),
        ({"guide": np.full(27, np.nan)}, "is not finite at node 0"),
        ({"mover": "teleport"}, "unknown mover 'teleport'"),
        ({"iterations": 2}, "need resolve="),
    ],
)
def test_settings(case: Path, options: dict, sentence: str) -> None:
    before = {path: path.read_bytes() for path in case.rglob("*") if path.is_file()}
    guide = options.pop("guide", "T")
    with pytest.raises((MeshError, PluginError), match=sentence):
        openfoam.adapt(case, guide, **options)
    assert {path: path.read_bytes() for path in case.rglob("*") if path.is_file()} == before


def test_not_a_case(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match="nowhere is not a directory"):
        openfoam.read_case(tmp_path / "nowhere")
    with pytest.raises(MeshError, match=r"positions must be|make the mesh first"):
        openfoam.set_positions(tmp_path, np.zeros((1, 3)))


def test_binary_damage(tmp_path: Path) -> None:
    write_mesh(tmp_path, ml.generate.box(1, 1, 1), {"a": ("wall", everywhere)}, Style(True))
    path = tmp_path / POLY / "points"
    path.write_bytes(path.read_bytes().replace(b"scalar=64", b"scalar=32"))
    with pytest.raises(MeshError, match="a binary list does not end where it should"):
        openfoam.read_case(tmp_path)


def test_compressed_damage(tmp_path: Path) -> None:
    write_mesh(
        tmp_path, ml.generate.box(1, 1, 1), {"a": ("wall", everywhere)}, Style(compressed=True)
    )
    path = tmp_path / POLY / "points.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()))[:-20])
    with pytest.raises(MeshError, match=r"cannot read .*points\.gz"):
        openfoam.read_case(tmp_path)


@pytest.mark.parametrize(
    ("patches", "sentence"),
    [
        ({"a": ("empty", side(2, 0.0)), "b": ("wedge", everywhere)}, "of type empty and of type w"),
        (
            {"a": ("wedge", side(2, 0.0)), "b": ("wall", everywhere)},
            "two patches of type wedge, not 1",
        ),
        ({"a": ("empty", everywhere)}, "face more than one direction"),
        (
            {
                "a": ("empty", lambda c: side(2, 0.0)(c) | side(2, 1.0)(c)),
                "b": ("wall", everywhere),
            },
            "it is more than one cell thick",
        ),
    ],
)
def test_what_is_no_plane(patches: dict, sentence: str, tmp_path: Path) -> None:
    write_mesh(tmp_path, ml.generate.box(2, 2, 2, cell="hexahedron"), patches)
    with pytest.raises(MeshError, match=sentence):
        openfoam.adapt(tmp_path, Constant())
