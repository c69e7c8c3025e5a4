"""A solver between moves: a script as solver, and all the ways in which one can fail."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import meshlearn as ml
from meshlearn.mesh import MeshError
from meshlearn.plugins.loop import adapt_loop, run_command

SOLVER = """
import sys
from pathlib import Path
import meshio
import numpy as np

mesh = meshio.read("case.mesh")
x, y = mesh.points.T[:2]
u = np.tanh((0.5 - np.hypot(x, y)) / 0.05)
count = Path("count")
done = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(done))
print("run", done)
{trouble}
points = np.c_[x, y, 0 * x]
meshio.Mesh(points, mesh.cells[:1], point_data={{"u": u}}).write("result.vtu")
"""


def case_with(folder: Path, trouble: str = "") -> tuple[Path, str]:
    """A square, and a solver that knows its solution."""
    folder.mkdir(exist_ok=True)
    ml.generate.rectangle(16, 16).write(folder / "case.mesh")
    (folder / "solver.py").write_text(SOLVER.format(trouble=trouble))
    return folder, f"'{sys.executable}' solver.py"


def test_the_estimated_error_falls(tmp_path: Path) -> None:
    case, solver = case_with(tmp_path)
    before = ml.read(case / "case.mesh")
    seen = []
    found = adapt_loop(
        case, solver, "u", mesh="case.mesh", result="result.vtu", iterations=2, told=seen.append
    )
    after = ml.read(case / "case.mesh")
    adaptation = found.adaptation
    assert adaptation.estimates[adaptation.kept] < adaptation.estimates[0] / 2
    assert before.moved(after.pos) == after
    assert (after.pos.numpy() == adaptation.positions).all()
    runs = 3 + (adaptation.kept != len(adaptation.moves))
    assert seen == list(found.runs)
    assert [run.log.read_text().strip() for run in found.runs] == [
        f"run {k}" for k in range(1, runs + 1)
    ]
    result = ml.read(case / "result.vtu")
    np.testing.assert_allclose(result.pos, after.pos, atol=1e-7)


@pytest.mark.parametrize(
    ("k", "trouble", "sentence"),
    [
        *(
            (k, "if done == {k}: sys.exit('diverged')", "with exit code 1 .*diverged")
            for k in (1, 2, 3)
        ),
        (1, "if done == {k}: sys.exit(0)", "the solver ended but wrote no new field 'u'"),
        (2, "if done == {k}: sys.exit(0)", "the solver ended but wrote no new field 'u'"),
        (2, "if done == {k}: u[3] = np.nan", "not finite at 1 nodes"),
        (2, "if done == {k}: import os; os.kill(os.getpid(), 9)", "failed with exit code -9"),
    ],
)
def test_the_last_good_mesh_is_put_back(
    k: int, trouble: str, sentence: str, tmp_path: Path
) -> None:
    case, solver = case_with(tmp_path / "a")
    good = [(case / "case.mesh").read_bytes()]
    if k > 1:  # what the mesh is after k - 2 moves
        for moves in range(1, k - 1):
            fresh, solver = case_with(tmp_path / f"good{moves}")
            adapt_loop(fresh, solver, "u", mesh="case.mesh", result="result.vtu", iterations=moves)
            good.append((fresh / "case.mesh").read_bytes())
    case, solver = case_with(tmp_path / "b", trouble.replace("{k}", str(k)))
    with pytest.raises(MeshError, match=re.compile(sentence, re.DOTALL)):
        adapt_loop(case, solver, "u", mesh="case.mesh", result="result.vtu", iterations=3)
    assert (case / "case.mesh").read_bytes() == good[-1]
    assert sorted(p.name for p in (case / "adapt-loop").iterdir()) == [
        f"solver-{n}.log" for n in range(k)
    ]


def test_a_solver_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    case, _ = case_with(tmp_path)
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    command = ["sh", "-c", f"'{sys.executable}' -c \"{child}\" & wait"]
    begin = time.perf_counter()
    with pytest.raises(MeshError, match="took longer than 2 s and was stopped"):
        run_command(command, case, case / "log", 2.0)
    assert time.perf_counter() - begin < 30
    pid = int((case / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("the child is still there")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"solver": "no-such-solver -x"}, "cannot start the solver 'no-such-solver': No such file"),
        ({"solver": " "}, "the command of the solver is empty"),
        ({"field_name": "T"}, "there is no field 'T'; the node fields of the mesh are: 'u'"),
        ({"iterations": 0}, "iterations must be at least 1, got 0"),
        ({"result": None}, "give both the mesh file and the result file, or neither"),
        ({"mesh": "none.mesh"}, "none.mesh: it is damaged|none.mesh does not exist"),
        ({"fixed": ["inlet"]}, "there is no tag 'inlet'"),
        ({"case": "nowhere"}, "nowhere is not a directory"),
        ({"mesh": None, "result": None}, "has no constant/polyMesh/points"),
    ],
)
def test_settings(options: dict, sentence: str, tmp_path: Path) -> None:
    case, solver = case_with(tmp_path)
    before = (case / "case.mesh").read_bytes()
    given = {"case": case, "solver": solver, "field_name": "u", "mesh": "case.mesh"}
    given |= {"result": "result.vtu", **options}
    with pytest.raises(MeshError, match=sentence):
        adapt_loop(**given)
    assert (case / "case.mesh").read_bytes() == before
