"""The formats whose coordinates can be replaced, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import MeshError
from ..registry import DAMAGE, check_file, find_format
from ..replacing import replacing
from . import gmsh, hdf5, text_formats, vtk
from .slots import FloatArray, Slots

_FINDERS: dict[str, Callable[[Path], Slots]] = {
    "gmsh": gmsh.gmsh,
    "gmsh22": gmsh.gmsh,
    "su2": text_formats.su2,
    "abaqus": text_formats.abaqus,
    "nastran": text_formats.nastran,
    "medit": text_formats.medit,
    "vtk": vtk.legacy,
    "vtu": vtk.xml,
    "cgns": hdf5.cgns,
    "med": hdf5.med,
}


def rewritable(path: Path) -> bool:
    """Whether the coordinates of a file of this name can be replaced alone."""
    return find_format(path).name in _FINDERS


def find_slots(path: str | Path) -> Slots:
    """The coordinates of a mesh file, in the order in which `read` gives its nodes.

    Raises:
        MeshError: a format of which this is not known, or a file that is not what it should be.
    """
    path = Path(path)
    name = find_format(path).name
    if name not in _FINDERS:
        raise MeshError(
            f"the coordinates of {name} files cannot be replaced alone, only those of "
            f"{', '.join(_FINDERS)}; write the whole mesh instead"
        )
    check_file(path)
    try:
        return _FINDERS[name](path)
    except MeshError as error:
        raise MeshError(f"cannot find the coordinates of {path}: {error}") from error
    except DAMAGE as error:
        raise MeshError(
            f"cannot find the coordinates of {path}: it is damaged ({error})"
        ) from error


def rewrite(path: str | Path, points: FloatArray, target: str | Path | None = None) -> None:
    """Put other coordinates into a mesh file; every other byte stays.

    Args:
        path: the file.
        points: `[n, d]` for all nodes of the file, in the order in which `read` gives them; those
            that stay keep their text.
        target: where to write; by default the file itself, which is replaced at once.

    Raises:
        MeshError: see `find_slots`; or points of another shape, or not finite.
    """
    path = Path(path)
    slots = find_slots(path)
    with replacing(path if target is None else Path(target)) as temporary:
        slots.write(temporary, points)
