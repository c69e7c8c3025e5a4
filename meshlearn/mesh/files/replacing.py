"""Write files so that a reader sees the old ones or the new ones, never half of one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MeshError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to; what was written there takes the place of `path` at the end.

    The place has the same file name in a temporary folder beside `path`. Companion files written
    to that folder (the .h5 of XDMF) move along, before the file that refers to them. Nothing
    moves and nothing is left behind where the body raises.

    Raises:
        MeshError: the folder does not exist or cannot be written to.
    """
    target = path.resolve() if path.is_symlink() else path
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise MeshError(f"cannot write {path}: {error.strerror} ({target.parent})") from error
    try:
        yield folder / target.name
        written = sorted(folder.iterdir(), key=lambda file: file.name == target.name)
        for file in written:
            old = target.parent / file.name
            if old.exists():
                shutil.copymode(old, file)
            file.replace(old)
    except OSError as error:
        raise MeshError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
