"""The scripts on the pages of the plug-ins for files and other processes run, and are short."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "plugins"
NOT_RUN = {"su2_case.py"}  # needs the solver
OURS = {
    "files_su2.py": "all of them coordinates",
    "remote_client.py": "estimated error",
    "solver_loop.py": "estimated error",
    "vtk_pipeline.py": "smallest quality",
}


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(FOLDER / name)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", OURS)
def test_the_example_runs(name: str, tmp_path: Path) -> None:
    assert OURS[name] in run(name, tmp_path)


@pytest.mark.slow
@pytest.mark.openfoam
def test_the_example_of_openfoam_runs(tmp_path: Path) -> None:
    assert "checkMesh: Mesh OK." in run("openfoam_cavity.py", tmp_path)


@pytest.mark.parametrize("name", sorted([*OURS, *NOT_RUN, "openfoam_cavity.py"]))
def test_examples_are_short(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) < 40
