"""One settings file, one command, any model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meshlearn import MeshError
from meshlearn.training import TrainingError
from meshlearn.training.movers.contest import compare, contestant
from meshlearn.training.movers.models import BASELINES, MODELS, read_mover_settings, train
from meshlearn.training.movers.universal import MoverSettings

CONFIGS = Path(__file__).parents[3] / "examples" / "configs"
SHORT = """
h: [0.12, 0.13]
samples: 2
held_out: 1
cache: {cache}
trainer: {{steps: 2, evaluate_every: 1, log_every: 1}}
"""
SMALL = {
    "um2n": "first: 6\nwidths: [6, 5]\nheads: 2\n",
    "m2n": "first: 6\nwidths: [6, 5]\nheads: 2\n",
    "data-free": "resolution: 8\ntrunk: [4, 8]\nfinish: 1\nfinish_samples: 1\n",
}


@pytest.mark.parametrize(
    ("file", "model"), [("um2n", "um2n"), ("m2n", "m2n"), ("data_free", "data-free")]
)
def test_example_settings_are_valid(file, model):
    assert read_mover_settings(CONFIGS / f"{file}.yaml").model == model


def test_universal_is_the_default(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("dim: 3")
    assert read_mover_settings(path) == MoverSettings(dim=3)
    path.write_text("dim: 3\nmodel: universal")
    assert read_mover_settings(path) == MoverSettings(dim=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: cart", "run.yaml: model: unknown 'cart'; there are universal, um2n, m2n, data-f"),
        ("model: um2n\ndim: 3", "run.yaml: dim: no such setting; there are h, samples"),
        ("model: data-free\nresolution: 20", "resolution: input should be a multiple of 8"),
        ("model: [um2n]", "model: unknown"),
    ],
)
def test_mistakes(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_mover_settings(path)


@pytest.mark.parametrize("name", BASELINES)
def test_trains_ships_and_is_judged(name, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(f"model: {name}\n{SMALL[name]}{SHORT.format(cache=tmp_path / 'cache')}")
    weights, trained = train(read_mover_settings(path), tmp_path / "run", command="test")
    assert weights.name == f"{name}.safetensors"
    card = json.loads(weights.with_suffix(".json").read_text())
    assert card["command"] == "test"
    assert card["held_out"]["score"] == trained.figures["score"]
    figures = compare(tmp_path / "out", ["helmholtz"], [f"{name}={weights}"], count=1)
    assert figures["helmholtz"][name]["failed"] == 0
    assert figures["helmholtz"][name]["inverted_cells"] == 0


def test_a_published_mover_needs_its_weights(tmp_path):
    assert set(BASELINES) < set(MODELS)
    with pytest.raises(MeshError, match=r"um2n ships without weights: .* um2n=WEIGHTS"):
        contestant("um2n")
    with pytest.raises(MeshError, match="unknown mover 'cart=x'; there are universal"):
        contestant("cart=x")
    with pytest.raises(MeshError, match="cannot read the model's card"):
        contestant(f"m2n={tmp_path / 'none'}")
    with pytest.raises(MeshError, match="cannot read the model's card"):
        contestant(f"universal={tmp_path / 'none'}")
