"""`meshlearn info`: what it finds, and that defects do not keep it from looking."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Run, strict_json

import meshlearn as ml


def test_sizes_and_tags(run_json: Run, samples: Path) -> None:
    report = run_json("info", samples / "channel_cylinder.msh")
    mesh = ml.read(samples / "channel_cylinder.msh")
    assert (report["dim"], report["nodes"]) == (2, mesh.num_nodes)
    assert report["cells"] == {"triangle": mesh.num_cells}
    assert report["tags"]["facet"] == {k: len(v) for k, v in mesh.facet_tags.items()}
    assert report["measure"] == pytest.approx(2.2 * 0.41 - torch.pi * 0.05**2, rel=1e-3)
    assert report["boundary"]["corners"] == 4
    assert report["defects"] == []


def test_fields(run_json: Run, square: Path) -> None:
    fields = run_json("info", square)["fields"]
    assert fields["node"]["linear"]["min"] == -1
    assert fields["node"]["velocity"]["shape"] == [3]
    assert fields["cell"]["material"]["max"] == 2


def test_histogram_counts_every_cell(run_json: Run, samples: Path) -> None:
    report = run_json("info", samples / "cylinder_hex.msh")
    for measure in report["quality"].values():
        assert sum(measure["histogram"]["counts"]) == report["cells"]["hexahedron"]
        assert len(measure["histogram"]["edges"]) == len(measure["histogram"]["counts"]) + 1


def test_text_names_everything(run: Run, square: Path) -> None:
    out = run("info", square).stdout
    for word in ("square.vtu", "triangles", "left (12)", "velocity", "mean_ratio", "corners"):
        assert word in out


def test_line_mesh_has_no_angles(run_json: Run, tmp_path: Path) -> None:
    ml.generate.interval(5).write(tmp_path / "line.vtu")
    report = run_json("info", tmp_path / "line.vtu")
    assert "mean_ratio" in report["quality"]
    assert "min_angle" not in report["quality"]


def test_surface_mesh(run_json: Run, tmp_path: Path) -> None:
    pos = [[0.0, 0, 0], [1, 0, 0], [0, 1, 1]]
    ml.Mesh.from_cells(pos, {"triangle": [[0, 1, 2]]}).write(tmp_path / "surface.vtu")
    report = run_json("info", tmp_path / "surface.vtu")
    assert (report["dim"], report["cell_dim"], report["boundary"]) == (3, 2, None)


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """One inverted cell, one node too many."""
    pos = [[0.0, 0], [1, 0], [0, 1], [1, 1], [5, 5]]
    mesh = ml.Mesh.from_cells(
        pos, {"triangle": [[0, 1, 2], [1, 2, 3]]}, allow=("inverted", "orphan", "nonmanifold")
    )
    mesh.write(tmp_path / "broken.vtu")
    return tmp_path / "broken.vtu"


def test_every_defect_has_its_sentence(run: Run, broken: Path) -> None:
    result = run("info", broken, "--json")
    assert result.exit_code == 2
    assert [d["check"] for d in strict_json(result.stdout)["defects"]] == ["orphan", "inverted"]
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "--repair orphan" in lines[0]  # in the words of the command line


def test_without_validation(run: Run, broken: Path) -> None:
    assert run("info", broken, "--no-validate").exit_code == 0


def test_allowed_and_repaired(run: Run, broken: Path) -> None:
    result = run("info", broken, "--allow", "orphan", "--repair", "inverted")
    assert (result.exit_code, result.stderr) == (0, "")


def test_nan_is_null(run: Run, square: Path, tmp_path: Path) -> None:
    mesh = ml.read(square)
    pos = mesh.pos.clone()
    pos[3] = torch.nan
    mesh.moved(pos).write(tmp_path / "nan.vtu")
    result = run("info", tmp_path / "nan.vtu", "--json")
    assert result.exit_code == 2
    assert strict_json(result.stdout)["bounding_box"]["lower"] == [None, None]


def test_backends(run: Run, run_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESHLEARN_KERNELS", raising=False)
    report = run_json("info", "--backends")
    assert report["chosen"]["cpu"] == "torch"
    assert report["torch"] == torch.__version__
    out = run("info", "--backends").stdout
    assert "kernels on cpu" in out
    assert "triton" in out


def test_backends_that_cannot_be_had(run_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MESHLEARN_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert run_json("info", "--backends")["chosen"]["cpu"].startswith("none: Triton ")


def test_mesh_is_missing(run: Run) -> None:
    result = run("info")
    assert result.exit_code == 2
    assert "a mesh file is missing" in result.stderr
