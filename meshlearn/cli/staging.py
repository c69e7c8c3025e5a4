"""Files that appear complete or not at all: written to a hidden folder, moved when all is done."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .interrupts import load_vtk

if TYPE_CHECKING:
    from ..mesh import Mesh


@dataclass(frozen=True)
class Staged:
    """Where to write now, and where the files will be.

    Attributes:
        folder: an empty folder.
        target: the folder that its files move to.
    """

    folder: Path
    target: Path

    def write(self, mesh: Mesh, name: str, **options: Any) -> None:
        """Write a mesh; errors and warnings name the final place."""
        from ..mesh.errors import MeshError

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                mesh.write(self.folder / name, **options)
            except MeshError as error:
                raise MeshError(self._final(error, name)) from error
        for warning in caught:
            warnings.warn(self._final(warning.message, name), warning.category, stacklevel=2)

    def _final(self, message: object, name: str) -> str:
        text = str(message).replace(str(self.folder / name), str(self.target / name))
        return text.replace(str(self.folder), str(self.target))


@contextmanager
def output_folder(target: Path) -> Iterator[Staged]:
    """Give a folder whose files move to `target` at the end of the block.

    `target` and its parents are made then, and nothing is left where the block raises. That it can
    be written to is found out before the block begins.

    Raises:
        MeshError: it cannot be written to, or is a file.
    """
    from ..mesh.errors import MeshError

    if target.exists() and not target.is_dir():
        raise MeshError(f"cannot write to {target}: it is a file, not a folder")
    load_vtk()
    anchor = next(place for place in (target, *target.parents) if place.exists())
    try:
        folder = Path(tempfile.mkdtemp(prefix=".meshlearn.", dir=anchor))
    except OSError as error:
        raise MeshError(f"cannot write to {target}: {error.strerror} ({anchor})") from error
    try:
        yield Staged(folder, target)
        _move(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def output_file(path: Path, format: str | None = None) -> Iterator[Staged]:
    """The same for one mesh file of a format that can be written.

    Raises:
        MeshError: the folder cannot be written to, `path` is a folder, or there is no such format.
    """
    from ..mesh.errors import MeshError
    from ..mesh.files import find_format

    chosen = find_format(path, format)
    if chosen.write is None:
        raise MeshError(f"{chosen.name} files can only be read; write a .vtu instead")
    with output_folder(path.parent) as staged:
        _refuse_folder(path)
        yield staged


def _move(folder: Path, target: Path) -> None:
    from ..mesh.errors import MeshError

    files = sorted(folder.iterdir())
    for file in files:  # before the first one moves
        _refuse_folder(target / file.name)
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            file.replace(target / file.name)
    except OSError as error:
        raise MeshError(f"cannot write to {target}: {error.strerror}") from error


def _refuse_folder(path: Path) -> None:
    from ..mesh.errors import MeshError

    if path.is_dir():
        raise MeshError(f"{path} is a folder; give the name of a file in it")
