"""`meshlearn generate`: every kind makes a valid mesh, with the sizes it was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from command_line import Run

import meshlearn as ml
from meshlearn.cli.generate import KINDS

# Coarse where the default would take seconds.
SIZES = {
    "naca": ["--h", "0.1"],
    "channel-cylinder": ["--h", "0.1"],
    "channel-cylinder-3d": ["--h", "0.2", "--h-cylinder", "0.05"],
    "pipe-bend": ["--h", "0.4"],
    "step": ["--h", "0.5"],
    "polygon": ["--h", "0.3"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(run_json: Run, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mesh.msh"
    report = run_json("generate", kind, "-o", path, *SIZES.get(kind, []))
    mesh = ml.read(path)
    assert report["nodes"] == mesh.num_nodes
    assert report["tags"]["facet"].keys() == mesh.facet_tags.keys()
    assert mesh.facet_tags
    assert len(mesh.inverted_cells()) == 0


def test_options_reach_the_generator(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "r.vtu"
    options = ("--nx", 3, "--ny", 2, "--lower", -1, 0, "--upper", 2, 5, "--cell", "quad")
    assert run("generate", "rectangle", *options, "-o", path).exit_code == 0
    expected = ml.generate.rectangle(3, 2, lower=(-1, 0), upper=(2, 5), cell="quad")
    assert ml.read(path) == expected


def test_seed(run: Run, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("generate", "polygon", "--seed", seed, "--h", 0.3, "-o", tmp_path / f"{name}.vtu")
    a, b, c = (ml.read(tmp_path / f"{name}.vtu") for name in "abc")
    assert a == b
    assert a.pos.shape != c.pos.shape or not torch.equal(a.pos, c.pos)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["disk", "--n", "0"], "n must be at least 1"),
        (["rectangle", "--diagonal", "up"], "diagonal must be one of left, right, crossed"),
        (["naca", "--digits", "12"], "four digits"),
        (["torus"], "torus"),
    ],
)
def test_bad_sizes(run: Run, tmp_path: Path, arguments: list[str], word: str) -> None:
    result = run("generate", *arguments, "-o", tmp_path / "mesh.msh")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert word in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_comes_from_the_generator(run: Run) -> None:
    out = " ".join(run("generate", "naca", "--help").stdout.replace("│", " ").split())
    assert "camber in percent" in out
    assert "0012" in out
