"""The weights that ship: they help on held-out cases, and turn with the mesh."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import pytest
import torch

from meshlearn import generate
from meshlearn.monitors import Constant, Function
from meshlearn.movers import UniversalMover
from meshlearn.training.movers.cases import SUITES
from meshlearn.training.movers.evaluation import Contestant, evaluate, hessian, summary

WEIGHTS = files("meshlearn") / "weights"


@pytest.fixture(scope="module")
def mover() -> UniversalMover:
    return UniversalMover.from_pretrained()


@pytest.mark.parametrize("dim", [2, 3])
def test_files_are_small_and_say_how_they_were_made(dim):
    card = json.loads((WEIGHTS / f"universal_{dim}d.json").read_text())
    assert {"command", "commit", "seed", "data", "settings", "held_out"} <= set(card)
    size = len((WEIGHTS / f"universal_{dim}d.safetensors").read_bytes())
    assert size < 8e6


def figures(mover: UniversalMover, suite: str, count: int, kind: str, strength: float):
    cases = SUITES[suite][0](count)
    return summary(evaluate(cases, {"u": Contestant(mover, hessian(kind, strength))}))["u"]


@pytest.mark.parametrize(
    ("suite", "kind", "strength", "least"),
    [
        # The best published reductions (UGM2N's table): 15.4, 9.0 and 15.6 percent.
        ("cosines", "metric", 5.0, 0.154),
        ("gaussians", "metric", 5.0, 0.09),
        ("helmholtz", "l2", 3.0, 0.156),
    ],
)
def test_reduction_on_the_published_cases(mover, suite, kind, strength, least):
    found = figures(mover, suite, 4, kind, strength)
    assert found["reduction_mean"] > least
    assert found["inverted_cells"] == found["failed"] == 0


@pytest.mark.slow
def test_random_polygons_gain(mover):
    found = figures(mover, "polygons", 24, "l2", 3.0)
    assert found["positive_share"] >= 0.95
    assert found["inverted_cells"] == found["failed"] == 0


def test_boxes_gain_in_3d(mover):
    found = figures(mover, "boxes", 3, "metric", 5.0)
    assert found["reduction_worst"] > 0
    assert found["inverted_cells"] == found["failed"] == 0


def ring(x: torch.Tensor) -> torch.Tensor:
    return 1 + 10 / torch.cosh(50 * (((x - 0.5) ** 2).sum(dim=1) - 0.0625)) ** 2


def test_turns_shifts_and_scales_with_the_mesh(mover):
    mesh = generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=0.07, seed=2)
    c, s = math.cos(0.4), math.sin(0.4)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    shift, scale = torch.tensor([3.0, -7.0], dtype=torch.float64), 25.0
    moved = mover.move(mesh, Function(ring)).mesh.pos
    placed = mesh.moved(scale * mesh.pos @ turn.T + shift)
    back = Function(lambda y: ring(((y - shift) / scale) @ turn))
    other = ((mover.move(placed, back).mesh.pos - shift) / scale) @ turn
    assert float((other - moved).abs().max()) < 1e-5


def test_a_mesh_that_fits_does_not_move(mover):
    mesh = generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=0.07, seed=2)
    report = mover.move(mesh, Constant(4.0)).report
    assert (report.max_displacement, report.iterations) == (0.0, 0)
