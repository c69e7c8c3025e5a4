"""`meshlearn convert`: other formats, warnings about what they lose, repairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Run

import meshlearn as ml


def test_to_another_format_in_a_new_folder(run: Run, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "l.vtu"
    result = run("convert", samples / "l_shape.msh", target)
    assert (result.exit_code, result.stderr) == (0, "")
    assert ml.read(target) == ml.read(samples / "l_shape.msh")
    assert [file.name for file in target.parent.iterdir()] == ["l.vtu"]


def test_losses_are_one_line_on_stderr(run: Run, square: Path, tmp_path: Path) -> None:
    result = run("convert", square, tmp_path / "square.su2", "--json")
    assert result.exit_code == 0
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"warning: {tmp_path / 'square.su2'}: lost")
    assert "'material'" in line


def test_format_by_name(run: Run, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "box.msh"
    run("convert", samples / "box.msh", target, "--format", "gmsh22", "--text")
    assert target.read_text(encoding="utf-8").startswith("$MeshFormat\n2.2 0 8")


def test_companion_file_comes_along(run: Run, square: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "square.xdmf"
    assert run("convert", square, target).exit_code == 0
    assert ml.read(target) == ml.read(square)


def test_repair(run: Run, tmp_path: Path) -> None:
    pos = [[0.0, 0], [1, 0], [0, 1]]
    mesh = ml.Mesh.from_cells(pos, {"triangle": [[0, 2, 1]]}, allow=("inverted",))
    mesh.write(tmp_path / "a.vtu")
    assert run("convert", tmp_path / "a.vtu", tmp_path / "b.vtu").exit_code == 2
    assert (
        run("convert", tmp_path / "a.vtu", tmp_path / "b.vtu", "--repair", "inverted").exit_code
        == 0
    )
    assert bool((ml.read(tmp_path / "b.vtu").volumes() > 0).all())


def test_json(run_json: Run, samples: Path, tmp_path: Path) -> None:
    report = run_json("convert", samples / "l_shape.msh", tmp_path / "l.vtk")
    assert (report["output"], report["nodes"]) == ("l.vtk", 637)


@pytest.mark.parametrize("name", ["l.nothing", "l.vtp"])
def test_format_that_cannot_be_written(run: Run, samples: Path, tmp_path: Path, name: str) -> None:
    result = run("convert", samples / "l_shape.msh", tmp_path / name)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_replaced(run: Run, samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "l.vtu"
    ml.generate.disk(3).write(target)
    run("convert", samples / "l_shape.msh", target)
    assert torch.equal(ml.read(target).pos, ml.read(samples / "l_shape.msh").pos)
