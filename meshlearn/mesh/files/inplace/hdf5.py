"""Coordinates in HDF5 files: CGNS and MED as meshio reads them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MeshError
from .slots import FloatArray, checked

_CGNS = "Base/Zone1/GridCoordinates"


@dataclass(frozen=True)
class Hdf5Slots:
    """Coordinates in data sets, which are written in place.

    Attributes:
        path: the file.
        points: coordinates `[n, d]`.
        put: writes others into the open file.
    """

    path: Path
    points: FloatArray
    put: Callable[[Any, FloatArray], None]

    def write(self, target: Path, points: FloatArray) -> None:
        """A copy of the file with other coordinates."""
        import h5py

        new = checked(points, self.points)
        shutil.copyfile(self.path, target)
        if (new == self.points).all():
            return
        with h5py.File(target, "r+") as file:
            self.put(file, new)


def cgns(path: Path) -> Hdf5Slots:
    """One data set a direction."""
    import h5py

    with h5py.File(path, "r") as file:
        if _CGNS not in file:
            raise MeshError(f"it has no {_CGNS}")
        names = [f"{_CGNS}/Coordinate{axis}/ data" for axis in "XYZ"]
        names = [name for name in names if name in file]
        points = np.stack([file[name][()] for name in names], axis=1).astype(np.float64)

    def put(file: Any, new: FloatArray) -> None:
        for name, column in zip(names, new.T, strict=True):
            file[name][...] = column

    return Hdf5Slots(path, points, put)


def med(path: Path) -> Hdf5Slots:
    """One data set: all x, then all y, then all z."""
    import h5py

    with h5py.File(path, "r") as file:
        found: list[str] = []
        file["ENS_MAA"].visit(lambda name: found.append(name) if name.endswith("/COO") else None)
        if len(found) != 1:
            raise MeshError(f"it holds {len(found)} sets of coordinates, not one")
        name = f"ENS_MAA/{found[0]}"
        flat, count = file[name][()], int(file[name].attrs["NBR"])
        points = flat.reshape(count, -1, order="F").astype(np.float64)

    def put(file: Any, new: FloatArray) -> None:
        file[name][...] = new.reshape(-1, order="F")

    return Hdf5Slots(path, points, put)
