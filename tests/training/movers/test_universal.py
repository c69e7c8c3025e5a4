"""A short training run of the universal mover: it learns, is reproducible, and its files load."""

from __future__ import annotations

import json

import numpy as np
import torch

from meshlearn.movers import UniversalMover
from meshlearn.training import TrainerSettings
from meshlearn.training.movers.run import train_mover
from meshlearn.training.movers.universal import MoverSettings, UniversalTask, fresh_network


def settings(tmp_path, **trainer) -> MoverSettings:
    return MoverSettings(
        width=8,
        layers=1,
        nodes=(80, 120),
        samples=4,
        held_out=2,
        cache=str(tmp_path / "cache"),
        trainer=TrainerSettings(learning_rate=3e-3, evaluate_every=20, log_every=1, **trainer),
    )


def test_the_gradient_reaches_every_weight(tmp_path):
    own = settings(tmp_path, steps=1)
    network = fresh_network(own)
    for last in (network.weights, network.gain):
        torch.nn.init.normal_(last.weight, std=0.1)
    loss, figures = UniversalTask(own).loss(network, np.random.default_rng(0))
    loss.backward()
    assert set(figures) == {"error", "energy"}
    assert all(float(p.grad.abs().max()) > 0 for p in network.parameters())


def test_training_lowers_the_loss_and_ships_weights(tmp_path):
    own = settings(tmp_path, steps=40)
    task = UniversalTask(own)
    before = task.evaluate(fresh_network(own))
    path, trained = train_mover(own, tmp_path / "run", command="meshlearn train mover")
    assert trained.figures["score"] < before["score"]
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["model"] == "MoverNet"
    assert card["command"] == "meshlearn train mover"
    assert card["held_out"]["score"] == trained.figures["score"]
    mover = UniversalMover.from_pretrained(path)
    sample = task.held_out[0]
    again = task.evaluate(mover.networks[2])
    assert again["score"] == trained.figures["score"]
    assert sample.mesh.dim == 2
