"""Records of MeshGraphNets' files are trajectories: what was written is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tfrecords import record

from meshlearn.mesh import MeshError, generate
from meshlearn.training import TrainingError
from meshlearn.training.data.recorded import RecordedSettings
from meshlearn.training.data.trajectories import TrajectorySettings
from meshlearn.training.evolution import (
    EvolutionSettings,
    EvolutionTask,
    evaluate_evolution,
    fresh_evolution,
    train_evolution,
)
from meshlearn.training.settings import parse_settings

Arrays = dict[str, np.ndarray[Any, Any]]
Change = Callable[[Arrays], Mapping[str, np.ndarray[Any, Any] | None]]
STEPS = 8


def arrays_of(number: int) -> Arrays:
    """A run of the heat equation, its boundary a wall."""
    run = TrajectorySettings(nodes=50, steps=STEPS).make(number)
    types = np.zeros((1, run.mesh.num_nodes, 1), "<i4")
    types[0, run.mesh.boundary_nodes.numpy()] = 6
    return {
        "mesh_pos": run.mesh.pos.numpy().astype("<f4")[None],
        "cells": run.mesh.cells["triangle"].numpy().astype("<i4")[None],
        "node_type": types,
        "u": run.states["u"].numpy().astype("<f4")[:, :, None],
        "k": np.full((1, run.mesh.num_nodes, 1), float(run.fields["log_k"][0]), "<f4"),
    }


def written(folder: Path, part: str, runs: list[Arrays]) -> Path:
    folder.mkdir(exist_ok=True)
    features = {
        name: {
            "type": "dynamic" if len(values) > 1 else "static",
            "shape": [len(values), -1, values.shape[2]],
            "dtype": str(values.dtype),
        }
        for name, values in runs[0].items()
    }
    meta = {"trajectory_length": len(runs[0].get("u", "x")), "features": features}
    (folder / "meta.json").write_text(json.dumps(meta))
    (folder / f"{part}.tfrecord").write_bytes(b"".join(record(run) for run in runs))
    return folder


def settings(folder: Path, **changes: Any) -> RecordedSettings:
    base = {"kind": "tfrecord", "path": str(folder), "states": ["u"], "fields": ["k"], "dt": 0.01}
    return RecordedSettings.model_validate({**base, **changes})


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    arrays = [arrays_of(k) for k in range(3)]
    chosen = settings(written(tmp_path / "files", "train", arrays))
    pool = chosen.pool(10, tmp_path / "data")
    assert len(pool) == 3
    assert [v.name for v in (*pool.fields, *pool.states)] == ["k", "u"]
    for run, wrote in zip(pool, arrays, strict=True):
        assert run.steps == STEPS
        assert run.dt == 0.01
        assert np.array_equal(run.mesh.pos.numpy(), wrote["mesh_pos"][0])
        assert np.array_equal(run.states["u"].numpy(), wrote["u"][:, :, 0])
        assert np.array_equal(run.fields["k"].numpy(), wrote["k"][0, :, 0])
        (held,) = run.bcs["u"]
        assert torch.equal(held.dofs, run.mesh.boundary_nodes.sort().values)
        assert torch.equal(held.values, run.states["u"][0][held.dofs])
    coarse = settings(tmp_path / "files", every=2, steps=4).pool(1, tmp_path / "data")[0]
    assert (coarse.steps, coarse.dt) == (4, 0.02)
    assert np.array_equal(coarse.states["u"].numpy(), arrays[0]["u"][::2, :, 0])


def test_vectors_are_held_by_component(tmp_path: Path) -> None:
    arrays = arrays_of(0)
    arrays["v"] = np.concatenate([arrays["u"], 2 + 0 * arrays["u"]], axis=2)
    folder = written(tmp_path / "files", "train", [arrays])
    run = settings(folder, states=[["v", "P1", 2]]).pool(1, tmp_path)[0]
    (held,) = run.bcs["v"]
    flat = run.states["v"][0].reshape(-1)
    assert torch.equal(held.values, flat[held.dofs])
    assert (held.values[1::2] == 2).all()
    free = settings(folder, states=[["v", "P1", 2]], held=[4]).pool(1, tmp_path)[0]
    assert not len(free.bcs["v"][0].dofs)


def test_an_operator_is_trained_on_them(tmp_path: Path) -> None:
    folder = written(tmp_path / "files", "train", [arrays_of(k) for k in range(4)])
    written(folder, "valid", [arrays_of(k) for k in (10, 11)])
    content = {
        "options": {"width": 12, "blocks": 2, "differences": True},
        "data": settings(folder).model_dump(),
        "held_out": 5,
        "strategy": "residual",
        "folder": str(tmp_path / "data"),
        "trainer": {"steps": 60, "learning_rate": 0.01, "ema": 0.9, "evaluate_every": 60},
    }
    chosen = EvolutionSettings.model_validate(content)
    pools = chosen.pools()
    assert [len(pool) for pool in pools] == [4, 2]
    assert pools[1][0].mesh.num_nodes == arrays_of(10)["u"].shape[1]
    before = EvolutionTask(chosen, *pools).evaluate(fresh_evolution(chosen, pools[0]))
    path, trained = train_evolution(chosen, tmp_path / "run")
    assert trained.figures["score"] < 0.8 * before["score"]
    rows = evaluate_evolution(path)
    assert [row["time"] for row in rows] == pytest.approx([0.01 * k for k in range(1, STEPS + 1)])


def ramped(u: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same, and a constant that grows in time."""
    return u + np.arange(len(u), dtype="<f4")[:, None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: {"node_type": None}, r"record 0 of .*train\.tfrecord has no 'node_type'; it"),
        (lambda a: {"k": None}, "has no 'k'; it has"),
        (lambda a: {"cells": a["cells"][:, :, :2]}, "must have 3 or 4 nodes, got 2"),
        (lambda a: {"u": a["u"] * np.nan}, "'u' of record 0 .* has values that are not finite"),
        (lambda a: {"u": a["u"][:, 1:]}, r"field 'u' \(P1\) must be"),
        (lambda a: {"u": ramped(a["u"])}, "'u' of record 0 .* changes at nodes where it is held"),
        (lambda a: {"u": a["u"][:4]}, "the same number of steps, at least 4"),
    ],
)
def test_records_that_do_not_fit(change: Change, message: str, tmp_path: Path) -> None:
    arrays = arrays_of(0)
    changed = {**arrays, **change(arrays)}
    arrays = {name: values for name, values in changed.items() if values is not None}
    pool = settings(written(tmp_path / "files", "train", [arrays])).pool(1, tmp_path / "data")
    with pytest.raises(MeshError, match=message):
        pool[0]


def test_tetrahedra(tmp_path: Path) -> None:
    mesh = generate.box(2, 2, 2)
    arrays = {
        "mesh_pos": mesh.pos.numpy().astype("<f4")[None],
        "cells": mesh.cells["tetra"].numpy().astype("<i4")[None],
        "node_type": np.zeros((1, mesh.num_nodes, 1), "<i4"),
        "u": np.ones((5, mesh.num_nodes, 1), "<f4"),
    }
    folder = written(tmp_path / "files", "train", [arrays])
    run = settings(folder, fields=[]).pool(1, tmp_path)[0]
    assert run.mesh.dim == 3
    assert run.steps == 4


def test_settings_that_do_not_fit(tmp_path: Path) -> None:
    for data, message in (
        ({"kind": "tfrecord", "path": "x", "states": ["u"]}, "data.tfrecord.dt: field required"),
        (
            {"kind": "tfrecord", "path": "x", "states": [["u", "P0", 0]], "dt": 1},
            "data.tfrecord.states: records hold values of nodes: P1 only",
        ),
        ({"kind": "waves"}, "data: .*'waves'.* does not match any of the expected tags: 'heat'"),
    ):
        with pytest.raises(TrainingError, match=message):
            parse_settings({"data": data}, EvolutionSettings)
    with pytest.raises(MeshError, match=r"cannot read .*train\.tfrecord: No such file"):
        settings(tmp_path).pool(1, tmp_path)
