"""What the tests of the command line share: the program, sample meshes, small broken files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Run, strict_json
from typer.testing import CliRunner

import meshlearn as ml
from meshlearn.cli import app


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures go to files: no test opens a window."""
    monkeypatch.delenv("DISPLAY", raising=False)


@pytest.fixture
def run() -> Run:
    """Run the program with arguments; the result has exit_code, stdout, stderr."""

    def call(*arguments: object) -> Any:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return call


@pytest.fixture
def run_json(run: Run) -> Run:
    """Run with --json and return what standard output says; NaN and Infinity are no JSON."""

    def call(*arguments: object) -> Any:
        result = run(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return strict_json(result.stdout)

    return call


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of sample meshes."""
    return Path(__file__).parents[2] / "meshes"


@pytest.fixture
def square(tmp_path: Path) -> Path:
    """A small mesh file with fields of all sorts."""
    mesh = ml.generate.rectangle(12, 12, diagonal="crossed")
    x, y = mesh.pos.unbind(dim=1)
    mesh.set_field("steep", torch.tanh(30 * (x - 0.4)), "node")
    mesh.set_field("linear", 2 * x - y, "node")
    mesh.set_field("velocity", torch.stack([y, -x, 0 * x], dim=1), "node")
    mesh.set_field("number", torch.arange(mesh.num_nodes), "node")
    mesh.set_field("material", torch.arange(mesh.num_cells) % 3, "cell")
    path = tmp_path / "square.vtu"
    mesh.write(path)
    return path
