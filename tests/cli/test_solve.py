"""`meshlearn solve`: errors that fall with the degree, fields in the file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Run

import meshlearn as ml
from meshlearn.problems import PROBLEMS


def test_errors_fall_with_the_degree(run_json: Run, samples: Path) -> None:
    mesh = samples / "l_shape.msh"
    first, second = (
        run_json("solve", mesh, "--problem", "smooth", "--degree", k)["errors"]["solution"]
        for k in (1, 2)
    )
    assert second["l2"] < first["l2"] / 10


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem(run: Run, square: Path, problem: str) -> None:
    result = run("solve", square, "--problem", problem)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "interpolant" in result.stdout


def test_fields_in_the_file(run: Run, samples: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "box.vtu"
    assert run("solve", samples / "box.msh", "--problem", "bell", "-o", path).exit_code == 0
    mesh = ml.read(path)
    assert torch.allclose(mesh.node_fields["error"], mesh.u - mesh.exact)
    assert mesh.facet_tags.keys() == ml.read(samples / "box.msh").facet_tags.keys()


def test_cells_without_elements(run: Run, tmp_path: Path) -> None:
    ml.generate.box(2, 2, 2, cell="wedge").write(tmp_path / "wedges.vtu")
    result = run("solve", tmp_path / "wedges.vtu", "-o", tmp_path / "out" / "u.vtu")
    assert result.exit_code == 2
    assert "wedge" in result.stderr
    assert not (tmp_path / "out").exists()
