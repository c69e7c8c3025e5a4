"""PDEBench and CFDBench layouts: every value lands on its node, and damage is told."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from meshlearn.mesh import MeshError
from meshlearn.training.data.readers import GridRun, read_cfdbench, read_pdebench

X, Y, T = np.linspace(0.1, 0.9, 5), np.linspace(0.0, 2.0, 4), np.array([0.0, 0.5, 1.0])


def wave(run: float, t: np.ndarray, x: np.ndarray, y: np.ndarray | float = 0.0) -> np.ndarray:
    return run + t + 10 * x + 100 * y


def agrees(run: GridRun, name: str, number: float) -> bool:
    """That a state is `wave` at the nodes."""
    pos = run.mesh.pos
    y = pos[:, 1] if run.mesh.dim == 2 else 0.0
    wanted = number + run.times[:, None] + 10 * pos[:, 0] + 100 * y
    return bool(torch.allclose(run.states[name], wanted))


def test_one_dimension(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "burgers.hdf5", "w") as file:
        data = [wave(k, T[:, None], X) for k in range(2)]
        file["tensor"] = np.array(data, dtype=np.float32)
        file["x-coordinate"] = X
        file["t-coordinate"] = np.append(T, 1.5)  # one more than there are states
        file.attrs["beta"] = 0.25
    runs = list(read_pdebench(tmp_path / "burgers.hdf5"))
    assert len(runs) == 2
    for k, run in enumerate(runs):
        assert run.mesh.cells["line"].shape == (4, 2)
        assert run.times.tolist() == T.tolist()
        assert run.parameters == {"beta": 0.25}
        assert agrees(run, "tensor", k)
    assert runs[0].mesh is runs[1].mesh


def test_two_dimensions_with_several_quantities(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "flow.hdf5", "w") as file:
        for shift, name in enumerate(("density", "Vx")):
            data = [wave(k + shift, T[:, None, None], X[:, None], Y) for k in range(3)]
            file[name] = np.array(data)
        file["x-coordinate"], file["y-coordinate"], file["t-coordinate"] = X, Y, T
    runs = list(read_pdebench(tmp_path / "flow.hdf5"))
    assert len(runs) == 3
    for k, run in enumerate(runs):
        assert set(run.states) == {"density", "Vx"}
        assert agrees(run, "density", k)
        assert agrees(run, "Vx", k + 1)
        assert not len(run.mesh.inverted_cells())
        assert float(run.mesh.volumes().sum()) == pytest.approx(0.8 * 2.0)


def test_darcy_has_a_coefficient(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "darcy.hdf5", "w") as file:
        file["tensor"] = wave(0, np.zeros((1, 1, 1, 1)), X[:, None], Y)
        file["nu"] = (X[:, None] * Y)[None]
        file["x-coordinate"], file["y-coordinate"] = X, Y
    (run,) = read_pdebench(tmp_path / "darcy.hdf5")
    assert torch.allclose(run.fields["nu"], run.mesh.pos.prod(dim=1))
    assert agrees(run, "tensor", 0)


def test_groups(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "reaction.h5", "w") as file:
        for k in range(2):
            pair = [wave(k + c, T[:, None, None], X[:, None], Y) for c in range(2)]
            file[f"000{k}/data"] = np.stack(pair, axis=-1)
            for name, axis in (("x", X), ("y", Y), ("t", T)):
                file[f"000{k}/grid/{name}"] = axis
    runs = list(read_pdebench(tmp_path / "reaction.h5"))
    assert len(runs) == 2
    for k, run in enumerate(runs):
        assert agrees(run, "u0", k)
        assert agrees(run, "u1", k + 1)


def cavity(folder: Path) -> Path:
    folder.mkdir()
    x, y = np.linspace(0, 1, 4), np.linspace(0, 2, 3)
    for shift, name in enumerate("uv"):
        np.save(folder / f"{name}.npy", wave(shift, T[:, None, None] * 4, x, y[:, None]))
    (folder / "case.json").write_text(json.dumps({"vel_top": 3, "width": 1.0, "height": 2.0}))
    return folder


def test_cfdbench(tmp_path: Path) -> None:
    run = read_cfdbench(cavity(tmp_path / "case0000"), dt=2.0)
    assert run.parameters["vel_top"] == 3
    assert run.times.tolist() == [0, 2, 4]
    assert agrees(run, "u", 0)
    assert agrees(run, "v", 1)


def test_cfdbench_damage(tmp_path: Path) -> None:
    folder = cavity(tmp_path / "case")
    np.save(folder / "v.npy", np.zeros((3, 3, 5)))
    with pytest.raises(MeshError, match=r"arrays \[times, y, x\] of one shape, got \[3, 3, 4\]"):
        read_cfdbench(folder)
    (folder / "v.npy").write_bytes(b"nothing")
    with pytest.raises(MeshError, match="is damaged"):
        read_cfdbench(folder)
    (folder / "v.npy").unlink()
    with pytest.raises(MeshError, match=r"cannot read .*v\.npy: No such file"):
        read_cfdbench(folder)


def test_pdebench_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with pytest.raises(MeshError, match="cannot read"):
        list(read_pdebench(path))
    path.write_bytes(b"nothing")
    with pytest.raises(MeshError, match="cannot read"):
        list(read_pdebench(path))
    with h5py.File(path, "w") as file:
        file["u"] = X
    with pytest.raises(MeshError, match="neither coordinates nor groups"):
        list(read_pdebench(path))
    with h5py.File(path, "w") as file:
        file["x-coordinate"], file["tensor"] = X, np.zeros((1, 3, 7))
    with pytest.raises(MeshError, match=r"no array \[runs, times, 5\]"):
        list(read_pdebench(path))
    with h5py.File(path, "w") as file:
        file["x-coordinate"], file["tensor"] = X[::-1], np.zeros((1, 3, 5))
    with pytest.raises(MeshError, match="do not rise"):
        list(read_pdebench(path))
    with h5py.File(path, "w") as file:
        file["0000/data"] = np.zeros((3, 5, 1))
    with pytest.raises(MeshError, match="not of the layout of PDEBench"):
        list(read_pdebench(path))
    with h5py.File(path, "w") as file:
        file["0000/data"], file["0000/grid/x"] = np.zeros((3, 6, 1)), X
    with pytest.raises(MeshError, match="data and grid do not fit"):
        list(read_pdebench(path))
    with h5py.File(path, "w") as file:
        for x in "xyz":
            file[f"{x}-coordinate"] = X
        file["tensor"] = np.zeros((1, 1, 5, 5, 5))
    with pytest.raises(MeshError, match="3 dimensions in space; 1 and 2 are read"):
        list(read_pdebench(path))
