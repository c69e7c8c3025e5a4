"""Runs on regular grids, as meshes: the layouts of PDEBench (HDF5) and CFDBench (NumPy files).

PDEBench (Takamoto et al., NeurIPS 2022) keeps all runs of a problem in one file, either as arrays
`[runs, times, x(, y)]` named `tensor` (or one for each quantity) beside `x-coordinate`,
`y-coordinate` and `t-coordinate`, with a coefficient `nu [runs, x, y]` of Darcy flow; or as groups
`0000`, `0001`, ... with `data [times, x(, y), quantities]` and `grid/x`, `grid/y`, `grid/t`.
CFDBench (Luo, Chen and Zhang, 2023) keeps a run in a folder: `u.npy` and `v.npy [times, y, x]` and
`case.json` with its parameters.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....mesh import Mesh, MeshError, generate

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GridRun:
    """A run on a mesh of lines or of triangles.

    Attributes:
        mesh: its nodes are the points of the grid, x fastest.
        times: `[t]`.
        states: node fields by name `[t, n]`.
        fields: node fields that do not change `[n]`.
        parameters: numbers by name.
    """

    mesh: Mesh
    times: Tensor
    states: dict[str, Tensor]
    fields: dict[str, Tensor]
    parameters: dict[str, float]


def read_pdebench(path: str | Path) -> Iterator[GridRun]:
    """Runs of a PDEBench file, one at a time; the meshes share their topology.

    Raises:
        MeshError: no such file, damaged, of another layout, or with three dimensions in space.
    """
    try:
        with h5py.File(path) as file:
            yield from _groups(file, path) if "x-coordinate" not in file else _arrays(file, path)
    except OSError as error:
        raise MeshError(f"cannot read {path}: {error}") from error
    except KeyError as error:
        raise MeshError(f"{path} is not of the layout of PDEBench: {error.args[0]}") from error


def read_cfdbench(folder: str | Path, dt: float = 1.0) -> GridRun:
    """The run in a CFDBench folder.

    Args:
        folder: holds `u.npy`, `v.npy` and `case.json`.
        dt: time between states, which the files do not say.

    Returns:
        The run on the unit square, or on the width and height that its parameters give.

    Raises:
        MeshError: a file is missing or damaged, or the arrays do not fit each other.
    """
    place = Path(folder)
    try:
        u, v = (_loaded(place / f"{name}.npy") for name in ("u", "v"))
        given = json.loads((place / "case.json").read_text())
        parameters = {str(name): float(value) for name, value in given.items()}
    except OSError as error:
        raise MeshError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise MeshError(f"a file in {place} is damaged: {error}") from error
    if u.ndim != 3 or u.shape != v.shape or min(u.shape[1:]) < 2:
        raise MeshError(
            f"u.npy and v.npy in {place} must be arrays [times, y, x] of one shape, got "
            f"{list(u.shape)} and {list(v.shape)}"
        )
    size = [parameters.get(name, 1.0) for name in ("width", "height")]
    axes = [
        np.linspace(0, length, count) for length, count in zip(size, u.shape[:0:-1], strict=True)
    ]
    times = dt * torch.arange(len(u), dtype=torch.float64)
    states = {name: torch.from_numpy(a.reshape(len(a), -1)) for name, a in (("u", u), ("v", v))}
    return GridRun(_mesh(axes, str(place)), times, states, {}, parameters)


def _loaded(path: Path) -> Floats:
    return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64)


def _arrays(file: h5py.File, path: str | Path) -> Iterator[GridRun]:
    """Runs of arrays with all of them."""
    axes = [_values(file[f"{x}-coordinate"]) for x in "xyz" if f"{x}-coordinate" in file]
    shape = tuple(len(axis) for axis in axes)
    quantities = {
        name: array
        for name, array in file.items()
        if isinstance(array, h5py.Dataset) and array.shape[2:] == shape
    }
    if not quantities:
        raise MeshError(f"{path} has no array [runs, times, {', '.join(map(str, shape))}]")
    mesh = _mesh(axes, str(path))
    steps = next(iter(quantities.values())).shape[1]
    # a last entry of t-coordinate, the end of the last interval, has no state
    times = _values(file["t-coordinate"])[:steps] if "t-coordinate" in file else np.zeros(steps)
    known = {name: float(v) for name, v in file.attrs.items() if isinstance(v, np.number)}
    for run in range(len(next(iter(quantities.values())))):
        states = {name: _nodal(array[run], len(shape)) for name, array in quantities.items()}
        fields = {}
        if "nu" in file and file["nu"].shape[1:] == shape:
            fields["nu"] = _nodal(file["nu"][run][None], len(shape))[0]
        yield GridRun(mesh, torch.from_numpy(times), states, fields, known)


def _groups(file: h5py.File, path: str | Path) -> Iterator[GridRun]:
    """Runs of one group each."""
    names = sorted(name for name, group in file.items() if isinstance(group, h5py.Group))
    if not names:
        raise MeshError(f"{path} is not of the layout of PDEBench: neither coordinates nor groups")
    mesh, axes = None, None
    for name in names:
        group = file[name]
        data, grid = _values(group["data"]), group["grid"]
        own = [_values(grid[x]) for x in "xyz" if x in grid]
        if data.shape[1:-1] != tuple(len(axis) for axis in own):
            raise MeshError(f"group {name} of {path}: data and grid do not fit each other")
        if axes is None or any(not np.array_equal(a, b) for a, b in zip(axes, own, strict=True)):
            axes, mesh = own, _mesh(own, str(path))
        assert mesh is not None
        columns = {f"u{k}": data[..., k] for k in range(data.shape[-1])}
        states = {key: _nodal(values, len(own)) for key, values in columns.items()}
        times = torch.from_numpy(_values(grid["t"]))
        yield GridRun(mesh, times, states, {}, {})


def _nodal(values: Any, dim: int) -> Tensor:
    """`[t, x]` or `[t, x, y]` as `[t, n]` with x fastest."""
    array = np.asarray(values, dtype=np.float64)
    if dim == 2:
        array = array.swapaxes(1, 2)
    return torch.from_numpy(np.ascontiguousarray(array).reshape(len(array), -1))


def _values(data: h5py.Dataset) -> Floats:
    return np.asarray(data[...], dtype=np.float64)


def _mesh(axes: list[Floats], where: str) -> Mesh:
    """A mesh of the points of a grid: lines, or triangles."""
    if any(len(axis) < 2 or bool((np.diff(axis) <= 0).any()) for axis in axes):
        raise MeshError(f"the coordinates of {where} do not rise")
    if len(axes) == 1:
        first = torch.arange(len(axes[0]) - 1)
        cells = {"line": torch.stack([first, first + 1], dim=1)}
        return Mesh.from_cells(torch.from_numpy(axes[0])[:, None], cells)
    if len(axes) != 2:
        raise MeshError(f"{where} has {len(axes)} dimensions in space; 1 and 2 are read")
    x, y = axes
    plain = generate.rectangle(len(x) - 1, len(y) - 1)
    pos = np.stack([np.tile(x, len(y)), np.repeat(y, len(x))], axis=1)
    return plain.moved(torch.from_numpy(pos))
