"""Operators learn to carry states on; what is trained follows the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meshlearn.mesh import Mesh, MeshError
from meshlearn.training import TrainingError
from meshlearn.training.evolution import (
    EvolutionSettings,
    EvolutionTask,
    fresh_evolution,
    load_evolution,
    target,
    train_evolution,
)
from meshlearn.training.rollout import STRATEGIES, Stepper


def settings(folder: Path, **changes: Any) -> EvolutionSettings:
    base = {
        "options": {"width": 12, "blocks": 3},
        "data": {"nodes": 50, "steps": 8},
        "samples": 6,
        "held_out": 2,
        "folder": str(folder / "data"),
        "trainer": {"steps": 150, "learning_rate": 0.01, "ema": 0.9, "evaluate_every": 150},
    }
    return EvolutionSettings.model_validate({**base, **changes})


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_short_training_beats_the_untrained_and_is_kept(strategy: str, tmp_path: Path) -> None:
    chosen = settings(tmp_path, strategy=strategy)
    train, held_out = chosen.pools()
    task = EvolutionTask(chosen, train, held_out)
    before = task.evaluate(fresh_evolution(chosen, train))
    path, trained = train_evolution(chosen, tmp_path / "run", command="here")
    assert trained.figures["score"] < 0.8 * before["score"]
    model, known = load_evolution(path)
    assert known == chosen
    assert EvolutionTask(known, *known.pools()).evaluate(model) == pytest.approx(trained.figures)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_targets_lead_from_state_to_state(strategy: str, tmp_path: Path) -> None:
    run = settings(tmp_path).pools()[0][0]
    found, state = target(run, 2, strategy)["u"], run.at(2)["u"]
    next_state = {"next": found, "residual": state + found, "derivative": state + run.dt * found}
    far = float((next_state[strategy] - run.at(3)["u"]).abs().max())
    assert far <= (0.02 if strategy == "derivative" else 1e-12)


def test_errors_of_the_truth_are_none_and_those_of_the_start_are_those_of_persistence(
    tmp_path: Path,
) -> None:
    chosen = settings(tmp_path, strategy="residual")
    train, held_out = chosen.pools()
    task = EvolutionTask(chosen, train, held_out)
    model = fresh_evolution(chosen, train)
    with torch.no_grad():  # a network that returns no change
        for parameter in model.parameters():
            parameter.zero_()
        model.output_mean.zero_()
    assert torch.allclose(task.judge(model, 0), task.persistence(0))
    assert float(task.persistence(0).min()) > 0


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("pushforward", [False, True])
def test_free_running_trains_on_what_the_model_comes_to(
    strategy: str, pushforward: bool, tmp_path: Path
) -> None:
    chosen = settings(
        tmp_path, strategy=strategy, unroll=3, curriculum=0.0, pushforward=pushforward
    )
    train, held_out = chosen.pools()
    task, model = EvolutionTask(chosen, train, held_out), fresh_evolution(chosen, train)
    loss, figures = task.loss(model, np.random.default_rng(0))
    assert figures == {"unrolled": 3.0}
    slopes = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    assert any(float(s.abs().max()) > 0 for s in slopes if s is not None)


def test_pushforward_has_the_gradient_of_the_last_step_only(tmp_path: Path) -> None:
    found = []
    for pushforward in (False, True):
        chosen = settings(
            tmp_path, strategy="residual", unroll=2, curriculum=0.0, pushforward=pushforward
        )
        train, held_out = chosen.pools()
        task, model = EvolutionTask(chosen, train, held_out), fresh_evolution(chosen, train)
        loss, _ = task.loss(model, np.random.default_rng(0))
        loss.backward()
        found.append([p.grad for p in model.parameters() if p.grad is not None])
    assert any(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(*found, strict=True))


def test_rates_are_learnt_from_differences(tmp_path: Path) -> None:
    scores = []
    for differences in (False, True):
        options = {"width": 12, "blocks": 3, "differences": differences}
        chosen = settings(tmp_path, options=options)
        _, trained = train_evolution(chosen, tmp_path / str(differences))
        scores.append(trained.figures["score"])
    assert scores[1] < 0.7 * scores[0]


def test_a_mesh_that_follows_sees_states_free_of_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"width": 8, "blocks": 1, "mover": "variational", "every": 3}
    chosen = settings(
        tmp_path, model="moving-mesh-solver", options=options, strategy="residual", noise=0.1
    )
    train, held_out = chosen.pools()
    task, model = EvolutionTask(chosen, train, held_out), fresh_evolution(chosen, train)
    asked: list[torch.Tensor] = []
    plain = model.follow

    def follow(mesh: Mesh, fields: dict[str, torch.Tensor], prepared: object) -> object:
        asked.append(fields["u"])
        return plain(mesh, fields, prepared)

    monkeypatch.setattr(model, "follow", follow)
    for seed in range(4):
        task.loss(model, np.random.default_rng(seed))
    # as in a rollout: the states of steps 0, 3 and 6
    known = [run.at(k)["u"] for run in train for k in (0, 3, 6)]
    assert len(asked) == 4
    assert all(any(torch.equal(u, state) for state in known) for u in asked)


def test_a_moving_mesh_is_trained_as_any_other(tmp_path: Path) -> None:
    options = {"width": 12, "blocks": 1, "mover": "universal", "every": 4}
    chosen = settings(
        tmp_path,
        model="moving-mesh-solver",
        options=options,
        strategy="residual",
        samples=3,
        trainer={"steps": 60, "learning_rate": 0.02, "ema": 0.8, "evaluate_every": 60},
    )
    train, held_out = chosen.pools()
    before = EvolutionTask(chosen, train, held_out).evaluate(fresh_evolution(chosen, train))
    path, trained = train_evolution(chosen, tmp_path / "run")
    assert trained.figures["score"] < 0.8 * before["score"]
    model, known = load_evolution(path)
    again = EvolutionTask(known, *known.pools()).evaluate(model)
    assert again == pytest.approx(trained.figures)


def test_the_curriculum_grows(tmp_path: Path) -> None:
    chosen = settings(tmp_path, unroll=4, curriculum=0.5)
    task = EvolutionTask(chosen, *chosen.pools())
    lengths = []
    for share in (0.0, 0.2, 0.35, 0.5, 0.9):
        task.progress = share
        lengths.append(task.length)
    assert lengths == [1, 2, 3, 4, 4]


def test_noise_changes_what_is_read_but_not_what_is_aimed_at(tmp_path: Path) -> None:
    losses = []
    for noise in (0.0, 0.3):
        chosen = settings(tmp_path, noise=noise)
        train, held_out = chosen.pools()
        task, model = EvolutionTask(chosen, train, held_out), fresh_evolution(chosen, train)
        losses.append(float(task.loss(model, np.random.default_rng(0))[0].detach()))
    assert losses[0] != losses[1]


def test_another_integrator_and_finer_steps_for_judgement(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    train, held_out = chosen.pools()
    task, model = EvolutionTask(chosen, train, held_out), fresh_evolution(chosen, train)
    usual = task.judge(model, 0)
    finer = task.judge(model, 0, finer=2)
    euler = task.judge(model, 0, Stepper("derivative", "euler"))
    assert usual.shape == finer.shape == (8,)
    assert torch.allclose(usual, finer, rtol=0.05)
    assert not torch.equal(usual, euler)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    train, _ = settings(tmp_path).pools()
    with pytest.raises(TrainingError, match=r"model must be one of .*, got 'oracle'"):
        fresh_evolution(settings(tmp_path, model="oracle"), train)
    with pytest.raises(TrainingError, match="options of mesh-graph-net"):
        fresh_evolution(settings(tmp_path, options={"depth": 3}), train)
    model = fresh_evolution(settings(tmp_path), train)
    path = model.save(tmp_path / "other", {"settings": {"model": "mesh-graph-net"}})
    with pytest.raises(MeshError, match="was not trained on trajectories"):
        load_evolution(path)
