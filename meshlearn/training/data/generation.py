"""Data sets made ahead of training, with checksums of their files.

Beside the cases lies `cases.json`: the settings they come from, and the SHA-256 of each file as it
was when it was made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field as Setting

from ... import __version__
from ...mesh import MeshError
from ...mesh.files.replacing import replacing
from ..settings import Settings
from .darcy import DarcySettings
from .kinds import AnyData
from .pool import Pool

LIST = "cases.json"
Prepared = Callable[[int, int], None]


class CaseSettings(Settings):
    """Which cases, and how many.

    Attributes:
        data: of the cases, of the data set that its `kind` names (see `data.kinds`).
        samples: cases to train on.
        held_out: cases to judge on; they come from another seed, or another part of the data set.
        folder: of the cached cases.
        workers: processes that make cases.
    """

    data: AnyData = DarcySettings()
    samples: int = Setting(200, ge=1)
    held_out: int = Setting(51, ge=1)
    folder: str = "out/data"
    workers: int = Setting(1, ge=1)

    def pools(self) -> tuple[Pool, Pool]:
        """Cases to train on and cases held out."""
        return (
            self.data.pool(self.samples, self.folder),
            self.data.others().pool(self.held_out, self.folder),
        )


def generate(pool: Pool, workers: int = 1, progress: Prepared | None = None) -> dict[str, Any]:
    """Make the cases of a pool that are not there yet, and list all with their checksums.

    The checksum of a case that was listed before stays as it was, so that damage shows.

    Args:
        pool: of the cases.
        workers: processes.
        progress: called after each case made, with how many are done and how many there are.

    Returns:
        Where they are, how many there are and how many were made, and their size in bytes.
    """
    listed = pool.folder / LIST
    known = _read(listed)["files"] if listed.exists() else {}
    there = {file.name for file in pool.files() if file.exists()}
    pool.prepare(workers, progress)
    sums = {name: known[name] for name in known if name in there}
    for file in pool.files():
        sums.setdefault(file.name, checksum(file))
    content = {
        "version": __version__,
        "data": pool.settings.title,
        "settings": pool.settings.model_dump(mode="json"),
        "files": dict(sorted(sums.items())),
    }
    with replacing(listed) as temporary:
        temporary.write_text(json.dumps(content, indent=1))
    return {
        "folder": str(pool.folder),
        "cases": len(pool),
        "made": len([file for file in pool.files() if file.name not in there]),
        "bytes": sum(file.stat().st_size for file in pool.files()),
    }


def check(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Compare all files of data sets in a folder and below with their checksums.

    Returns:
        For each folder with a list: `data`, `cases` listed, files `missing`, `damaged` and
        `unlisted`, by name.

    Raises:
        MeshError: there is no list in the folder, or it cannot be read.
    """
    found = {}
    for listed in sorted(Path(folder).rglob(LIST)):
        content, place = _read(listed), listed.parent
        sums = content["files"]
        there = {file.name for file in place.glob("*.pt")}
        changed = (name for name in sums if name in there and checksum(place / name) != sums[name])
        found[str(place)] = {
            "data": content["data"],
            "cases": len(sums),
            "missing": sorted(set(sums) - there),
            "damaged": sorted(changed),
            "unlisted": sorted(there - set(sums)),
        }
    if not found:
        raise MeshError(f"no data set that `data generate` made lies in {folder} (no {LIST})")
    return found


def checksum(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(listed: Path) -> dict[str, Any]:
    try:
        content = json.loads(listed.read_text())
        if isinstance(content["files"], dict) and isinstance(content["data"], str):
            return dict(content)
    except (ValueError, KeyError, TypeError) as error:
        raise MeshError(f"{listed} is damaged: remove it and generate again") from error
    raise MeshError(f"{listed} is no list of cases: remove it and generate again")
