"""Large files are checked when the mesh is first used: never later, never not at all."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from meshlearn.mesh import Mesh, MeshError, generate
from meshlearn.mesh.files import read


@pytest.fixture(autouse=True)
def every_mesh_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshlearn.mesh.convert.rules.DEFER_ABOVE", 0)


def inverted(path: Path) -> Path:
    mesh = generate.rectangle(3, 3)
    pos = mesh.pos.numpy().copy()
    inner = int(np.flatnonzero(((pos > 0) & (pos < 1)).all(axis=1))[0])
    pos[inner] = 2.0
    broken = Mesh.from_cells(pos, mesh.cells, allow=["inverted", "nonmanifold", "hanging"])
    broken.write(path)
    return path


def test_an_invalid_mesh_is_read_and_refused_at_its_first_use(tmp_path: Path) -> None:
    path = inverted(tmp_path / "inverted.vtu")
    for use in (
        lambda m: m.cells,
        lambda m: m.edge_index,
        lambda m: m.volumes(),
        repr,
        lambda m: m.moved(m.pos),
        lambda m: m.clone().cells,
        lambda m: pickle.loads(pickle.dumps(m)).cells,
    ):
        mesh = read(path)
        for _ in range(2):
            with pytest.raises(MeshError, match="cells are inverted"):
                use(mesh)


def test_what_is_allowed_stays_allowed(tmp_path: Path) -> None:
    path = inverted(tmp_path / "inverted.vtu")
    mesh = read(path, allow=["inverted", "nonmanifold", "hanging"])
    assert len(mesh.inverted_cells()) > 0


def test_cheap_checks_do_not_wait(tmp_path: Path) -> None:
    mesh = generate.rectangle(2, 2)
    pos = mesh.pos.clone()
    pos[4, 0] = float("nan")
    every = ["nonfinite", "inverted", "degenerate", "nonmanifold", "hanging"]
    Mesh.from_cells(pos, mesh.cells, allow=every).write(tmp_path / "nan.vtu")
    with pytest.raises(MeshError, match="not finite"):
        read(tmp_path / "nan.vtu")


def test_a_valid_mesh_is_the_same_mesh(tmp_path: Path) -> None:
    mesh = generate.rectangle(3, 3)
    mesh.write(tmp_path / "square.msh")
    assert read(tmp_path / "square.msh") == mesh
