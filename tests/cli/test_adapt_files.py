"""`meshlearn adapt` with files of other codes: bytes that stay, fields from elsewhere, cases."""

from __future__ import annotations

from pathlib import Path

import foam
import gmsh
import numpy as np
import pytest
import torch
from command_line import Run
from polymesh import everywhere, side, write_field, write_mesh

import meshlearn as ml
from meshlearn.mesh.files.inplace import find_slots
from meshlearn.plugins import openfoam


@pytest.fixture
def su2(tmp_path: Path) -> Path:
    square = ml.generate.rectangle(12, 12)
    path = tmp_path / "case.su2"
    square.write(path)
    path.write_text(path.read_text().replace("NMARK", "% markers, by hand\nNMARK"))
    square.set_field("T", torch.tanh(20 * (square.pos[:, 0] - 0.4)), "node")
    square.set_field("p", square.pos[:, 0], "node")
    square.write(tmp_path / "solution.vtu")
    return path


def test_a_field_file(run_json: Run, su2: Path) -> None:
    """The comment survives, only lines of points change, the field is not put into the mesh."""
    solution, out = su2.with_name("solution.vtu"), su2.parent / "out"
    found = run_json("adapt", su2, "--field-file", solution, "--field", "T", "-o", out)
    assert found["reduction"]["estimate"] > 2
    assert found["options"]["field_file"] == "solution.vtu"
    old, new = su2.read_text().splitlines(), (out / "case.su2").read_text().splitlines()
    begin = next(k for k, line in enumerate(old) if line.startswith("NPOIN"))
    changed = {k for k in range(len(old)) if old[k] != new[k]}
    assert len(old) == len(new)
    assert changed <= set(range(begin + 1, begin + 170))
    assert changed
    assert "T_before" in ml.read(out / "case.vtu").node_fields


def test_field_files_that_do_not_fit(run: Run, su2: Path) -> None:
    solution = su2.with_name("solution.vtu")
    result = run("adapt", su2, "--field-file", solution)
    assert result.exit_code == 2
    assert "name the field to follow; the nodal fields are: 'T', 'p'" in result.stderr
    result = run("adapt", su2, "--field-file", solution, "--field", "U")
    assert (result.exit_code, "there is no field 'U'" in result.stderr) == (2, True)
    result = run("adapt", su2, "--field-file", solution, "--problem", "ring")
    assert (result.exit_code, "not both" in result.stderr) == (2, True)
    result = run("adapt", su2, "--time", "0")
    assert (result.exit_code, "--time is for OpenFOAM cases" in result.stderr) == (2, True)
    assert not (su2.parent / "case_adapted").exists()


def test_a_second_order_mesh_stays_one(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "disk.msh"
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.model.occ.addDisk(0, 0, 0, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.2)
        gmsh.model.mesh.generate(2)
        gmsh.model.mesh.setOrder(2)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    result = run("adapt", path, "--problem", "ring", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    old, new = find_slots(path).points, find_slots(tmp_path / "out/disk.msh").points
    assert old.shape == new.shape
    assert np.abs(old - new).max() > 0.01


def test_nodal_fields_are_still_interpolated(run_json: Run, su2: Path) -> None:
    solution, out = su2.with_name("solution.vtu"), su2.parent / "out"
    run_json("adapt", solution, "--field", "T", "-o", out)
    moved = ml.read(out / "solution.vtu")
    torch.testing.assert_close(moved["p"], moved.pos[:, 0], rtol=0, atol=1e-12)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    slab = ml.generate.box(12, 12, 1, upper=(1.0, 1.0, 0.1), cell="hexahedron")
    flat = ("empty", lambda c: side(2, 0.0)(c) | side(2, 0.1)(c))
    write_mesh(tmp_path, slab, {"frontAndBack": flat, "sides": ("patch", everywhere)})
    x = openfoam.read_case(tmp_path).mesh.cell_geometry[0][:, 0]
    write_field(tmp_path, "0.5", "T", np.tanh(15 * (x - 0.4)))
    write_field(tmp_path, "0.5", "p", x)
    return tmp_path


def test_a_case(run: Run, case: Path) -> None:
    before = (case / "constant/polyMesh/points").read_bytes()
    result = run("adapt", case, "--field", "T")
    assert result.exit_code == 0, result.stderr
    assert "adapted" in result.stdout
    assert "max non orthogonality" in result.stdout
    assert (case / "constant/polyMesh/points").read_bytes() != before


def test_a_case_in_json(run_json: Run, case: Path) -> None:
    found = run_json("adapt", case, "--field", "T", "--time", "0.5", "--fixed", "sides")
    assert found["schema"] == "meshlearn/adapt-case/1"
    assert found["estimates"][1] < found["estimates"][0]
    assert found["after"]["min_pyramid"] > 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "give one --field to adapt"),
        (("--field", "T", "--field", "p"), "cell fields at time 0.5: T, p"),
        (("--field", "U"), "there is no field 'U' at time 0.5"),
        (("--field", "T", "--time", "3"), "has no time 3; there are 0.5"),
        (("--field", "T", "-o", "out"), "-o is not for OpenFOAM cases"),
        (("--problem", "ring"), "--problem is not for OpenFOAM cases"),
    ],
)
def test_bad_input(run: Run, case: Path, options: tuple[str, ...], sentence: str) -> None:
    before = (case / "constant/polyMesh/points").read_bytes()
    result = run("adapt", case, *options)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert (case / "constant/polyMesh/points").read_bytes() == before


def test_a_folder_that_is_no_case(run: Run, tmp_path: Path) -> None:
    result = run("adapt", tmp_path, "--field", "T")
    assert (result.exit_code, "has no constant/polyMesh/points" in result.stderr) == (2, True)


@pytest.mark.openfoam
def test_the_cavity(run_json: Run, tmp_path: Path) -> None:
    case = foam.cavity(tmp_path / "case")
    found = run_json("adapt", case, "--field", "U")
    assert foam.mesh_is_ok(case)
    assert found["estimates"][1] < found["estimates"][0]
