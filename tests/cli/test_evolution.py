"""`train evolution`, `evaluate evolution` and `predict --steps`: from settings to a series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import Run

import meshlearn as ml
from meshlearn.operators import SPON
from meshlearn.training.evolution import EvolutionSettings
from meshlearn.training.settings import read_settings


@pytest.fixture
def start(tmp_path: Path) -> Path:
    mesh = ml.generate.rectangle(6, 6)
    mesh.set_field("u", torch.sin(3 * mesh.pos[:, 0]), "node")
    path = tmp_path / "start.vtu"
    mesh.write(path)
    return path


def trained(run_json: Run, folder: Path, **changes: Any) -> Path:
    content = {
        "options": {"width": 8, "blocks": 2},
        "data": {"nodes": 40, "steps": 6},
        "samples": 3,
        "held_out": 2,
        "folder": str(folder / "data"),
        "trainer": {"steps": 4, "evaluate_every": 2},
        **changes,
    }
    config = folder / "small.yaml"
    config.write_text(yaml.safe_dump(content))
    report: Any = run_json("train", "evolution", "--config", config, "-o", folder / "run")
    return Path(report["weights"])


def test_trained_evaluated_predicted(run_json: Run, run: Run, start: Path, tmp_path: Path) -> None:
    weights = trained(run_json, tmp_path)
    rows: Any = run_json("evaluate", "evolution", weights)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["time"] == pytest.approx(0.06)
    table = run("evaluate", "evolution", weights, "--count", 1, "--finer", 2)
    assert table.exit_code == 0, table.stderr
    assert "start kept" in table.stdout
    out = tmp_path / "series" / "u.pvd"
    done = run(
        "predict", weights, start, "--steps", 3, "--dt", 0.005, "--set", "log_k=-3",
        "--boundary", "u=0.5", "-o", out, "--animation",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "u after 3 steps of 0.005" in done.stdout
    names = sorted(p.name for p in out.parent.iterdir())
    assert names == ["u.gif", "u.pvd", *(f"u_0000{k}.vtu" for k in range(4))]
    for k in range(4):
        mesh = ml.read(out.parent / f"u_0000{k}.vtu")
        assert (mesh["u"][mesh.boundary_nodes] == 0.5).all()
    assert out.read_text().count("DataSet") == 4
    assert 'timestep="0.015"' in out.read_text()


def test_what_does_not_fit_is_told(run_json: Run, run: Run, start: Path, tmp_path: Path) -> None:
    weights = trained(run_json, tmp_path, strategy="residual")
    static = SPON(["f"], ["u"], processor="flat", width=8, blocks=1).save(tmp_path / "static")
    asked = {
        (weights, start, "--set", "log_k=0"): "carries states forward in time: give --steps",
        (static, start, "--set", "f=0", "--steps", 2): "--steps is for models that",
        (static, start, "--set", "f=0", "--animation"): "--dt and --animation go with --steps",
        (weights, start, "--set", "log_k=0", "--steps", 2, "--dt", 0.5): "for steps of 0.01",
        (weights, start, "--set", "log_k=0", "--steps", 2, "-o", tmp_path / "a.vtu"): "a .pvd file",
    }
    for arguments, message in asked.items():
        done = run("predict", *arguments)
        assert done.exit_code == 2, arguments
        assert message in done.stderr
    finer = run("evaluate", "evolution", weights, "--finer", 2)
    assert finer.exit_code == 2
    assert "only one of the derivative can take others" in finer.stderr
    other = run("evaluate", "evolution", static)
    assert other.exit_code == 2
    assert "was not trained on trajectories" in other.stderr


def test_the_shipped_settings_are_valid() -> None:
    paths = sorted(Path("examples/configs").glob("evolution_*.yaml"))
    found = {path.stem: read_settings(path, EvolutionSettings).strategy for path in paths}
    assert found == {
        "evolution_guided": "residual",
        "evolution_heat": "derivative",
        "evolution_moving_mesh": "residual",
    }
