"""`meshlearn adapt-loop` with a script and with icoFoam."""

from __future__ import annotations

import sys
from pathlib import Path

import foam
import pytest
from command_line import Run

import meshlearn as ml
from meshlearn.plugins import openfoam

SOLVER = """
import meshio, numpy
m = meshio.read("case.su2")
u = numpy.tanh((0.5 - numpy.hypot(m.points[:, 0], m.points[:, 1])) / 0.05)
points = numpy.c_[m.points, 0 * u]
cells = [m.cells[0]]
meshio.Mesh(points, cells, point_data={"u": u, "v": u}).write("flow.vtu")
"""


@pytest.fixture
def case(tmp_path: Path) -> Path:
    ml.generate.rectangle(12, 12).write(tmp_path / "case.su2")
    (tmp_path / "solver.py").write_text(SOLVER)
    return tmp_path


def command(case: Path, *more: object) -> tuple[object, ...]:
    solver = f"'{sys.executable}' solver.py"
    files = ("--mesh", "case.su2", "--result", "flow.vtu")
    return ("adapt-loop", "--solver", solver, "--case", case, "--field", "u", *files, *more)


def test_it_says_what_it_did(run: Run, case: Path) -> None:
    text = (case / "case.su2").read_text()
    result = run(*command(case, "--iterations", 1, "--fixed", "left"))
    assert result.exit_code == 0, result.stderr
    assert "run 0: " in result.stdout
    assert "estimated L2 error" in result.stdout
    assert (case / "case.su2").read_text() != text
    assert (case / "adapt-loop/solver-1.log").exists()


def test_json(run_json: Run, case: Path) -> None:
    found = run_json(*command(case, "--iterations", 1))
    assert found["schema"] == "meshlearn/adapt-loop/1"
    assert found["estimates"][1] < found["estimates"][0]
    assert len(found["runs"]) == 2


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--mover", "teleport"), "unknown mover 'teleport'"),
        (("--monitor", "guess"), "unknown monitor 'guess'"),
        (("--slide", "up"), "unknown value of --slide 'up'"),
        (("--slide-patch", "lid"), "--slide-patch is for OpenFOAM cases"),
        (("--field", "w"), "there is no field 'w'"),
        (("--solver", "false"), "the solver failed with exit code 1"),
        (("--timeout", "0.01"), "the solver took longer than 0.01 s"),
    ],
)
def test_bad_input(run: Run, case: Path, more: tuple[str, ...], sentence: str) -> None:
    text = (case / "case.su2").read_text()
    result = run(*command(case, *more))
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert (case / "case.su2").read_text() == text


@pytest.mark.openfoam
def test_icofoam(run_json: Run, tmp_path: Path) -> None:
    """The cavity: solved, moved, solved again; checkMesh passes on what is kept."""
    case = foam.tutorial("incompressible/icoFoam/cavity/cavity", tmp_path / "case")
    foam.run(case, "blockMesh")
    solver = f"env WM_PROJECT_DIR={foam.PROJECT} icoFoam"
    found = run_json(
        *("adapt-loop", "--solver", solver, "--case", case, "--field", "U"),
        *("--iterations", 2, "--slide-patch", "fixedWalls"),
    )
    assert found["estimates"][found["kept"]] < found["estimates"][0]
    assert foam.mesh_is_ok(case)
    assert openfoam.read_case(case).time == "0.5"
    assert "End" in Path(found["runs"][-1]["log"]).read_text()


@pytest.mark.openfoam
def test_a_solver_that_fails_in_the_loop(run: Run, tmp_path: Path) -> None:
    """A time step far too large: icoFoam ends with a floating-point exception."""
    case = foam.tutorial("incompressible/icoFoam/cavity/cavity", tmp_path / "case")
    foam.run(case, "blockMesh")
    points = (case / "constant/polyMesh/points").read_bytes()
    control = case / "system/controlDict"
    control.write_text(control.read_text().replace("deltaT          0.005", "deltaT 0.25"))
    solver = f"env WM_PROJECT_DIR={foam.PROJECT} FOAM_SIGFPE=true icoFoam"
    control.write_text(control.read_text().replace("endTime         0.5", "endTime 100"))
    result = run("adapt-loop", "--solver", solver, "--case", case, "--field", "U")
    assert result.exit_code == 2
    assert "the solver failed with exit code" in result.stderr
    assert (case / "constant/polyMesh/points").read_bytes() == points
