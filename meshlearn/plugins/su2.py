"""SU2: the mesh that a configuration names, in place; its restart files and histories read.

    from meshlearn.plugins import su2
    su2.adapt("case.cfg", "Mach", solver="SU2_CFD case.cfg", iterations=3)

Written against the documented options MESH_FILENAME, VOLUME_FILENAME, CONV_FILENAME and
TABULAR_FORMAT. The solver itself is not part of the tests.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..mesh import Mesh, MeshError
from . import common, files
from .arrays import FloatArray
from .loop import LoopReport, adapt_loop

_DEFAULTS = {
    "MESH_FILENAME": "mesh.su2",
    "VOLUME_FILENAME": "vol_solution",
    "CONV_FILENAME": "history",
}
_OPTION = re.compile(r"^\s*(\w+)\s*=\s*([^%\n]*)", re.MULTILINE)
_SUFFIXES = (".vtu", ".vtk")


def read_config(path: str | Path) -> dict[str, str]:
    """The options of a configuration, with SU2's defaults for the names of files.

    Raises:
        MeshError: it cannot be read.
    """
    try:
        text = Path(path).read_text(errors="replace")
    except OSError as error:
        raise MeshError(f"cannot read the configuration {path}: {error.strerror}") from error
    found = {key.upper(): value.strip() for key, value in _OPTION.findall(text)}
    return {**_DEFAULTS, **found}


def to_mesh(config: str | Path) -> Mesh:
    """The mesh of a configuration; markers are facet tags. See `files.to_mesh`."""
    return files.to_mesh(_mesh_file(config))


def set_positions(config: str | Path, pos: Any) -> None:
    """Put the nodes of `to_mesh` at `pos` `[n, d]`, in place."""
    files.set_positions(_mesh_file(config), pos)


def adapt(
    config: str | Path,
    guide: Any,
    *,
    solver: str | Sequence[str] | None = None,
    iterations: int = 1,
    **options: Any,
) -> common.Report | LoopReport:
    """Adapt the mesh of a configuration in place.

    Args:
        config: the .cfg file.
        guide: name of a field of the volume solution (VOLUME_FILENAME as .vtu or .vtk), nodal
            values, or a `Monitor`.
        solver: command that solves anew, run in the folder of the configuration between moves.
        iterations: most moves; more than one need the solver.
        options: see `common.adapt`, with a solver also `loop.adapt_loop`.

    Raises:
        MeshError: no such file or field, or the solver fails; the mesh is as it was then, or as
            the solver last succeeded on.
    """
    path = Path(config)
    if solver is not None:
        if not isinstance(guide, str):
            raise MeshError("with a solver, give the name of the field that it writes")
        given = read_config(path)
        volume = _volume(given["VOLUME_FILENAME"], path.parent)
        mesh = given["MESH_FILENAME"]
        return adapt_loop(
            *(path.parent, solver, guide),
            mesh=mesh,
            result=volume,
            iterations=iterations,
            **options,
        )
    if isinstance(guide, str):
        source = path.parent / _volume(read_config(path)["VOLUME_FILENAME"], path.parent)
        options["field_file"] = source
    report = files.adapt(_mesh_file(path), guide, iterations=iterations, **options)
    return replace(report, code="SU2")


def history(config: str | Path) -> dict[str, FloatArray]:
    """The columns of the convergence history `{name: [iterations]}`, of TABULAR_FORMAT= CSV.

    Raises:
        MeshError: there is none, or it is damaged.
    """
    path = Path(config)
    name = read_config(path)["CONV_FILENAME"].removesuffix(".csv")
    return _table(path.parent / f"{name}.csv")


def restart_field(path: str | Path, name: str, mesh: Mesh) -> FloatArray:
    """A column of a text restart file (OUTPUT_FILES= RESTART_ASCII) at the nodes `[n]`.

    Args:
        path: the .csv file; its column PointID says which node a row is of.
        name: of the column.
        mesh: of `to_mesh`.

    Raises:
        MeshError: no such column, or not a row for each node.
    """
    table = _table(Path(path))
    for column in ("PointID", name):
        if column not in table:
            raise MeshError(f"{path} has no column {column!r}; it has {', '.join(table)}")
    number = table["PointID"].astype(np.int64)
    values = np.full(int(max(number.max(initial=-1) + 1, mesh["numbering"].max() + 1)), np.nan)
    values[number] = table[name]
    found: FloatArray = values[mesh["numbering"].numpy()]
    if np.isnan(found).any():
        node = int(np.flatnonzero(np.isnan(found))[0])
        raise MeshError(f"{path} has no value of {name!r} at node {node}")
    return found


def _mesh_file(config: str | Path) -> Path:
    path = Path(config)
    return path.parent / read_config(path)["MESH_FILENAME"]


def _volume(name: str, folder: Path) -> str:
    """The name of the volume solution; the newest where there are several."""
    known = [name] if name.endswith(_SUFFIXES) else [f"{name}{suffix}" for suffix in _SUFFIXES]
    there = [found for found in known if (folder / found).is_file()]
    return max(there, key=lambda found: (folder / found).stat().st_mtime_ns, default=known[0])


def _table(path: Path) -> dict[str, FloatArray]:
    if not path.is_file():
        raise MeshError(f"{path} does not exist")
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file, skipinitialspace=True) if row]
    names = [word.strip().strip('"').strip() for word in rows[0]] if rows else []
    try:
        values = np.array([[float(word) for word in row] for row in rows[1:]])
    except ValueError as error:
        raise MeshError(f"{path} is damaged: {error}") from error
    if not names or (len(values) and values.shape[1] != len(names)):
        raise MeshError(f"{path} is damaged: its rows are not as long as its head")
    columns = values.reshape(-1, len(names)).T
    return dict(zip(names, columns, strict=True))
