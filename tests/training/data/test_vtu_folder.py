"""A folder of files is a data set: split by name, fields as they are, faults told by file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import meshlearn as ml
from meshlearn.mesh import MeshError
from meshlearn.training import TrainingError
from meshlearn.training.data.kinds import DATASETS
from meshlearn.training.data.vtu_folder import FolderSettings
from meshlearn.training.operators import OperatorSettings, train_operator


def folder_of(where: Path, count: int = 7) -> Path:
    for k in range(count):
        mesh = ml.generate.rectangle(3, 3 + k)
        mesh.set_field("s", k + mesh.pos[:, 0], "node")
        mesh.set_field("k", mesh.centroids()[:, 1], "cell")
        mesh.set_field("U", torch.stack([mesh.pos[:, 1], 0 * mesh.pos[:, 1]], dim=1), "node")
        place = where / f"air_{k}"
        place.mkdir(parents=True)
        mesh.write(place / f"air_{k}_internal.vtu")
        mesh.write(place / f"air_{k}_surface.vtu")
    return where


def settings(where: Path, **changes: object) -> FolderSettings:
    base = {
        "path": str(where),
        "pattern": "*/*_internal.vtu",
        "inputs": ["s", ["k", "P0", 0]],
        "outputs": [["U", "P1", 2]],
        "every": 3,
    }
    return FolderSettings.model_validate({**base, **changes})


def test_files_are_cases(tmp_path: Path) -> None:
    chosen = settings(folder_of(tmp_path / "air"))
    train, held = (
        chosen.pool(100, tmp_path / "cache"),
        chosen.others().pool(100, tmp_path / "cache"),
    )
    assert (len(train), len(held)) == (5, 2)
    names = [[f.name for f in s.files()] for s in (chosen, chosen.others())]
    assert names[1] == ["air_2_internal.vtu", "air_5_internal.vtu"]
    assert not set(names[0]) & set(names[1])
    case = held[1]
    assert case.mesh.num_nodes == 4 * 9
    assert torch.equal(case.inputs["s"], 5 + case.mesh.pos[:, 0])
    assert torch.allclose(case.inputs["k"], case.mesh.centroids()[:, 1])
    assert torch.equal(case.outputs["U"][:, 0], case.mesh.pos[:, 1])
    assert case.outputs["U"].shape == (36, 2)
    assert "folder" in DATASETS


def test_operators_train_on_it(tmp_path: Path) -> None:
    run = OperatorSettings.model_validate(
        {
            "model": "mesh-graph-net",
            "options": {"width": 8, "blocks": 2},
            "data": {"kind": "folder", **settings(folder_of(tmp_path / "air")).model_dump()},
            "samples": 5,
            "held_out": 2,
            "folder": str(tmp_path / "cache"),
            "trainer": {"steps": 40, "learning_rate": 0.01, "ema": 0.0, "evaluate_every": 20},
        }
    )
    _, trained = train_operator(run, tmp_path / "run")
    assert trained.figures["score"] < 1


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    where = folder_of(tmp_path / "air", 3)
    with pytest.raises(TrainingError, match="there is no folder"):
        settings(tmp_path / "other").pool(1, tmp_path)
    with pytest.raises(TrainingError, match="has 0 files"):
        settings(where, pattern="*.vtp").pool(1, tmp_path)
    with pytest.raises(MeshError, match=r"air_0_internal\.vtu has no node field 'p'; it has"):
        _ = settings(where, outputs=["p"]).pool(1, tmp_path)[0]
    with pytest.raises(MeshError, match=r"'U' .P1. must be"):
        _ = settings(where, outputs=["U"]).pool(1, tmp_path)[0]
    with pytest.raises(ValidationError, match=r"values of nodes .P1. and of cells .P0."):
        settings(where, outputs=[["U", "P2", 2]])
    (where / "air_0" / "air_0_internal.vtu").write_text("nothing")
    with pytest.raises(MeshError, match="air_0_internal"):
        _ = settings(where).pool(1, tmp_path)[0]
