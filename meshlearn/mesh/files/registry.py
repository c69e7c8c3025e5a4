"""Formats by name and suffix; `read` and `write` in front of them."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import ParseError

import meshio

from ..convert.losses import warn_lost
from ..convert.rules import build
from ..errors import MeshError
from ..mesh import Mesh
from . import (
    abaqus,
    abaqus_write,
    gmsh,
    medit,
    nastran,
    obj,
    other,
    ply,
    stl,
    su2,
    vtk,
    vtk_legacy,
    vtu,
    xdmf,
)
from .replacing import replacing

Reader = Callable[[Path, list[str]], meshio.Mesh]
Writer = Callable[[Mesh, Path, list[str], bool], None]

DAMAGE = (
    *(ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, AssertionError),
    *(EOFError, OSError, MemoryError, ParseError, struct.error, zlib.error, lzma.LZMAError),
)
"""What parsers raise on files that are not what they should be."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        name: the `format` argument of `read` and `write`.
        suffixes: the first one is its own.
        read: makes blocks, sets and fields of a file, and lists what it had to leave out.
        write: writes a mesh, and lists what the format cannot hold.
        text_only: there is no binary form.
        prefers_text: binary loses digits, so it has to be asked for.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Reader
    write: Writer | None
    text_only: bool = False
    prefers_text: bool = False


FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        Format("gmsh", (".msh",), gmsh.read, gmsh.write41),
        Format("gmsh22", (), gmsh.read, gmsh.write22),
        Format("vtu", (".vtu",), vtu.read, vtk.write_xml),
        Format("vtk", (".vtk",), vtk_legacy.read, vtk.write_legacy),
        Format("vtkxml", (".vtp", ".vts", ".vtr", ".vti", ".pvtu"), vtk.read_xml, None),
        Format("xdmf", (".xdmf", ".xmf"), xdmf.read, xdmf.write),
        Format("su2", (".su2",), su2.read, su2.write, text_only=True),
        Format("abaqus", (".inp",), abaqus.read, abaqus_write.write, text_only=True),
        Format("nastran", (".bdf", ".nas", ".fem"), nastran.read, nastran.write, text_only=True),
        Format("medit", (".mesh",), medit.read, medit.write, text_only=True),
        Format("stl", (".stl",), stl.read, stl.write, prefers_text=True),
        Format("ply", (".ply",), ply.read, ply.write),
        Format("obj", (".obj",), obj.read, obj.write, text_only=True),
    )
}
"""Our own formats; those of `other`, which meshio reads and writes, come after them."""


def read(
    path: str | Path,
    *,
    allow: Collection[str] = (),
    repair: Collection[str] = (),
    format: str | None = None,
    reorder: str | None = None,
) -> Mesh:
    """Read a mesh with its tags and fields.

    The mesh is checked as by `Mesh.from_cells`; above 200,000 cells, the checks of geometry and
    connectivity run when the mesh is first used (and raise there), so that reading stays quick.

    Args:
        path: the file.
        allow: checks of `Mesh.from_cells` that do not raise.
        repair: defects that are mended first ("orphan", "duplicate", "inverted").
        format: name of the format where the suffix does not tell.
        reorder: "rcm" or "morton": renumber nodes and cells for speed (see `Mesh.reordered`, which
            also says where the numbers of the file are kept); by default they stay.

    Raises:
        MeshError: no such file, not a mesh, damaged or incomplete, or not a valid mesh.

    Warns:
        LossWarning: once, naming everything in the file that a `Mesh` does not hold.
    """
    path = Path(path)
    found, lost = read_parts(path, format=format)
    try:
        mesh = build(found, lost, allow=allow, repair=repair, defer=True)
    except MeshError as error:
        raise MeshError(f"{path}: {error}") from error
    warn_lost(str(path), lost)
    return mesh if reorder is None else mesh.reordered(reorder)


def check_file(path: Path) -> None:
    """Raise `MeshError` unless there is a file at a path."""
    if path.is_dir():
        raise MeshError(f"{path} is a directory, not a mesh file")
    if not path.exists():
        raise MeshError(f"{path} does not exist")


def read_parts(path: Path, *, format: str | None = None) -> tuple[meshio.Mesh, list[str]]:
    """Blocks, sets and fields of a file, before the rules of `convert.rules` are applied.

    Returns:
        They, and what the reader had to leave out.

    Raises:
        MeshError: no such file, not a mesh, damaged or incomplete.
    """
    chosen = find_format(path, format)
    check_file(path)
    lost: list[str] = []
    try:
        found = chosen.read(path, lost)
    except MeshError as error:
        raise MeshError(f"cannot read {path} as {chosen.name}: {error}") from error
    except DAMAGE as error:
        reason = getattr(error, "strerror", None) or f"{error}" or type(error).__name__
        raise MeshError(
            f"cannot read {path} as {chosen.name}: it is damaged or incomplete ({reason})"
        ) from error
    return found, lost


def write(
    mesh: Mesh, path: str | Path, *, format: str | None = None, binary: bool | None = None
) -> None:
    """Write a mesh with its tags and fields, atomically.

    Args:
        mesh: the mesh.
        path: the file; its suffix chooses the format.
        format: name of the format where the suffix does not tell, e.g. "gmsh22".
        binary: binary or text; by default binary where the format has it without loss.

    Raises:
        MeshError: the format cannot hold this mesh, or the file cannot be written.

    Warns:
        LossWarning: once, naming everything that the format cannot hold. Where warnings are made
            errors, nothing is written.
    """
    path = Path(path)
    chosen = find_format(path, format)
    if chosen.write is None:
        raise MeshError(f"{chosen.name} files can only be read; write a .vtu instead")
    if chosen.text_only and binary:
        raise MeshError(f"{chosen.name} files are text; leave binary out")
    if path.is_dir():
        raise MeshError(f"{path} is a directory; give the name of a file in it")
    lost: list[str] = []
    with replacing(path) as temporary:
        text = chosen.text_only or chosen.prefers_text
        chosen.write(mesh, temporary, lost, not text if binary is None else binary)
        warn_lost(str(path), lost)


def find_format(path: Path, name: str | None = None) -> Format:
    """The format called `name`, or that of the suffix of `path`.

    Raises:
        MeshError: there is none; the message lists those there are.
    """
    if name is not None:
        found = FORMATS.get(name) or _other(name)
        if found is None:
            raise MeshError(f"unknown format {name!r}; known are {', '.join(_names())}")
        return found
    suffix = path.suffix.lower()
    for item in FORMATS.values():
        if suffix in item.suffixes:
            return item
    meshio_name = other.SUFFIXES.get(suffix)
    found = _other(meshio_name) if meshio_name else None
    if found is None:
        known = ", ".join(known_suffixes())
        what = f"suffix {suffix!r}" if suffix else "name without a suffix"
        raise MeshError(f"cannot tell the format of {path} from its {what}; known are {known}")
    return found


def known_suffixes() -> list[str]:
    """All suffixes that `read` understands."""
    own = [suffix for item in FORMATS.values() for suffix in item.suffixes]
    return own + [suffix for suffix in other.SUFFIXES if suffix not in own]


def _names() -> list[str]:
    return [
        *FORMATS,
        *(name for name in sorted(set(other.SUFFIXES.values())) if name not in FORMATS),
    ]


def _other(name: str) -> Format | None:
    if name not in other.SUFFIXES.values():
        return None
    return Format(name, (), other.reader(name), other.writer(name))
