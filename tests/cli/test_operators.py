"""`train operator`, `evaluate operator`, `predict`: from a settings file to fields in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from command_line import Run

import meshlearn as ml
from meshlearn.operators import SPON, GraphDiffusion
from meshlearn.training.operators import OperatorSettings
from meshlearn.training.settings import read_settings


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    inputs = [("log_k", "P0", 0), ("f", "P1", 0)]
    outputs = [("u", "P2", 0), ("flux", "P0", 2)]
    return SPON(inputs, outputs, processor="flat", width=8, blocks=1).save(tmp_path / "model")


@pytest.fixture
def plate(tmp_path: Path) -> Path:
    mesh = ml.generate.rectangle(5, 4)
    mesh.set_field("log_k", mesh.centroids()[:, 0], "cell")
    mesh.set_field("g", 1 + mesh.pos[:, 1], "node")
    path = tmp_path / "plate.vtu"
    mesh.write(path)
    return path


def test_trained_evaluated_predicted(run_json: Run, run: Run, tmp_path: Path) -> None:
    content = {
        "model": "diffusion",
        "options": {"width": 8, "steps": 4},
        "data": {"nodes": 70},
        "samples": 3,
        "held_out": 3,
        "folder": str(tmp_path / "data"),
        "trainer": {"steps": 4, "evaluate_every": 2},
    }
    config = tmp_path / "small.yaml"
    config.write_text(yaml.safe_dump(content))
    report: Any = run_json("train", "operator", "--config", config, "-o", tmp_path / "run")
    weights = Path(report["weights"])
    assert isinstance(GraphDiffusion.from_pretrained(weights), GraphDiffusion)
    assert report["held_out"]["boundary"] == 0
    figures: Any = run_json("evaluate", "operator", weights)
    assert figures["all"]["l2_mean"] == pytest.approx(report["held_out"]["l2"], rel=1e-5)
    table = run("evaluate", "operator", weights, "--count", 1).stdout
    assert "square" in table
    assert "disk" not in table
    rough: Any = run_json("evaluate", "operator", weights, "--count", 1, "--data", "variance=4")
    assert rough["all"]["baseline"] > 1.5 * figures["square"]["baseline"]
    wrong = run("evaluate", "operator", weights, "--data", "rough=1")
    assert wrong.exit_code == 2
    assert "data: rough: no such setting" in wrong.stderr
    out = tmp_path / "u.vtu"
    text = run(
        "predict", weights, Path("meshes/l_shape.msh").resolve(), "-o", out,
        "--set", "log_k=0", "--set", "f=1", "--boundary", "u=2",
    )  # fmt: skip
    assert text.exit_code == 0, text.stderr
    assert "u: " in text.stdout
    mesh = ml.read(out)
    assert (mesh["u"][mesh.boundary_nodes] == 2).all()


def test_fields_of_the_mesh_are_read_and_results_written(
    run_json: Run, model: Path, plate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.vtu"
    report: Any = run_json(
        "predict", model, plate, "--set", "f=1.5", "--boundary", "u=g", "-o", out
    )
    mesh = ml.read(out)
    edge = mesh.boundary_nodes
    assert torch.allclose(mesh["u"][edge], 1 + mesh.pos[edge, 1], rtol=0, atol=1e-12)
    assert (mesh["f"] == 1.5).all()
    assert mesh["flux"].shape[0] == mesh.num_cells
    operator, space = SPON.from_pretrained(model), ml.fem.FunctionSpace(mesh, "P2")
    held = {"u": [ml.fem.Dirichlet(space, "boundary", lambda x: 1 + x[:, 1])]}
    with torch.no_grad():
        expected = operator(mesh, {"log_k": mesh.centroids()[:, 0], "f": mesh["f"]}, held)
    assert torch.allclose(mesh["u"], expected["u"][: mesh.num_nodes], atol=1e-6)
    assert torch.allclose(mesh["flux"][:, :2], expected["flux"], atol=1e-6)
    assert report["range"]["u"] == pytest.approx(
        [float(expected["u"].min()), float(expected["u"].max())], abs=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "f"], "--set takes NAME=VALUE, got 'f'"),
        (["--set", "w=1"], "--set w: the inputs are log_k, f"),
        (["--set", "f=one"], "--set f: 'one' is no number"),
        ([], "reads the node field 'f'; the mesh has g (or give --set f=VALUE)"),
        (["--set", "f=1", "--boundary", "flux=0"], "outputs with boundary values are u"),
        (["--set", "f=1", "--boundary", "u=h"], "--boundary u: 'h' is neither a number nor"),
    ],
)
def test_bad_input_is_one_sentence(
    run: Run, model: Path, plate: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    out = tmp_path / "out.vtu"
    result = run("predict", model, plate, "-o", out, *arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line
    assert not out.exists()


def test_missing_weights_and_wrong_settings(run: Run, plate: Path, tmp_path: Path) -> None:
    result = run("predict", tmp_path / "none.safetensors", plate, "-o", tmp_path / "out.vtu")
    assert result.exit_code == 2
    assert "cannot read the model's card" in result.stderr
    config = tmp_path / "bad.yaml"
    config.write_text("model: fno\n")
    result = run("train", "operator", "--config", config, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "model: must be one of spon" in result.stderr
    config.write_text("data: {kind: diffusion, nodez: 3}\n")
    result = run("train", "operator", "--config", config, "-o", tmp_path / "run")
    assert result.exit_code == 2
    assert "data.diffusion.nodez: no such setting; there are kind, seed, nodes," in result.stderr


def test_help_names_the_operators(run: Run) -> None:
    assert "mesh-graph-net" in run("train", "operator", "--help").stdout
    for command in (["evaluate", "operator"], ["predict"]):
        assert "xample" in run(*command, "--help").stdout


def test_the_settings_in_the_examples_are_valid() -> None:
    config = Path(__file__).parents[2] / "examples" / "configs" / "operator_darcy.yaml"
    assert read_settings(config, OperatorSettings).options["processor"] == "multigrid"
