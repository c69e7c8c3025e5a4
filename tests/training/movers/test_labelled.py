"""UM2N and M2N: a short run learns, weights load, and inverted cells cost what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from meshlearn.movers.learned.one_pass import inverted_share
from meshlearn.training import TrainerSettings
from meshlearn.training.movers.labelled import (
    M2NSettings,
    M2NTask,
    UM2NSettings,
    UM2NTask,
    reduction,
)
from meshlearn.training.movers.losses import volumes

KINDS = {"um2n": (UM2NSettings, UM2NTask), "m2n": (M2NSettings, M2NTask)}


def settings(name: str, tmp_path, **trainer):
    small = {"first": 14, "widths": (16, 12, 10, 6), "heads": 2, "h": (0.12, 0.13)}
    base = {"steps": 1, "learning_rate": 1e-2, "schedule": "cosine", "ema": 0.9}
    return KINDS[name][0](
        **small,
        samples=4,
        held_out=2,
        cache=str(tmp_path / "cache"),
        trainer=TrainerSettings.model_validate({**base, **trainer}),
    )


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_falls_and_the_gradient_reaches_the_weights(name, tmp_path):
    own = settings(name, tmp_path)
    task, network = KINDS[name][1](own), own.network()
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    found = []
    for step in range(20):
        optimiser.zero_grad()
        loss, _ = task.loss(network, np.random.default_rng(step % 4))
        loss.backward()
        if step == 0:
            parameters = dict(network.named_parameters())
            dead = {n for n, p in parameters.items() if p.grad is None or not p.grad.any()}
            assert not dead
        optimiser.step()
        found.append(float(loss.detach()))
    assert sum(found[-4:]) < 0.85 * sum(found[:4])


@pytest.mark.parametrize("name", KINDS)
def test_the_label_itself_scores_zero_and_reduces_the_error(name, tmp_path):
    own = settings(name, tmp_path)
    task = KINDS[name][1](own)
    sample = task.held_out[0]
    assert float(task.compare(sample, sample.target)) == pytest.approx(0, abs=1e-12)
    assert reduction(sample, sample.mesh.pos) == pytest.approx(0, abs=1e-9)
    with torch.no_grad():
        figures = task.evaluate(own.network())
    assert set(figures) == {"score", "inverted", "reduction"}
    assert figures["score"] > 0


def test_an_inverted_cell_is_not_mistaken_for_a_good_one(tmp_path):
    task = UM2NTask(settings("um2n", tmp_path))
    sample = task.held_out[0]
    # Mirrored: every absolute area is that of the label, every signed one the opposite.
    mirrored = sample.target * torch.tensor([-1.0, 1.0]) + torch.tensor([1.0, 0.0])
    areas = sample.mesh.moved(mirrored).volumes()
    assert torch.allclose(areas.abs(), sample.mesh.moved(sample.target).volumes())
    assert float(volumes(sample.mesh, mirrored, sample.target)) == pytest.approx(2.0)
    assert inverted_share(sample.mesh, mirrored) == 1.0
    assert reduction(sample, mirrored) <= 1.0  # the guard made a mesh of it
