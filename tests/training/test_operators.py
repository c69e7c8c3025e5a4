"""Operators are trained: held-out errors fall, runs are the same from the same seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from meshlearn.mesh import MeshError
from meshlearn.operators import MeshGraphNet, load_operator
from meshlearn.training import TrainingError
from meshlearn.training.operators import (
    OperatorSettings,
    OperatorTask,
    boundary_error,
    evaluate_operator,
    fresh_operator,
    train_operator,
)

CHEAP = {"width": 12, "blocks": 5, "levels": 3}


def settings(folder: Path, **changes: Any) -> OperatorSettings:
    base = {
        "options": CHEAP,
        "data": {"nodes": 70},
        "samples": 12,
        "held_out": 3,
        "folder": str(folder / "data"),
        "trainer": {"steps": 60, "learning_rate": 0.005, "ema": 0.9, "evaluate_every": 30},
    }
    return OperatorSettings.model_validate({**base, **changes})


def test_a_short_training_lowers_the_held_out_error(tmp_path: Path) -> None:
    steps = {"steps": 120, "learning_rate": 0.01, "ema": 0.9, "evaluate_every": 120}
    easy = {"nodes": 70, "variance": 0.0}
    chosen = settings(tmp_path, data=easy, samples=24, trainer=steps)
    train, held_out = chosen.pools()
    task = OperatorTask(train, held_out)
    before = task.evaluate(fresh_operator(chosen, train))
    path, trained = train_operator(chosen, tmp_path / "run", command="here")
    assert trained.figures["score"] < 0.85 * before["score"]
    assert trained.figures["score"] == trained.figures["l2"]
    assert trained.figures["boundary"] <= 1e-12
    card = json.loads(path.with_suffix(".json").read_text())
    assert (card["model"], card["command"]) == ("SPON", "here")
    assert card["held_out"] == trained.figures
    # the weights in the file are those that were judged, and they are judged on the same cases
    figures = evaluate_operator(path)
    assert figures["all"]["cases"] == 3
    assert figures["all"]["l2_mean"] == pytest.approx(trained.figures["l2"], rel=1e-5)
    assert set(figures) == {"all", "square", "l_shape", "disk"}
    assert figures["all"]["baseline"] == pytest.approx(0, abs=1e-10)  # k is 1 in these cases
    assert figures["all"]["l2_worst"] >= figures["all"]["l2_mean"]
    finer = evaluate_operator(path, count=1, nodes=150)
    assert set(finer) == {"all", "square"}
    assert finer["all"]["l2_mean"] != figures["square"]["l2_mean"]


@pytest.mark.parametrize(
    "model",
    ["gno", "low-rank", "multipole-gno", "gino", "gaot", "mesh-graph-net", "diffusion"],
)
def test_the_others_take_gradients_from_the_same_cases(tmp_path: Path, model: str) -> None:
    chosen = settings(tmp_path, model=model, options={"width": 8}, norm="h1", samples=3)
    train, held_out = chosen.pools()
    task = OperatorTask(train, held_out, "h1")
    operator = fresh_operator(chosen, train)
    loss, _ = task.loss(operator, np.random.default_rng(0))
    loss.backward()
    assert all(p.grad is not None for p in operator.parameters())
    figures = task.evaluate(operator)
    assert figures["score"] == figures["h1"]


def test_held_out_cases_are_others(tmp_path: Path) -> None:
    train, held_out = settings(tmp_path).pools()
    assert train.settings.seed != held_out.settings.seed
    assert train.folder != held_out.folder
    assert not torch.equal(train[0].inputs["f"][:20], held_out[0].inputs["f"][:20])


def test_noise_comes_from_the_generator_of_the_task(tmp_path: Path) -> None:
    options = {"width": 8, "blocks": 1, "noise": 0.3}
    chosen = settings(tmp_path, model="mesh-graph-net", options=options, samples=1)
    train, held_out = chosen.pools()
    task, operator = OperatorTask(train, held_out), fresh_operator(chosen, train)
    assert isinstance(operator, MeshGraphNet)
    first, again, other = (
        task.loss(operator, np.random.default_rng(seed))[0].item() for seed in (0, 0, 1)
    )
    assert first == again != other
    assert task.evaluate(operator) == task.evaluate(operator)


def test_a_soft_boundary_is_seen_in_the_figures(tmp_path: Path) -> None:
    chosen = settings(tmp_path, options={**CHEAP, "boundary": "soft"}, samples=3)
    train, held_out = chosen.pools()
    figures = OperatorTask(train, held_out).evaluate(fresh_operator(chosen, train))
    assert figures["boundary"] > 1e-2
    case = train[0]
    assert boundary_error(case.outputs, case) == 0
    assert boundary_error({"u": case.outputs["u"] + 0.5}, case) == pytest.approx(0.5)


def test_errors(tmp_path: Path) -> None:
    chosen = settings(tmp_path, options={"depth": 3}, samples=1)
    with pytest.raises(TrainingError, match=r"options of spon: .*unexpected .*'depth'"):
        fresh_operator(chosen, chosen.pools()[0])
    good = settings(tmp_path, samples=1)
    path = fresh_operator(good, good.pools()[0]).save(tmp_path / "bare")
    assert load_operator(path).config["width"] == 12
    with pytest.raises(MeshError, match="has no settings: it does not say its data"):
        evaluate_operator(path)
